"""Cross-fitted maps: no training image gets its map from a model that saw it, or saw an image of its group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lib.anomaly_maps.detectors import FittedDetector
from lib.datasets.splits import N_INNER, TEST_ROW

IMAGES_AT_ONCE = 256


def predict_maps(
    source: FittedDetector,
    seen: np.ndarray,
    out: np.ndarray,
    progress: Callable[[int, int], object] | None = None,
) -> np.ndarray:
    """Write to `out` (N,H,W) float16 the source's maps of what it sees of N pictures (N,...), and return it."""
    for start in range(0, len(seen), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        out[rows] = source.maps(np.asarray(seen[rows]))
        if progress is not None:
            progress(min(rows.stop, len(seen)), len(seen))
    return out


def predict_cross_fitted_maps(
    sources: Sequence[FittedDetector],
    seen: np.ndarray,
    halves: np.ndarray,
    out: np.ndarray,
    progress: Callable[[int, int], object] | None = None,
) -> np.ndarray:
    """Write to `out` (N,H,W) float16 the maps of what is seen of N pictures (N,...) and return it.

    `sources[h]` was fitted on half `h`. An image of a half gets the map of the source that did not see that half; a
    test image (`halves` is `TESTED`) the mean of all sources' maps. Arrays may be memory-mapped: `IMAGES_AT_ONCE` are
    read at a time, and then `progress(done, N)` is called. Raises ValueError for lengths or halves that do not fit.
    """
    if not len(seen) == len(halves) == len(out):
        raise ValueError(f"{len(seen)} images, {len(halves)} halves, {len(out)} maps: must be as many")
    if len(sources) < N_INNER or not set(np.unique(halves)) <= {TEST_ROW, *range(len(sources))}:
        raise ValueError(f"halves {np.unique(halves).tolist()} do not fit {len(sources)} models")
    for start in range(0, len(seen), IMAGES_AT_ONCE):
        rows = slice(start, start + IMAGES_AT_ONCE)
        part, seen_by = np.asarray(seen[rows]), halves[rows]
        total = np.zeros(out[rows].shape, np.float32)
        for half, source in enumerate(sources):
            if (unseen := seen_by != half).any():
                total[unseen] += source.maps(part[unseen])
        out[rows] = total / (len(sources) - (seen_by != TEST_ROW))[:, None, None]
        if progress is not None:
            progress(min(rows.stop, len(seen)), len(seen))
    return out
