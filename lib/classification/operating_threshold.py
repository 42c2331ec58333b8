"""Thresholds on defect scores: for a required recall, by training scores or the split-conformal bound; for a rate."""

from __future__ import annotations

import math

import numpy as np
from sklearn.metrics import roc_curve

_SLACK = 1e-9  # 1 - 0.9 is a little less than 0.1 in binary


def empirical_threshold(scores: np.ndarray, recall: float) -> float:
    """Return the highest threshold that at least `recall` of the defect scores (n,) reach; NaN where there are none.

    An image is rejected at or above it. Raises `ValueError` for a recall outside (0, 1].
    """
    _check(recall)
    missed = len(scores) - math.ceil(recall * len(scores) - _SLACK)
    return float(np.sort(scores)[missed]) if len(scores) else float("nan")


def conformal_threshold(scores: np.ndarray, recall: float) -> float:
    """Return the split-conformal threshold from n calibration defects' scores (n,), NaN where it refuses.

    It is the floor((n + 1)(1 - recall))-th smallest score: a new defect, exchangeable with these, reaches it with a
    probability of at least `recall` (Vovk et al., Algorithmic Learning in a Random World, 2005). Where that rank is 0
    the defects are too few and there is no such threshold: `defects_needed` says how many it takes. Raises
    `ValueError` for a recall outside (0, 1].
    """
    rank = conformal_rank(len(scores), recall)
    return float(np.sort(scores)[rank - 1]) if rank else float("nan")


def conformal_rank(n: int, recall: float) -> int:
    """Return which of n defect scores, counted from the smallest, is the split-conformal threshold; 0: none is."""
    _check(recall)
    return math.floor((n + 1) * (1 - recall) + _SLACK)


def defects_needed(recall: float) -> float:
    """Return the fewest calibration defects for a split-conformal bound on `recall`; infinite for a recall of 1."""
    _check(recall)
    return float("inf") if recall == 1 else float(math.ceil(1 / (1 - recall) - 1 - 1e-6))


def recall_at_fpr(scores: np.ndarray, defective: np.ndarray, rate: float) -> float:
    """Return the highest share of defects that a threshold reaches with at most `rate` of the good images above it.

    scores (n,), defective (n,) bool; NaN where there are no good or no defective images.
    """
    if defective.all() or not defective.any():
        return float("nan")
    rejected, caught, _ = roc_curve(defective, scores, drop_intermediate=False)
    return float(caught[rejected <= rate + 1e-9].max())


def _check(recall: float) -> None:
    if not 0 < recall <= 1:
        raise ValueError(f"required defect recall {recall} outside (0, 1]")
