import pytest
import torch

from lib.draem.perlin import NODES, SCALES, perlin_batch, perlin_noise


@pytest.mark.parametrize("case", ["perlin1", "perlin3"])  # square 4x8 cells; 48x96 px with 8x16 cells
def test_perlin_is_the_official_noise(official, case):
    shape = tuple(official[f"{case}_shape"].tolist())
    noise = perlin_noise(official[f"{case}_angles"], shape)
    torch.testing.assert_close(noise, official[f"{case}_noise"], rtol=0, atol=1e-10)


def test_each_image_of_a_batch_has_its_own_cells():
    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(36, NODES, NODES, generator=generator, dtype=torch.float64) * 6.28
    scales = torch.cartesian_prod(torch.arange(6), torch.arange(6))
    batch = perlin_batch(angles, scales, (96, 160))  # not a power of two
    for noise, angle, (row, column) in zip(batch, angles, scales.tolist(), strict=True):
        alone = perlin_noise(angle[: SCALES[row] + 1, : SCALES[column] + 1], (96, 160))
        torch.testing.assert_close(noise, alone, rtol=0, atol=1e-12)


def test_noise_is_zero_at_the_nodes():
    noise = perlin_noise(torch.rand(5, 3, dtype=torch.float64), (64, 64))
    torch.testing.assert_close(noise[::16, ::32], torch.zeros(4, 2, dtype=torch.float64))
