"""Which columns a classifier gets: those with the highest mutual information with the label, floor(sqrt(N)) of them."""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Selection = Literal["sqrt_n", "per_source", "none"]

NOISE = 1e-10  # of a column's mean magnitude, as Kraskov et al. (2004) advise
NEIGHBOURS = 3  # of the same class
BLOCK_VALUES = 1 << 18  # values of one block of columns: 2 MiB per working array, whatever X's size


def estimate_mutual_information(X: ArrayLike, y: ArrayLike, *, seed: int) -> NDArray[np.float64]:
    """Return the mutual information (d,) of every column with the label, in nats, at least 0.

    X (n, d) continuous, finite; y (n,) classes. The estimator is Ross (2014), "Mutual information between discrete
    and continuous data sets", as in scikit-learn's `mutual_info_classif(X, y, random_state=seed)`, which it equals to
    rounding, but by sorting: in one dimension neighbours are adjacent, so that a block of columns is done at once.
    Raises ValueError on input that is not finite, of unequal lengths, or in which no class has two members.
    """
    from scipy.special import digamma
    from sklearn.preprocessing import scale
    from sklearn.utils import check_random_state, check_X_y

    samples, labels = check_X_y(X, y, dtype=np.float64)
    scaled = scale(samples, with_mean=False)
    noise = check_random_state(seed).standard_normal(size=samples.shape)  # takes equal values apart

    codes, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    shared = counts[codes] > 1  # a class with one member has no neighbour: its sample is left out
    if not shared.any():
        raise ValueError("no class has two members: mutual information needs neighbours of the same class")
    codes, counts = codes[shared], np.where(counts > 1, counts, 0)
    n = codes.size
    digammas = np.concatenate([[np.nan], digamma(np.arange(1, n + 1))])
    neighbours = np.minimum(NEIGHBOURS, counts - 1)
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
        within = _count_within(ordered, _radius_to_own_class(ordered, codes[order], counts, neighbours))
        information[start : start + width] = constant - digammas[within].mean(axis=1)
    return np.maximum(information, 0.0)


def select(scores: ArrayLike, sources: ArrayLike, n_train: int, how: Selection) -> NDArray[np.intp]:
    """Return the chosen columns' indices, ascending.

    scores (d,) finite, sources (d,) the name of each column's origin. `sqrt_n`: the K = floor(sqrt(n_train)) best of
    the columns jointly; `per_source`: the K best of every source; `none`: all. Of equal scores the lower index wins.
    """
    scores, sources = np.asarray(scores, dtype=np.float64), np.asarray(sources)
    k, best_first = math.isqrt(n_train), np.argsort(-scores, kind="stable")
    if how == "none":
        return np.arange(scores.size)
    if how == "sqrt_n":
        return np.sort(best_first[:k])
    return np.sort(np.concatenate([best_first[sources[best_first] == s][:k] for s in np.unique(sources)]))


def _radius_to_own_class(
    ordered: np.ndarray, codes: np.ndarray, counts: np.ndarray, neighbours: np.ndarray
) -> NDArray[np.float64]:
    """Return, for sorted rows (m, n) and their class codes, a radius just short of the k-th neighbour in class."""
    radius = np.empty_like(ordered)
    for code, (count, k) in enumerate(zip(counts, neighbours, strict=True)):
        if not count:
            continue
        places = np.flatnonzero(codes == code)
        members = ordered.reshape(-1)[places].reshape(-1, count)  # (m, count), still sorted
        distance = np.full_like(members, np.inf)
        spans = count - k
        # the k nearest and the value itself are k + 1 adjacent values, `before` of them below
        for before in range(k + 1):
            middle = slice(before, before + spans)
            below = members[:, middle] - members[:, :spans]
            above = members[:, k : k + spans] - members[:, middle]
            np.minimum(distance[:, middle], np.maximum(below, above), out=distance[:, middle])
        radius.reshape(-1)[places] = distance.reshape(-1)
    # just short of that neighbour, by more than the rounding of value + radius
    return np.maximum(radius - 4 * np.finfo(float).eps * (np.abs(ordered) + radius), 0)


def _count_within(ordered: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.intp]:
    """Count, for each value of the sorted rows (m, n), the values of its row no farther than its radius."""
    found = np.empty(ordered.shape, np.intp)
    for row, (values, reach) in enumerate(zip(ordered, radius, strict=True)):
        low = values.searchsorted(values - reach, side="left")
        found[row] = values.searchsorted(values + reach, side="right") - low
    return found
