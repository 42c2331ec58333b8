"""Surfaces: procedural textures, and the bank of textures that DRAEM's simulated anomalies are cut from."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lib.datasets.errors import DatasetError
from lib.datasets.image_io import map_files, read_rgb
from lib.synthetic.noise import Draws, fractal, grid
from lib.synthetic.texture_families import HEIGHTS

FAMILIES: tuple[str, ...] = tuple(HEIGHTS)
BATCH = 32  # surfaces drawn at once: more gains nothing on a CPU and fills its cache
DTD_ROOT = Path(__file__).parents[2] / "data" / "dtd"
SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, eq=False)
class TextureBank:
    """Textures to draw anomalies from: `images` uint8 (M, 3, side, side), and a `name` that says what they are."""

    images: Tensor
    name: str


def height_field(family: str, generator: np.random.Generator, side: int) -> np.ndarray:
    """One surface of a family as heights in [0, 1], float64 (side, side): the base of drawn objects.

    Drawn by a child of `generator`, so that what the caller draws next does not depend on the side.
    """
    return _heights(family)(Draws(generator.spawn(1), side, dtype=torch.float64))[0].numpy()


def noise_field(
    generator: np.random.Generator, side: int, exponent: float, coarsest: float = 1.0
) -> np.ndarray:
    """Fractal noise of mean 0 and deviation 1, float64 (side, side); the smoother, the larger the exponent.

    Drawn by a child of `generator`, like `height_field`.
    """
    return fractal(Draws(generator.spawn(1), side, dtype=torch.float64), exponent, coarsest)[0].numpy()


def procedural_textures(
    count: int, side: int, seed: int, device: torch.device | str = "cpu", family: str | None = None
) -> Tensor:
    """Coloured and grey surfaces, uint8 (count, 3, side, side) on `device`.

    Texture i is of family `FAMILIES[i % len(FAMILIES)]`, or of `family`, and depends on (seed, i, family, side)
    alone: a longer run begins with the shorter one.

    Raises:
        ValueError: an unknown family, a negative count or a side below 8 pixels.
    """
    if count < 0 or side < 8:
        raise ValueError(f"procedural textures: count={count}, side={side}; need count >= 0 and side >= 8")
    chosen = FAMILIES if family is None else (family,)
    images = torch.empty((count, 3, side, side), dtype=torch.uint8, device=device)
    for position, name in enumerate(chosen):
        heights, key = _heights(name), FAMILIES.index(name)
        indices = range(position, count, len(chosen))
        for start in range(0, len(indices), BATCH):
            batch = indices[start : start + BATCH]
            draws = Draws([np.random.default_rng((seed, key, i)) for i in batch], side, device)
            images[list(batch)] = coloured(heights(draws), draws)
    return images


def load_texture_bank(source: str, side: int, seed: int, count: int = 400) -> TextureBank:
    """Textures from a folder in DTD's layout, or procedural ones.

    `source` is a folder of class folders with jpg or png files (or a folder that holds torchvision's
    `dtd/dtd/images`). Empty: torchvision's copy of DTD under `data/dtd` of the project if it is there
    (nothing is ever downloaded), else `count` procedural textures. From more than `count` files, `seed` draws.

    Raises:
        FileNotFoundError: `source` is missing, or holds no image.
        ValueError: `count` is below 1.
        DatasetError: images cannot be read; all of them are named.
    """
    if count < 1:
        raise ValueError(f"texture bank: count={count}; need at least one texture")
    root = texture_folder(source)
    if root is None:
        return TextureBank(
            procedural_textures(count, side, seed), f"procedural textures ({count}, seed {seed})"
        )
    files = _texture_files(root)
    if len(files) > count:
        keep = np.random.default_rng(seed).choice(len(files), count, replace=False)
        files = [files[i] for i in sorted(keep)]
    return TextureBank(_read(files, side, root), f"DTD folder ({len(files)} images)")


def texture_folder(source: str) -> Path | None:
    """The folder that `load_texture_bank` reads: `source`, else torchvision's DTD if it is there, else None."""
    if source:
        return Path(source)
    return DTD_ROOT if DTD_ROOT.is_dir() else None


def _heights(family: str) -> Callable[[Draws], Tensor]:
    if family not in HEIGHTS:
        raise ValueError(f"unknown texture family {family!r}; choose one of {', '.join(FAMILIES)}")
    return HEIGHTS[family]


def coloured(height: Tensor, draws: Draws) -> Tensor:
    """Heights (B, side, side) painted with a random colour ramp and lit, uint8 (B, 3, side, side)."""
    height = torch.where(draws.chance(0.5), height, 1.0 - height)
    position = 3.0 * height.clamp(0.0, 1.0).unsqueeze(1)
    stops = _ramp(draws)
    colour = stops[:, 0] + sum(  # piecewise linear through the four stops
        (stops[:, k + 1] - stops[:, k]) * (position - k).clamp(0.0, 1.0) for k in range(3)
    )
    light = _relief(height, draws) + _falloff(draws)
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


def _falloff(draws: Draws) -> Tensor:
    """An uneven illumination from one side to the other, (B, side, side)."""
    x, y = grid(draws)
    return draws.uniform(-0.5, 0.5) * x + draws.uniform(-0.5, 0.5) * y


def _texture_files(root: Path) -> list[Path]:
    """The images below a DTD folder, sorted by path."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: no such texture folder; give a folder of class folders, or '' for none"
        )
    inner = [root / "dtd" / "dtd" / "images", root / "dtd" / "images", root / "images", root]
    images = next(folder for folder in inner if folder.is_dir())
    files = sorted(
        f for f in images.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file() and f.name[0] != "."
    )
    if not files:
        raise FileNotFoundError(
            f"{images}: no texture in it; expected class folders with {', '.join(SUFFIXES)} files"
        )
    return files


def _read(files: Sequence[Path], side: int, root: Path) -> Tensor:
    """The files as RGB, cropped to the centred square and resized, uint8 (len(files), 3, side, side)."""

    def read(path: Path) -> np.ndarray:
        square = ImageOps.fit(Image.fromarray(read_rgb(path)), (side, side), Image.Resampling.BILINEAR)
        return np.asarray(square)

    images, issues = map_files(root, [file.relative_to(root).as_posix() for file in files], read)
    if issues:
        raise DatasetError(issues.values(), f"{root}: textures")
    return torch.from_numpy(np.stack(list(images.values()))).permute(0, 3, 1, 2).contiguous()
