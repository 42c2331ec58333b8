"""Image files to arrays: decode by one stated rule, check at the door, resize images and masks alike."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from scipy import ndimage

from lib.data.faults import DataError, Fault

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
SMALLEST_SIDE, LARGEST_SIDE, LARGEST_ASPECT = 8, 20_000, 20  # pixels, pixels, long side / short side
LARGEST_AREA = 89_478_485  # pixels: Pillow's own limit against decompression bombs, 256 MiB of RGB
READERS = 8  # threads: decoding and hashing release the interpreter lock

CONVERSION_RULE = (
    "Every image becomes 8-bit RGB: the EXIF orientation is applied; 1-bit becomes 0 and 255; grey is "
    "repeated in three channels; a palette is expanded; alpha is composited on black; 16-bit grey is divided "
    "by 257 and rounded, 16-bit colour keeps its high byte; of a JPEG with further pictures (MPO) the first "
    "counts. CMYK, Lab, HSV, floating point, 32-bit integers, and files of several pages are refused by name."
)
MASK_RULE = (
    "A mask pixel is defective where it is brighter than 127 of 255 in any channel; in a mask that holds "
    "only 0 and 1, where it is 1."
)
RESIZE_RULES: dict[str, str] = {
    "squash": "The image is stretched to a square (bilinear, antialiased); its proportions are lost.",
    "pad": "The image keeps its proportions, is centred, and its edge pixels are repeated up to the square.",
    "crop": "The short side is scaled to the square and the middle is cut out; what lies outside is lost.",
}
MASK_RESIZE_RULE = (
    "Masks follow their images. A resized pixel is defective where at least half of its area is; a connected "
    "defect too small for that keeps its best covered pixel, so that scaling loses none. Padding is never "
    "defective."
)

_PLAIN_MODES = frozenset({"1", "L", "P", "RGB", "LA", "PA", "RGBA"})
_DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
)  # what Pillow's readers are seen to raise on damaged files


@dataclass(frozen=True)
class Examined:
    """A file that was decoded completely: its SHA-256, its upright size in pixels, its pixels' digest.

    Files of the same `pixels` show the same picture, whatever their formats, names and metadata.
    """

    sha256: str
    width: int
    height: int
    pixels: str


def read_rgb(path: Path) -> np.ndarray:
    """Read an image file as uint8 (H, W, 3) by `CONVERSION_RULE`; raise DataError if it cannot be used."""
    return _to_rgb(_decode(_read_bytes(path), path))


def read_mask(path: Path) -> np.ndarray:
    """Read a mask file as bool (H, W) by `MASK_RULE`; raise DataError if it cannot be used."""
    image = _decode(_read_bytes(path), path)
    plain = image.mode == "L" and not image.has_transparency_data  # spares three copies of the usual mask
    grey = np.asarray(image) if plain else _to_rgb(image).max(axis=2)
    brightest = int(grey.max())
    if 1 < brightest <= 127:
        raise _refused(
            path,
            f"mask whose brightest value is {brightest} of 255",
            "write defects as 255 (or all masks as 0 and 1)",
        )
    return grey > (0 if brightest == 1 else 127)


def examine(path: Path) -> Examined:
    """Read a file once, hash it and decode every pixel; raise DataError if it cannot be used."""
    data = _read_bytes(path)
    image = _decode(data, path)
    rgb = _to_rgb(image)
    digest = hashlib.sha256(str(rgb.shape).encode())
    digest.update(rgb.tobytes())
    return Examined(hashlib.sha256(data).hexdigest(), *image.size, digest.hexdigest())


def resize_rgb(rgb: np.ndarray, side: int, how: str = "squash") -> np.ndarray:
    """Resize uint8 (H, W, 3) to (side, side, 3) by `RESIZE_RULES[how]`."""
    height, width = _scaled_size(rgb.shape[0], rgb.shape[1], side, how)
    scaled = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(_fit(scaled, side, "edge"))


def resize_mask(mask: np.ndarray, side: int, how: str = "squash") -> np.ndarray:
    """Resize bool (H, W) to (side, side) as `resize_rgb` does its image, by `MASK_RESIZE_RULE`."""
    height, width = _scaled_size(mask.shape[0], mask.shape[1], side, how)
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
    return np.ascontiguousarray(_fit(scaled, side, "constant"))


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
    an `out` of another shape or dtype, and DataError with every file that could not be read.
    """
    expected = (len(index), side, side, 3)
    if out.shape != expected or out.dtype != np.uint8:
        raise ValueError(f"out is {out.dtype} {out.shape}, but these images need uint8 {expected}")
    _scaled_size(1, 1, side, how)  # refuse a bad side or rule before the first file is read

    def load(row: int, path: str) -> tuple[Fault, ...]:
        try:
            out[row] = resize_rgb(read_rgb(Path(root, path)), side, how)
        except DataError as error:
            return error.faults
        return ()

    faults: list[Fault] = []
    with ThreadPoolExecutor(READERS) as pool:
        for found in pool.map(load, range(len(index)), index["path"]):
            faults += found
            if progress is not None:
                progress(1)
    if faults:
        raise DataError(faults, f"{root}: images that could be read before cannot be read now")
    return out


def load_masks(root: Path, index: pd.DataFrame, side: int, how: str) -> Iterator[np.ndarray | None]:
    """Yield, in the order of `index`, each image's mask as bool (side, side), or None where it has none."""
    for mask in index["mask"]:
        yield None if pd.isna(mask) else resize_mask(read_mask(Path(root, mask)), side, how)


def _refused(path: Path, fault: str, way_out: str) -> DataError:
    return DataError([Fault(str(path), fault, way_out)])


def _read_bytes(path: Path) -> bytes:
    try:
        data = Path(path).read_bytes()
    except PermissionError:
        raise _refused(path, "no permission to read it", "give yourself read permission") from None
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})", "restore or remove it") from error
    if not data:
        raise _refused(path, "empty file (0 bytes)", "restore or remove it")
    return data


def _decode(data: bytes, path: Path) -> Image.Image:
    """Decode every pixel, upright; raise DataError for whatever `CONVERSION_RULE` and the limits refuse."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_header(image, path)
        if image.format == "PNG":
            image.verify()  # the checksums of all chunks; a verified image must be opened again
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        return ImageOps.exif_transpose(image)  # decodes every pixel
    except Image.UnidentifiedImageError:
        raise _refused(path, "not a JPEG, PNG, BMP or TIFF image", "restore, convert or remove it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _refused(path, "decompression bomb", f"scale it below {LARGEST_AREA:,} pixels") from None
    except DECODER_ERRORS as error:
        fault = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise _refused(path, f"{fault} image ({error})", "restore or remove it") from error


def _check_header(image: Image.Image, path: Path) -> None:
    width, height = image.size
    if width * height > LARGEST_AREA:
        raise _refused(
            path,
            f"decompression bomb of {width} x {height} pixels",
            f"scale it below {LARGEST_AREA:,} pixels",
        )
    if min(width, height) < SMALLEST_SIDE or max(width, height) > LARGEST_SIDE:
        raise _refused(
            path,
            f"{width} x {height} pixels",
            f"each side must have {SMALLEST_SIDE} to {LARGEST_SIDE:,} pixels",
        )
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise _refused(
            path, f"{width} x {height} pixels", f"the long side may be {LARGEST_ASPECT} times the short one"
        )
    deep = image.mode in _DEEP_MODES and not image.has_transparency_data
    if not deep and image.mode not in _PLAIN_MODES:
        raise _refused(path, f"colour mode {image.mode}", "convert it to 8-bit grey or RGB")
    pages = getattr(image, "n_frames", 1)
    if pages > 1 and image.format != "MPO":
        raise _refused(path, f"{pages} pages in one file", "save one image per file")


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in _DEEP_MODES:
        grey = ((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return np.array(image.convert("RGB"))


def _scaled_size(height: int, width: int, side: int, how: str) -> tuple[int, int]:
    """Return the size after scaling, before padding or cropping: rows and columns in pixels."""
    if how not in RESIZE_RULES:
        raise ValueError(f"resize rule {how!r} is unknown: choose one of {', '.join(RESIZE_RULES)}")
    if side < 1:
        raise ValueError(f"side is {side}: images need at least 1 pixel")
    if how == "squash":
        return side, side
    reference = max(height, width) if how == "pad" else min(height, width)
    return max(1, round(height * side / reference)), max(1, round(width * side / reference))


def _new_positions(old: int, new: int) -> np.ndarray:
    """Return, for each of `old` pixels of an axis, which of the `new` pixels its centre falls into."""
    return ((np.arange(old) + 0.5) * new / old).astype(int)


def _fit(array: np.ndarray, side: int, padding: str) -> np.ndarray:
    """Cut or pad the first two axes, centred, to `side`; `padding` is NumPy's mode for what is added."""
    for axis in (0, 1):
        excess = array.shape[axis] - side
        if excess > 0:
            array = np.take(array, range(excess // 2, excess // 2 + side), axis=axis)
        elif excess < 0:
            widths = [(0, 0)] * array.ndim
            before = -excess // 2
            widths[axis] = (before, -excess - before)
            array = np.pad(array, widths, mode=padding)  # type: ignore[call-overload]
    return array
