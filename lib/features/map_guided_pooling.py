"""Map-guided pooling: the image's own features where the anomaly map points, against what good images have there."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F


def map_guided_features(
    patches: NDArray[np.floating],
    maps: NDArray[np.floating],
    good: ArrayLike,
    units: ArrayLike,
    counts: Sequence[int],
    *,
    progress: Callable[[int, int], object] | None = None,
) -> NDArray[np.float32]:
    """Return patches (N, h, w, C) averaged where maps (N, H, W) in [0, 1] are highest: (N, len(counts) * C).

    counts: how many patches an average is of, the most anomalous ones, less what good images have at the same place.
    good (N,) bool: the good training images. units (N,): the object (or image) that each image shows. An image is
    compared with good training images of other units only, so that those of the training fold look no more normal than
    others. Arrays may be memory-mapped: the images of one unit are held at a time. Raises ValueError where a unit
    holds all good images.
    """
    good, units = np.asarray(good, dtype=bool), np.asarray(units)
    total = sum_of(patches, good)
    found = np.empty((len(patches), len(counts) * patches.shape[-1]), dtype=np.float32)
    done = 0
    names, unit_of = np.unique(units, return_inverse=True)
    ends = np.cumsum(np.bincount(unit_of))[:-1]
    of_units = np.split(np.argsort(unit_of, kind="stable"), ends)
    n_good = int(good.sum())
    for unit, rows in zip(names.tolist(), of_units, strict=True):
        own = np.asarray(patches[rows], dtype=np.float32)
        if not (others := n_good - int(good[rows].sum())):
            raise ValueError(f"all good training images show {unit!r}: nothing is left to compare it with")
        mean = (total - own[good[rows]].sum(axis=0, dtype=np.float64)) / others
        images, at, usual = (torch.from_numpy(np.float32(values)) for values in (own, maps[rows], mean))
        found[rows] = pool(images, at, usual, counts)
        done += len(rows)
        if progress is not None:
            progress(done, len(patches))
    return found


def sum_of(patches: NDArray[np.floating], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the sum of the good images' patches (N, h, w, C) at each place, (h, w, C), added one image at a time."""
    total = np.zeros(patches.shape[1:], dtype=np.float64)
    for row in np.flatnonzero(good):
        total += patches[row]
    return total


def pool(patches: Tensor, maps: Tensor, reference: Tensor, counts: Sequence[int]) -> Tensor:
    """Return patches (n, h, w, C) less `reference` (h, w, C), averaged under maps (n, H, W): (n, len(counts) * C)."""
    at_places = F.interpolate(maps[:, None], patches.shape[1:3], mode="bilinear", antialias=True)
    return pool_places(patches.flatten(1, 2), at_places.flatten(1), reference.flatten(0, 1), counts)


def pool_places(patches: Tensor, maps: Tensor, reference: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the same of patches (n, p, C) with one map value each (n, p), reference (p, C)."""
    # to half precision, as maps are kept, and of equals the first: which patches count must not hang on a last bit
    anomaly = maps.half().float()
    flat, order = patches - reference, anomaly.argsort(dim=1, descending=True, stable=True)
    averages = []
    for count in counts:
        chosen = order[:, :count]
        weights = torch.zeros_like(anomaly).scatter_(1, chosen, 1 / chosen.shape[1])
        averages.append(torch.einsum("np,npc->nc", weights, flat))
    return torch.cat(averages, dim=1)
