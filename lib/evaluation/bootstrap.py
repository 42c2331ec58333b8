"""Bootstrap samples of measures, on two levels: test images, drawn by group where known, and trainings."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import pandas as pd

from lib.classification.feature_sets import MAIN
from lib.datasets.groups import groups_of_rows
from lib.evaluation import metrics as m

_AT_ONCE = 2**18  # weights of images, which the processor's cache holds


@dataclass(frozen=True)
class Sampled:
    """A measure over all folds, and how far other test images and other trainings would move it.

    values (1 + n,): the measure, mean over the repeats, then in n samples of test images; trained (folds, repeats): the
    measure in each fold and training; weights (folds,): of the folds in the whole.
    """

    values: np.ndarray
    trained: np.ndarray
    weights: np.ndarray

    def __sub__(self, other: Self) -> "Sampled":
        return Sampled(self.values - other.values, self.trained - other.trained, self.weights)

    @property
    def retraining(self) -> float:
        """The standard deviation of the measure from one training of all folds to the next; NaN without repeats."""
        if self.trained.shape[1] < 2:
            return float("nan")
        spread = np.nan_to_num(self.trained.var(axis=1, ddof=1))
        return float(np.sqrt(self.weights**2 @ spread))

    def with_training(self, seed: int, level: float = 0.95) -> np.ndarray:
        """Return the samples (1 + n,) with other trainings of the same training images too.

        What they add is normal, with the variance of the mean over the repeats, wider by Student's t at `level` as few
        repeats show it. With one repeat the trainings stay as they are.
        """
        from scipy.stats import norm, t

        folds, repeats = self.trained.shape
        if repeats < 2:
            return self.values
        wider = t.ppf((1 + level) / 2, folds * (repeats - 1)) / norm.ppf((1 + level) / 2)
        drawn = np.random.default_rng([seed, 1]).standard_normal(len(self.values) - 1)
        return np.r_[self.values[0], self.values[1:] + wider * self.retraining / np.sqrt(repeats) * drawn]

    def interval(self, seed: int, level: float = 0.95) -> tuple[float, float]:
        """Return the ends of a difference's interval at `level`, NaN where undefined.

        Those of the samples; with one repeat at least as wide as the spread of the folds, each with a training of its
        own, demands (Student's t over the folds).
        """
        from scipy.stats import t

        low, high = quantile_ends(self.with_training(seed, level)[1:], level=level)
        known = self.trained[~np.isnan(self.trained[:, 0]), 0]
        if self.trained.shape[1] == 1 and len(known) > 1:
            spread = t.ppf((1 + level) / 2, len(known) - 1) * known.std(ddof=1)
            reach = spread * np.sqrt((self.weights**2).sum())
            low, high = min(low, self.values[0] - reach), max(high, self.values[0] + reach)
        return float(np.clip(low, -1, 1)), float(np.clip(high, -1, 1))  # between values in [0, 1]


class Paired:
    """The predictions of several feature sets for the same images, of one data set, scheme and keep, as arrays.

    `frame` holds rows of one task. Raises `ValueError` where the feature sets were tested on different images.
    """

    def __init__(self, frame: pd.DataFrame, features: Sequence[str], good: str) -> None:
        rows = frame[frame["features"].isin(features)].sort_values(["repeat", "id"], ignore_index=True)
        every, named = m.Answers.of(rows), rows["features"].to_numpy(dtype=str)
        repeats, ids = rows["repeat"].to_numpy(), rows["id"].to_numpy(dtype=str)
        folds, first = rows["fold"].to_numpy(), named == features[0]
        self.good, self.cluster = good, groups_of_rows(rows[first])
        self.answers: dict[str, m.Answers] = {}
        # of each fold, and in it of each repeat: the predictions, and the clusters of their images
        self.parts: dict[str, list[list[tuple[m.Answers, np.ndarray]]]] = {}
        for name in features:
            mine = named == name
            if not all(np.array_equal(of[mine], of[first]) for of in (repeats, ids)):
                raise ValueError(f"{features[0]!r} and {name!r} were tested on different images")
            self.answers[name] = answers = every.at(mine)
            self.parts[name] = []
            for fold in np.unique(folds[mine]):
                places = [(folds[mine] == fold) & (repeats[mine] == one) for one in np.unique(repeats)]
                self.parts[name].append([(answers.at(at), self.cluster[at]) for at in places])

    def samples(
        self, metric: str, seed: int, n: int, label: str = m.ALL, features: Collection[str] | None = None
    ) -> dict[str, Sampled]:
        """Return the metric of each feature set (or of some) with n bootstrap samples of test images.

        Groups are drawn with replacement where known, else images, and all feature sets see the same draw, as do other
        predictions of the same images (at another keep) with the same seed.
        """
        draws = _draws(int(self.cluster.max()) + 1, n, seed)

        def of(answers: m.Answers, cluster: np.ndarray) -> np.ndarray:
            some = np.array_split(draws, -(-draws.shape[1] * len(cluster) // _AT_ONCE), axis=1)
            return np.concatenate([m.measured(metric, answers, self.good, label, n[cluster]) for n in some])

        found = {}
        for name in self.answers if features is None else features:
            parts = self.parts[name]
            each = [[m.measured(metric, x, self.good, label)[0] for x, _ in part] for part in parts]
            trained = np.array(each)
            if metric in m.SHARES:  # counted over all folds
                values = of(self.answers[name], self.cluster)
                sizes = np.array([m.counted(metric, part[0][0], self.good, label)[1].sum() for part in parts])
            else:
                of_folds = np.array([[of(*one) for one in part] for part in parts])
                values = m.mean_of_known(of_folds.mean(axis=1))
                sizes = 1 - np.isnan(trained[:, 0])
            found[name] = Sampled(values, trained, sizes / max(sizes.sum(), 1))
        return found

    def identical(self, a: str, b: str) -> float:
        """Return the share of predictions that both feature sets make alike, to the last bit."""
        one, other = (np.array(list(self.answers[x].probabilities.values())) for x in (a, b))
        return float(((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=0).mean())


def bands(
    predictions: pd.DataFrame,
    good: m.Good,
    metrics: Sequence[str],
    *,
    seed: int,
    binary: str = "collapsed",
    n: int = 400,
) -> pd.DataFrame:
    """Return image, map and both over all test folds and classes, with 95 % intervals from n bootstrap samples.

    One row per dataset, scheme, keep, features and metric: value, low, high.
    """
    rows = []
    main = predictions[predictions["features"].isin(MAIN)]
    for (dataset, scheme, keep), cell in main.groupby(["dataset", "scheme", "keep"], sort=False):
        name = m.good_class(good, str(dataset))
        present = [one for one in MAIN if one in set(cell["features"])]
        paired = paired_by_task(cell, metrics, binary, present, name)
        for metric in metrics:
            for features, sampled in paired[m.task_of(metric, binary)].samples(metric, seed, n).items():
                ends = quantile_ends(sampled.with_training(seed)[1:].clip(0, 1))
                rows.append((dataset, scheme, keep, features, metric, sampled.values[0], *ends))
    columns = ["dataset", "scheme", "keep", "features", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def paired_by_task(
    rows: pd.DataFrame, metrics: Sequence[str], binary: str, features: Sequence[str], good: str
) -> dict[str, Paired]:
    """Return the feature sets' predictions of one data set, scheme and keep by the task that each metric counts."""
    deciding = {m.task_of(metric, binary): m.rows_of_metric(rows, metric, binary) for metric in metrics}
    return {task: Paired(part, features, good) for task, part in deciding.items()}


def quantile_ends(
    values: np.ndarray, methods: tuple[Any, Any] = ("linear", "linear"), level: float = 0.95
) -> tuple[float, float]:
    """Return the quantiles that hold the middle `level` of the values, NaN left out; NaN where all are.

    `methods` are NumPy's, of the lower and of the upper end: ("lower", "higher") where values may be infinite.
    """
    known, tail = values[~np.isnan(values)], (1 - level) / 2
    if not len(known):
        return float("nan"), float("nan")
    low, high = methods
    return float(np.quantile(known, tail, method=low)), float(np.quantile(known, 1 - tail, method=high))


@lru_cache(maxsize=1)
def _draws(size: int, n: int, seed: int) -> np.ndarray:
    """Return how often each cluster is drawn (size, 1 + n): first the data as they are, then n samples."""
    generator, chances = np.random.default_rng(seed), np.full(size, 1 / size)
    drawn = np.ones((size, 1 + n), np.float32)
    for start in range(1, 1 + n, 64):  # counts of all samples at once would take five times the memory
        some = drawn[:, start : start + 64]
        some[:] = generator.multinomial(size, chances, size=some.shape[1]).T
    return drawn
