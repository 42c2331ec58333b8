"""Stand-ins for the paper's three confidential products: procedural photographs in class folders."""

import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from PIL import Image

from lib.synthetic.deco_cap import deco_cap
from lib.synthetic.rendering import Array, Canvas, develop
from lib.synthetic.shaft import shaft
from lib.synthetic.shavers import shavers

VERSION = 1  # raise it whenever a picture changes
MARKER = "STANDIN.json"
SMALLEST = 32  # pixels per side that still show the products
FINEST = 128  # pixels per side that a picture is drawn with at least
FEWEST = 8  # pictures of a class, however small the scale
SEEN = 0.2  # a pixel belongs to the mask from this share of the defect's peak coverage on

Draw = Callable[[Canvas, str, Generator, Generator], tuple[Array, Array]]


@dataclass(frozen=True)
class ProductSpec:
    """A product: its classes with the paper's counts (Table 1, `good` first), and how to draw it."""

    title: str
    counts: dict[str, int]
    draw: Draw

    def scaled(self, scale: float) -> dict[str, int]:
        """Counts at a scale, at least `FEWEST` each."""
        return {label: max(FEWEST, round(count * scale)) for label, count in self.counts.items()}


PRODUCTS: dict[str, ProductSpec] = {
    "deco_cap": ProductSpec("Deco cap", {"good": 203, "flowlines": 198, "marks": 191}, deco_cap),
    "shaft": ProductSpec("Shaft", {"good": 528, "big": 2616, "small": 954, "stripe": 151}, shaft),
    "shavers": ProductSpec("Shavers", {"good": 2676, "double": 244, "interrupted": 598}, shavers),
}


def render(
    product: str, label: str, index: int, side: int, seed: int, *, flawed: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """One photograph, uint8 (side, side, 3), and its defect's mask, bool (side, side).

    It depends on the arguments alone. The mask is empty for `good` and never for a defect. `flawed=False` gives the
    same photograph without its defect.

    Raises:
        ValueError: an unknown product or label, or a side below 32 pixels.
    """
    spec = _product(product)
    if label not in spec.counts:
        raise ValueError(f"{product} has no class {label!r}; choose one of {', '.join(spec.counts)}")
    _check_side(side)
    name = zlib.crc32(f"{product}/{label}".encode())
    scene, flaw, camera = (Generator(PCG64(s)) for s in SeedSequence((seed, name, index)).spawn(3))
    finer = -(-FINEST // side)  # small pictures are drawn larger and averaged, so that edges do not alias
    light, coverage = spec.draw(Canvas(side * finer), label if flawed else "good", scene, flaw)
    light = light.reshape(side, finer, side, finer, 3).mean((1, 3))
    coverage = coverage.reshape(side, finer, side, finer).mean((1, 3))
    peak = coverage.max()
    mask = coverage > SEEN * peak if peak > 0 else np.zeros((side, side), bool)
    return develop(light, Canvas(side), camera), mask


def write_standin(
    product: str,
    folder: Path,
    *,
    scale: float = 1.0,
    side: int = 256,
    seed: int = 744,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a product's stand-in as PNG files in class folders, with masks in MVTec AD's layout.

    `folder/<class>/<class>_00017.png`, `folder/ground_truth/<class>/<class>_00017_mask.png` (0 and 255; defects
    only) and, last of all, `folder/STANDIN.json`. The pictures are drawn in `<folder>.partial` beside it, so that
    `folder` is either whole or not there. A stand-in with the same settings is kept as it is; one with others is
    replaced. `progress(done, total)` is called after each picture.

    Raises:
        ValueError: an unknown product, a side below 32 pixels or a scale that is not positive.
        FileExistsError: `folder` holds files that are no stand-in.
    """
    if not scale > 0:
        raise ValueError(f"scale={scale}: must be positive (1 gives the paper's counts)")
    _check_side(side)
    counts = _product(product).scaled(scale)
    settings = {
        "product": product,
        "scale": scale,
        "side": side,
        "seed": seed,
        "counts": counts,
        "version": VERSION,
    }
    if _stands(folder, settings):
        return
    partial = folder.with_name(folder.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    done, total = 0, sum(counts.values())
    for label, count in counts.items():
        pictures, masks = partial / label, partial / "ground_truth" / label
        pictures.mkdir(parents=True)
        if label != "good":
            masks.mkdir(parents=True)
        for index in range(count):
            picture, mask = render(product, label, index, side, seed)
            Image.fromarray(picture).save(pictures / f"{label}_{index:05d}.png", compress_level=1)
            if label != "good":
                Image.fromarray(mask.astype(np.uint8) * 255).save(masks / f"{label}_{index:05d}_mask.png")
            done += 1
            if progress is not None:
                progress(done, total)
    (partial / MARKER).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def _stands(folder: Path, settings: dict[str, object]) -> bool:
    """Whether the folder holds this very stand-in; refuses a folder that is not ours to replace."""
    marker = folder / MARKER
    if marker.is_file():
        return bool(json.loads(marker.read_text(encoding="utf-8")) == settings)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder}: holds no stand-in ({MARKER} is missing); name an empty or a new folder"
        )
    return False


def _check_side(side: int) -> None:
    if side < SMALLEST:
        raise ValueError(f"side={side}: a stand-in needs at least {SMALLEST} pixels")


def _product(product: str) -> ProductSpec:
    if product not in PRODUCTS:
        raise ValueError(f"unknown product {product!r}; choose one of {', '.join(PRODUCTS)}")
    return PRODUCTS[product]
