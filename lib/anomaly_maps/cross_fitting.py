"""Cross-fitted maps: no training image gets its map from a model that saw it, or saw an image of its group.

Every image gets the map of one model. A mean of models' maps has lower maxima than one model's map: a test image that
got one would look cleaner than the training images.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lib.anomaly_maps.detectors import FittedDetector
from lib.datasets.splits import N_INNER, TEST_ROW

IMAGES_AT_ONCE, BYTES_AT_ONCE = 256, 2**30


def choose_models(inner_folds: np.ndarray, seed: int) -> np.ndarray:
    """Return which model makes each image's map (N,), of one model fitted on each of the two inner folds.

    inner_folds (N,): that of each training image, whose map the other's model makes; for a test image (`TEST_ROW`) the
    model is drawn.
    """
    drawn = np.random.default_rng(seed).integers(N_INNER, size=len(inner_folds))
    return np.where(inner_folds == TEST_ROW, drawn, 1 - inner_folds)


def predict_maps(
    models: Sequence[FittedDetector],
    inputs: np.ndarray,
    chosen: np.ndarray,
    out: np.ndarray,
    progress: Callable[[int, int], object] = lambda *_: None,
) -> np.ndarray:
    """Write maps of the inputs of N images (N,...) to `out` (N,H,W) float16, and return it.

    `models[chosen[i]]` makes the map of image i. Arrays may be memory-mapped: at most `IMAGES_AT_ONCE` are read at a
    time, and then `progress(done, N)` is called. Raises ValueError for maps outside [0, 1].
    """
    at_once = max(1, min(IMAGES_AT_ONCE, BYTES_AT_ONCE // inputs[0].nbytes))
    for start in range(0, len(out), at_once):
        rows = slice(start, min(start + at_once, len(out)))
        part, own = np.asarray(inputs[rows]), chosen[rows]
        maps = np.empty(out[rows].shape, np.float32)
        for number in np.unique(own):
            maps[own == number] = models[number].maps(part[own == number])
        if not ((maps >= 0) & (maps <= 1)).all():  # NaN is neither
            raise ValueError(f"maps of images {start} to {rows.stop - 1}: values outside [0, 1]")
        out[rows] = maps
        progress(rows.stop, len(out))
    return out
