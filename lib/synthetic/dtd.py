"""Where anomaly textures lie, if there are any on disk."""

from __future__ import annotations

from pathlib import Path

DTD_ROOT = Path(__file__).parents[2] / "data" / "dtd"  # torchvision's copy of DTD


def texture_folder(source: str) -> Path | None:
    """Return the folder that textures are read from: `source`, else torchvision's DTD if it is there, else None."""
    if source:
        return Path(source)
    return DTD_ROOT if DTD_ROOT.is_dir() else None
