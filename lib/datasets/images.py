"""Stacks of pictures and masks: examine files at the door, resize images and masks alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from lib.datasets.errors import DatasetError, Issue
from lib.datasets.image_io import CONVERSION_RULE as CONVERSION_RULE
from lib.datasets.image_io import RESIZE_RULES as RESIZE_RULES
from lib.datasets.image_io import decode, fit, read_bytes, read_rgb, refused, resize_rgb, scaled_size, to_rgb

READERS = 8  # threads: decoding and hashing release the interpreter lock

MASK_RULE = (
    "A mask pixel is defective where it is brighter than 127 of 255 in any channel; in a mask that holds "
    "only 0 and 1, where it is 1."
)
MASK_RESIZE_RULE = (
    "Masks follow their images. A resized pixel is defective where at least half of its area is; a connected "
    "defect too small for that keeps its best covered pixel, so that scaling loses none. Padding is never "
    "defective."
)


@dataclass(frozen=True)
class Examined:
    """A file that was decoded completely: its SHA-256, its upright size in pixels, its pixels' digest.

    Files of the same `pixels` show the same picture, whatever their formats, names and metadata.
    """

    sha256: str
    width: int
    height: int
    pixels: str


def read_mask(path: Path) -> np.ndarray:
    """Read a mask file as bool (H, W) by `MASK_RULE`; raise DatasetError if it cannot be used."""
    image = decode(read_bytes(path), path)
    plain = image.mode == "L" and not image.has_transparency_data  # spares three copies of the usual mask
    grey = np.asarray(image) if plain else to_rgb(image).max(axis=2)
    brightest = int(grey.max())
    if 1 < brightest <= 127:
        raise refused(
            path,
            f"mask whose brightest value is {brightest} of 255",
            "write defects as 255 (or all masks as 0 and 1)",
        )
    return grey > (0 if brightest == 1 else 127)


def examine(path: Path) -> Examined:
    """Read a file once, hash it and decode every pixel; raise DatasetError if it cannot be used."""
    data = read_bytes(path)
    image = decode(data, path)
    rgb = to_rgb(image)
    digest = hashlib.sha256(str(rgb.shape).encode())
    digest.update(rgb.tobytes())
    return Examined(hashlib.sha256(data).hexdigest(), *image.size, digest.hexdigest())


def resize_mask(mask: np.ndarray, side: int, how: str = "squash") -> np.ndarray:
    """Resize bool (H, W) to (side, side) as `resize_rgb` does its image, by `MASK_RESIZE_RULE`."""
    height, width = scaled_size(mask.shape[0], mask.shape[1], side, how)
    if not mask.any():
        return np.zeros((side, side), dtype=bool)
    area = np.asarray(
        Image.fromarray(mask.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
    )  # share of each new pixel that is defective, in [0, 1]
    scaled = area >= 0.5
    blobs, count = ndimage.label(mask, structure=np.ones((3, 3)))
    rows = _new_positions(mask.shape[0], height)
    columns = _new_positions(mask.shape[1], width)
    kept = np.unique(blobs[scaled[np.ix_(rows, columns)]])
    lost = np.setdiff1d(np.arange(1, count + 1), kept)
    if lost.size:
        for row, column in ndimage.maximum_position(area[np.ix_(rows, columns)], blobs, lost):
            scaled[rows[row], columns[column]] = True
    return np.ascontiguousarray(fit(scaled, side, "constant"))


def load_stack(
    root: Path,
    index: pd.DataFrame,
    side: int,
    how: str,
    out: np.ndarray,
    progress: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Read and resize all images of `index` into `out`, uint8 (N, side, side, 3) or a memmap, row by row.

    `progress` is called with 1 after each image (`tqdm.update` fits). Returns `out`. Raises ValueError for
    an `out` of another shape or dtype, and DatasetError with every file that could not be read.
    """
    expected = (len(index), side, side, 3)
    if out.shape != expected or out.dtype != np.uint8:
        raise ValueError(f"out is {out.dtype} {out.shape}, but these images need uint8 {expected}")
    scaled_size(1, 1, side, how)  # refuse a bad side or rule before the first file is read

    def load(row: int, path: str) -> tuple[Issue, ...]:
        try:
            out[row] = resize_rgb(read_rgb(Path(root, path)), side, how)
        except DatasetError as error:
            return error.issues
        return ()

    issues: list[Issue] = []
    with ThreadPoolExecutor(READERS) as pool:
        for found in pool.map(load, range(len(index)), index["path"]):
            issues += found
            if progress is not None:
                progress(1)
    if issues:
        raise DatasetError(issues, f"{root}: images that could be read before cannot be read now")
    return out


def load_masks(root: Path, index: pd.DataFrame, side: int, how: str) -> Iterator[np.ndarray | None]:
    """Yield, in the order of `index`, each image's mask as bool (side, side), or None where it has none."""
    for mask in index["mask"]:
        yield None if pd.isna(mask) else resize_mask(read_mask(Path(root, mask)), side, how)


def _new_positions(old: int, new: int) -> np.ndarray:
    """Return, for each of `old` pixels of an axis, which of the `new` pixels its centre falls into."""
    return ((np.arange(old) + 0.5) * new / old).astype(int)
