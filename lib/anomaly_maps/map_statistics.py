"""Summary statistics of anomaly maps: what a rule without a backbone would use."""

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (95, 99)
AREA_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
STATISTICS = (
    *("max", "mean", *(f"percentile {p}" for p in PERCENTILES)),
    *(f"area above {t}" for t in AREA_THRESHOLDS),
)


def map_statistics(maps: NDArray[np.floating], *, chunk: int = 256) -> NDArray[np.float32]:
    """Return statistics (N, S) in [0, 1] of anomaly maps (N, H, W) in [0, 1], columns as named in `STATISTICS`.

    An area is the share of the map's pixels above a threshold. `maps` may be a memory map: `chunk` are read at a time.
    """
    chunk = max(1, min(chunk, 2**27 // maps[0].size))  # of large maps fewer
    found = np.empty((len(maps), len(STATISTICS)), dtype=np.float32)
    for start in range(0, len(maps), chunk):
        pixels = np.asarray(maps[start : start + chunk], dtype=np.float32).reshape(-1, maps[0].size)
        columns = [pixels.max(axis=1), pixels.mean(axis=1), *np.percentile(pixels, PERCENTILES, axis=1)]
        columns += [(pixels > threshold).mean(axis=1) for threshold in AREA_THRESHOLDS]
        found[start : start + chunk] = np.column_stack(columns)
    return found
