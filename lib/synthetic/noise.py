"""The building blocks of procedural surfaces: random draws, noise, cells, edges and views, batched in PyTorch."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

CELL_TABLE = 16  # random values per axis that jittered cells repeat after


class Draws:
    """Random numbers for `count` surfaces: drawn on the CPU by one generator, then moved to `device` as `dtype`."""

    def __init__(
        self, count: int, generator: torch.Generator, side: int,
        device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        self.count, self.generator, self.side = count, generator, side
        self.device, self.dtype = device, dtype

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = (1, 1)) -> Tensor:
        """Uniform numbers in [low, high), shape (count, *shape)."""
        numbers = torch.rand((self.count, *shape), generator=self.generator, dtype=self.dtype)
        return (numbers * (high - low) + low).to(self.device, non_blocking=True)

    def log_uniform(self, low: float, high: float) -> Tensor:
        """Numbers whose logarithm is uniform between those of low and high, shape (count, 1, 1)."""
        return self.uniform(math.log(low), math.log(high)).exp()

    def integers(self, low: int, high: int) -> Tensor:
        """Whole numbers in [low, high) as floats, shape (count, 1, 1)."""
        return self.uniform(low, high).floor()

    def chance(self, probability: float) -> Tensor:
        """Booleans that are true with the given probability, shape (count, 1, 1)."""
        return self.uniform() < probability

    def sign(self) -> Tensor:
        """1 or -1, shape (count, 1, 1)."""
        return torch.where(self.chance(0.5), 1.0, -1.0)

    def table(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers for cells to `look_up`, shape (count, CELL_TABLE, CELL_TABLE)."""
        return self.uniform(low, high, (CELL_TABLE, CELL_TABLE))

    def white(self) -> Tensor:
        """White Gaussian noise, shape (count, side, side)."""
        numbers = torch.randn((self.count, self.side, self.side), generator=self.generator, dtype=self.dtype)
        return numbers.to(self.device, non_blocking=True)

    def grid(self) -> tuple[Tensor, Tensor]:
        """Pixel centres in [-0.5, 0.5]: x of shape (1, 1, side) and y of shape (1, side, 1)."""
        axis = (torch.arange(self.side, device=self.device, dtype=self.dtype) + 0.5) / self.side - 0.5
        return axis.view(1, 1, -1), axis.view(1, -1, 1)

    def turned_grid(self, straight: float = 0.0) -> tuple[Tensor, Tensor]:
        """The grid turned by a random angle (none with probability `straight`), both (B, side, side)."""
        x, y = self.grid()
        angle = torch.where(self.chance(straight), 0.0, self.uniform(0.0, 2 * math.pi))
        cos, sin = angle.cos(), angle.sin()
        return cos * x + sin * y, cos * y - sin * x

    def _shaped(self, gain: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """White noise through a gain of the cycles per image along x and y; mean 0, deviation 1."""
        about = {"device": self.device, "dtype": self.dtype}
        fx = torch.fft.rfftfreq(self.side, 1.0 / self.side, **about).view(1, 1, -1)
        fy = torch.fft.fftfreq(self.side, 1.0 / self.side, **about).view(1, -1, 1)
        spectrum = torch.fft.rfft2(self.white()) * gain(fx, fy)
        spectrum[..., 0, 0] = 0.0
        field = torch.fft.irfft2(spectrum, s=(self.side, self.side))
        return field / field.std((-2, -1), keepdim=True).clamp_min(1e-9)

    def fractal(self, exponent: Tensor | float, coarsest: Tensor | float = 1.0) -> Tensor:
        """Noise with amplitude frequency**-exponent, flat below `coarsest` cycles; mean 0, deviation 1."""
        return self._shaped(lambda fx, fy: (fx * fx + fy * fy + coarsest * coarsest).pow(-0.5 * exponent))

    def streaks(self, angle: Tensor, along: Tensor | float, across: Tensor | float) -> Tensor:
        """Noise smoothed to `along` and `across` (lengths as shares of the side) in a direction; deviation 1."""
        cos, sin = angle.cos(), angle.sin()

        def gain(fx: Tensor, fy: Tensor) -> Tensor:
            spread = (along * (cos * fx + sin * fy)) ** 2 + (across * (cos * fy - sin * fx)) ** 2
            return torch.exp(-2.0 * math.pi**2 * spread)

        return self._shaped(gain)

    def cells(self, u: Tensor, v: Tensor, jitter: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
        """Worley's cells: distance to the nearest and second nearest point, and the nearest one's random tone.

        `u, v` (B, side, side) count cells; `jitter` in [0, 1] runs from a square lattice to scattered points.
        """
        offset_u, offset_v = (0.5 + jitter * self.table(-0.5, 0.5) for _ in range(2))
        tones, column, row = self.table(), u.floor(), v.floor()
        share_u, share_v = u - column, v - row
        first = torch.full_like(u, 9.0)  # squared distances until the end
        second, tone = first, torch.zeros_like(u)
        for dy, dx in product((-1.0, 0.0, 1.0), repeat=2):
            cell = column + dx, row + dy
            du, dv = look_up(offset_u, *cell) + (dx - share_u), look_up(offset_v, *cell) + (dy - share_v)
            squared = du * du + dv * dv
            tone = torch.where(squared < first, look_up(tones, *cell), tone)
            second = torch.minimum(second, torch.maximum(first, squared))
            first = torch.minimum(first, squared)
        return first.sqrt(), second.sqrt(), tone


def seeded(*key: int) -> torch.Generator:
    """A generator on the CPU that depends on the whole numbers of `key` alone."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))


def smoothstep(low: Any, high: Any, value: Any) -> Any:
    """The cubic step from 0 at `low` to 1 at `high`, numbers or arrays; `low` may lie above `high`."""
    t = ((value - low) / (high - low)).clip(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def unit(field: Tensor) -> Tensor:
    """The field stretched to [0, 1], each surface (last two axes) by its own minimum and maximum."""
    low, high = field.amin((-2, -1), keepdim=True), field.amax((-2, -1), keepdim=True)
    return (field - low) / (high - low).clamp_min(1e-9)


def drawn(surface: Callable[[Draws], Tensor], generator: Generator, side: int) -> np.ndarray:
    """One surface, float64 (side, side); what `generator` gives next does not depend on the side."""
    draws = Draws(1, seeded(int(generator.integers(2**63))), side, dtype=torch.float64)
    return surface(draws)[0].numpy()


def noise_field(generator: Generator, side: int, exponent: float, coarsest: float = 1.0) -> np.ndarray:
    """One surface of `fractal` noise, `drawn` as float64 (side, side)."""
    return drawn(lambda draws: draws.fractal(exponent, coarsest), generator, side)


def look_up(table: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Values of a periodic table (B, CELL_TABLE, CELL_TABLE) at whole-number cells (B, side, side)."""
    index = row.remainder(CELL_TABLE) * CELL_TABLE + column.remainder(CELL_TABLE)
    return table.flatten(1).gather(1, index.long().flatten(1)).view(index.shape)


def viewed(images: Tensor, draws: Draws, tilt: float = 0.2, nearest: float = 0.65) -> Tensor:
    """Images (B,3,H,W) turned by right angles and a tilt (radians), mirrored, zoomed, shifted, at the side of `draws`.

    At the most, a share `nearest` of the image's side is seen; beyond its border it is mirrored.
    """
    angle = (draws.integers(0, 4) * (math.pi / 2) + draws.uniform(-tilt, tilt)).flatten()
    zoom = draws.uniform(nearest, 1.0).flatten()
    mirror = draws.sign().flatten()
    shift = draws.uniform(-0.5, 0.5, (2, 1)).flatten(1) * (1.0 - zoom)[:, None] * 2
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    theta = torch.stack((cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]), dim=1)
    field = F.affine_grid(theta.view(-1, 2, 3), [len(images), 3, draws.side, draws.side], align_corners=False)
    return F.grid_sample(images, field, padding_mode="reflection", align_corners=False)
