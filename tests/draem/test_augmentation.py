import colorsys

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from lib.draem.augmentation import AUGMENTATIONS, augment, rotate, sample_augmentations

NAMES = [function.__name__ for function in AUGMENTATIONS]


@pytest.fixture(scope="module")
def pictures():
    """Smooth, low in contrast, uneven between channels: autocontrast and equalize have something to do."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(4, 3, 6, 7, generator=generator) * 140 + torch.tensor([20.0, 60.0, 90.0])[:, None, None]
    return torch.nn.functional.interpolate(coarse, (48, 40), mode="bicubic").clamp(0, 255).to(torch.uint8)


def apply(pictures, change, *u):
    draws = torch.tensor([*u, *[0.0] * (3 - len(u))]).expand(len(pictures), 1, 3)
    return augment(pictures, torch.full((len(pictures), 1), NAMES.index(change)), draws)


def by_pillow(pictures, function):
    images = [function(Image.fromarray(picture.permute(1, 2, 0).numpy())) for picture in pictures]
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])


@pytest.mark.parametrize(
    ("change", "u", "function", "tolerance"),
    [
        ("solarize", (0.4, 0.5), lambda image: ImageOps.solarize(image, 80), 0),
        ("solarize", (0.4, 0.999), lambda image: ImageOps.solarize(image, 128), 0),
        ("solarize", (0.6, 0.5), lambda image: image, 0),
        ("posterize", (0.0,), lambda image: ImageOps.posterize(image, 1), 0),
        ("posterize", (0.4,), lambda image: ImageOps.posterize(image, 4), 0),
        ("posterize", (0.99,), lambda image: image, 0),
        ("invert", (), ImageOps.invert, 0),
        ("autocontrast", (0.0,), ImageOps.autocontrast, 1),
        ("autocontrast", (0.5,), lambda image: ImageOps.autocontrast(image, cutoff=10), 1),
        ("equalize", (), ImageOps.equalize, 0),
        ("sharpness", (0.0,), lambda image: ImageEnhance.Sharpness(image).enhance(0.0), 1),
        ("sharpness", (0.95,), lambda image: ImageEnhance.Sharpness(image).enhance(1.9), 1),
    ],
)
def test_change_is_pillows(pictures, change, u, function, tolerance):
    ours, theirs = apply(pictures, change, *u), by_pillow(pictures, function)
    assert (ours.int() - theirs.int()).abs().max() <= tolerance


def test_gamma_has_its_own_power_per_channel(pictures):
    powers = torch.tensor([0.5, 1.25, 2.0])[:, None, None]
    expected = ((pictures / 255) ** powers * 255).round()
    changed = apply(pictures, "gamma", 0.0, 0.5, 1.0)
    assert (changed - expected).abs().max() <= 1
    assert (changed[:, 0] > pictures[:, 0]).any() and (changed[:, 2] < pictures[:, 2]).any()


def test_brightness_multiplies_and_adds(pictures):
    for u, factor, offset in (((0.0, 0.0), 0.8, -30), ((1.0, 1.0), 1.2, 30), ((0.5, 0.25), 1.0, -15)):
        expected = (pictures * factor + offset).clamp(0, 255)
        assert (apply(pictures, "brightness", *u) - expected).abs().max() <= 0.51


@pytest.mark.parametrize("u", [(0.5, 0.5), (1.0, 0.5), (0.0, 0.9), (0.3, 0.0)])
def test_hue_and_saturation_are_colorsys(pictures, u):
    changed = apply(pictures, "hue", *u)
    shifts = [(share * 100 - 50) / 255 for share in u]
    for y, x in ((0, 0), (10, 30), (47, 39), (25, 5)):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pictures[1, :, y, x] / 255).tolist())
        saturation = min(1.0, max(0.0, saturation + shifts[1]))
        expected = torch.tensor(colorsys.hsv_to_rgb((hue + shifts[0]) % 1, saturation, value)) * 255
        assert (changed[1, :, y, x] - expected).abs().max() <= 0.6


def test_grey_pictures_keep_their_value_under_a_hue_change():
    grey = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(1, 3, 1, 1)
    assert torch.equal(apply(grey, "hue", 1.0, 0.5), grey)


def test_a_right_angle_is_a_transposition():
    square = torch.rand(2, 3, 32, 32)
    turned = rotate(square, torch.tensor([90.0, -90.0]))
    one, other = torch.rot90(square, 1, (2, 3)), torch.rot90(square, -1, (2, 3))
    direct = (turned[0] - one[0]).abs().max() < 1e-4
    expected = (one[0], other[1]) if direct else (other[0], one[1])
    torch.testing.assert_close(turned, torch.stack(expected), atol=1e-4, rtol=0)


def test_rotation_keeps_distances_in_an_oblong_picture():
    picture = torch.zeros(1, 1, 32, 96)
    picture[0, 0, 15:17, 57:59] = 1.0  # ten pixels right of the centre
    turned = rotate(picture, torch.tensor([90.0]))[0, 0]
    rows, columns = (turned > 0.5).nonzero().unbind(1)
    assert set(columns.tolist()) == {47, 48} and set(rows.tolist()) in ({5, 6}, {25, 26})
    black = rotate(torch.ones(1, 1, 32, 32), torch.tensor([45.0]))[0, 0]
    assert black[0, 0] == 0 and black[16, 16] == 1


@pytest.mark.parametrize("seed", range(8))
def test_three_changes_are_one_after_the_other(pictures, seed):
    generator = torch.Generator().manual_seed(seed)
    changes, draws = sample_augmentations(4, generator), torch.rand(4, 3, 3, generator=generator)
    expected = pictures
    for slot in range(3):
        expected = augment(expected, changes[:, slot : slot + 1], draws[:, slot : slot + 1])
    together = augment(pictures, changes, draws)
    assert torch.equal(together, expected)
    for index in range(4):  # and an image's changes are its own
        one = slice(index, index + 1)
        assert torch.equal(augment(pictures[one], changes[one], draws[one]), together[one])


def test_the_order_of_changes_counts(pictures):
    changes = torch.tensor([[NAMES.index(name) for name in ("invert", "posterize")]]).expand(4, 2)
    draws = torch.full((4, 2, 3), 0.1)
    expected = by_pillow(pictures, lambda image: ImageOps.posterize(ImageOps.invert(image), 1))
    assert torch.equal(augment(pictures, changes, draws), expected)
    assert not torch.equal(augment(pictures, changes.flip(1), draws), expected)


def test_changes_are_drawn_without_replacement_and_evenly():
    drawn = sample_augmentations(4000, torch.Generator().manual_seed(0))
    assert drawn.shape == (4000, 3)
    ordered = drawn.sort(dim=1).values
    assert (ordered[:, 1:] > ordered[:, :-1]).all()
    for slot in range(3):  # in any order
        share = torch.bincount(drawn[:, slot], minlength=10) / 4000
        assert ((share - 0.1).abs() < 0.025).all()


def test_the_bank_is_left_alone(pictures):
    before = pictures.clone()
    augment(pictures, sample_augmentations(4, torch.Generator().manual_seed(1)), torch.rand(4, 3, 3))
    assert torch.equal(pictures, before)
