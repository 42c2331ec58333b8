"""Drawn surfaces by recipe, defects on them, and their views."""

import pytest
import torch
from torch.nn import functional as F

from lib.pretraining.recipes import recipe_surfaces
from lib.pretraining.views import photographed, softened
from lib.synthetic.defects import KINDS, flawed
from lib.synthetic.noise import Draws, seeded, viewed


def test_a_recipe_keeps_its_character_and_an_instance_its_own_noise():
    same = recipe_surfaces([4, 4, 34, 34], [0, 1, 0, 1], 64, seed=3)
    assert torch.equal(same, recipe_surfaces([4, 4, 34, 34], [0, 1, 0, 1], 64, seed=3))
    assert torch.equal(same[2:3], recipe_surfaces([34], [0], 64, seed=3))  # whatever the batch
    assert not torch.equal(same[0], same[1])
    with pytest.raises(ValueError, match="2 recipes, 1 instances"):
        recipe_surfaces([1, 2], [0], 32, seed=0)

    def spectra(recipe):
        grey = recipe_surfaces([recipe] * 12, list(range(12)), 64, seed=3).float().mean(1)
        power = torch.fft.rfft2(grey - grey.mean((1, 2), keepdim=True)).abs().flatten(1)
        return F.normalize(power, dim=1)

    one, other = spectra(7), spectra(22)  # two recipes of the same family
    within = (one @ one.T).sum().sub(12).div(132)
    assert within > (one @ other.T).mean() + 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_each_defect_is_seen_inside_its_cover_and_nowhere_else(kind):
    images = recipe_surfaces(list(range(15)), [0] * 15, 64, seed=1).float() / 255

    def draws():
        return Draws(15, seeded(5), 64)

    changed, cover = flawed(images, kind, draws())
    assert changed.shape == images.shape and cover.shape == (15, 64, 64)
    assert cover.min() >= 0 and cover.max() <= 1
    differs = (changed - images).abs().amax(1)
    assert (differs[cover == 0] == 0).all()
    assert ((differs > 0.02).flatten(1).sum(1) >= 3).float().mean() > 0.8  # to be seen on most surfaces
    assert torch.equal(changed, flawed(images, kind, draws())[0])


def test_views_hang_on_their_draws_alone_and_stay_images():
    surfaces = recipe_surfaces(list(range(6)), [0] * 6, 64, seed=1).float() / 255

    def seen(images):
        draws = Draws(len(images), seeded(7), 48)
        return photographed(softened(viewed(images, draws), draws), draws)

    images = seen(surfaces)
    assert images.shape == (6, 3, 48, 48) and images.min() >= 0 and images.max() <= 1
    assert torch.equal(images, seen(surfaces))
    assert (images.flatten(1).std(1) > 0.005).all()
