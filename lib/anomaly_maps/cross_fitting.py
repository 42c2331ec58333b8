"""Cross-fitted maps: no training image gets its map from a model that saw it, or saw an image of its group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lib.anomaly_maps.detectors import FittedDetector
from lib.datasets.splits import TEST_ROW

IMAGES_AT_ONCE = 256
Progress = Callable[[int, int], object]


def predict_maps(
    model: FittedDetector, inputs: np.ndarray, out: np.ndarray, progress: Progress | None = None
) -> np.ndarray:
    """Write a model's maps of the inputs of N images (N,...) to `out` (N,H,W) float16, and return it.

    Arrays may be memory-mapped: `IMAGES_AT_ONCE` are read at a time, and then `progress(done, N)` is called. Raises
    ValueError for maps outside [0, 1].
    """
    return _write(lambda rows: model.maps(np.asarray(inputs[rows])), out, progress)


def predict_cross_fitted_maps(
    models: Sequence[FittedDetector],
    inputs: np.ndarray,
    inner_folds: np.ndarray,
    out: np.ndarray,
    progress: Progress | None = None,
) -> np.ndarray:
    """Write maps of the inputs of N images (N,...) to `out` (N,H,W) float16, as `predict_maps` does, and return it.

    `models[k]` was fitted on inner fold k. A training image gets the mean map of the models that did not see its inner
    fold (N,), a test image (`TEST_ROW`) that of all models.
    """

    def maps(rows: slice) -> np.ndarray:
        part, own = np.asarray(inputs[rows]), inner_folds[rows]
        total = np.zeros(out[rows].shape, np.float32)
        for fold, model in enumerate(models):
            if (unseen := own != fold).any():
                total[unseen] += model.maps(part[unseen])
        return total / (len(models) - (own != TEST_ROW))[:, None, None]

    return _write(maps, out, progress)


def _write(maps: Callable[[slice], np.ndarray], out: np.ndarray, progress: Progress | None) -> np.ndarray:
    for start in range(0, len(out), IMAGES_AT_ONCE):
        rows = slice(start, min(start + IMAGES_AT_ONCE, len(out)))
        found = maps(rows)
        if not ((found >= 0) & (found <= 1)).all():  # NaN is neither
            raise ValueError(f"maps of images {start} to {rows.stop - 1}: values outside [0, 1]")
        out[rows] = found
        if progress is not None:
            progress(rows.stop, len(out))
    return out
