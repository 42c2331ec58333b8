"""What the backbone is pretrained on: views of procedural surfaces by recipe, half of them with a defect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lib.pretraining.defects import KINDS, flawed
from lib.pretraining.recipes import recipe_surfaces
from lib.synthetic.noise import Draws
from lib.synthetic.textures import FAMILIES

CELL = 16  # pixels per cell of layer 3
SEEN = 0.3  # coverage from which on a cell counts as flawed


@dataclass(frozen=True)
class PretrainSettings:
    """What the pretrained weights depend on."""

    recipes: int = 300  # kinds of surface, the classes of the first head
    defects: bool = True  # flaws on half of the images, and a second head that names them
    located: bool = True  # two more heads that say in which cells of layers 3 and 4 the flaw is
    steps: int = 4500
    batch: int = 64
    sides: tuple[tuple[float, int], ...] = ((0.0, 96), (0.75, 128))  # from which share of the steps on
    drawn_side: int = 128  # surfaces are drawn at this side; views are cut from them
    pool: int = 4096  # surfaces at hand at any time
    fresh: int = 16  # surfaces drawn anew at each step, for the oldest of the pool
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    seed: int = 744
    bfloat16: bool = False  # convolutions in bfloat16: twice as fast where the processor has it
    checkpoint_every: int = 200  # steps; changes no result

    def __post_init__(self) -> None:
        least = ("recipes", "steps", "batch", "drawn_side", "pool", "fresh", "checkpoint_every")
        issues = [
            f"{name} must be at least 1, got {getattr(self, name)}"
            for name in least
            if getattr(self, name) < 1
        ]
        if self.fresh > self.pool:
            issues.append(f"fresh={self.fresh} is more than pool={self.pool}")
        if self.located and not self.defects:
            issues.append("located=True needs defects=True")
        if any(side % (2 * CELL) for _, side in self.sides):
            issues.append(f"sides must be multiples of {2 * CELL}, got {self.sides}")
        if not self.sides or self.sides[0][0] != 0:
            issues.append(f"sides must begin at share 0, got {self.sides}")
        if issues:
            raise ValueError("; ".join(issues))

    def side_at(self, step: int) -> int:
        """Side of the images at step 0, 1, ..."""
        return [side for share, side in self.sides if step >= share * self.steps][-1]

    def lr_at(self, step: int) -> float:
        """Learning rate of step 0, 1, ...: warmed up over the first 5 %, then a cosine down to nothing."""
        warm = max(1, round(0.05 * self.steps))
        if step < warm:
            return self.lr * (step + 1) / warm
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm)))


class Batch(NamedTuple):
    """Images (B,3,side,side) in [0,1], the recipe of each and its defect: 0 for none, else 1 + its kind's number.

    `cells` (B,side/16,side/16) says the same of each cell of 16 pixels: the defect, where it covers a part of the cell.
    """

    images: Tensor
    recipes: Tensor
    defects: Tensor
    cells: Tensor


class Source:
    """Batches of views of a pool of surfaces, the oldest replaced step by step.

    A step's batch depends on the settings and the step's number alone.
    """

    def __init__(self, settings: PretrainSettings, device: torch.device | str = "cpu") -> None:
        self.settings, self.device = settings, torch.device(device)
        self.images = torch.empty(
            (settings.pool, 3, settings.drawn_side, settings.drawn_side),
            dtype=torch.uint8,
            device=self.device,
        )
        self.recipes = np.empty(settings.pool, np.int64)
        self.drawn = -1  # surfaces up to this number, exclusively, stand in the pool; -1: none yet

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        self._fill(self.settings.pool + step * self.settings.fresh)
        rng = np.random.default_rng((self.settings.seed, 3, step))
        chosen = rng.integers(0, self.settings.pool, self.settings.batch)
        images = self.images[torch.from_numpy(chosen).to(self.device)].float() / 255
        side = self.settings.side_at(step)
        draws = Draws(
            [np.random.default_rng((self.settings.seed, 4, step, i)) for i in range(len(chosen))],
            side,
            self.device,
        )
        images = softened(viewed(images, draws), draws)
        defects = np.zeros(len(chosen), np.int64)
        cells = torch.zeros((len(chosen), side // CELL, side // CELL), dtype=torch.int64, device=self.device)
        if self.settings.defects:
            defects[: len(chosen) // 2] = 1 + rng.integers(0, len(KINDS), len(chosen) // 2)
            for number in np.unique(defects[defects > 0]):
                here = np.flatnonzero(defects == number)
                some = Draws([draws.generators[i] for i in here.tolist()], side, self.device)
                rows = torch.from_numpy(here).to(self.device)
                images[rows], cover = flawed(images[rows], list(KINDS)[number - 1], some)
                cells[rows] = (F.max_pool2d(cover, CELL) > SEEN) * int(number)
        recipes, kinds = (torch.from_numpy(part).to(self.device) for part in (self.recipes[chosen], defects))
        return Batch(photographed(images, draws), recipes, kinds, cells)

    def _fill(self, upto: int) -> None:
        settings = self.settings
        first = max(0, upto - settings.pool) if self.drawn < 0 or upto < self.drawn else self.drawn
        for start in range(first, upto, 256):
            numbers = np.arange(start, min(start + 256, upto))
            # every recipe once before any comes again, in another order each time
            rounds, places = numbers // settings.recipes, numbers % settings.recipes
            recipes = np.array(
                [
                    _order(settings.seed, int(r), settings.recipes)[p]
                    for r, p in zip(rounds, places, strict=True)
                ]
            )
            drawn = recipe_surfaces(
                recipes.tolist(), rounds.tolist(), settings.drawn_side, settings.seed, self.device
            )
            slots = numbers % settings.pool
            self.images[torch.from_numpy(slots).to(self.device)] = drawn
            self.recipes[slots] = recipes
        self.drawn = upto


@lru_cache(maxsize=64)
def _order(seed: int, number: int, recipes: int) -> np.ndarray:
    return np.random.default_rng((seed, 5, number)).permutation(recipes)


def views(recipes: Sequence[int], count: int, side: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Show `count` photographed instances of each recipe: uint8 (n, side, side, 3), and the family of each."""
    wanted = [recipe for recipe in recipes for _ in range(count)]
    surfaces = recipe_surfaces(wanted, list(range(count)) * len(recipes), 128, PretrainSettings.seed)
    draws = Draws([np.random.default_rng((seed, i)) for i in range(len(wanted))], side)
    images = photographed(viewed(surfaces.float() / 255, draws), draws)
    shown = (images * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return shown, [FAMILIES[recipe % len(FAMILIES)] for recipe in wanted]


def viewed(images: Tensor, draws: Draws) -> Tensor:
    """Images (B,3,H,W) turned by right angles and a little, mirrored, zoomed and shifted, at the side of `draws`."""
    count = len(images)
    angle = (draws.integers(0, 4) * (math.pi / 2) + draws.uniform(-0.2, 0.2)).flatten()
    zoom = draws.uniform(0.65, 1.0).flatten()  # share of the image's side that is seen
    mirror = torch.where(draws.chance(0.5), 1.0, -1.0).flatten()
    shift = draws.uniform(-0.5, 0.5, (2, 1)).flatten(1) * (1.0 - zoom)[:, None] * 2
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    theta = torch.stack((cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]), dim=1).view(
        count, 2, 3
    )
    field = F.affine_grid(theta, [count, 3, draws.side, draws.side], align_corners=False)
    return F.grid_sample(images, field, padding_mode="reflection", align_corners=False)


def softened(images: Tensor, draws: Draws) -> Tensor:
    """Images (B,3,H,W), half of them with less contrast than they had, down to a tenth: plain surfaces."""
    mean = images.mean((2, 3), keepdim=True)
    contrast = torch.where(draws.chance(0.5), 1.0, draws.log_uniform(0.1, 1.0)).unsqueeze(1)
    return mean + contrast * (images - mean)


def photographed(images: Tensor, draws: Draws) -> Tensor:
    """Images in [0,1] as cameras would have them: grey for many, other light, contrast, gamma, blur and noise."""
    grey = (images * torch.tensor([0.3, 0.59, 0.11], device=images.device).view(3, 1, 1)).sum(1, keepdim=True)
    colour = torch.where(draws.chance(0.4), 0.0, draws.uniform(0.2, 1.0)).unsqueeze(1)
    images = grey + colour * (images - grey)
    soft = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    sharpness = torch.where(draws.chance(0.7), 1.0, draws.uniform(0.3, 1.5)).unsqueeze(1)
    images = soft + sharpness * (images - soft)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + draws.log_uniform(0.75, 1.3).unsqueeze(1) * (images - mean)
    images = images * draws.log_uniform(0.8, 1.25).unsqueeze(1) + draws.uniform(-0.05, 0.05).unsqueeze(1)
    images = images.clamp(1e-4, 1.0) ** draws.log_uniform(0.8, 1.25).unsqueeze(1)
    noise = draws.white().unsqueeze(1) * torch.where(
        draws.chance(0.6), 0.0, draws.uniform(0.0, 0.03)
    ).unsqueeze(1)
    return (images + noise).clamp(0.0, 1.0)
