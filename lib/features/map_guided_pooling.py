"""Map-guided pooling: the image's own features where the anomaly map points, against what good images show there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

Weights = Literal["hard", "soft"]
Against = Literal["nothing", "good", "rest"]

GRID = 2.0**-20  # features are at most 1, and kept in half precision before they are pooled
TEMPERATURE = 0.05  # of soft weights: a patch whose map value is lower by this much weighs e times less


@dataclass(frozen=True)
class Pooling:
    """How the patches are pooled.

    patches: how many count, the most anomalous ones; several numbers give an average each, beside each other. weights:
    `hard`, all of them alike; `soft`, every patch by softmax(map / TEMPERATURE), whatever `patches`: one average.
    against: what is taken off a patch's features first: `good`, the mean of good training images at the same place;
    `rest`, the mean of the picture's other patches; or `nothing`.
    """

    patches: tuple[int, ...] = (3, 12, 48)
    weights: Weights = "hard"
    against: Against = "good"

    @property
    def averages(self) -> int:
        """How many averages stand beside each other."""
        return 1 if self.weights == "soft" else len(self.patches)


def map_guided_features(
    patches: NDArray[np.floating],
    maps: NDArray[np.floating],
    good: ArrayLike,
    units: ArrayLike,
    pooling: Pooling,
    *,
    progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.float32]:
    """Pool patches (N, h, w, C) where maps (N, H, W) in [0, 1] are highest; returns (N, averages * C).

    good (N,) bool: the good training images. units (N,): the object (or image) that each picture shows. A picture is
    compared with good training images of other units only, so that those of the training fold look no more usual than
    others. Arrays may be memory-mapped: the pictures of one unit are held at a time. Raises ValueError on shapes that
    do not fit, and where a unit holds all good images.
    """
    good, units = np.asarray(good, dtype=bool), np.asarray(units)
    if not len(patches) == len(maps) == len(good) == len(units):
        raise ValueError(f"{len(patches)} patches, {len(maps)} maps, {len(good)} flags, {len(units)} units")
    if not pooling.patches or min(pooling.patches) < 1:
        raise ValueError(f"patches={pooling.patches}: at least one of at least one patch")
    usual = ReferenceMean.of(patches, good) if pooling.against == "good" else None
    found = np.empty((len(patches), pooling.averages * patches.shape[-1]), dtype=np.float32)
    done = 0
    for unit in dict.fromkeys(units.tolist()):
        rows = np.flatnonzero(units == unit)
        seen = np.asarray(patches[rows], dtype=np.float32)
        mean = usual.without(seen[good[rows]], unit) if usual else None
        found[rows] = pool(torch.from_numpy(seen), torch.from_numpy(np.float32(maps[rows])), mean, pooling)
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
        return torch.from_numpy(
            ((self.total - some.sum(axis=0, dtype=np.float64)) / (self.count - len(some))).astype(np.float32)
        )


def pool(patches: Tensor, maps: Tensor, usual: Tensor | None, pooling: Pooling) -> Tensor:
    """Pool patches (n, h, w, C) under maps (n, H, W); `usual` (h, w, C) is what good images show; (n, averages * C)."""
    n, height, width, channels = patches.shape
    at_places = F.interpolate(maps[:, None], (height, width), mode="bilinear", antialias=True)
    # to half precision, as maps are kept, and of equals the first: which patches count must not hang on a last bit
    anomaly, flat = at_places.reshape(n, -1).half().float(), patches.reshape(n, -1, channels)
    if usual is not None:
        flat = flat - usual.reshape(1, -1, channels)
    return torch.cat([_averaged(flat, weights, pooling) for weights in _weights(anomaly, pooling)], dim=1)


def round_to_grid(values: Tensor) -> Tensor:
    """Round to multiples of `GRAIN`: what is alike at all places must come out as 0, not as the last bits of two sums.

    Scaled to the spread of its column, such a last bit would be as large as any feature.
    """
    return torch.round(values / GRID) * GRID


def _weights(anomaly: Tensor, pooling: Pooling) -> Iterator[Tensor]:
    """Yield the weights (n, places) of each average."""
    if pooling.weights == "soft":
        yield (anomaly / TEMPERATURE).softmax(dim=1)
        return
    order = anomaly.argsort(dim=1, descending=True, stable=True)
    for count in pooling.patches:
        chosen = order[:, :count]
        yield torch.zeros_like(anomaly).scatter_(1, chosen, 1 / chosen.shape[1])


def _averaged(flat: Tensor, weights: Tensor, pooling: Pooling) -> Tensor:
    pooled = torch.einsum("np,npc->nc", weights, flat)
    if pooling.against == "rest":
        others = (1 - weights / weights.amax(dim=1, keepdim=True)).clamp(min=0)
        # less than one other patch in all, as where a map is alike everywhere, takes off as much less: no jump
        others = others / others.sum(dim=1, keepdim=True).clamp(min=1)
        pooled = round_to_grid(pooled - torch.einsum("np,npc->nc", others, flat))
    return pooled
