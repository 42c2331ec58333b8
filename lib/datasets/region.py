"""The region of interest: a box in shares of an image's sides, or what is white in a picture; the rest is not seen."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib.artifacts import file_sha256
from lib.datasets.image_io import SUFFIXES, decode, read_bytes, refused, to_rgb

FORM = "give left,top,right,bottom in shares of width and height from 0 to 1, or a picture file, white in the region"


class Region(NamedTuple):
    """What is looked at: a box (left, top, right, bottom) in shares of an image; of a picture, its white part alone."""

    box: tuple[float, float, float, float]
    white: NDArray[np.bool_] | None = None

    def check(self, width: int, height: int, path: Path) -> None:
        """Raise DatasetError for an image of other proportions than the region's picture."""
        high, wide = (height, width) if self.white is None else self.white.shape
        if abs(high * width - wide * height) > max(high, wide, width, height):
            issue = f"{width} x {height} pixels, and the region's picture has {wide} x {high}"
            raise refused(path, issue, "give a region of the same proportions, or a box in shares")

    def cut(self, pixels: NDArray[Any], path: Path) -> NDArray[Any]:
        """Return the box of an image or mask (H, W, ...), 0 outside the white part; raises DatasetError as `check`."""
        self.check(pixels.shape[1], pixels.shape[0], path)
        if self.white is not None:
            white = Image.fromarray(self.white).resize(pixels.shape[1::-1], Image.Resampling.NEAREST)
            pixels = (pixels.T * np.asarray(white).T).T
        left, top, right, bottom = self.box
        return pixels[_part(top, bottom, pixels.shape[0]), _part(left, right, pixels.shape[1])]

    def as_json(self) -> dict[str, Any]:
        """Return JSON values that `from_json` reads: `box`, and `white`, a PNG in base64, empty without a picture."""
        png = io.BytesIO()
        if self.white is not None:
            Image.fromarray(self.white).save(png, "PNG")
        return {"box": list(self.box), "white": base64.b64encode(png.getvalue()).decode()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Region:
        """Return the region of `as_json`."""
        png = base64.b64decode(told["white"])
        return cls(tuple(told["box"]), np.array(Image.open(io.BytesIO(png))) if png else None)


def _part(low: float, high: float, pixels: int) -> slice:
    """Return whole pixels from one share of a side to another, at least one."""
    start = min(math.floor(low * pixels + 1e-6), pixels - 1)
    return slice(start, max(start + 1, math.ceil(high * pixels - 1e-6)))


def read_region(text: str) -> Region | None:
    """Return the region of a setting, None for none; raises ValueError or DatasetError that says what to give."""
    return _read(text, region_digest(text)) if text else None


def region_digest(text: str) -> str:
    """Return what tells a region from others: its box, or the SHA-256 of its picture; raises ValueError."""
    if Path(text).suffix.lower() not in SUFFIXES:
        return text
    if not Path(text).is_file():
        raise ValueError(f"region={text}: no such file; {FORM}")
    return file_sha256(Path(text))


@lru_cache(maxsize=4)
def _read(text: str, digest: str) -> Region:
    if digest != text:
        white = to_rgb(decode(read_bytes(Path(text)), Path(text))).max(axis=2) > 127
        if not white.any():
            raise ValueError(f"region={text}: nothing in it is white; {FORM}")
        (high, wide), (rows, columns) = white.shape, (np.flatnonzero(white.any(axis=axis)) for axis in (1, 0))
        (left, right), (top, bottom) = ((float(one[0]), one[-1] + 1.0) for one in (columns, rows))
        return Region((left / wide, top / high, right / wide, bottom / high), white)
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"region={text}: not four numbers; {FORM}") from None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(f"region={text}: empty, or beyond the image; {FORM}")
    return Region((left, top, right, bottom))
