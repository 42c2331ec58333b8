"""Thresholds on defect scores for a required recall or rate of false rejects, and exact intervals of shares."""

import math
from typing import Any

import numpy as np

TAIL = (1 - 0.95) / 2  # of an interval of 95 %, on either side
_SLACK = 1e-9  # 1 - 0.9 is a little less than 0.1 in binary


def empirical_threshold(scores: np.ndarray, recall: float) -> float:
    """Return the highest threshold that at least `recall` of the defect scores (n,) reach; NaN where there are none.

    An image is rejected at or above it; recall in (0, 1].
    """
    missed = len(scores) - math.ceil(recall * len(scores) - _SLACK)
    return float(np.sort(scores)[missed]) if len(scores) else float("nan")


def conformal_threshold(scores: np.ndarray, recall: float) -> float:
    """Return the split-conformal threshold from n calibration defects' scores (n,), NaN where there is none.

    It is the floor((n + 1)(1 - recall))-th smallest score: a new defect, exchangeable with these, reaches it with a
    probability of at least `recall` (Vovk et al., Algorithmic Learning in a Random World, 2005). Where that rank is 0
    the defects are too few and there is no such threshold: `defects_needed` says how many are needed. Recall
    in (0, 1].
    """
    rank = conformal_rank(len(scores), recall)
    return float(np.sort(scores)[rank - 1]) if rank else float("nan")


def conformal_rank(n: int, recall: float) -> int:
    """Return which of n defect scores, counted from the smallest, is the split-conformal threshold; 0: none is."""
    return math.floor((n + 1) * (1 - recall) + _SLACK)


def defects_needed(recall: float) -> float:
    """Return the fewest calibration defects for a split-conformal bound on `recall`; infinite for a recall of 1."""
    return float("inf") if recall == 1 else float(math.ceil(1 / (1 - recall) - 1 - 1e-6))


def clopper_pearson(k: Any, n: Any) -> tuple[Any, Any]:
    """Return the exact 95 % interval of a share of k in n, numbers or columns; NaN where n is 0 or k unknown."""
    from statsmodels.stats.proportion import proportion_confint

    return proportion_confint(k, n, alpha=2 * TAIL, method="beta")


def recall_at_rank(rank: int, n: int) -> tuple[float, float, float]:
    """Return the recall to expect of new defects at the `rank`-th smallest of n defect scores, and its 95 % interval.

    For defects that are independent and alike, the share that reaches that score is Beta(n + 1 - rank, rank), whatever
    the scores' distribution (ties can only raise it); 1 <= rank <= n.
    """
    from scipy import stats

    law = stats.beta(n + 1 - rank, rank)
    return float(law.mean()), float(law.ppf(TAIL)), float(law.ppf(1 - TAIL))
