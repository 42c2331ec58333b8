"""Bootstrap samples of measures, on two levels: test images, drawn by group where known, and trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from lib.classification.feature_sets import MAIN
from lib.datasets.groups import groups_of_rows
from lib.evaluation.metrics import (
    ALL,
    SHARES,
    Good,
    counted,
    defect_classes,
    good_class,
    mean_of_known,
    measured,
    rows_of_metric,
)

_CHUNK = 250  # samples held in memory at once


@dataclass(frozen=True)
class Sampled:
    """A measure over all folds, and how far other test images and other trainings would move it.

    values (1 + n,): the measure, mean over the repeats, then in n samples of test images; trained (folds, repeats): the
    measure in each fold and training; weights (folds,): of the folds in the whole.
    """

    values: np.ndarray
    trained: np.ndarray
    weights: np.ndarray

    def __sub__(self, other: Sampled) -> Sampled:
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
            reach = (
                t.ppf((1 + level) / 2, len(known) - 1) * known.std(ddof=1) * np.sqrt((self.weights**2).sum())
            )
            low, high = min(low, self.values[0] - reach), max(high, self.values[0] + reach)
        return float(np.clip(low, -1, 1)), float(np.clip(high, -1, 1))  # between values in [0, 1]


def samples(
    frame: pd.DataFrame, metric: str, features: Sequence[str], good: str, seed: int, n: int, label: str = ALL
) -> dict[str, Sampled]:
    """Return the metric of each feature set with n bootstrap samples of test images.

    `frame` holds the predictions of one data set, scheme and keep (rows of the task that `metric` needs). Groups are
    drawn with replacement where known, else images, and all feature sets see the same draw, as do other predictions of
    the same images (at another keep) with the same seed. Raises `ValueError` where the feature sets were tested on
    different images.
    """
    keys = ["repeat", "id"]
    rows = {name: frame[frame["features"] == name].sort_values(keys, ignore_index=True) for name in features}
    first = rows[features[0]]
    for name, others in rows.items():
        if not first[keys].equals(others[keys]):
            raise ValueError(f"{features[0]!r} and {name!r} were tested on different images")
    cluster = groups_of_rows(first)
    draws = _draws(int(cluster.max()) + 1, n, seed)
    return {name: _sampled(rows[name], metric, good, label, cluster, draws) for name in features}


def bands(
    predictions: pd.DataFrame,
    good: Good,
    metrics: Sequence[str],
    *,
    seed: int,
    binary: str = "collapsed",
    by_class: bool = False,
    n: int = 400,
) -> pd.DataFrame:
    """Return image, map and both over all test folds, with 95 % intervals from n bootstrap samples.

    One row per dataset, scheme, keep, features, metric and class: value, low, high. Over all classes, or `by_class` for
    each defect class (class_recall, defect_recall only).
    """
    rows = []
    main = predictions[predictions["features"].isin(MAIN)]
    for (dataset, scheme, keep), cell in main.groupby(["dataset", "scheme", "keep"], sort=False):
        name, present = good_class(good, str(dataset)), [one for one in MAIN if one in set(cell["features"])]
        for metric in metrics:
            part = rows_of_metric(cell, metric, binary)
            for label in defect_classes(cell, name) if by_class else [ALL]:
                for features, sampled in samples(part, metric, present, name, seed, n, label).items():
                    ends = quantile_ends(sampled.with_training(seed)[1:].clip(0, 1))
                    rows.append((dataset, scheme, keep, features, metric, label, sampled.values[0], *ends))
    columns = ["dataset", "scheme", "keep", "features", "metric", "class", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def quantile_ends(
    values: np.ndarray, methods: tuple[str, str] = ("linear", "linear"), level: float = 0.95
) -> tuple[float, float]:
    """Return the quantiles that hold the middle `level` of the values, NaN left out; NaN where all are.

    `methods` are NumPy's, of the lower and of the upper end: ("lower", "higher") where values may be infinite.
    """
    known, tail = values[~np.isnan(values)], (1 - level) / 2
    if not len(known):
        return float("nan"), float("nan")
    ends: list[tuple[float, Any]] = [(tail, methods[0]), (1 - tail, methods[1])]
    low, high = (float(np.quantile(known, share, method=method)) for share, method in ends)
    return low, high


@lru_cache(maxsize=1)
def _draws(size: int, n: int, seed: int) -> np.ndarray:
    """Return how often each cluster is drawn in each of n samples after the first, which is the data as they are."""
    counts = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=n)
    return np.vstack([np.ones((1, size), np.float32), counts.astype(np.float32)])


def _sampled(
    rows: pd.DataFrame, metric: str, good: str, label: str, cluster: np.ndarray, draws: np.ndarray
) -> Sampled:
    folds, repeats = (sorted(set(rows[name])) for name in ("fold", "repeat"))
    places = rows.groupby(["fold", "repeat"]).indices
    parts = [[(rows.iloc[at], at) for at in (places[fold, one] for one in repeats)] for fold in folds]
    trained = np.empty((len(folds), len(repeats), len(draws)))
    counts, start = [], 0
    for chunk in np.array_split(draws, -(-len(draws) // _CHUNK)):
        drawn, columns = chunk.T[cluster], slice(start, start + len(chunk))
        start += len(chunk)
        for fold, of_fold in enumerate(parts):
            for repeat, (part, at) in enumerate(of_fold):
                if metric not in SHARES:
                    trained[fold, repeat, columns] = measured(metric, part, good, label, drawn[at])
                elif not columns.start:  # samples of shares are counted over all folds, below
                    trained[fold, repeat, 0] = measured(metric, part, good, label)[0]
        if metric in SHARES:
            counts.append(measured(metric, rows, good, label, drawn))
    if metric in SHARES:
        values = np.concatenate(counts)
        sizes = [counted(metric, of_fold[0][0], good, label)[1].sum() for of_fold in parts]
    else:
        values = mean_of_known(trained.mean(axis=1))
        sizes = [1 - np.isnan(trained[fold, 0, 0]) for fold in range(len(folds))]
    return Sampled(values, trained[:, :, 0], np.array(sizes) / max(np.sum(sizes), 1))
