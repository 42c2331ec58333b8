"""A handful of numbers that sum up an anomaly map: what a rule without a backbone would look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (95, 99)
AREA_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
STATISTICS = (
    "max",
    "mean",
    *(f"percentile {p}" for p in PERCENTILES),
    *(f"area above {t}" for t in AREA_THRESHOLDS),
)


def map_statistics(maps: NDArray[np.floating], *, chunk: int = 256) -> NDArray[np.float32]:
    """Sum up anomaly maps (N, H, W) with values in [0, 1] as (N, S), columns as named in `STATISTICS`.

    All are in [0, 1]; an area is the share of the map's pixels above a threshold. `maps` may be a memory map: `chunk`
    maps are read at a time. Raises ValueError on another shape, and on values outside [0, 1] or not finite.
    """
    if maps.ndim != 3 or not np.issubdtype(maps.dtype, np.floating):
        raise ValueError(f"maps must be (N, H, W) floats, not {maps.shape} {maps.dtype}")
    found = np.empty((len(maps), len(STATISTICS)), dtype=np.float32)
    for start in range(0, len(maps), chunk):
        pixels = np.asarray(maps[start : start + chunk], dtype=np.float32).reshape(-1, maps[0].size)
        bad = np.flatnonzero(~((pixels >= 0) & (pixels <= 1)).all(axis=1))  # NaN is neither
        if bad.size:
            raise ValueError(f"map {start + bad[0]} has values that do not lie in [0, 1]")
        found[start : start + chunk] = np.column_stack(
            [
                pixels.max(axis=1),
                pixels.mean(axis=1),
                *np.percentile(pixels, PERCENTILES, axis=1),
                *((pixels > threshold).mean(axis=1) for threshold in AREA_THRESHOLDS),
            ]
        )
    return found
