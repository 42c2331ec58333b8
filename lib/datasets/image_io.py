"""Image files to pixels by one stated rule, with Pillow and NumPy alone: what a line needs of this library too."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lib.datasets.errors import DatasetError, Issue

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
FOREIGN_SUFFIXES = frozenset({".gif", ".webp", ".heic", ".heif", ".avif", ".jp2", ".tga", ".pgm", ".ppm"})
FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
SMALLEST_SIDE, LARGEST_SIDE, LARGEST_ASPECT = 8, 20_000, 20  # pixels, pixels, long side / short side
LARGEST_AREA = 89_478_485  # pixels: Pillow's own limit against decompression bombs, 256 MiB of RGB

CONVERSION_RULE = (
    "Every image becomes 8-bit RGB: the EXIF orientation is applied; 1-bit becomes 0 and 255; grey is "
    "repeated in three channels; a palette is expanded; alpha is composited on black; 16-bit grey is divided "
    "by 257 and rounded, 16-bit colour keeps its high byte; of a JPEG with further pictures (MPO) the first "
    "counts. CMYK, Lab, HSV, floating point, 32-bit integers, and files of several pages are refused by name."
)
RESIZE_RULES: dict[str, str] = {
    "squash": "The image is stretched to a square (bilinear, antialiased); its proportions are lost.",
    "pad": "The image keeps its proportions, is centred, and its edge pixels are repeated up to the square.",
    "crop": "The short side is scaled to the square and the middle is cut out; what lies outside is lost.",
}

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


def read_rgb(path: Path) -> np.ndarray:
    """Read an image file as uint8 (H, W, 3) by `CONVERSION_RULE`; raise DatasetError if it cannot be used."""
    return to_rgb(decode(read_bytes(path), path))


def resize_rgb(rgb: np.ndarray, side: int, how: str = "squash") -> np.ndarray:
    """Resize uint8 (H, W, 3) to (side, side, 3) by `RESIZE_RULES[how]`."""
    height, width = scaled_size(rgb.shape[0], rgb.shape[1], side, how)
    scaled = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(fit(scaled, side, "edge"))


def refused(path: Path, issue: str, remedy: str) -> DatasetError:
    """Return the error that refuses one file, for the caller to raise."""
    return DatasetError([Issue(str(path), issue, remedy)])


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; raise DatasetError where it cannot be read or has none."""
    try:
        data = Path(path).read_bytes()
    except PermissionError:
        raise refused(path, "no permission to read it", "give yourself read permission") from None
    except OSError as error:
        raise refused(path, f"cannot be read ({error.strerror})", "restore or remove it") from error
    if not data:
        raise refused(path, "empty file (0 bytes)", "restore or remove it")
    return data


def decode(data: bytes, path: Path) -> Image.Image:
    """Decode every pixel, upright; raise DatasetError for whatever `CONVERSION_RULE` and the limits refuse."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_header(image, path)
        if image.format == "PNG":
            image.verify()  # the checksums of all chunks; a verified image must be opened again
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        return ImageOps.exif_transpose(image)  # decodes every pixel
    except Image.UnidentifiedImageError:
        raise refused(path, "not a JPEG, PNG, BMP or TIFF image", "restore, convert or remove it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise refused(path, "decompression bomb", f"scale it below {LARGEST_AREA:,} pixels") from None
    except DECODER_ERRORS as error:
        issue = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise refused(path, f"{issue} image ({error})", "restore or remove it") from error


def _check_header(image: Image.Image, path: Path) -> None:
    width, height = image.size
    if width * height > LARGEST_AREA:
        raise refused(
            path,
            f"decompression bomb of {width} x {height} pixels",
            f"scale it below {LARGEST_AREA:,} pixels",
        )
    if min(width, height) < SMALLEST_SIDE or max(width, height) > LARGEST_SIDE:
        raise refused(
            path,
            f"{width} x {height} pixels",
            f"each side must have {SMALLEST_SIDE} to {LARGEST_SIDE:,} pixels",
        )
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise refused(
            path, f"{width} x {height} pixels", f"the long side may be {LARGEST_ASPECT} times the short one"
        )
    deep = image.mode in _DEEP_MODES and not image.has_transparency_data
    if not deep and image.mode not in _PLAIN_MODES:
        raise refused(path, f"colour mode {image.mode}", "convert it to 8-bit grey or RGB")
    pages = getattr(image, "n_frames", 1)
    if pages > 1 and image.format != "MPO":
        raise refused(path, f"{pages} pages in one file", "save one image per file")


def to_rgb(image: Image.Image) -> np.ndarray:
    """Return a decoded image as uint8 (H, W, 3) by `CONVERSION_RULE`."""
    if image.mode in _DEEP_MODES:
        grey = ((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return np.array(image.convert("RGB"))


def scaled_size(height: int, width: int, side: int, how: str) -> tuple[int, int]:
    """Return the size after scaling, before padding or cropping: rows and columns in pixels."""
    if how not in RESIZE_RULES:
        raise ValueError(f"resize rule {how!r} is unknown: choose one of {', '.join(RESIZE_RULES)}")
    if side < 1:
        raise ValueError(f"side is {side}: images need at least 1 pixel")
    if how == "squash":
        return side, side
    reference = max(height, width) if how == "pad" else min(height, width)
    return max(1, round(height * side / reference)), max(1, round(width * side / reference))


def fit(array: np.ndarray, side: int, padding: str) -> np.ndarray:
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
