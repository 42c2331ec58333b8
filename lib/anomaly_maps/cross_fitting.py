"""Cross-fitted maps: no training image gets its map from a model that saw it, or saw an image of its group."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from lib.anomaly_maps.detectors import FittedDetector
from lib.datasets.splits import FoldError

N_INNER = 2
TEST_ROW = -1  # the half of a test image: none
IMAGES_AT_ONCE = 256


def make_inner_folds(
    labels: np.ndarray, groups: np.ndarray | None, tested: np.ndarray, good: str, seed: int
) -> np.ndarray:
    """Deal the training images of a fold to two halves; returns the half of each image, `TESTED` for test images.

    `labels` (N,), `groups` (N,) or None where they are unknown, `tested` (N,) bool. A group stays whole, and each
    class is shared out as evenly as groups allow; a class too small for that lies in one half. Raises FoldError
    where a half would hold no good image, as nothing could be fitted on it.
    """
    training = np.flatnonzero(~np.asarray(tested))
    mine = np.asarray(labels)[training].astype(str)
    units = training if groups is None else np.asarray(groups)[training].astype(str)
    is_good = mine == good
    halves = np.full(len(labels), TEST_ROW)
    if len(np.unique(units[is_good])) >= N_INNER:
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        splitter = kind(N_INNER, shuffle=True, random_state=seed % 2**32)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")  # it lies in one half: see above
            for half, (_, chosen) in enumerate(splitter.split(mine, mine, None if groups is None else units)):
                halves[training[chosen]] = half
    if set(halves[training[is_good]]) != set(range(N_INNER)):
        unit = "image(s)" if groups is None else "group(s)"
        raise FoldError(
            "cross-fitted maps need good images in both halves of each training fold, and the good images of one, "
            f"{len(np.unique(units[is_good]))} {unit}, cannot be shared out so: choose more folds, or "
            "map_source=draem with map_fit=in_sample, compare_map_fit=false and compare_map_source=false"
        )
    return halves


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
