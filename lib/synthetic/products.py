"""Synthetic products: drawn images in place of those of the paper's three confidential products."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

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
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> None:
    """Write a product's images as PNG files in class folders, with masks in MVTec AD's layout.

    `folder/<class>/<class>_00017.png`, and for defects `folder/ground_truth/<class>/<class>_00017_mask.png` (0 and
    255). `progress(done, total)` is called after each image.
    """
    import numpy as np
    from PIL import Image

    counts = image_counts(product, scale)
    wanted = [(label, index) for label, count in counts.items() for index in range(count)]
    for done, (label, index) in enumerate(wanted, start=1):
        image, mask = render(product, label, index, side, seed)
        files = {folder / label / f"{label}_{index:05d}.png": image}
        if label != "good":
            masks = folder / "ground_truth" / label
            files[masks / f"{label}_{index:05d}_mask.png"] = mask * np.uint8(255)
        for path, pixels in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path, compress_level=1)
        progress(done, len(wanted))
