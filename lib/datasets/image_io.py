"""Image and mask files to arrays by stated rules, one by one and in stacks; with Pillow and NumPy alone."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps

from lib.datasets.errors import DatasetError, Issue

if TYPE_CHECKING:
    import pandas as pd

    from lib.datasets.region import Region

T = TypeVar("T")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
FOREIGN_SUFFIXES = frozenset({".heic", ".heif", ".avif", ".jp2", ".tga", ".pgm", ".ppm"})
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
FIRST_COUNTS = ("MPO", "GIF", "WEBP")  # of several pictures in one file
CONVERSIONS = {  # of colour modes: how Pillow does it, and where that is right
    "F": (".point(lambda value: 255 * value).convert('L')", ", if its values are 0 to 1"),
    "I": (".convert('I;16')", ", if its values are 0 to 65535"),
}
SMALLEST_SIDE, LARGEST_SIDE, LARGEST_ASPECT = 8, 20_000, 20  # pixels, pixels, long side / short side
LARGEST_AREA = 89_478_485  # pixels: Pillow's own limit against decompression bombs, 256 MiB of RGB

CONVERSION_RULE = (
    "Every image becomes 8-bit RGB: the EXIF orientation is applied; 1-bit becomes 0 and 255; grey is "
    "repeated in three channels; a palette is expanded; alpha is composited on black; 16-bit grey is divided "
    "by 257 and rounded, 16-bit colour keeps its high byte; of several images in a JPEG (MPO), GIF or WebP "
    "the first counts. CMYK, Lab, HSV, floating point, 32-bit integers, and files of several pages are refused by name."
)
RESIZE_RULES: dict[str, str] = {
    "squash": "The image is stretched to a square (bilinear, antialiased); its proportions are lost.",
    "pad": "The image keeps its proportions, is centred, and its edge pixels are repeated up to the square.",
    "crop": "The short side is scaled to the square and the middle is cut out; what lies outside is lost.",
}

MASK_RULE = (
    "A mask pixel is defective where it is brighter than 127 of 255 in any channel, or opaque where alpha varies; in a "
    "mask of numbers from 0 to 31, where it is not 0. Masks of another size are resized, several of an image joined."
)
READERS = 8  # threads: decoding and hashing release the interpreter lock

_PLAIN_MODES = frozenset({"1", "L", "P", "RGB", "LA", "PA", "RGBA"})
_DEEP_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
# What Pillow's readers are seen to raise on damaged files; zlib.error and struct.error have no common base.
DECODER_ERRORS = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError,
                  struct.error, zlib.error)  # fmt: skip


def read_rgb(path: Path) -> np.ndarray:
    """Read an image file as uint8 (H, W, 3) by `CONVERSION_RULE`; raise DatasetError if it cannot be used."""
    return to_rgb(decode(read_bytes(path), path))


def resize_rgb(rgb: np.ndarray, side: int, how: str = "squash") -> np.ndarray:
    """Resize uint8 (H, W, 3) to (side, side, 3) by `RESIZE_RULES[how]`."""
    size = scaled_size(rgb, side, how)
    return fit(np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR)), side, "edge")


def refused(path: Path, issue: str, remedy: str) -> DatasetError:
    """Return the error about one file, for the caller to raise."""
    return DatasetError([Issue(str(path), issue, remedy)])


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; raise DatasetError where it cannot be read or has none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        remedy = "restore it, or give yourself read permission"
        raise refused(path, f"cannot be read ({error.strerror})", remedy) from error
    if not data:
        raise refused(path, "empty file (0 bytes)", "restore or remove it")
    return data


def decode(data: bytes, path: Path) -> Image.Image:
    """Decode every pixel, upright; raise DatasetError for what `CONVERSION_RULE` and the limits exclude."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_header(image, path)
        if image.format == "PNG":
            image.verify()  # the checksums of all chunks; a verified image must be opened again
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        return ImageOps.exif_transpose(image)  # decodes every pixel
    except Image.UnidentifiedImageError:
        kinds = "JPEG, PNG, BMP, TIFF, WebP or GIF"
        raise refused(path, f"not a {kinds} image", "restore, convert or remove it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise refused(path, "decompression bomb", f"scale it below {LARGEST_AREA:,} pixels") from None
    except DECODER_ERRORS as error:
        issue = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise refused(path, f"{issue} image ({error})", "restore or remove it") from error


def _check_header(image: Image.Image, path: Path) -> None:
    width, height = image.size
    size = f"{width} x {height} pixels"
    if width * height > LARGEST_AREA:
        raise refused(path, f"decompression bomb of {size}", f"scale it below {LARGEST_AREA:,} pixels")
    if min(width, height) < SMALLEST_SIDE or max(width, height) > LARGEST_SIDE:
        raise refused(path, size, f"each side must have {SMALLEST_SIDE} to {LARGEST_SIDE:,} pixels")
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise refused(path, size, f"the long side may be {LARGEST_ASPECT} times the short one")
    deep = image.mode in _DEEP_MODES and not image.has_transparency_data
    if not deep and image.mode not in _PLAIN_MODES:
        how, where = CONVERSIONS.get(image.mode, (".convert('RGB')", ""))
        remedy = f"convert it to 8-bit grey or RGB{where}: {_command(path, how)}"
        raise refused(path, f"colour mode {image.mode}", remedy)
    pages = getattr(image, "n_frames", 1)
    if pages > 1 and image.format not in FIRST_COUNTS:
        raise refused(path, f"{pages} pages in one file", f"save one image per file: {_command(path)}")


def _command(path: Path, how: str = "") -> str:
    """Return a command that makes a PNG of a file's first page."""
    png = path.with_name(f"{path.stem}-1.png").name
    return f'python -c "from PIL import Image; Image.open({path.name!r}){how}.save({png!r})"'


def to_rgb(image: Image.Image) -> np.ndarray:
    """Return a decoded image as uint8 (H, W, 3) by `CONVERSION_RULE`."""
    if image.mode in _DEEP_MODES:
        grey = ((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return np.array(image.convert("RGB"))


def scaled_size(array: np.ndarray, side: int, how: str) -> tuple[int, int]:
    """Return width and height after scaling, before padding or cropping."""
    if how == "squash":
        return side, side
    height, width = array.shape[:2]
    reference = max(height, width) if how == "pad" else min(height, width)
    return max(1, round(width * side / reference)), max(1, round(height * side / reference))


def fit(array: np.ndarray, side: int, padding: str) -> np.ndarray:
    """Cut or pad the first two axes, centred, to `side`; `padding` is NumPy's mode for what is added."""
    missing = [max(0, side - length) for length in array.shape[:2]]
    widths = [(n // 2, n - n // 2) for n in missing] + [(0, 0)] * (array.ndim - 2)
    array = np.pad(array, widths, mode=padding)  # type: ignore[call-overload]
    top, left = ((length - side) // 2 for length in array.shape[:2])
    return np.ascontiguousarray(array[top : top + side, left : left + side])


class Examined(NamedTuple):
    """A file that was decoded completely."""

    sha256: str  # of the file
    width: int  # upright, in pixels
    height: int
    pixels: str  # a digest, equal for files of the same image, whatever their formats, names and metadata
    first_of: int  # how many pictures the file holds
    two_tone: bool  # nothing but black and white, as masks are


def examine(path: Path) -> Examined:
    """Read a file once, hash it and decode every pixel; raise DatasetError if it cannot be used."""
    data = read_bytes(path)
    image = decode(data, path)
    rgb = to_rgb(image)
    pixels = hashlib.sha256(str(rgb.shape).encode() + rgb.tobytes())
    first_of = getattr(Image.open(io.BytesIO(data), formats=FORMATS), "n_frames", 1)
    two_tone = bool(np.mean((rgb <= 16) | (rgb >= 239)) > 0.98)
    return Examined(hashlib.sha256(data).hexdigest(), *image.size, pixels.hexdigest(), first_of, two_tone)


def map_files(root: Path, names: Sequence[str], read: Callable[[Path], T]) -> tuple[dict[str, T], dict[str, Issue]]:
    """Apply `read` to all files in parallel; return the results and the issues, both by name.

    An issue names the file at fault, which may be another one below `root`.
    """

    def attempt(name: str) -> T | Issue:
        try:
            return read(root / name)
        except DatasetError as error:
            file = Path(error.issues[0].file)
            return error.issues[0]._replace(file=file.relative_to(root).as_posix())

    with ThreadPoolExecutor(READERS) as pool:
        outcomes = dict(zip(names, pool.map(attempt, names), strict=True))
    issues = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Issue)}
    return {n: outcome for n, outcome in outcomes.items() if not isinstance(outcome, Issue)}, issues


def load_stack(
    root: Path, index: pd.DataFrame, side: int, how: str, out: np.ndarray, region: Region | None = None
) -> np.ndarray:
    """Read all images, or their region, into `out`, uint8 (N, side, side, 3); raises DatasetError with every fault."""
    row_of = {root / path: row for row, path in enumerate(index["path"])}

    def load(path: Path) -> None:
        rgb = read_rgb(path) if region is None else region.cut(read_rgb(path), path)
        out[row_of[path]] = resize_rgb(rgb, side, how)

    _, issues = map_files(root, list(index["path"]), load)
    if issues:
        raise DatasetError(issues.values(), f"{root}: images that could be read before cannot be read now")
    return out
