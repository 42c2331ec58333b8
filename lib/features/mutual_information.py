"""Which columns a classifier gets to see: the highest mutual information with the label, top floor(sqrt(N))."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma
from sklearn.preprocessing import scale
from sklearn.utils import check_random_state, check_X_y

Selection = Literal["sqrt_n", "per_source", "none"]

NOISE = 1e-10  # of a column's mean magnitude, as Kraskov et al. (2004) advise
BLOCK_VALUES = 1 << 18  # values of one block of columns: 2 MiB per working array, whatever X's size


def estimate_mutual_information(
    X: ArrayLike, y: ArrayLike, *, seed: int, n_neighbors: int = 3
) -> NDArray[np.float64]:
    """Estimate the mutual information of every column with the label, as scikit-learn does, but by sorting.

    X (n, d) continuous, finite; y (n,) classes. Returns (d,) in nats, at least 0. The estimator is Ross (2014),
    "Mutual information between discrete and continuous data sets", with every detail of scikit-learn's
    `mutual_info_classif(X, y, random_state=seed)`, whose result this equals; in one dimension neighbours are
    adjacent after sorting, so that a block of columns is treated at once. Raises ValueError on input that is
    not finite, of unequal lengths, or in which no class has two members.
    """
    if n_neighbors < 1:
        raise ValueError(f"n_neighbors must be at least 1, not {n_neighbors}")
    samples, labels = check_X_y(X, y, dtype="numeric")
    scaled = _scaled(samples)
    noise = check_random_state(seed).standard_normal(size=samples.shape)  # takes equal values apart

    codes, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    shared = counts[codes] > 1  # a class with one member has no neighbour: its sample is left out
    if not shared.any():
        raise ValueError("no class has two members: mutual information needs neighbours of the same class")
    codes, counts = codes[shared], np.where(counts > 1, counts, 0)
    n = codes.size
    digammas = np.concatenate([[np.nan], digamma(np.arange(1, n + 1))])
    neighbours = np.minimum(n_neighbors, counts - 1)
    constant = digammas[n] + np.mean(digammas[neighbours[codes]]) - np.mean(digammas[counts[codes]])

    information = np.empty(samples.shape[1])
    width = max(1, BLOCK_VALUES // n)
    for start in range(0, samples.shape[1], width):
        values = scaled[:, start : start + width]
        magnitude = np.maximum(1, np.mean(np.abs(values), axis=0))
        noisy = values + NOISE * magnitude * noise[:, start : start + width]
        columns = np.ascontiguousarray(noisy[shared].T)  # (columns, n)
        order = np.argsort(columns, axis=1)
        ordered = np.take_along_axis(columns, order, axis=1)
        radius = _radius_to_own_class(ordered, codes[order], counts, neighbours)
        within = _count_within(ordered, radius)
        information[start : start + width] = constant - digammas[within].mean(axis=1)
    return np.maximum(information, 0.0)


def n_selected(n_train: int) -> int:
    """Give the number of columns to keep for `n_train` training images: floor(sqrt(n_train)), at least 1."""
    if n_train < 1:
        raise ValueError(f"columns cannot be selected on {n_train} training images")
    return math.isqrt(n_train)


def select(scores: ArrayLike, sources: ArrayLike, n_train: int, how: Selection) -> NDArray[np.intp]:
    """Choose columns by score, in ascending order of their index.

    scores (d,), sources (d,) the name of each column's origin. `sqrt_n`: the K = floor(sqrt(n_train)) best of all
    columns jointly; `per_source`: the K best of every source; `none`: all. Of equal scores the lower index wins.
    Raises ValueError on another `how`, unequal lengths or a score that is not finite.
    """
    scores, sources = np.asarray(scores, dtype=np.float64), np.asarray(sources)
    if how not in get_args(Selection):
        raise ValueError(f"selection={how!r} is unknown: choose one of {', '.join(get_args(Selection))}")
    if scores.ndim != 1 or scores.shape != sources.shape:
        raise ValueError(f"scores {scores.shape} and sources {sources.shape} must be one value per column")
    if not np.isfinite(scores).all():
        raise ValueError(
            f"column {int(np.flatnonzero(~np.isfinite(scores))[0])} has a score that is not finite"
        )
    k = n_selected(n_train)
    best_first = np.argsort(-scores, kind="stable")
    if how == "none":
        return np.arange(scores.size)
    if how == "sqrt_n":
        return np.sort(best_first[:k])
    return np.sort(np.concatenate([best_first[sources[best_first] == s][:k] for s in np.unique(sources)]))


def _scaled(X: NDArray) -> NDArray[np.float64]:
    """Scale the columns to unit deviation.

    The boolean index looks idle: it gives the array the memory order that scikit-learn's has, hence sums that
    are rounded alike, hence equal results to the last bit.
    """
    every_column = np.ones(X.shape[1], dtype=bool)
    return scale(X.astype(np.float64)[:, every_column], with_mean=False, copy=False)


def _radius_to_own_class(
    ordered: NDArray[np.float64],
    codes: NDArray[np.intp],
    counts: NDArray[np.intp],
    neighbours: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Give, for sorted rows (m, n) and their class codes, a radius just short of the k-th neighbour in class."""
    radius = np.empty_like(ordered)
    for code, (count, k) in enumerate(zip(counts, neighbours, strict=True)):
        if count:
            places = np.flatnonzero(codes == code)
            members = ordered.reshape(-1)[places].reshape(-1, count)  # (m, count), still sorted
            radius.reshape(-1)[places] = _distance_to_neighbour(members, int(k)).reshape(-1)
    return np.nextafter(radius, 0)


def _distance_to_neighbour(members: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Give every value's distance to its k-th nearest other value in its sorted row of `members` (m, count)."""
    count = members.shape[1]
    if k >= count // 2:
        # here scikit-learn compares all pairs, by x² - 2xy + y² and with that formula's rounding
        squares = members**2
        pairs = squares[:, :, None] - 2 * members[:, :, None] * members[:, None, :] + squares[:, None, :]
        nearest = np.partition(pairs, k, axis=2)[:, :, k]  # the 0-th is the value itself
        return np.sqrt(np.maximum(nearest, 0.0))
    distance = np.full_like(members, np.inf)
    spans = count - k
    # the k nearest and the value itself are k + 1 adjacent values, `before` of them below
    for before in range(k + 1):
        middle = slice(before, before + spans)
        reach = np.maximum(
            members[:, middle] - members[:, :spans], members[:, k : k + spans] - members[:, middle]
        )
        np.minimum(distance[:, middle], reach, out=distance[:, middle])
    return distance


def _count_within(ordered: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.intp]:
    """Count, for each value of the sorted rows (m, n), the values of its row no farther than its radius."""
    low, high = np.empty(ordered.shape, np.intp), np.empty(ordered.shape, np.intp)
    for row, (values, reach) in enumerate(zip(ordered, radius, strict=True)):
        low[row] = values.searchsorted(values - reach, side="left")
        high[row] = values.searchsorted(values + reach, side="right") - 1
    # values ± reach was rounded: move both ends until they hold by the rounded difference, which is what counts
    low = _settle(ordered, low, radius, outwards=-1)
    high = _settle(ordered, high, radius, outwards=1)
    return high - low + 1


def _settle(
    ordered: NDArray[np.float64], end: NDArray[np.intp], radius: NDArray[np.float64], outwards: int
) -> NDArray[np.intp]:
    """Move each `end` (column indices) to the outermost value whose rounded distance is within the radius."""
    last = ordered.shape[1] - 1

    def reaches(column: NDArray[np.intp]) -> NDArray[np.bool_]:
        distance = np.abs(np.take_along_axis(ordered, np.clip(column, 0, last), axis=1) - ordered)
        return (column >= 0) & (column <= last) & (distance <= radius)

    while (outside := ~reaches(end)).any():
        end = end - outwards * outside
    while (more := reaches(end + outwards)).any():
        end = end + outwards * more
    return end
