"""The rule of verdicts on new images: pass, reject, or review by a person. NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.inspection.out_of_distribution import Limits, ood_reasons

PASS, REJECT, REVIEW, REFUSED = "pass", "reject", "review", "refused"
OOD, UNCERTAIN = "out of distribution", "uncertain"  # reasons for a review
FORMER_NAMES = {"look": REVIEW, "foreign": OOD}  # in tables of version 0.1; 0.3 need not read them
DECISION_RULE = (
    "An image is rejected where 1 - p(good) reaches the upper end of the threshold's interval, and passes below the "
    "lower end. Between them, where labelled images do not settle the threshold, and where an image is out of "
    "distribution, a person should review it."
)


def decide(
    scores: NDArray[np.floating], low: float, high: float, ood: Sequence[Sequence[str]] | None = None
) -> tuple[list[str], list[str]]:
    """Return verdict and reason for a review ('' without) of scores (n,), by the ends of the threshold's interval.

    `ood` as `ood_reasons` gives it; left out, no image is out of distribution.
    """
    verdicts, reasons = [], []
    for score, unlike in zip(scores, ood or [()] * len(scores), strict=True):
        uncertain = low <= score < high
        verdicts.append(REVIEW if unlike or uncertain else REJECT if score >= high else PASS)
        reasons.append(OOD if unlike else UNCERTAIN if uncertain else "")
    return verdicts, reasons


def verdict_columns(
    outputs: Mapping[str, NDArray[Any]], classes: Sequence[str], interval: tuple[float, float], limits: Limits
) -> dict[str, Any]:
    """Return the columns of a table of verdicts on n images, (n,) each, by name.

    outputs: `probabilities` (n, classes), the good class first, `score`, `map_score` and `distance` (n,), `sizes` and
    `exposure` (n, 2) as `ood_reasons` takes them; interval: the threshold's ends. `details` has the reason for a review
    in words. `class` is good where an image passes, else the likeliest defect, and `probability` is its own; '' and NaN
    out of distribution.
    """
    scores, probabilities, (low, high) = outputs["score"], outputs["probabilities"], interval
    ood = ood_reasons(limits, outputs["sizes"], outputs["exposure"], outputs["distance"])
    verdicts, reasons = decide(scores, low, high, ood)
    predicted = np.where(np.array(verdicts) == PASS, 0, 1 + probabilities[:, 1:].argmax(axis=1))
    unknown = np.array(reasons) == OOD
    return {
        "verdict": verdicts,
        "reason": reasons,
        "details": [
            "; ".join(unlike) or (f"score {score:.3g} within {low:.3g} to {high:.3g}" if reason else "")
            for unlike, score, reason in zip(ood, scores, reasons, strict=True)
        ],
        "score": scores,
        "class": np.where(unknown, "", np.array(classes, dtype=object)[predicted]),
        "probability": np.where(unknown, np.nan, probabilities[np.arange(len(scores)), predicted]),
        **{f"p:{name}": probabilities[:, place] for place, name in enumerate(classes)},
        **{name: outputs[name] for name in ("map_score", "distance")},
        **dict(zip(("width", "height"), outputs["sizes"].T, strict=True)),
        **dict(zip(("brightness", "contrast"), outputs["exposure"].T, strict=True)),
    }
