"""The map sources that a study can choose, and what each must tell (CONTRIBUTING.md has what a third would need)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.anomaly_maps.detectors import FittedSource
from lib.config import Reading
from lib.pipeline.dataset import images
from lib.pipeline.draem import draem_file, load_draem, train_fold
from lib.pipeline.patchcore import fit_memory, load_memory, memory_file
from lib.pipeline.patches import patches, patches_name, patches_of
from lib.pipeline.run import Run

Pictures = Callable[[int], np.ndarray]  # some pictures, (n, side, side, 3) uint8, at the side asked for


@dataclass(frozen=True)
class Source:
    """A map source in the study: what it sees, where its models live, how they come about."""

    title: str
    code: str  # the module that makes maps
    fit: Callable[[Run, str], dict[str, Any]]  # makes the model of a name where it is not proven
    load: Callable[[Run, str], FittedSource]
    file: Callable[[str], str]  # the artefact with the model of a name
    seen: Callable[[Run], np.ndarray]  # what it sees of the study's pictures (N, ...)
    seen_name: Callable[[Run], str]  # the artefact with it
    see: Callable[[Run, Pictures], np.ndarray]  # the same of other pictures


DRAEM = Source(
    "DRAEM",
    "lib.draem.inference",
    train_fold,
    load_draem,
    draem_file,
    lambda run: images(run, run.study.image_size),
    lambda run: f"images/{run.study.image_size}.npy",
    lambda run, pictures: pictures(run.study.image_size),
)
PATCH_MEMORY = Source(
    "patch memory",
    "lib.anomaly_maps.patchcore",
    fit_memory,
    load_memory,
    memory_file,
    patches,
    patches_name,
    lambda run, pictures: patches_of(run, pictures(run.study.patch_size)),
)
SOURCES: dict[Reading, Source] = {
    "as_written": DRAEM,
    "cross_fitted": DRAEM,
    "patch_memory": PATCH_MEMORY,
}
