"""Map-guided pooling: the image's own features where the anomaly map points, against what good images have there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

Baseline = Literal["good_mean", "own_background", "none"]

GRID = 2.0**-20  # features are at most 1, and kept in half precision before they are pooled


@dataclass(frozen=True)
class Pooling:
    """How the patches are pooled.

    patches: how many count, the most anomalous ones; several numbers give an average each, beside each other.
    baseline: what is taken off a patch's features first: `good_mean`, the mean of good training images at the same
    place; `own_background`, the mean of the image's other patches; or `none`.
    """

    patches: tuple[int, ...] = (3, 12, 48)
    baseline: Baseline = "good_mean"


def map_guided_features(
    patches: NDArray[np.floating],
    maps: NDArray[np.floating],
    good: ArrayLike,
    units: ArrayLike,
    pooling: Pooling,
    *,
    progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.float32]:
    """Return patches (N, h, w, C) averaged where maps (N, H, W) in [0, 1] are highest: (N, len(pooling.patches) * C).

    good (N,) bool: the good training images. units (N,): the object (or image) that each image shows. An image is
    compared with good training images of other units only, so that those of the training fold look no more normal than
    others. Arrays may be memory-mapped: the images of one unit are held at a time. Raises ValueError where a unit
    holds all good images.
    """
    good, units = np.asarray(good, dtype=bool), np.asarray(units)
    reference = ReferenceMean.of(patches, good) if pooling.baseline == "good_mean" else None
    found = np.empty((len(patches), len(pooling.patches) * patches.shape[-1]), dtype=np.float32)
    done = 0
    for unit in dict.fromkeys(units.tolist()):
        rows = np.flatnonzero(units == unit)
        own = np.asarray(patches[rows], dtype=np.float32)
        mean = reference.without(own[good[rows]], unit) if reference else None
        found[rows] = pool(torch.from_numpy(own), torch.from_numpy(np.float32(maps[rows])), mean, pooling)
        done += len(rows)
        if progress is not None:
            progress(done, len(patches))
    return found


@dataclass(frozen=True)
class ReferenceMean:
    """The sum of good images' patches at each place, float64 (h, w, C), and how many images it is of."""

    total: NDArray[np.float64]
    count: int

    @classmethod
    def of(cls, patches: NDArray[np.floating], good: NDArray[np.bool_]) -> ReferenceMean:
        """Add up the good images, one at a time."""
        total = np.zeros(patches.shape[1:], dtype=np.float64)
        for row in np.flatnonzero(good):
            total += patches[row]
        return cls(total, int(good.sum()))

    def without(self, some: NDArray[np.floating], unit: object = "") -> Tensor:
        """Return the mean, float32 (h, w, C), without some of the images (n, h, w, C)."""
        if len(some) >= self.count:
            raise ValueError(f"all good training images show {unit!r}: nothing is left to compare it with")
        rest = (self.total - some.sum(axis=0, dtype=np.float64)) / (self.count - len(some))
        return torch.from_numpy(rest.astype(np.float32))


def pool(patches: Tensor, maps: Tensor, reference: Tensor | None, pooling: Pooling) -> Tensor:
    """Return patches (n, h, w, C) averaged under maps (n, H, W): (n, len(pooling.patches) * C).

    `reference` (h, w, C) is what good images have at each place, or None.
    """
    at_places = F.interpolate(maps[:, None], patches.shape[1:3], mode="bilinear", antialias=True)
    flat = None if reference is None else reference.flatten(0, 1)
    return pool_places(patches.flatten(1, 2), at_places.flatten(1), flat, pooling)


def pool_places(patches: Tensor, maps: Tensor, reference: Tensor | None, pooling: Pooling) -> Tensor:
    """Return the same of patches (n, p, C) with one map value each (n, p), reference (p, C)."""
    # to half precision, as maps are kept, and of equals the first: which patches count must not hang on a last bit
    anomaly = maps.half().float()
    flat = patches if reference is None else patches - reference
    order = anomaly.argsort(dim=1, descending=True, stable=True)
    averages = []
    for count in pooling.patches:
        chosen = order[:, :count]
        weights = torch.zeros_like(anomaly).scatter_(1, chosen, 1 / chosen.shape[1])
        average = torch.einsum("np,npc->nc", weights, flat)
        if pooling.baseline == "own_background":
            others = (weights == 0).float()
            others = others / others.sum(dim=1, keepdim=True).clamp(min=1)
            # what is alike at all places must come out as 0, not as the last bits of two sums: scaled to the spread
            # of its column, such a bit would be as large as any feature
            average = average - torch.einsum("np,npc->nc", others, flat)
            average = torch.round(average / GRID) * GRID
        averages.append(average)
    return torch.cat(averages, dim=1)
