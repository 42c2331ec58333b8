"""Masks of images: files joined, or drawn by annotations, at the image's size, and resized as the image is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lib.datasets.annotations import read_annotations
from lib.datasets.image_io import decode, fit, read_bytes, refused, scaled_size, to_rgb

if TYPE_CHECKING:
    import pandas as pd

SEPARATOR = "//"  # between the files of a mask, or a JSON file and the image's name in it: no path holds it


def join(parts: Sequence[str]) -> str:
    """Return one text for the files of a mask, as `index["mask"]` holds it."""
    return SEPARATOR.join(parts)


def files_of(mask: str) -> list[str]:
    """Return the files that make up a mask, POSIX paths below the data folder."""
    parts = mask.split(SEPARATOR)
    return parts[:1] if parts[0].lower().endswith(".json") else parts


def read_mask(path: Path) -> np.ndarray:
    """Read a mask file as bool (H, W) by `MASK_RULE`; raise DatasetError if it cannot be used."""
    image = decode(read_bytes(path), path)
    alpha = np.asarray(image.convert("RGBA").getchannel("A")) if image.has_transparency_data else np.zeros(1)
    grey = alpha if alpha.min() < alpha.max() else to_rgb(image).max(axis=2)
    if 1 < (brightest := int(grey.max())) <= 127:
        issue = f"mask whose brightest value is {brightest} of 255"
        raise refused(path, issue, "write defects as 255 (or all masks as 0 and 1)")
    return grey > (0 if brightest == 1 else 127)


def read_parts(root: Path, mask: str, *, invert: bool = False) -> list[np.ndarray]:
    """Return the files of a mask as bool (H, W) each, drawings of annotations as one; `invert` those of files.

    Raises DatasetError for what cannot be used.
    """
    files = files_of(mask)
    if files[0].lower().endswith(".json"):
        try:
            return [read_annotations(root / files[0])[mask.partition(SEPARATOR)[2]].mask()]
        except (OSError, ValueError, KeyError) as error:
            raise refused(
                root / files[0], f"annotations cannot be read ({error})", "export them again"
            ) from None
    return [read_mask(root / file) ^ invert for file in files]


def joined(parts: Sequence[np.ndarray], height: int, width: int) -> np.ndarray | None:
    """Return the union of masks as bool (height, width), each resized (nearest); None if proportions differ."""
    union = np.zeros((height, width), dtype=bool)
    for part in parts:
        if abs(part.shape[0] * width - part.shape[1] * height) > max(*part.shape, height, width):
            return None
        union |= np.asarray(Image.fromarray(part).resize((width, height), Image.Resampling.NEAREST))
    return union


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
        ((np.arange(old) + 0.5) * new / old).astype(int)
        for old, new in zip(mask.shape, area.shape, strict=True)
    )
    here = np.ix_(rows, columns)
    lost = np.setdiff1d(np.arange(1, count + 1), defects[scaled[here]])
    if lost.size:
        for row, column in ndimage.maximum_position(area[here], defects, lost):
            scaled[rows[row], columns[column]] = True
    return fit(scaled, side, "constant")


def load_masks(root: Path, index: pd.DataFrame, side: int, how: str) -> Iterator[np.ndarray | None]:
    """Yield, in the order of `index`, each image's mask as bool (side, side), or None where it has none."""
    for mask, height, width in zip(index["mask"], index["height"], index["width"], strict=True):
        if not isinstance(mask, str):
            yield None
            continue
        parts = read_parts(root, mask, invert=index.attrs.get("invert_masks", False))
        if (drawn := joined(parts, height, width)) is None:
            raise refused(root / mask, "its size has changed", "run again")
        yield resize_mask(drawn, side, how)
