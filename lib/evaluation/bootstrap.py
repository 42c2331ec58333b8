"""Bootstrap intervals of measures and differences, pooled over folds: test images are drawn, by group where known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from lib.classification.feature_sets import MAIN
from lib.datasets.groups import groups_of_rows
from lib.evaluation.metrics import (
    ALL,
    FPR_LIMIT,
    RECALL_AT_5_FPR,
    Good,
    class_probabilities,
    counted,
    defect_classes,
    defect_scores,
    good_class,
    rows_of_metric,
)

_CHUNK = 250  # samples held in memory at once


@dataclass(frozen=True)
class Interval:
    """A pooled difference a - b with its 95 % bootstrap interval, and the two pooled values."""

    difference: float
    low: float
    high: float
    value_a: float = float("nan")
    value_b: float = float("nan")

    @property
    def side(self) -> int:
        """1 where the interval lies above zero, -1 where below, 0 where it holds zero or is not defined."""
        return int(self.low > 0) - int(self.high < 0)

    def span(self, points: bool = False) -> str:
        """Return the difference with its interval in words; of shares in percentage points."""
        scale, form = (100, "+z.1f") if points else (1, "+z.3f")
        difference, low, high = (f"{scale * x:{form}}" for x in (self.difference, self.low, self.high))
        return f"{difference}{' points' if points else ''}, 95 % interval {low} to {high}"


def bootstrap_difference(
    frame: pd.DataFrame, metric: str, a: str, b: str, good: str, seed: int, n: int = 2000
) -> Interval:
    """Return the pooled difference between feature sets a and b with a 95 % percentile interval.

    Arguments and errors as in `samples`.
    """
    sampled = samples(frame, metric, (a, b), good, seed, n)
    return interval_between(sampled[a], sampled[b])


def samples(
    frame: pd.DataFrame, metric: str, features: Sequence[str], good: str, seed: int, n: int, label: str = ALL
) -> dict[str, np.ndarray]:
    """Return the pooled metric of each feature set, then its values in the n bootstrap samples: (1 + n,) each.

    `frame` holds the predictions of one data set, scheme and keep (rows of the task that `metric` needs). Groups are
    drawn with replacement where known, else images, and all feature sets see the same draw, as do other predictions of
    the same images (at another keep) with the same seed. `metric` is class_recall (with `label`), defect_recall,
    false_reject_rate, weighted_auc, binary_auc or recall_at_5. Raises `ValueError` where the feature sets were tested
    on different images.
    """
    keys = ["repeat", "fold", "id"]
    rows = {name: frame[frame["features"] == name].sort_values(keys, ignore_index=True) for name in features}
    first = rows[features[0]]
    for name, others in rows.items():
        if not first[keys].equals(others[keys]):
            raise ValueError(f"{features[0]!r} and {name!r} were tested on different images")
    cluster = groups_of_rows(first)
    draws = _draws(int(cluster.max()) + 1, n, seed)
    return {name: _resampled(rows[name], metric, good, label, cluster, draws) for name in features}


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
    """Return image, map and both pooled over the test folds, with 95 % intervals from n bootstrap samples of images.

    Groups of images are drawn together where known. One row per dataset, scheme, keep, features, metric and class:
    value, low, high. Over all classes, or `by_class` for each defect class (class_recall, defect_recall only).
    """
    rows = []
    main = predictions[predictions["features"].isin(MAIN)]
    for (dataset, scheme, keep), cell in main.groupby(["dataset", "scheme", "keep"], sort=False):
        name, present = good_class(good, str(dataset)), [one for one in MAIN if one in set(cell["features"])]
        for metric in metrics:
            part = rows_of_metric(cell, metric, binary)
            for label in defect_classes(cell, name) if by_class else [ALL]:
                for features, sampled in samples(part, metric, present, name, seed, n, label).items():
                    ends = quantile_ends(sampled[1:])
                    rows.append((dataset, scheme, keep, features, metric, label, sampled[0], *ends))
    columns = ["dataset", "scheme", "keep", "features", "metric", "class", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


@lru_cache(maxsize=1)
def _draws(size: int, n: int, seed: int) -> np.ndarray:
    """Return how often each cluster is drawn in each of n samples after the first, which is the data as they are."""
    counts = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=n)
    return np.vstack([np.ones((1, size), np.float32), counts.astype(np.float32)])


def _resampled(
    rows: pd.DataFrame, metric: str, good: str, label: str, cluster: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """Return the metric in every sample (NaN where undefined); the first is the pooled value itself."""
    truth, predicted = (rows[name].to_numpy(dtype=str) for name in ("label", "predicted"))
    if metric in ("class_recall", "defect_recall", "false_reject_rate"):
        hits, among = counted(metric, truth, predicted, good, label)
        size = draws.shape[1]
        hit, total = (draws @ np.bincount(cluster[mask], minlength=size) for mask in (among & hits, among))
        return np.divide(hit, total, out=np.full(len(draws), np.nan), where=total > 0)
    if metric == "weighted_auc":
        scores = class_probabilities(rows)
    else:  # one curve, read from both sides
        truth, score = np.where(truth == good, "no", "yes"), defect_scores(rows, good)
        scores = pd.DataFrame({"yes": score, "no": -score})
    repeats = rows["repeat"].to_numpy()
    parts = [repeats == repeat for repeat in np.unique(repeats)]
    measure = _recalls_at if metric == RECALL_AT_5_FPR else _aucs
    return np.mean([measure(scores[part], truth[part], cluster[part], draws) for part in parts], axis=0)


def _aucs(scores: pd.DataFrame, truth: np.ndarray, cluster: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return the class-weighted one-vs-rest AUC of every sample, sorting the scores once (ties count half)."""
    weighted, share = np.zeros(len(draws)), np.zeros(len(draws))
    for name in np.unique(truth):
        score, mine = scores[name].to_numpy(float), truth == name
        rest = np.flatnonzero(~mine)[np.argsort(score[~mine])]
        below = np.searchsorted(score[rest], score[mine], side="left")
        level = np.searchsorted(score[rest], score[mine], side="right")
        for begin in range(0, len(draws), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            weights = draws[part].T.astype(float, order="C")
            ups, downs = weights[cluster[mine]], weights[cluster[rest]]
            passed = np.vstack([np.zeros((1, downs.shape[1])), downs.cumsum(axis=0)])
            won = (ups * (passed[below] + passed[level])).sum(axis=0) / 2
            n_up, n_down = ups.sum(axis=0), passed[-1]
            defined = (n_up > 0) & (n_down > 0)
            weighted[part] += np.divide(won, n_down, out=np.zeros(len(won)), where=defined)
            share[part] += np.where(defined, n_up, 0)
    return np.divide(weighted, share, out=np.full(len(draws), np.nan), where=share > 0)


def _recalls_at(
    scores: pd.DataFrame, truth: np.ndarray, cluster: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """Return every sample's highest defect recall with at most 5 % false rejects, sorting the scores once."""
    score, defective = scores["yes"].to_numpy(float), truth == "yes"
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf) != 0)  # equal scores are rejected together
    bad, found = defective[order, None], np.full(len(draws), np.nan)
    for begin in range(0, len(draws), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        weights = draws[part].T[cluster[order]].astype(float)
        rejected, caught = ((weights * among).cumsum(axis=0)[ends] for among in (~bad, bad))
        passed = np.vstack([np.zeros(caught.shape[1]), caught])
        allowed = (rejected <= FPR_LIMIT * rejected[-1] + 1e-9).sum(axis=0)
        best = passed[allowed, np.arange(len(allowed))]
        defined = (rejected[-1] > 0) & (caught[-1] > 0)
        found[part] = np.divide(best, caught[-1], out=np.full(len(best), np.nan), where=defined)
    return found


def quantile_ends(values: np.ndarray, methods: tuple[str, str] = ("linear", "linear")) -> tuple[float, float]:
    """Return the quantiles that hold the middle 95 % of the values, NaN left out; NaN where all are.

    `methods` are NumPy's, of the lower and of the upper end: ("lower", "higher") where values may be infinite.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - 0.95) / 2
    low, high = (
        np.quantile(known, share, method=method)  # type: ignore[call-overload]
        for share, method in zip((tail, 1 - tail), methods, strict=True)
    )
    return float(low), float(high)


def interval_between(a: np.ndarray, b: np.ndarray) -> Interval:
    """Return the interval of a difference a - b of two `samples`."""
    differences = a - b
    return Interval(float(differences[0]), *quantile_ends(differences[1:]), float(a[0]), float(b[0]))
