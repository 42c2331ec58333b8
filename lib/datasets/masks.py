"""Masks of images: files joined, or drawn by annotations, at the image's size, and resized as the image is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lib.datasets.annotations import read_annotations
from lib.datasets.image_io import decode, fit, read_bytes, refused, scaled_size, to_rgb

if TYPE_CHECKING:
    import pandas as pd

    from lib.datasets.region import Region

SEPARATOR = "//"  # between the files of a mask, or a JSON file and the image's name in it: no path holds it


def files_of(mask: str) -> list[str]:
    """Return the files that make up a mask, POSIX paths below the data folder."""
    parts = mask.split(SEPARATOR)
    return parts[:1] if parts[0].lower().endswith(".json") else parts


def read_mask(path: Path) -> np.ndarray:
    """Read a mask file as bool (H, W) by `MASK_RULE`; raise DatasetError if it cannot be used."""
    image = decode(data := read_bytes(path), path)
    alpha = np.asarray(image.convert("RGBA").getchannel("A")) if image.has_transparency_data else np.zeros(1)
    grey = alpha if alpha.min() < alpha.max() else to_rgb(image).max(axis=2)
    brightest, numbers = int(grey.max()), np.bincount(grey.ravel())
    numbered = 0 < brightest < 32 and numbers[0] > 0 and not data.startswith(b"\xff\xd8")  # a JPEG's noise
    if 1 < brightest <= 127 and not numbered:
        issue = f"mask whose brightest value is {brightest} of 255"
        raise refused(path, issue, "write defects as 255 (or as numbers from 1 to 31, the rest as 0)")
    if np.mean((grey < 32) | (grey > 223)) < 0.5:
        issue = "mask of grey tones, as pictures have"
        raise refused(path, issue, "call its folder otherwise if it is a picture, or write defects as 255")
    return grey > (0 if brightest == 1 or numbered else 127)


def read_union(root: Path, mask: str, size: tuple[int, int] | None, *, invert: bool = False) -> tuple[np.ndarray, bool]:
    """Return an image's mask as bool (H, W) of its `size` (H, W), or of its own, and whether a part was resized to it.

    A part of other proportions is refused; `invert` files, not drawings of annotations. Raises DatasetError for what
    cannot be used.
    """
    files = files_of(mask)
    if files[0].lower().endswith(".json"):
        try:
            parts = [read_annotations(root / files[0])[mask.partition(SEPARATOR)[2]].mask()]
        except (OSError, ValueError, LookupError) as error:
            issue = f"annotations cannot be read ({error})"
            raise refused(root / files[0], issue, "export them again") from None
    else:
        parts = [read_mask(root / file) ^ invert for file in files]
    height, width = size or parts[0].shape
    union = np.zeros((height, width), dtype=bool)
    for part in parts:
        if abs(part.shape[0] * width - part.shape[1] * height) > max(*part.shape, height, width):
            issue = f"mask of {part.shape[1]} x {part.shape[0]} pixels for an image of {width} x {height}"
            raise refused(root / files[0], issue, "draw it at the image's size or remove it")
        union |= np.asarray(Image.fromarray(part).resize((width, height), Image.Resampling.NEAREST))
    return union, any(part.shape != (height, width) for part in parts)


def resize_mask(mask: np.ndarray, side: int, how: str = "squash") -> np.ndarray:
    """Resize bool (H, W) to (side, side) as `resize_rgb` does its image; padding is never defective.

    A resized pixel is defective where at least half of its area is; a connected defect too small for that keeps its
    best covered pixel, so that scaling loses none.
    """
    from scipy import ndimage

    if not mask.any():
        return np.zeros((side, side), dtype=bool)
    size, scale = scaled_size(mask, side, how), Image.fromarray(mask.astype(np.float32)).resize
    area = np.asarray(scale(size, Image.Resampling.BOX))  # defective share of each new pixel
    scaled = area >= 0.5
    defects, count = ndimage.label(mask, structure=np.ones((3, 3)))
    rows, columns = (  # the new pixel into which the centre of each old one falls
        ((np.arange(old) + 0.5) * new / old).astype(int) for old, new in zip(mask.shape, area.shape, strict=True)
    )
    here = np.ix_(rows, columns)
    lost = np.setdiff1d(np.arange(1, count + 1), defects[scaled[here]])
    if lost.size:
        for row, column in ndimage.maximum_position(area[here], defects, lost):
            scaled[rows[row], columns[column]] = True
    return fit(scaled, side, "constant")


def load_masks(
    root: Path, index: pd.DataFrame, side: int, how: str, region: Region | None = None
) -> Iterator[np.ndarray | None]:
    """Yield, in the order of `index`, each image's mask (of the region) as bool (side, side), or None for none."""
    for mask, height, width in zip(index["mask"], index["height"], index["width"], strict=True):
        if isinstance(mask, str):
            union, _ = read_union(root, mask, (height, width), invert=index.attrs.get("invert_masks", False))
            if region is not None:
                union = region.cut(union, root / files_of(mask)[0])
            yield resize_mask(union, side, how)
        else:
            yield None
