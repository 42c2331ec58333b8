"""The threshold for a required recall, from scores by models that had not seen the images, and what to expect of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lib.classification.operating_threshold import clopper_pearson, conformal_rank, defects_needed, recall_at_rank
from lib.evaluation.bootstrap import quantile_ends

DRAWS = 2000


@dataclass(frozen=True)
class OutOfFoldScores:
    """Scores of the labelled images by models that had not seen them, (n,) in [0, 1], and whether each is defective.

    groups (n,) number the objects shown. Where none are known, each image is its own (`grouped` False).
    """

    scores: NDArray[np.float64]
    defective: NDArray[np.bool_]
    groups: NDArray[np.int64]
    grouped: bool

    def per_object(self) -> OutOfFoldScores:
        """Return those of objects: the highest score of an object's images; defective where any of them is."""
        numbers, place = np.unique(self.groups, return_inverse=True)
        scores, defective = np.zeros(len(numbers)), np.zeros(len(numbers), bool)
        np.maximum.at(scores, place, self.scores)
        np.logical_or.at(defective, place, self.defective)
        return OutOfFoldScores(scores, defective, numbers, self.grouped)


@dataclass(frozen=True)
class Threshold:
    """A threshold on the score, its own 95 % interval, and what to expect of it on new products of this kind.

    At or above `value` a product is rejected; between `low` and `high` it should be reviewed by a person.
    `promised`: there are enough defects (of enough groups, where known) to guarantee the required recall; otherwise
    `value` is the lowest defect score. Shares in [0, 1] with 95 % intervals; `how` says what
    these are. `n_units` counts the defective images, or the groups that hold one.
    """

    required: float
    promised: bool
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

    @property
    def needed(self) -> float:
        """How many defects (or groups with one) a guarantee of the recall needs; infinite for a recall of 1."""
        return defects_needed(self.required)


def choose_threshold(known: OutOfFoldScores, required: float, seed: int) -> Threshold:
    """Return the highest threshold that guarantees the required recall in (0, 1], by the split-conformal rank.

    The recall to expect is that of the rank, (n + 1 - rank) / (n + 1), its interval exact (Beta); that of false rejects
    is Clopper-Pearson's. Both take images as independent: where groups are known, an end is that of the percentile over
    `DRAWS` draws of groups, with the threshold chosen on those drawn and counted on those left out, if that lies
    further out. The threshold's own interval are percentiles over the same draws (of images without groups).
    """
    bad = known.defective
    defects, goods = np.sort(known.scores[bad]), known.scores[~bad]
    n, rank = len(defects), conformal_rank(len(defects), required)
    value = float(defects[max(rank, 1) - 1])
    units = len(np.unique(known.groups[bad]))
    rejected = int((goods >= value).sum())
    interval, recalls, rejects = map(_percentile_interval, _bootstrap(known, required, seed).T)
    expected, low, high = recall_at_rank(max(rank, 1), n)
    of_recall = low, high
    of_rejects, how = clopper_pearson(rejected, len(goods)), "exact, for independent images"
    if known.grouped:
        of_recall, of_rejects = _wider(of_recall, recalls), _wider(of_rejects, rejects)
        draws = f"{DRAWS:,} draws of groups"
        how = f"exact, or where wider from {draws}, with thresholds tested on those left out"
    promised, interval = rank > 0 and units >= defects_needed(required), _wider(interval, (value, value))
    shares = expected, *of_recall, rejected / len(goods), *of_rejects
    # in the order of its fields
    return Threshold(required, promised, value, *interval, *shares, n, len(goods), units, how)


def _bootstrap(known: OutOfFoldScores, required: float, seed: int) -> NDArray[np.float64]:
    """Return (draws, 3) over groups drawn with replacement: the threshold chosen on them, and recall and false rejects
    of the groups left out, NaN where there is nothing to choose or count."""
    numbers, place = np.unique(known.groups, return_inverse=True)
    generator = np.random.default_rng(seed)
    order = np.argsort(known.scores, kind="stable")
    scores, bad, place = known.scores[order], known.defective[order], place[order]
    found = np.full((DRAWS, 3), np.nan)
    for draw in range(DRAWS):
        drawn = generator.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)))[place]
        among = np.cumsum(drawn[bad])
        if not among[-1]:
            continue
        rank = max(conformal_rank(int(among[-1]), required), 1)
        chosen = scores[bad][np.searchsorted(among, rank)]
        found[draw, 0] = chosen
        for column, kind in ((1, bad), (2, ~bad)):
            left_out = scores[(drawn == 0) & kind]
            if len(left_out):
                found[draw, column] = (left_out >= chosen).mean()
    return found


def _wider(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return min(a[0], b[0]), max(a[1], b[1])


def _percentile_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the values' middle 95 %, of the values themselves: no draw chose a threshold between two."""
    low, high = quantile_ends(values, ("inverted_cdf", "inverted_cdf"))
    return (0.0, 1.0) if np.isnan(low) else (low, high)
