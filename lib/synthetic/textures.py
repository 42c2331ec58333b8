"""Textures: coloured procedural surfaces, and the bank that DRAEM's simulated anomalies are cut from."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lib.datasets.errors import DatasetError
from lib.datasets.image_io import map_files, read_rgb
from lib.synthetic.dtd import texture_folder
from lib.synthetic.noise import Draws, grid
from lib.synthetic.texture_families import HEIGHTS

FAMILIES: tuple[str, ...] = tuple(HEIGHTS)
BATCH = 32  # surfaces drawn at once: more gains nothing on a CPU and fills its cache
SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, eq=False)
class TextureBank:
    """Textures to draw anomalies from: `images` uint8 (M, 3, side, side), and a `name` that says what they are."""

    images: Tensor
    name: str


def procedural_textures(count: int, side: int, seed: int) -> Tensor:
    """Coloured and grey surfaces, uint8 (count, 3, side, side).

    Texture i is of family `FAMILIES[i % len(FAMILIES)]` and depends on (seed, i, side) alone: a longer run begins
    with the shorter one.
    """
    images = torch.empty((count, 3, side, side), dtype=torch.uint8)
    for number, heights in enumerate(HEIGHTS.values()):
        indices = range(number, count, len(FAMILIES))
        for start in range(0, len(indices), BATCH):
            batch = indices[start : start + BATCH]
            draws = Draws([np.random.default_rng((seed, number, i)) for i in batch], side)
            images[list(batch)] = coloured(heights(draws), draws)
    return images


def load_texture_bank(source: str, side: int, seed: int, count: int = 400) -> TextureBank:
    """Textures from a folder in DTD's layout, or procedural ones.

    `source` is a folder of class folders with jpg or png files (or a folder that holds torchvision's
    `dtd/dtd/images`). Empty: torchvision's copy of DTD under `data/dtd` of the project if it is there
    (nothing is ever downloaded), else `count` procedural textures. From more than `count` files, `seed` draws.
    Images are cropped to the centred square. Raises FileNotFoundError where `source` is missing or holds no image,
    and DatasetError with every image that cannot be read.
    """
    root = texture_folder(source)
    if root is None:
        images = procedural_textures(count, side, seed)
        return TextureBank(images, f"procedural textures ({count}, seed {seed})")
    files = _texture_files(root)
    if len(files) > count:
        keep = np.random.default_rng(seed).choice(len(files), count, replace=False)
        files = [files[i] for i in sorted(keep)]

    def read(path: Path) -> np.ndarray:
        picture = Image.fromarray(read_rgb(path))
        return np.asarray(ImageOps.fit(picture, (side, side), Image.Resampling.BILINEAR))

    squares, issues = map_files(root, files, read)
    if issues:
        raise DatasetError(issues.values(), f"{root}: textures")
    stack = torch.from_numpy(np.stack(list(squares.values()))).permute(0, 3, 1, 2).contiguous()
    return TextureBank(stack, f"DTD folder ({len(files)} images)")


def coloured(height: Tensor, draws: Draws) -> Tensor:
    """Heights (B, side, side) painted with a random colour ramp and lit, uint8 (B, 3, side, side)."""
    height = torch.where(draws.chance(0.5), height, 1.0 - height)
    position, stops = 3.0 * height.clamp(0.0, 1.0).unsqueeze(1), _ramp(draws)
    steps = ((stops[:, k + 1] - stops[:, k]) * (position - k).clamp(0.0, 1.0) for k in range(3))
    colour = stops[:, 0] + sum(steps)  # piecewise linear through the four stops
    relief, (x, y) = _relief(height, draws), grid(draws)
    light = relief + (draws.uniform(-0.5, 0.5) * x + draws.uniform(-0.5, 0.5) * y)  # uneven from side to side
    colour = colour * (1.0 + light).unsqueeze(1)
    grain = (draws.uniform(-0.03, 0.04).clamp_min(0.0) * draws.white()).unsqueeze(1)
    return ((colour + grain).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)


def _ramp(draws: Draws) -> Tensor:
    """Four colours from dark to light, a third of the ramps grey, shape (B, 4, 3, 1, 1)."""
    dark = draws.uniform(0.0, 0.4)
    light = dark + draws.uniform(0.3, 0.6)
    level = dark + (light - dark) * torch.linspace(0, 1, 4, device=draws.device, dtype=draws.dtype).view(4, 1)
    hue = draws.uniform(-1.0, 1.0, (1, 3)) + draws.uniform(0.0, 0.8) * draws.uniform(-1.0, 1.0, (4, 3))
    chroma = torch.where(draws.chance(0.33), 0.0, draws.uniform(0.05, 0.4))
    middle = draws.uniform(-0.15, 0.15, (4, 1))
    return (level + middle + chroma * (hue - hue.mean(-1, keepdim=True)))[..., None, None]


def _relief(height: Tensor, draws: Draws) -> Tensor:
    """Light and shade of the heights under a lamp from one side, for half of the surfaces; (B, side, side)."""
    slope_y, slope_x = torch.gradient(height, dim=(1, 2))
    angle = draws.uniform(0.0, 2 * math.pi)
    strength = torch.where(draws.chance(0.5), 0.0, draws.uniform(0.5, 4.0))
    return (strength * (angle.cos() * slope_x + angle.sin() * slope_y)).clamp(-0.6, 0.6)


def _texture_files(root: Path) -> list[str]:
    """The images below a DTD folder, sorted, as paths below `root`."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such texture folder; give a folder of class folders, or '' for none"
        )
    inner = [root / "dtd" / "dtd" / "images", root / "dtd" / "images", root / "images", root]
    images = next(folder for folder in inner if folder.is_dir())
    found = [file for file in sorted(images.rglob("*")) if file.name[0] != "." and file.is_file()]
    files = [file.relative_to(root).as_posix() for file in found if file.suffix.lower() in SUFFIXES]
    if not files:
        expected = f"class folders with {', '.join(SUFFIXES)} files"
        raise FileNotFoundError(f"{images}: no texture in it; expected {expected}")
    return files
