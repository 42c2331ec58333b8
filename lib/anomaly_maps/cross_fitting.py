"""Cross-fitted maps: no training image gets its map from a model that saw it, or saw an image of its group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lib.anomaly_maps.detectors import FittedDetector
from lib.datasets.splits import TEST_ROW

IMAGES_AT_ONCE = 256


def predict_maps(
    models: Sequence[FittedDetector],
    inputs: np.ndarray,
    inner_folds: np.ndarray | None,
    out: np.ndarray,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> np.ndarray:
    """Write maps of the inputs of N images (N,...) to `out` (N,H,W) float16, and return it.

    `models[k]` was fitted on inner fold k. A training image gets the mean map of the models that did not see its inner
    fold (N,), a test image (`TEST_ROW`) that of all models; without inner folds, so does every image. Arrays may be
    memory-mapped: `IMAGES_AT_ONCE` are read at a time, and then `progress(done, N)` is called. Raises ValueError for
    maps outside [0, 1].
    """
    owners = np.full(len(out), TEST_ROW) if inner_folds is None else inner_folds
    for start in range(0, len(out), IMAGES_AT_ONCE):
        rows = slice(start, min(start + IMAGES_AT_ONCE, len(out)))
        part, own = np.asarray(inputs[rows]), owners[rows]
        total = np.zeros(out[rows].shape, np.float32)
        for fold, model in enumerate(models):
            if (unseen := own != fold).any():
                total[unseen] += model.maps(part[unseen])
        total /= (len(models) - (own != TEST_ROW))[:, None, None]
        if not ((total >= 0) & (total <= 1)).all():  # NaN is neither
            raise ValueError(f"maps of images {start} to {rows.stop - 1}: values outside [0, 1]")
        out[rows] = total
        progress(rows.stop, len(out))
    return out
