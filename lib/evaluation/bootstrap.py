"""Bootstrap samples of measures, pooled over folds: test images are drawn, by group where known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from lib.classification.feature_sets import MAIN
from lib.datasets.groups import groups_of_rows
from lib.evaluation.metrics import (
    ALL,
    FPR_LIMIT,
    RECALL_AT_5_FPR,
    SHARES,
    Good,
    class_probabilities,
    counted,
    defect_classes,
    defect_scores,
    good_class,
    rows_of_metric,
)

_CHUNK = 250  # samples held in memory at once


def samples(
    frame: pd.DataFrame, metric: str, features: Sequence[str], good: str, seed: int, n: int, label: str = ALL
) -> dict[str, np.ndarray]:
    """Return the pooled metric of each feature set, then its values in the n bootstrap samples: (1 + n,) each.

    `frame` holds the predictions of one data set, scheme and keep (rows of the task that `metric` needs). Groups are
    drawn with replacement where known, else images, and all feature sets see the same draw, as do other predictions of
    the same images (at another keep) with the same seed. Raises `ValueError` where the feature sets were tested on
    different images.
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
                    ends = quantile_ends(sampled[1:])
                    rows.append((dataset, scheme, keep, features, metric, label, sampled[0], *ends))
    columns = ["dataset", "scheme", "keep", "features", "metric", "class", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def quantile_ends(values: np.ndarray, methods: tuple[str, str] = ("linear", "linear")) -> tuple[float, float]:
    """Return the quantiles that hold the middle 95 % of the values, NaN left out; NaN where all are.

    `methods` are NumPy's, of the lower and of the upper end: ("lower", "higher") where values may be infinite.
    """
    known, tail = values[~np.isnan(values)], (1 - 0.95) / 2
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


def _resampled(
    rows: pd.DataFrame, metric: str, good: str, label: str, cluster: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """Return the metric in every sample (NaN where undefined); the first is the pooled value itself."""
    if metric in SHARES:
        hits, among = counted(metric, rows, good, label)
        size = draws.shape[1]
        hit, total = (draws @ np.bincount(cluster[mask], minlength=size) for mask in (among & hits, among))
        return _divided(hit, total)
    truth, scores = rows["label"].to_numpy(dtype=str), class_probabilities(rows)
    if metric != "weighted_auc":  # one curve, read from both sides
        truth, score = np.where(truth == good, "no", "yes"), defect_scores(rows, good)
        scores = pd.DataFrame({"yes": score, "no": -score})
    measure, repeats = _recalls_at if metric == RECALL_AT_5_FPR else _aucs, rows["repeat"].to_numpy()
    found = []
    for repeat in np.unique(repeats):
        part = repeats == repeat
        chunks = np.array_split(draws, -(-len(draws) // _CHUNK))
        found.append([measure(scores[part], truth[part], chunk.T[cluster[part]]) for chunk in chunks])
    return np.mean([np.concatenate(chunks) for chunks in found], axis=0)


def _aucs(scores: pd.DataFrame, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the class-weighted one-vs-rest AUC of every sample (ties count half); weights (n, samples) of images."""
    weighted, share = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    for name in np.unique(truth):
        above, rest = _curve(scores[name].to_numpy(float), truth == name, weights)
        defined = (above[-1] > 0) & (rest[-1] > 0)
        weighted += np.where(defined, _divided(np.trapezoid(above, rest, axis=0), rest[-1]), 0)
        share += np.where(defined, above[-1], 0)
    return _divided(weighted, share)


def _recalls_at(scores: pd.DataFrame, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return every sample's highest defect recall with at most 5 % false rejects; weights (n, samples) of images."""
    caught, rejected = _curve(scores["yes"].to_numpy(float), truth == "yes", weights)
    allowed = (rejected <= FPR_LIMIT * rejected[-1] + 1e-9).sum(axis=0) - 1
    best = caught[allowed, np.arange(len(allowed))]
    return np.where(rejected[-1] > 0, _divided(best, caught[-1]), np.nan)


def _curve(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights at or above each threshold, falling from none: of the positives, and of the rest."""
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.diff(score[order], append=-np.inf) != 0)  # equal scores lie on one side
    drawn, mine = weights[order].astype(float), positive[order, None]
    found, rest = ((drawn * side).cumsum(axis=0)[ends] for side in (mine, ~mine))
    none = np.zeros(weights.shape[1])
    return np.vstack([none, found]), np.vstack([none, rest])


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
