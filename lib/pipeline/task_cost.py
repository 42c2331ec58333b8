"""What the tasks of a study cost: seconds on one core of the machine in docs/draem.md, and bytes of memory.

It decides whether processes pay and how many fit into the memory; forecasts multiply the seconds by what this machine
was measured to take (`lib.batch.calibration`). What models and maps take, their detectors say.
"""

from __future__ import annotations

from itertools import pairwise

from lib.anomaly_maps.detectors import detector
from lib.config import MapMethod, map_source_of
from lib.pipeline.run import Run

PROCESS = 350_000_000  # bytes of Python with PyTorch and what else a kernel imports
RESNET_IMAGE = 0.006  # seconds at 96 px
FIT, INFORMATION = 0.3, 0.1  # seconds for 400 rows: an MLP's fit, mutual information of 1,024 columns


def fit_cost(run: Run, source: str, n_good: int, sharing: int) -> dict[str, float]:
    """Return seconds and bytes of fitting one of a map source's models, as one of `sharing` that share a fold."""
    seconds, memory = detector(source).fit_cost(run.study, n_good, sharing)
    return {"seconds": seconds, "memory": PROCESS + memory}


def map_cost(run: Run, images: int, map_method: MapMethod) -> dict[str, float]:
    """Return seconds and bytes of the maps of one split."""
    each = detector(map_source_of(map_method)).map_seconds(run.study)
    return {"seconds": images * each, "memory": PROCESS + 0.5e9}


def feature_cost(run: Run, images: int) -> dict[str, float]:
    """Return seconds and bytes of the ResNet-18 features of so many images or maps."""
    side = run.study.feature_size
    return {"seconds": RESNET_IMAGE * images * (side / 96) ** 2, "memory": PROCESS + 64 * side**2 * 150}


def classifier_cost(run: Run, images: int) -> dict[str, float]:
    """Return seconds and bytes of one classifier's fit on the training part of so many images."""
    layers = sum(above * below for above, below in pairwise((1024, *run.study.mlp)))
    rows = images * (1 - 1 / run.study.folds)
    return {"seconds": FIT * rows / 400, "memory": PROCESS + 4 * images * 512 * 4 + 4 * 4 * layers}
