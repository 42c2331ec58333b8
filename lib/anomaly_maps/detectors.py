"""What a map source must do: learn from good pictures, turn pictures into anomaly maps, be kept and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np


class FittedDetector(Protocol):
    """A map source fitted on good pictures.

    What it sees of pictures is its own affair, in arrays (n, ...), one entry per picture: DRAEM sees pixels, a patch
    memory patches. How it is fitted, each says for itself; the study knows it by an entry of
    `lib.pipeline.detectors.DETECTORS`.
    """

    def maps(self, seen: np.ndarray) -> np.ndarray:
        """Return the anomaly maps (n, side, side) float16 in [0, 1] of what is seen of n pictures (n, ...)."""
        ...

    def save(self, path: Path, header: dict[str, Any]) -> None:
        """Write the fitted source to a .safetensors file, with texts about its origin."""
        ...

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Self:
        """Read what `save` wrote; ValueError for a file that is not one."""
        ...
