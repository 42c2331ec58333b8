"""The rule of verdicts on new images: pass, reject, or review by a person, as where one is out of distribution.

Out of distribution is what is unlike the labelled images in size, shape, exposure or embedding. NumPy alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

PASS, REJECT, REVIEW, REFUSED = "pass", "reject", "review", "refused"
OOD, UNCERTAIN = "out of distribution", "uncertain"  # reasons for a review
DECISION_RULE = (
    "An image is rejected where 1 - p(good) reaches the upper end of the threshold's interval, and passes below the "
    "lower end. An image between them, or out of distribution, must be reviewed by a person."
)
OOD_RATE = 0.01  # share of images like the labelled ones that lie beyond the limit too
FACTORS = {"size": 2.0, "aspect": 1.25, "contrast": 1.5}  # beyond the labelled images' own range
BRIGHTNESS, SHARE = 0.03, 0.25  # at least so much (of 1), or this share of their range, outside it
OOD_RULE = (
    "An image is out of distribution where it is outside the labelled images' range in one of five measures. "
    f"Size (root of width times height): by a factor of {FACTORS['size']:g}. Shape: by {FACTORS['aspect']:g}. "
    f"Contrast: by {FACTORS['contrast']:g}. Mean brightness: by {BRIGHTNESS:g}, or a quarter of the range. Distance of "
    f"its backbone features to the nearest labelled image: beyond that of {100 - 100 * OOD_RATE:.0f} % of the labelled "
    "images to the nearest one of another group."
)


@dataclass(frozen=True)
class Limits:
    """`limit`: the largest distance, `ranges`: by kind the least and largest values that are in distribution."""

    limit: float
    ranges: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class TrainingReference(Limits):
    """What the labelled images look like, beside the limits.

    embeddings (n, d) float32, standardised by centre and spread (d,); distances (n,), of each labelled image to the
    nearest of another group.
    """

    embeddings: NDArray[np.float32]
    centre: NDArray[np.float32]
    spread: NDArray[np.float32]
    distances: NDArray[np.float64]

    @property
    def rate(self) -> float:
        """The share of images like the labelled ones that lie beyond the limit: 1 %, or more where these are few."""
        return max(OOD_RATE, 1 / (len(self.distances) + 1))

    def nearest(self, embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return each image's distance to the nearest labelled image, and which one; embeddings (m, d)."""
        return _nearest((embeddings - self.centre) / self.spread, self.embeddings)


def training_reference(embeddings: NDArray, groups: ArrayLike, sizes: NDArray, exposure: NDArray) -> TrainingReference:
    """Return limits and reference of labelled images: embeddings (n, d) float32, groups (n,), more as in `ood_reasons`.

    Raises ValueError where all are of one group, as nothing then says how far apart two groups lie.
    """
    groups = np.asarray(groups)
    if len(np.unique(groups)) < 2:
        raise ValueError("the labelled images are all of one group: distances between groups are unknown")
    centre, spread = embeddings.mean(axis=0), embeddings.std(axis=0)
    spread = np.maximum(spread, max(0.05 * float(spread.mean()), 1e-6)).astype(np.float32)
    scaled = ((embeddings - centre) / spread).astype(np.float32)
    distances, _ = _nearest(scaled, scaled, groups)
    rank = min(len(distances), math.ceil((len(distances) + 1) * (1 - OOD_RATE) - 1e-9))
    limit, ranges = float(np.sort(distances)[rank - 1]), {}
    for kind, values in _measures(sizes, exposure).items():
        low, high = float(values.min()), float(values.max())
        factor, margin = FACTORS.get(kind), max(BRIGHTNESS, SHARE * (high - low))
        ranges[kind] = (low / factor, high * factor) if factor else (low - margin, high + margin)
    return TrainingReference(limit, ranges, scaled, centre.astype(np.float32), spread, distances)


def ood_reasons(
    limits: Limits, sizes: NDArray[np.integer], exposure: NDArray[np.float64], distances: NDArray[np.floating]
) -> list[list[str]]:
    """Return why each of n images is out of distribution, an empty list where it is not.

    sizes (n, 2): width and height in pixels; exposure (n, 2): brightness and contrast in [0, 1]; distances (n,).
    """
    measures, distances = _measures(sizes, exposure), np.asarray(distances, dtype=np.float64)
    found: list[list[str]] = [[] for _ in distances]
    names = {"size": "size in pixels", "aspect": "width by height"}
    for kind, (low, high) in limits.ranges.items():
        for row in np.flatnonzero((measures[kind] < low) | (measures[kind] > high)):
            value = f"{names.get(kind, kind)} {measures[kind][row]:.3g}"
            found[row].append(f"{value} outside {low:.3g} to {high:.3g}")
    for row in np.flatnonzero(distances > limits.limit):
        apart = f"distance {distances[row]:.3g}, limit {limits.limit:.3g}"
        found[row].append(f"unlike every labelled image ({apart})")
    return found


def brightness_contrast(stack: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return mean and standard deviation of each image's grey values, (n, 2) in [0, 1]; stack (n, side, side, 3)."""
    greys = [np.asarray(image, dtype=np.float64).mean(axis=2) / 255 for image in stack]
    return np.array([(grey.mean(), grey.std()) for grey in greys])


def _measures(sizes: NDArray[np.integer], exposure: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    width, height = np.asarray(sizes, dtype=np.float64).T
    shape = {"size": np.sqrt(width * height), "aspect": width / height}
    return shape | {"brightness": exposure[:, 0], "contrast": exposure[:, 1]}


def _nearest(
    rows: NDArray[np.float32], known: NDArray[np.float32], groups: NDArray | None = None
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return root-mean-square distance and place of each row's nearest known row, with `groups` of another group."""
    from sklearn.metrics import pairwise_distances_chunked

    def nearest(apart: NDArray[np.float64], start: int) -> NDArray[np.intp]:
        if groups is not None:
            apart[groups[start : start + len(apart), None] == groups] = np.inf
        return apart.argmin(axis=1)

    mine = rows.astype(np.float64)
    places = np.concatenate([*pairwise_distances_chunked(mine, known.astype(np.float64), reduce_func=nearest)])
    exact = mine - known[places]  # sklearn's rounding would hide a distance of nothing
    return np.sqrt((exact**2).mean(axis=1)), places


def decide(
    scores: NDArray[np.floating], low: float, high: float, ood: NDArray[np.bool_] | bool = False
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Return verdict and reason for a review ('' without) of scores (n,), by the ends of the threshold's interval.

    ood (n,): which images are out of distribution.
    """
    uncertain = (low <= scores) & (scores < high)
    reasons = np.where(ood, OOD, np.where(uncertain, UNCERTAIN, ""))
    return np.where(reasons != "", REVIEW, np.where(scores >= high, REJECT, PASS)), reasons


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
    unknown = np.array([bool(unlike) for unlike in ood], dtype=bool)
    verdicts, reasons = decide(scores, low, high, unknown)
    predicted = np.where(verdicts == PASS, 0, 1 + probabilities[:, 1:].argmax(axis=1))
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
        "map_score": outputs["map_score"],
        "distance": outputs["distance"],
        **dict(zip(("width", "height"), outputs["sizes"].T, strict=True)),
        **dict(zip(("brightness", "contrast"), outputs["exposure"].T, strict=True)),
    }
