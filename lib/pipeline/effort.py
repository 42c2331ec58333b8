"""Roughly what a fold's task costs on one core: whether processes pay, and how many fit into the memory.

From the tables in docs/draem.md: 20 ms per training image at 64 px and width 16, in proportion to pixels and to the
square of the width; a map takes 0.3 of that, a ResNet-18 image of 96 px 6 ms.
"""

from __future__ import annotations

from lib.pipeline.run import Run

PROCESS = 0.8e9  # bytes of a process with its libraries
PER_ACTIVATION = 250.0  # bytes per pixel of a batch and channel of the first block, measured at 64 and 128 px


def training_effort(run: Run, n_good: int, sharing: int) -> dict[str, float]:
    """Return seconds and bytes of one DRAEM's training on `n_good` images, one of `sharing` that share the steps."""
    study = run.study
    steps = 0 if study.draem_checkpoint else study.steps_for(n_good, sharing)
    channels = study.image_size**2 * study.reconstructive_width
    networks = 4 * 98e6 * (study.reconstructive_width / 128) ** 2
    memory = PROCESS + PER_ACTIVATION * study.draem_batch * channels + networks
    return {"seconds": steps * study.draem_batch * _training_image(run), "memory": memory}


def map_effort(run: Run, images: int) -> dict[str, float]:
    """Return seconds and bytes of the maps of one split."""
    return {"seconds": 0.3 * images * _training_image(run), "memory": PROCESS + 0.5e9}


def feature_effort(run: Run, images: int) -> dict[str, float]:
    """Return seconds and bytes of the features of so many pictures or maps."""
    return {"seconds": 0.006 * images * (run.study.feature_size / 96) ** 2, "memory": PROCESS + 0.7e9}


def _training_image(run: Run) -> float:
    return 0.02 * (run.study.image_size / 64) ** 2 * (run.study.reconstructive_width / 16) ** 2
