"""Recipes: each is a kind of surface whose instances differ in pose, colour, light and noise, but not in character.

The texture families draw each surface's parameters (sizes, counts, widths) anew. A recipe fixes them, up to a
little play, and leaves what is noise, or a table of tones, to the instance: so one family yields many kinds.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lib.synthetic.noise import Draws, seeded
from lib.synthetic.textures import FAMILIES, HEIGHTS, coloured

PLAY = 0.12  # by how much of its range a recipe's parameter may differ between instances


class RecipeDraws(Draws):
    """Draws whose single numbers come from the recipe, with some play, and all else from the instance."""

    def __init__(
        self, recipe: torch.Generator, instance: torch.Generator, side: int, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(1, instance, side, device)
        self.recipe = recipe

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = (1, 1)) -> Tensor:
        """Uniform numbers in [low, high), shape (1, *shape)."""
        if math.prod(shape) > 1:
            return super().uniform(low, high, shape)
        fixed, own = (torch.rand((1, *shape), generator=each) for each in (self.recipe, self.generator))
        share = (fixed + PLAY * (own - 0.5)).abs()  # reflected at both ends, so that it stays in [0, 1]
        share = torch.where(share > 1, 2 - share, share)
        return (low + (high - low) * share).to(self.device)


def recipe_surfaces(
    recipes: Sequence[int], instances: Sequence[int], side: int, seed: int, device: torch.device | str = "cpu"
) -> Tensor:
    """One surface per pair of recipe and instance, uint8 (B, 3, side, side) on `device`.

    Recipe r is of family `FAMILIES[r % len(FAMILIES)]`; a surface depends on (seed, recipe, instance, side) alone.
    ValueError where the two lists differ in length or hold a negative number.
    """
    if len(recipes) != len(instances) or any(n < 0 for n in (*recipes, *instances)):
        raise ValueError(f"{len(recipes)} recipes, {len(instances)} instances: need as many, none negative")
    images = torch.empty((len(recipes), 3, side, side), dtype=torch.uint8, device=device)
    for row, (recipe, instance) in enumerate(zip(recipes, instances, strict=True)):
        generator = seeded(seed, 2, recipe, instance)
        height = HEIGHTS[FAMILIES[recipe % len(FAMILIES)]]
        surface = height(RecipeDraws(seeded(seed, 1, recipe), generator, side, device))
        images[row] = coloured(surface, Draws(1, generator, side, device))[0]
    return images
