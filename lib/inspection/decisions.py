"""The rule of verdicts, for the notebook and for a line that runs without it: NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

PASS, REJECT, REVIEW, REFUSED = "pass", "reject", "look", "refused"
VERDICTS = (PASS, REJECT, REVIEW, REFUSED)
OOD, UNCERTAIN = "foreign", "uncertain"  # why a person should look
RULE = (
    "A picture is rejected where 1 - p(good) reaches the threshold's upper end and passes below its lower end. Between "
    "them, where labelled images do not settle the threshold, and where a picture is foreign, a person should look."
)


class Uncertain(Protocol):
    """A threshold between whose ends labelled images do not settle it."""

    @property
    def low(self) -> float:
        """At or above it a picture does not simply pass."""

    @property
    def high(self) -> float:
        """At or above it a picture is rejected."""


@dataclass(frozen=True)
class ThresholdRange:
    """The ends of a threshold, where nothing else is known of it."""

    low: float
    high: float


def decide(
    scores: NDArray[np.floating], threshold: Uncertain, foreign: Sequence[Sequence[str]]
) -> tuple[list[str], list[str]]:
    """Return verdict and reason to look ('' where there is none) of scores (n,); `foreign` as `foreign_reasons`."""
    verdicts, reasons = [], []
    for score, strange in zip(scores, foreign, strict=True):
        unsure = threshold.low <= score < threshold.high
        verdicts.append(REVIEW if strange or unsure else REJECT if score >= threshold.high else PASS)
        reasons.append(OOD if strange else UNCERTAIN if unsure else "")
    return verdicts, reasons


def predicted_class(chances: NDArray[np.floating], verdicts: Sequence[str]) -> NDArray[np.intp]:
    """Return the class called (n,): good where a picture passes, else the likeliest defect; chances (n, classes)."""
    return np.where(np.array(verdicts) == PASS, 0, 1 + chances[:, 1:].argmax(axis=1))


def describe_reason(
    scores: NDArray[np.floating],
    threshold: Uncertain,
    reasons: Sequence[str],
    foreign: Sequence[Sequence[str]],
) -> list[str]:
    """Return what there is to say of each picture's reason to look, '' where there is none."""
    return [
        "; ".join(strange)
        or (f"score {score:.3g} within {threshold.low:.3g} to {threshold.high:.3g}" if reason else "")
        for strange, score, reason in zip(foreign, scores, reasons, strict=True)
    ]
