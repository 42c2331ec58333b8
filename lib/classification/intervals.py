"""Exact intervals: of a share of images, and of the recall that a threshold among n defects' scores will have."""

from __future__ import annotations

from scipy import stats
from statsmodels.stats.proportion import proportion_confint


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a share of k in n; raises `ValueError` unless 0 <= k <= n and n > 0."""
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"no share of {k} in {n}")
    low, high = proportion_confint(k, n, alpha=1 - level, method="beta")
    return float(low), float(high)


def recall_at_rank(rank: int, n: int, level: float = 0.95) -> tuple[float, float, float]:
    """Return the recall to expect of new defects at the `rank`-th smallest of n defect scores, and its interval.

    For defects that are independent and alike, the share that reaches that score is Beta(n + 1 - rank, rank), whatever
    the scores' distribution (ties can only raise it). Raises `ValueError` unless 1 <= rank <= n.
    """
    if not 1 <= rank <= n:
        raise ValueError(f"no rank {rank} among {n} defects")
    law = stats.beta(n + 1 - rank, rank)
    tail = (1 - level) / 2
    return float(law.mean()), float(law.ppf(tail)), float(law.ppf(1 - tail))
