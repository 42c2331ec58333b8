"""Roughly what a fold's task costs on one core: whether processes pay, and how many fit into the memory.

A ResNet-18 image of 96 px takes 6 ms; what models and maps take, their detectors say.
"""

from __future__ import annotations

from lib.anomaly_maps.detectors import detector
from lib.config import MapMethod, map_source_of
from lib.pipeline.run import Run

PROCESS = 0.8e9  # bytes of a process with its libraries


def fit_cost(run: Run, source: str, n_good: int, sharing: int) -> dict[str, float]:
    """Return seconds and bytes of fitting one of a map source's models, as one of `sharing` that share a fold."""
    seconds, memory = detector(source).fit_cost(run.study, n_good, sharing)
    return {"seconds": seconds, "memory": PROCESS + memory}


def map_cost(run: Run, images: int, map_method: MapMethod) -> dict[str, float]:
    """Return seconds and bytes of the maps of one split."""
    each = detector(map_source_of(map_method)).map_seconds(run.study)
    return {"seconds": images * each, "memory": PROCESS + 0.5e9}


def feature_cost(run: Run, images: int) -> dict[str, float]:
    """Return seconds and bytes of the features of so many pictures or maps."""
    return {"seconds": 0.006 * images * (run.study.feature_size / 96) ** 2, "memory": PROCESS + 0.7e9}
