"""The map sources that a study can choose, and what each must tell (CONTRIBUTING.md has what a third would need)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.anomaly_maps.detectors import FittedDetector
from lib.config import MapMethod
from lib.pipeline.dataset import images
from lib.pipeline.draem import draem_file, load_draem, train_fold
from lib.pipeline.patchcore import fit_patchcore, load_patchcore, patchcore_file
from lib.pipeline.patches import patches, patches_name, patches_of
from lib.pipeline.run import Run

Pictures = Callable[[int], np.ndarray]  # some pictures, (n, side, side, 3) uint8, at the side asked for


@dataclass(frozen=True)
class Detector:
    """A map source in the study: what it sees, where its models live, how they come about."""

    title: str
    code: str  # the module that makes maps
    fit: Callable[[Run, str], dict[str, Any]]  # makes the model of a name where it is not proven
    load: Callable[[Run, str], FittedDetector]
    file: Callable[[str], str]  # the artefact with the model of a name
    seen: Callable[[Run], np.ndarray]  # what it sees of the study's pictures (N, ...)
    seen_name: Callable[[Run], str]  # the artefact with it
    see: Callable[[Run, Pictures], np.ndarray]  # the same of other pictures


DRAEM = Detector(
    "DRAEM",
    "lib.draem.inference",
    train_fold,
    load_draem,
    draem_file,
    lambda run: images(run, run.study.image_size),
    lambda run: f"images/{run.study.image_size}.npy",
    lambda run, pictures: pictures(run.study.image_size),
)
PATCHCORE = Detector(
    "PatchCore",
    "lib.anomaly_maps.patchcore",
    fit_patchcore,
    load_patchcore,
    patchcore_file,
    patches,
    patches_name,
    lambda run, pictures: patches_of(run, pictures(run.study.patch_size)),
)
DETECTORS: dict[MapMethod, Detector] = {
    "in_sample": DRAEM,
    "cross_fitted": DRAEM,
    "patchcore": PATCHCORE,
}
