"""The threshold for a required recall, from scores by models that had not seen the images, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.classification.intervals import clopper_pearson, recall_at_rank
from lib.classification.operating_threshold import conformal_rank, defects_needed

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Evidence:
    """Out-of-fold scores of the labelled images: scores (n,) in [0, 1], defective (n,) bool, groups (n,) numbers.

    Where no groups are known, each image is its own (`grouped` False).
    """

    scores: NDArray[np.float64]
    defective: NDArray[np.bool_]
    groups: NDArray[np.int64]
    grouped: bool


@dataclass(frozen=True)
class Threshold:
    """A threshold on the score, its own 95 % interval, and what it is expected to do to new products of this kind.

    At or above `value` a product is rejected; between `low` and `high` chance decides, and a person should look.
    `promised`: there are defects enough (of enough groups, where these are known) for the required recall, `needed`;
    without a rank that promises it, `value` is the lowest defect score. Shares in [0, 1] with 95 % intervals; `how`
    says what these are. `n_units` counts the defective images, or the groups that hold one.
    """

    required: float
    promised: bool
    needed: float
    value: float
    low: float
    high: float
    recall: float
    recall_low: float
    recall_high: float
    false_rejects: float
    false_rejects_low: float
    false_rejects_high: float
    n_defects: int
    n_good: int
    n_units: int
    how: str


def choose_threshold(results: Evidence, required: float, seed: int) -> Threshold:
    """Choose the highest threshold that promises the required recall in (0, 1], by the split-conformal rank.

    The recall to expect is that of the rank, (n + 1 - rank) / (n + 1), its interval exact (Beta); that of false rejects
    is Clopper-Pearson's. Both take images as independent: where groups are known, each end gives way to the percentile
    over `DRAWS` draws of groups, with the threshold chosen on those drawn and counted on those left out, if that lies
    further out. The threshold's own interval are percentiles over the same draws (of images without groups). Raises
    ValueError without good or defective images, and for a recall outside (0, 1].
    """
    bad = results.defective
    if bad.all() or not bad.any():
        raise ValueError("a threshold needs scores of good and of defective images")
    defects, goods = np.sort(results.scores[bad]), results.scores[~bad]
    n, rank = len(defects), conformal_rank(int(bad.sum()), required)
    value = float(defects[max(rank, 1) - 1])
    units = len(np.unique(results.groups[bad]))
    rejected = int((goods >= value).sum())
    thresholds, recalls, rejects = _draws(results, required, seed)
    expected, *ends = recall_at_rank(max(rank, 1), n, LEVEL)
    of_recall, of_rejects = (ends[0], ends[1]), clopper_pearson(rejected, len(goods), LEVEL)
    how = "exact, images taken as independent"
    if results.grouped:
        of_recall, of_rejects = _wider(of_recall, _ends(recalls)), _wider(of_rejects, _ends(rejects))
        how = (
            f"exact for independent images, or where wider from {DRAWS:,} draws of groups, with thresholds chosen on "
            "those drawn and counted on those left out"
        )
    low, high = _ends(thresholds)
    return Threshold(
        required=required,
        promised=rank > 0 and units >= defects_needed(required),
        needed=defects_needed(required),
        value=value,
        low=min(low, value),
        high=max(high, value),
        recall=expected,
        recall_low=of_recall[0],
        recall_high=of_recall[1],
        false_rejects=rejected / len(goods),
        false_rejects_low=of_rejects[0],
        false_rejects_high=of_rejects[1],
        n_defects=n,
        n_good=len(goods),
        n_units=units,
        how=how,
    )


def _draws(results: Evidence, required: float, seed: int) -> tuple[NDArray, NDArray, NDArray]:
    """Draw groups with replacement; return the thresholds chosen on them, and recalls and false rejects on the rest."""
    numbers, place = np.unique(results.groups, return_inverse=True)
    generator = np.random.default_rng(seed)
    order = np.argsort(results.scores, kind="stable")
    scores, bad, place = results.scores[order], results.defective[order], place[order]
    found = np.full((DRAWS, 3), np.nan)
    for draw in range(DRAWS):
        drawn = generator.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)))[place]
        among = np.cumsum(drawn[bad])
        if not among[-1]:
            continue
        rank = max(conformal_rank(int(among[-1]), required), 1)
        chosen = scores[bad][np.searchsorted(among, rank)]
        rest = drawn == 0
        found[draw, 0] = chosen
        for column, kind in ((1, bad), (2, ~bad)):
            if (rest & kind).any():
                found[draw, column] = (scores[rest & kind] >= chosen).mean()
    return found[:, 0], found[:, 1], found[:, 2]


def _wider(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return min(a[0], b[0]), max(a[1], b[1])


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    tail = 100 * (1 - LEVEL) / 2
    known = values[~np.isnan(values)]
    if not len(known):
        return 0.0, 1.0
    # of the values themselves: between two scores lies no threshold that any draw chose
    low, high = np.percentile(known, [tail, 100 - tail], method="inverted_cdf")
    return float(low), float(high)
