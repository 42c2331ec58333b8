"""Synthetic products: drawn images in place of those of the paper's three confidential products."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MARKER = "STANDIN.json"
FINEST = 128  # pixels per side that an image is drawn with at least
FEWEST = 8  # images of a class, however small the scale
SEEN = 0.2  # a pixel belongs to the mask from this share of the defect's peak coverage on


# The classes of each product with the paper's counts of images (Table 1), `good` first.
PRODUCTS = {
    "deco_cap": {"good": 203, "flowlines": 198, "marks": 191},
    "shaft": {"good": 528, "big": 2616, "small": 954, "stripe": 151},
    "shavers": {"good": 2676, "double": 244, "interrupted": 598},
}


def image_counts(product: str, scale: float) -> dict[str, int]:
    """Return a product's images per class at a scale, at least `FEWEST` each."""
    return {label: max(FEWEST, round(count * scale)) for label, count in PRODUCTS[product].items()}


def render(
    product: str, label: str, index: int, side: int, seed: int, *, flawed: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """One photograph, uint8 (side, side, 3), and its defect's mask, bool (side, side).

    It depends on the arguments alone. The mask is empty for `good` and never for a defect. `flawed=False` gives the
    same photograph without its defect. The side should have at least 32 pixels, below which the products are lost.
    """
    # Imported here, as most users of this module need the counts alone, and drawing needs PyTorch and SciPy.
    import numpy as np

    from lib.synthetic.deco_cap import deco_cap
    from lib.synthetic.rendering import Canvas, develop
    from lib.synthetic.shaft import shaft
    from lib.synthetic.shavers import shavers

    draw = {"deco_cap": deco_cap, "shaft": shaft, "shavers": shavers}[product]
    name = zlib.crc32(f"{product}/{label}".encode())
    seeds = np.random.SeedSequence((seed, name, index)).spawn(3)
    scene, flaw, camera = (np.random.Generator(np.random.PCG64(s)) for s in seeds)
    finer = -(-FINEST // side)  # small images are drawn larger and averaged, so that edges do not alias
    light, coverage = draw(Canvas(side * finer), label if flawed else "good", scene, flaw)
    light = light.reshape(side, finer, side, finer, 3).mean((1, 3))
    coverage = coverage.reshape(side, finer, side, finer).mean((1, 3))
    peak = coverage.max()
    mask = coverage > SEEN * peak if peak > 0 else np.zeros((side, side), bool)
    return develop(light, Canvas(side), camera), mask


def write_product(
    product: str,
    folder: Path,
    *,
    scale: float = 1.0,
    side: int = 256,
    seed: int = 744,
    progress: Callable[[int, int], Any] | None = None,
) -> None:
    """Write a product's images as PNG files in class folders, with masks in MVTec AD's layout.

    `folder/<class>/<class>_00017.png`, `folder/ground_truth/<class>/<class>_00017_mask.png` (0 and 255; defects
    only) and `folder/STANDIN.json`. The images are drawn in `<folder>.partial` beside it, so that `folder` is either
    whole or not there; an earlier one is replaced. `progress(done, total)` is called after each image. Raises
    FileExistsError where `folder` holds files that are no synthetic product.
    """
    from PIL import Image

    ours = (folder / MARKER).is_file()
    if folder.exists() and not ours and (not folder.is_dir() or any(folder.iterdir())):
        issue = f"holds no synthetic product ({MARKER} is missing); name an empty or a new folder"
        raise FileExistsError(f"{folder}: {issue}")
    partial = folder.with_name(folder.name + ".partial")
    if partial.exists():
        shutil.rmtree(partial)
    counts = image_counts(product, scale)
    done, total = 0, sum(counts.values())
    for label, count in counts.items():
        images, masks = partial / label, partial / "ground_truth" / label
        for inner in (images,) if label == "good" else (images, masks):
            inner.mkdir(parents=True)
        for index in range(count):
            image, mask = render(product, label, index, side, seed)
            Image.fromarray(image).save(images / f"{label}_{index:05d}.png", compress_level=1)
            if label != "good":
                Image.fromarray(mask.astype("uint8") * 255).save(masks / f"{label}_{index:05d}_mask.png")
            done += 1
            if progress is not None:
                progress(done, total)
    about = {"product": product, "scale": scale, "side": side, "seed": seed, "counts": counts}
    (partial / MARKER).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)
