"""Perlin noise for a whole batch at once, as two matrix products per image."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

SCALES = (1, 2, 4, 8, 16, 32)  # cells per axis: 2^0 .. 2^5
NODES = SCALES[-1] + 1


def perlin_noise(angles: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return Perlin noise (H,W), about [-1,1], from gradient angles (rows+1, columns+1) in radians.

    `angles[i, j]` stands at grid node (i, j); its gradient (cos, sin) multiplies (row offset, column offset).
    Quintic fade, times sqrt(2). Any shape will do: it need not be a multiple of the number of cells.
    """
    rows, columns = angles.shape[0] - 1, angles.shape[1] - 1
    left = _pull(shape[0], rows, angles.dtype, angles.device)
    right = _pull(shape[1], columns, angles.dtype, angles.device)
    return _combine(left[None], right[None], angles[None])[0]


def perlin_batch(angles: Tensor, scales: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return Perlin noise (B,H,W) with its own number of cells for each image and axis.

    `angles` (B,33,33) in radians, of which an image with r x c cells uses the first r+1 rows and c+1 columns;
    `scales` (B,2) indices into `SCALES` for rows and columns, integers on the device of `angles`.
    """
    left = _pulls(shape[0], angles.dtype, angles.device)[scales[:, 0]]
    right = _pulls(shape[1], angles.dtype, angles.device)[scales[:, 1]]
    return _combine(left, right, angles)


def _combine(left: Tensor, right: Tensor, angles: Tensor) -> Tensor:
    # noise(y, x) = sum over nodes ij of weight_i(y) weight_j(x) [cos_ij (y - i) + sin_ij (x - j)]: each of the
    # two terms is a row factor times a matrix of gradients times a column factor.
    (weight_y, offset_y), (weight_x, offset_x) = left.unbind(1), right.unbind(1)
    rows = torch.cat((offset_y @ angles.cos(), weight_y @ angles.sin()), dim=2)
    columns = torch.cat((weight_x, offset_x), dim=2)
    return math.sqrt(2) * (rows @ columns.mT)


def _pull(
    size: int, cells: int, dtype: torch.dtype, device: torch.device, nodes: int | None = None
) -> Tensor:
    """Weights of the grid nodes along one axis and weights times offsets: (2, size, nodes)."""
    positions = torch.arange(size, dtype=torch.float64, device=device) * cells / size
    offsets = positions[:, None] - torch.arange(nodes or cells + 1, dtype=torch.float64, device=device)
    near = (1 - offsets.abs()).clamp(min=0)
    weights = near**3 * (near * (near * 6 - 15) + 10)  # fade(1 - t) = 1 - fade(t)
    return torch.stack((weights, weights * offsets)).to(dtype)


@lru_cache(maxsize=8)
def _pulls(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`_pull` for every scale, padded to the same number of nodes: (6, 2, size, 33)."""
    return torch.stack([_pull(size, cells, dtype, device, NODES) for cells in SCALES])
