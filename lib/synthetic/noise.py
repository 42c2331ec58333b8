"""The building blocks of procedural surfaces: random draws, noise, cells and edges, batched in PyTorch."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

A = TypeVar("A", np.ndarray, Tensor)
CELL_TABLE = 16  # random values per axis that jittered cells repeat after


class Draws:
    """Random numbers for a batch of surfaces, each surface with a generator of its own.

    A surface therefore never depends on the batch that it is made in, nor on the device: numbers are
    drawn on the CPU by NumPy and moved to `device` as `dtype`.
    """

    def __init__(
        self,
        generators: Sequence[np.random.Generator],
        side: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.generators, self.side = list(generators), side
        self.device, self.dtype = torch.device(device), dtype

    def _tensor(self, arrays: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self.device, self.dtype)

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = (1, 1)) -> Tensor:
        """Uniform numbers in [low, high), shape (B, *shape)."""
        return self._tensor([g.uniform(low, high, shape) for g in self.generators])

    def log_uniform(self, low: float, high: float, shape: tuple[int, ...] = (1, 1)) -> Tensor:
        """Numbers whose logarithm is uniform between those of low and high, shape (B, *shape)."""
        return self.uniform(math.log(low), math.log(high), shape).exp()

    def integers(self, low: int, high: int, shape: tuple[int, ...] = (1, 1)) -> Tensor:
        """Whole numbers in [low, high) as floats, shape (B, *shape)."""
        return self.uniform(low, high, shape).floor()

    def chance(self, probability: float, shape: tuple[int, ...] = (1, 1)) -> Tensor:
        """Booleans that are true with the given probability, shape (B, *shape)."""
        return self.uniform(shape=shape) < probability

    def white(self) -> Tensor:
        """White Gaussian noise, shape (B, side, side)."""
        return self._tensor([g.standard_normal((self.side, self.side)) for g in self.generators])


def grid(draws: Draws) -> tuple[Tensor, Tensor]:
    """Pixel centres in [-0.5, 0.5]: x of shape (1, 1, side) and y of shape (1, side, 1)."""
    axis = (torch.arange(draws.side, device=draws.device, dtype=draws.dtype) + 0.5) / draws.side - 0.5
    return axis.view(1, 1, -1), axis.view(1, -1, 1)


def turned_grid(draws: Draws, straight: float = 0.0) -> tuple[Tensor, Tensor]:
    """The grid turned by a random angle (none with probability `straight`), both (B, side, side)."""
    x, y = grid(draws)
    angle = torch.where(draws.chance(straight), 0.0, draws.uniform(0.0, 2 * math.pi))
    cos, sin = angle.cos(), angle.sin()
    return cos * x + sin * y, cos * y - sin * x


def smoothstep(low: Any, high: Any, value: A) -> A:
    """The cubic step from 0 at `low` to 1 at `high`, numbers or arrays; `low` may lie above `high`."""
    t = ((value - low) / (high - low)).clip(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def unit(field: Tensor) -> Tensor:
    """The field stretched to [0, 1], each surface (last two axes) by its own minimum and maximum."""
    low, high = field.amin((-2, -1), keepdim=True), field.amax((-2, -1), keepdim=True)
    return (field - low) / (high - low).clamp_min(1e-9)


@lru_cache(maxsize=16)
def _frequencies(side: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cycles per image of the half spectrum: fx (1, 1, side//2+1) and fy (1, side, 1)."""
    fx = torch.fft.rfftfreq(side, 1.0 / side, device=device, dtype=dtype)
    fy = torch.fft.fftfreq(side, 1.0 / side, device=device, dtype=dtype)
    return fx.view(1, 1, -1), fy.view(1, -1, 1)


def _shaped(draws: Draws, gain: Tensor) -> Tensor:
    """White noise through a spectral gain (B, side, side//2+1), without mean and with deviation 1."""
    gain = gain.clone()
    gain[..., 0, 0] = 0.0
    field = torch.fft.irfft2(torch.fft.rfft2(draws.white()) * gain, s=(draws.side, draws.side))
    return field / field.std((-2, -1), keepdim=True).clamp_min(1e-9)


def fractal(draws: Draws, exponent: Tensor | float, coarsest: Tensor | float = 1.0) -> Tensor:
    """Noise with amplitude frequency**-exponent, flat below `coarsest` cycles; mean 0, deviation 1."""
    fx, fy = _frequencies(draws.side, draws.device, draws.dtype)
    return _shaped(draws, (fx * fx + fy * fy + coarsest * coarsest + fx * 0 + fy * 0).pow(-0.5 * exponent))


def noise_field(
    generator: np.random.Generator, side: int, exponent: float, coarsest: float = 1.0
) -> np.ndarray:
    """Fractal noise of mean 0 and deviation 1, float64 (side, side).

    Drawn by a child of `generator`, so that what the caller draws next does not depend on the side.
    """
    return fractal(Draws(generator.spawn(1), side, dtype=torch.float64), exponent, coarsest)[0].numpy()


def streaks(draws: Draws, angle: Tensor, along: Tensor | float, across: Tensor | float) -> Tensor:
    """Noise smoothed to `along` and `across` (lengths as shares of the side) in a direction; deviation 1."""
    fx, fy = _frequencies(draws.side, draws.device, draws.dtype)
    cos, sin = angle.cos(), angle.sin()
    f_along, f_across = cos * fx + sin * fy, cos * fy - sin * fx
    spread = (math.pi * along * f_along) ** 2 + (math.pi * across * f_across) ** 2
    return _shaped(draws, torch.exp(-2.0 * spread))


def _cell_index(column: Tensor, row: Tensor) -> Tensor:
    """Where a cell stands in a flattened periodic table, int64."""
    return (row.remainder(CELL_TABLE) * CELL_TABLE + column.remainder(CELL_TABLE)).long()


def _pick(table: Tensor, index: Tensor) -> Tensor:
    """Values of a table (B, CELL_TABLE, CELL_TABLE) at flattened positions (B, side, side)."""
    return table.flatten(1).gather(1, index.flatten(1)).view(index.shape)


def look_up(table: Tensor, column: Tensor, row: Tensor) -> Tensor:
    """Values of a periodic table (B, CELL_TABLE, CELL_TABLE) at whole-number cells (B, side, side)."""
    return _pick(table, _cell_index(column, row))


def cells(draws: Draws, u: Tensor, v: Tensor, jitter: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """Worley's cells: distance to the nearest and second nearest point, and the nearest one's random tone.

    `u, v` (B, side, side) count cells; `jitter` in [0, 1] runs from a square lattice to scattered points.
    """
    size = (CELL_TABLE, CELL_TABLE)
    offset_u = 0.5 + jitter * draws.uniform(-0.5, 0.5, size)
    offset_v = 0.5 + jitter * draws.uniform(-0.5, 0.5, size)
    column, row = u.floor(), v.floor()
    share_u, share_v = u - column, v - row
    first = torch.full_like(u, 9.0)  # squared distances until the end
    second, nearest = first, torch.zeros_like(u, dtype=torch.int64)
    for dy in (-1.0, 0.0, 1.0):
        for dx in (-1.0, 0.0, 1.0):
            index = _cell_index(column + dx, row + dy)
            du = _pick(offset_u, index) + (dx - share_u)
            dv = _pick(offset_v, index) + (dy - share_v)
            squared = du * du + dv * dv
            nearest = torch.where(squared < first, index, nearest)
            second = torch.minimum(second, torch.maximum(first, squared))
            first = torch.minimum(first, squared)
    return first.sqrt(), second.sqrt(), _pick(draws.uniform(shape=size), nearest)
