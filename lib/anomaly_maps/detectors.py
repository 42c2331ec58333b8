"""What a map source must do: learn from good images, turn images into anomaly maps, be kept and read back.

A new one is a module like `lib.anomaly_maps.patchcore`, with a `DETECTOR`, and an entry in `lib.config.MAP_SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lib.config import MAP_SOURCES

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from lib.config import Study


class FittedDetector(Protocol):
    """A map source fitted on good images."""

    def maps(self, inputs: np.ndarray) -> np.ndarray:
        """Return the anomaly maps (n, side, side) float16 in [0, 1] of the inputs of n images (n, ...)."""
        ...

    def save(self, path: Path, header: dict[str, Any]) -> None:
        """Write the fitted source to a file, with texts about its origin."""
        ...

    def exported(self, places: int) -> Callable[[Tensor], Tensor]:
        """Return what makes maps (n, side, side) in an exported file; a source without it cannot be exported.

        It gets images (n, 3, side, side) in [0, 1], or patches (n, C, places, places).
        """
        ...


@dataclass(frozen=True)
class FitTask:
    """What one model is fitted on: good images of a training fold, or of one of its `sharing` halves."""

    study: Study
    inputs: np.ndarray  # of all images (N, ...), may be memory-mapped
    good: np.ndarray  # rows of the good images to learn from
    held_out: np.ndarray  # rows of the other half's good images; none where there are no halves
    sharing: int  # models that share the fold's training: 1, or as many as there are halves
    seed: int
    device: str = "cpu"
    checkpoint: Path | None = None  # where a long training may save itself, and find what it saved
    progress: Callable[..., None] = lambda *_: None  # to be called with (done, all, ...)


@dataclass(frozen=True)
class Detector:
    """A map source: what it reads of images, how it is fitted and read back, and what that takes.

    `inputs` is what a model gets of images: `images`, (n, map_side, map_side, 3) uint8, or `patches` as
    `lib.features.backbone` makes them. `fit` returns the model and a summary in JSON values; `depends_on`
    returns what it depends on besides inputs, rows and code, in JSON values. Costs are those of one core.
    """

    inputs: Literal["images", "patches"]
    fit: Callable[[FitTask], tuple[FittedDetector, dict[str, Any]]]
    load: Callable[[Path, str], FittedDetector]  # of a file and a device
    depends_on: Callable[[FitTask], dict[str, Any]] = lambda task: {"seed": task.seed}
    seed: str = ""  # what its seeds are drawn for, if it is not the name of the source
    fit_cost: Callable[[Study, int, int], tuple[float, float]] = lambda study, n_good, sharing: (0.0, 0.5e9)
    """Seconds, and bytes beside the libraries, of fitting on `n_good` images, as one of `sharing` models."""
    map_seconds: Callable[[Study], float] = lambda study: 0.001  # of one image
    caption: Callable[[Study], str] = lambda of: f"maps: {MAP_SOURCES[of.map_source].title}, cross-fitted"


def detector(source: str) -> Detector:
    """Return the detector of a map source, which stands in `lib.config.MAP_SOURCES`."""
    found: Detector = import_module(MAP_SOURCES[source].module).DETECTOR
    return found
