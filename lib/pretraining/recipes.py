"""Recipes: each is a kind of surface whose instances differ in pose, colour, light and noise, but not in character.

The texture families draw each surface's parameters (sizes, counts, widths) anew. A recipe fixes them, up to a
little play, and leaves what is noise, or a table of tones, to the instance: so one family yields many kinds.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lib.synthetic.noise import Draws
from lib.synthetic.textures import FAMILIES, HEIGHTS, coloured

PLAY = 0.12  # by how much of its range a recipe's parameter may differ between instances


class RecipeDraws(Draws):
    """Draws whose single numbers come from the recipes, with some play, and all else from the instances."""

    def __init__(
        self,
        recipes: Sequence[np.random.Generator],
        instances: Sequence[np.random.Generator],
        side: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(instances, side, device)
        self.recipes = recipes

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = (1, 1)) -> Tensor:
        """Uniform numbers in [low, high), shape (B, *shape)."""
        if math.prod(shape) > 1:
            return super().uniform(low, high, shape)
        fixed = np.array([g.random() for g in self.recipes])
        own = np.array([g.random() for g in self.generators])
        share = fixed + PLAY * (own - 0.5)
        share = np.abs(share)  # reflected at both ends, so that it stays in [0, 1]
        share = np.where(share > 1, 2 - share, share)
        return self._tensor([low + (high - low) * share]).view(-1, *shape)


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
    families = np.asarray(recipes) % len(FAMILIES)
    for family in np.unique(families):
        chosen = np.flatnonzero(families == family)
        draws = RecipeDraws(
            [np.random.default_rng((seed, 1, recipes[i])) for i in chosen.tolist()],
            [np.random.default_rng((seed, 2, recipes[i], instances[i])) for i in chosen.tolist()],
            side,
            device,
        )
        heights = HEIGHTS[FAMILIES[family]](draws)
        images[torch.from_numpy(chosen).to(device)] = coloured(heights, Draws(draws.generators, side, device))
    return images
