"""Which pictures are unlike anything in training: by size, shape, exposure, and distance of their embedding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RATE = 0.01  # share of images like the labelled ones that lie beyond the limit too
SIZE, ASPECT = 2.0, 1.25  # factors beyond the labelled images' own range
BRIGHTNESS, CONTRAST = 0.03, 1.5  # at least so much (of 1) beyond their range; a factor beyond it
SHARE = 0.25  # or this share of their range
ROWS = 256  # at a time
RULE = (
    f"A picture is foreign where its size (root of width times height) lies beyond {SIZE:g} times, its shape beyond "
    f"{ASPECT:g} times, its contrast beyond {CONTRAST:g} times the labelled images' range, its mean brightness more "
    f"than {BRIGHTNESS:g} (or a quarter of the range) outside it, or the distance of its backbone features to the "
    f"nearest labelled image above what {1 - RATE:.0%} of the labelled images show to the nearest of another group."
)


@dataclass(frozen=True)
class Limits:
    """`limit`, the distance beyond which a picture is foreign; `ranges`, by kind the least and the most that is not."""

    limit: float
    ranges: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class TrainingReference(Limits):
    """What the labelled images look like, beside the limits.

    embeddings (n, d) float32, scaled by centre and spread (d,); distances (n,), of each labelled image to the nearest
    of another group.
    """

    embeddings: NDArray[np.float32]
    centre: NDArray[np.float32]
    spread: NDArray[np.float32]
    distances: NDArray[np.float64]

    @property
    def rate(self) -> float:
        """The share of images like the labelled ones that lie beyond the limit: 1 %, or more where these are few."""
        return max(RATE, 1 / (len(self.distances) + 1))

    def nearest(self, embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Return each picture's distance to the nearest labelled image, and which one; embeddings (m, d)."""
        return _nearest((embeddings - self.centre) / self.spread, self.embeddings)


def reference_of(
    embeddings: NDArray[np.float32],
    groups: ArrayLike,
    sizes: NDArray[np.integer],
    brightness: NDArray[np.float64],
    contrast: NDArray[np.float64],
) -> TrainingReference:
    """Describe labelled images: embeddings (n, d), groups (n,), sizes (n, 2) as width and height, exposure (n,) each.

    Raises ValueError where all are of one group, as nothing then says how far apart two groups lie.
    """
    groups = np.asarray(groups)
    if len(np.unique(groups)) < 2:
        raise ValueError("the labelled images are all of one group: distances between groups are unknown")
    centre, spread = embeddings.mean(axis=0), embeddings.std(axis=0)
    spread = np.maximum(spread, max(0.05 * float(spread.mean()), 1e-6)).astype(np.float32)
    scaled = ((embeddings - centre) / spread).astype(np.float32)
    distances, _ = _nearest(scaled, scaled, groups)
    rank = min(len(distances), math.ceil((len(distances) + 1) * (1 - RATE) - 1e-9))
    size, aspect = shape_of(sizes)
    return TrainingReference(
        embeddings=scaled,
        centre=centre.astype(np.float32),
        spread=spread,
        distances=distances,
        limit=float(np.sort(distances)[rank - 1]),
        ranges={
            "size": _times(size, SIZE),
            "aspect": _times(aspect, ASPECT),
            "brightness": _plus(brightness, BRIGHTNESS),
            "contrast": _times(contrast, CONTRAST),
        },
    )


def ood_reasons(
    limits: Limits,
    sizes: NDArray[np.integer],
    brightness: NDArray[np.float64],
    contrast: NDArray[np.float64],
    distances: NDArray[np.float64],
) -> list[tuple[str, ...]]:
    """Say of each picture why it is foreign, nothing where it is not; other arguments as in `reference_of`."""
    size, aspect = shape_of(sizes)
    measured = {"size": size, "aspect": aspect, "brightness": brightness, "contrast": contrast}
    names = {"size": "size in pixels", "aspect": "width by height"}
    found = []
    for row, distance in enumerate(distances):
        reasons = []
        for kind, (low, high) in limits.ranges.items():
            value = float(measured[kind][row])
            if not low <= value <= high:
                reasons.append(f"{names.get(kind, kind)} {value:.3g} outside {low:.3g} to {high:.3g}")
        if distance > limits.limit:
            reasons.append(f"unlike every labelled image (distance {distance:.3g}, limit {limits.limit:.3g})")
        found.append(tuple(reasons))
    return found


def brightness_contrast(stack: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each picture's grey values, in [0, 1]; stack (n, side, side, 3)."""
    greys = [np.asarray(picture, dtype=np.float64).mean(axis=2) / 255 for picture in stack]
    return np.array([grey.mean() for grey in greys]), np.array([grey.std() for grey in greys])


def shape_of(sizes: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return size (root of width times height, in pixels) and aspect (width by height) of sizes (n, 2)."""
    width, height = np.asarray(sizes, dtype=np.float64).T
    return np.sqrt(width * height), width / height


def _times(values: NDArray[np.float64], factor: float) -> tuple[float, float]:
    return float(values.min() / factor), float(values.max() * factor)


def _plus(values: NDArray[np.float64], least: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = max(least, SHARE * (high - low))
    return low - margin, high + margin


def _nearest(
    rows: NDArray[np.float32], known: NDArray[np.float32], groups: NDArray | None = None
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return root-mean-square distance and place of each row's nearest known row, with `groups` of another group."""
    squares = (known.astype(np.float64) ** 2).sum(axis=1)
    distances, places = np.empty(len(rows)), np.empty(len(rows), dtype=np.intp)
    for start in range(0, len(rows), ROWS):
        part = slice(start, start + ROWS)
        mine = rows[part].astype(np.float64)
        apart = (mine**2).sum(axis=1)[:, None] + squares - 2 * mine @ known.T.astype(np.float64)
        if groups is not None:
            apart[groups[part][:, None] == groups] = np.inf
        places[part] = apart.argmin(axis=1)
        exact = mine - known[places[part]]  # the product's rounding would hide a distance of nothing
        distances[part] = np.sqrt((exact**2).mean(axis=1))
    return distances, places
