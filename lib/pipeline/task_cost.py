"""Roughly what a fold's task costs on one core: whether processes pay, and how many fit into the memory.

From the tables in docs/draem.md: 20 ms per training image at 64 px and width 16, in proportion to pixels and to the
square of the width; a map takes 0.3 of that, a ResNet-18 image of 96 px 6 ms.
"""

from __future__ import annotations

from lib.anomaly_maps.patchcore import HELD_OUT, POOL, PROJECTED
from lib.config import MapMethod, Study
from lib.features.patch_embeddings import N_CHANNELS, grid
from lib.pipeline.run import Run

ARITHMETIC, MEMORY_BOUND = (
    3e10,
    5e9,
)  # operations per second: a product of matrices, and of a matrix and a vector
PROCESS = 0.8e9  # bytes of a process with its libraries
PER_ACTIVATION = 250.0  # bytes per pixel of a batch and channel of the first block, measured at 64 and 128 px


def training_cost(run: Run, n_good: int, sharing: int) -> dict[str, float]:
    """Return seconds and bytes of one DRAEM's training on `n_good` images, one of `sharing` that share the steps."""
    study = run.study
    steps = 0 if study.draem_checkpoint else study.steps_for(n_good, sharing)
    channels = study.image_size**2 * study.reconstructive_width
    networks = 4 * 98e6 * (study.reconstructive_width / 128) ** 2
    memory = PROCESS + PER_ACTIVATION * study.draem_batch * channels + networks
    return {"seconds": steps * study.draem_batch * _training_image(run), "memory": memory}


def patchcore_cost(run: Run) -> dict[str, float]:
    """Return seconds and bytes of one PatchCore: its coreset, and its scale on held-out images."""
    seconds = coreset_seconds(run.study) + HELD_OUT * compared_seconds(run.study)
    return {"seconds": seconds, "memory": PROCESS + 0.5e9}


def coreset_seconds(study: Study) -> float:
    """Return the seconds in which a PatchCore is chosen, on one core."""
    return 2 * POOL * PROJECTED * study.coreset_size / MEMORY_BOUND


def compared_seconds(study: Study) -> float:
    """Return the seconds in which the patches of one image are compared with a memory, on one core."""
    return 2 * grid(study.patch_size) ** 2 * N_CHANNELS * study.coreset_size / ARITHMETIC


def map_cost(run: Run, images: int, map_method: MapMethod) -> dict[str, float]:
    """Return seconds and bytes of the maps of one split."""
    each = compared_seconds(run.study) if map_method == "patchcore" else 0.3 * _training_image(run)
    return {"seconds": images * each, "memory": PROCESS + 0.5e9}


def feature_cost(run: Run, images: int) -> dict[str, float]:
    """Return seconds and bytes of the features of so many pictures or maps."""
    return {"seconds": 0.006 * images * (run.study.feature_size / 96) ** 2, "memory": PROCESS + 0.7e9}


def _training_image(run: Run) -> float:
    return 0.02 * (run.study.image_size / 64) ** 2 * (run.study.reconstructive_width / 16) ** 2
