import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from lib.draem import simulation as module
from lib.draem.simulation import CELLS, NODES, draw, marred, perlin_noise, simulate

SIDE = 32
COUNT = 2000


@pytest.fixture(scope="module")
def batch():
    """Many images without a black pixel, so that what was rotated shows."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(COUNT, 3, SIDE, SIDE, generator=generator) * 0.8 + 0.1
    textures = torch.randint(0, 256, (20, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    return images, textures, simulate(images, textures, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("case", ["perlin1", "perlin3"])  # square, 4 x 8 cells; 48 x 96 px, 8 x 16 cells
def test_perlin_noise_is_the_official_one(official, case):
    angles, shape = official[f"{case}_angles"], tuple(official[f"{case}_shape"].tolist())
    rows, columns = angles.shape
    padded = torch.full((2, NODES, NODES), 9.0, dtype=angles.dtype)  # of no influence
    padded[0, :rows, :columns] = angles
    cells = torch.tensor([[CELLS.index(rows - 1), CELLS.index(columns - 1)], [0, 5]])
    noise = perlin_noise(padded, cells, shape)[0]  # beside an image with other cells
    torch.testing.assert_close(noise, official[f"{case}_noise"], rtol=0, atol=1e-10)


def test_perlin_noise_is_zero_at_the_nodes_of_any_picture():
    angles = torch.rand(2, NODES, NODES, dtype=torch.float64) * 6.28
    noise = perlin_noise(angles, torch.tensor([[2, 1], [0, 3]]), (96, 160))  # not a power of two
    nodes = (noise[0, ::24, ::80], noise[1, ::96, ::20])
    assert all(torch.allclose(at, torch.zeros_like(at), atol=1e-12) for at in nodes)
    assert noise.abs().amax() > 0.3


def test_three_in_ten_images_are_rotated_and_are_then_their_own_target(batch):
    images, _, simulated = batch
    rotated = (simulated.clean != images).flatten(1).any(1)
    assert rotated.float().mean().item() == pytest.approx(0.3, abs=0.04)
    assert (simulated.clean[rotated].amin(dim=(1, 2, 3)) == 0).float().mean() > 0.9  # black corners


def test_nothing_changes_outside_the_mask(batch):
    _, _, simulated = batch
    outside = (simulated.mask == 0).expand_as(simulated.clean)
    assert torch.equal(simulated.augmented[outside], simulated.clean[outside])
    differs = (simulated.augmented != simulated.clean).any(1, keepdim=True)
    assert differs[simulated.mask == 1].float().mean() > 0.97
    assert set(simulated.mask.unique().tolist()) == {0.0, 1.0}
    assert simulated.augmented.min() >= 0 and simulated.augmented.max() <= 1


def test_masks_are_as_large_and_as_often_empty_as_the_specification_makes_them(batch):
    rng = np.random.default_rng(0)
    angles = torch.from_numpy(rng.uniform(0, 2 * math.pi, (1000, NODES, NODES)))
    noises = perlin_noise(angles, torch.from_numpy(rng.integers(0, 6, (1000, 2))), (SIDE, SIDE)).numpy()
    areas = [  # rotated by SciPy
        (ndimage.rotate(noise, rng.uniform(-90, 90), reshape=False, order=1) > 0.5).mean() for noise in noises
    ]
    expected, ours = np.array(areas), batch[2].mask.mean(dim=(1, 2, 3)).numpy()
    assert (ours == 0).mean() == pytest.approx(0.5 + 0.5 * (expected == 0).mean(), abs=0.05)
    assert ours[ours > 0].mean() == pytest.approx(expected[expected > 0].mean(), rel=0.12)
    assert stats.ks_2samp(ours[ours > 0], expected[expected > 0]).pvalue > 1e-3


def test_opacity_is_one_minus_a_uniform_beta(monkeypatch):
    monkeypatch.setattr(module, "augment", lambda textures, changes, draws, fixed: textures)
    white = torch.full((1, 3, SIDE, SIDE), 255, dtype=torch.uint8)
    _, augmented, mask = simulate(torch.zeros(COUNT, 3, SIDE, SIDE), white, torch.Generator().manual_seed(2))
    opacity = augmented.amax(dim=(1, 2, 3))[mask.amax(dim=(1, 2, 3)) == 1].numpy()
    assert opacity.min() >= 0.2 - 1e-6 and opacity.max() <= 1
    assert stats.kstest(1 - opacity, "uniform", args=(0, 0.8)).pvalue > 1e-3


def test_every_change_and_every_texture_is_reached(batch, monkeypatch):
    images, textures, _ = batch
    seen = []
    monkeypatch.setattr(module, "augment", lambda t, changes, draws, fixed: seen.append((t, changes, draws)) or t)
    simulate(images, textures, torch.Generator().manual_seed(1))
    chosen, changes, draws = seen[0]
    assert torch.bincount(changes.flatten(), minlength=10).min() > 0.2 * len(changes)
    assert changes.shape[1] == 3 and draws.shape == (len(changes), 3, 3)
    corners = {tuple(row) for row in chosen[:, :, 0, :4].flatten(1).tolist()}
    assert corners == {tuple(row) for row in textures[:, :, 0, :4].flatten(1).tolist()}


def test_the_generator_decides_everything(batch):
    images, textures, first = batch
    state = torch.get_rng_state()
    again = simulate(images, textures, torch.Generator().manual_seed(1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    other = simulate(images, textures, torch.Generator().manual_seed(5))
    assert not torch.equal(first.mask, other.mask)
    generator = torch.Generator().manual_seed(1)
    simulate(images[:8], textures, generator)
    assert not torch.equal(simulate(images[:8], textures, generator).mask, first.mask[:8])  # it moves on


def test_inputs_are_left_alone_and_any_side_will_do():
    images = torch.rand(64, 3, 96, 160)
    textures = torch.randint(0, 256, (3, 3, 96, 160), dtype=torch.uint8)
    before = images.clone()
    clean, augmented, mask = simulate(images, textures, torch.Generator().manual_seed(0))
    assert torch.equal(images, before)
    assert clean.shape == augmented.shape == images.shape and mask.shape == (64, 1, 96, 160)
    assert mask.any() and not torch.equal(clean, augmented)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 64])
def test_fixed_shapes_make_the_same_pictures(share, count):
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(count, 3, 32, 64, generator=generator)
    textures = torch.randint(0, 256, (9, 3, 32, 64), dtype=torch.uint8, generator=generator)
    drawn = draw(count, generator)
    some, fixed = (marred(images, textures, drawn, share, fixed=fixed) for fixed in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(some, fixed, strict=True))
    changed = (fixed.augmented != fixed.clean).flatten(1).any(1)
    assert torch.equal(changed, (fixed.mask > 0).flatten(1).any(1)) and not changed[drawn[:, 1] >= share].any()


def test_the_same_draws_make_the_pictures_of_earlier_releases():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(64, 3, 64, 64, generator=generator)
    textures = torch.randint(0, 256, (9, 3, 64, 64), dtype=torch.uint8, generator=generator)
    generator = torch.Generator().manual_seed(1)
    sums = [[part.double().sum().item() for part in simulate(images, textures, generator)] for _ in range(6)]
    assert sums[-1] == pytest.approx([381986.892, 381872.916, 4347.0], abs=0.5)  # golden, of index lists only


def test_fixed_shapes_need_no_data_back_from_the_device():
    """On a pretended CUDA device, where whatever waits for data raises, and so do tensors of two devices."""
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            images, drawn = (
                torch.rand(4, 3, 32, 96, device="cuda"),
                torch.rand(4, draw(1, torch.Generator()).shape[1]),
            )
            textures = torch.zeros(5, 3, 32, 96, dtype=torch.uint8, device="cuda")
            found = marred(images, textures, drawn.cuda(), 0.5)
            assert {(part.device.type, len(part)) for part in found} == {("cuda", 4)}
            with pytest.raises(DynamicOutputShapeException):
                marred(images, textures, drawn.cuda(), 0.5, fixed=False)
    finally:
        module._node_weights.cache_clear()  # of pretended tensors


@pytest.mark.gpu
def test_a_gpu_simulates_what_the_cpu_does():
    images = torch.rand(64, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    textures = torch.randint(0, 256, (9, 3, 96, 64), dtype=torch.uint8)
    here = simulate(images, textures, torch.Generator().manual_seed(1))
    there = simulate(images.cuda(), textures.cuda(), torch.Generator().manual_seed(1))
    torch.testing.assert_close(there.clean.cpu(), here.clean, atol=1e-4, rtol=0)
    assert (there.mask.cpu() != here.mask).float().mean() < 1e-3  # noise at the threshold
    same = (there.mask.cpu() == here.mask).expand_as(here.clean)
    distances = (there.augmented.cpu() - here.augmented)[same].abs()
    assert (distances > 2 / 255).float().mean() < 2e-3  # a rounded grey level, then solarized or posterized
