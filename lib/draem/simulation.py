"""Simulated anomalies in a whole batch of good images: textures under Perlin noise, and what is harder to tell.

Textures from elsewhere are easy to tell from a product. Networks that are trained for a few hundred steps only learn
more from anomalies that are hard to tell: drawn flaws, and the product itself where it does not belong.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.draem.augmentation import CHOSEN, DRAWS, augment, rotate, sample_augmentations
from lib.synthetic.defects import KINDS, flawed
from lib.synthetic.noise import Draws, viewed

ROTATED, ANOMALOUS = 0.3, 0.5  # probabilities
LARGEST_BETA = 0.8
NOISE_THRESHOLD = 0.5
CELLS = (1, 2, 4, 8, 16, 32)  # of Perlin noise, per axis
NODES = CELLS[-1] + 1
UNIFORM = 8  # numbers in [0,1) of an image: rotated? anomalous? angle, cells, mask's angle, texture, opacity
# Of the extended simulation: shares of images with a drawn flaw, with a part of themselves, with any or a texture.
FLAWED, NEAR, TEXTURED = 0.25, 0.15, 0.5
GREYED = 0.7  # share of the grey images whose anomaly is made grey too
COLOURLESS = 0.02  # largest difference between the channels of a grey image
COVERED = 0.3  # least coverage of a flaw that counts as anomalous
VISIBLE, REACH = 0.03, 2  # least change of a value that counts as anomalous; how far around it the mask goes


class Simulated(NamedTuple):
    """A training batch: what to reconstruct, what the networks get, and where the two differ."""

    clean: Tensor  # (B,3,H,W) in [0,1]
    augmented: Tensor  # (B,3,H,W) in [0,1]
    mask: Tensor  # (B,1,H,W), 0 or 1


def simulate(images: Tensor, textures: Tensor, generator: torch.Generator, share: float = ANOMALOUS) -> Simulated:
    """Return good images, some rotated, and about a `share` with a simulated anomaly (Zavrtanik 2021, 3.3).

    `images` (B,3,H,W) float in [0,1]; `textures` (M,3,H,W) uint8 on the same device. `generator` is a CPU generator:
    what is random is small and drawn there, so every device sees the same draws and nothing is waited for.
    """
    return marred(images, textures, sent(draw(len(images), generator), images.device), share)


def draw(count: int, generator: torch.Generator) -> Tensor:
    """Return all that is random in a batch: float32 (count,1109) on the CPU, a row per image, for `marred`."""
    u = torch.rand(count, UNIFORM, generator=generator)
    chosen = sample_augmentations(count, generator)
    draws = torch.rand(count, CHOSEN * DRAWS, generator=generator)
    angles = torch.rand(count, NODES**2, generator=generator) * (2 * torch.pi)
    return torch.cat((u, chosen, draws, angles), dim=1)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on the device; a CUDA device need not wait for it, nor this process for the device."""
    pinned = values.pin_memory() if device.type == "cuda" else values
    return pinned.to(device, non_blocking=True)


def marred(images: Tensor, textures: Tensor, drawn: Tensor, share: float, *, fixed: bool | None = None) -> Simulated:
    """Return what `simulate` does, from what `draw` returned, on the images' device.

    `fixed`: everything is computed for every image and then chosen from, so that shapes depend on no draw, no data
    comes back to the CPU, and a CUDA graph can hold it. Else only what is needed is computed, which a CPU does faster.
    The pictures are the same. None: fixed on CUDA only.
    """
    fixed = images.device.type == "cuda" if fixed is None else fixed
    u, chosen, draws, angles = drawn.split((UNIFORM, CHOSEN, CHOSEN * DRAWS, NODES**2), dim=1)
    rotated, anomalous = u[:, 0] < ROTATED, u[:, 1] < share

    def rows(which: Tensor) -> Tensor:
        return everything if fixed else which.nonzero().flatten()

    everything = torch.arange(len(images), device=images.device)
    some = rows(rotated)
    turned = rotate(images.index_select(0, some), u[some, 2] * 180 - 90)
    clean = images.index_copy(0, some, turned)
    if fixed:
        clean = torch.where(rotated[:, None, None, None], clean, images)

    some = rows(anomalous)
    augmented, mask = clean.clone(), images.new_zeros(len(images), 1, *images.shape[2:])
    nodes = angles[some].unflatten(1, (NODES, NODES))
    anomaly = perlin_masks(nodes, u[some, 3:6], images.shape[2:])
    anomaly *= anomalous[some, None, None, None]
    source = textures.index_select(0, (u[some, 6] * len(textures)).long())
    texture = augment(source, chosen[some].long(), draws[some].unflatten(1, (CHOSEN, DRAWS)), fixed=fixed)
    opacity = anomaly * (1 - LARGEST_BETA * u[some, 7])[:, None, None, None]
    good = clean.index_select(0, some)
    blend = texture.to(images.dtype).div_(255).sub_(good).mul_(opacity).add_(good)  # exactly good outside
    augmented[some], mask[some] = blend, anomaly
    return Simulated(clean, augmented, mask)


def perlin_masks(angles: Tensor, u: Tensor, shape: Sequence[int]) -> Tensor:
    """Return masks (B,1,H,W) of 0 and 1: Perlin noise above a threshold.

    `angles` as for `perlin_noise`; `u` (B,3) uniform in [0,1): the numbers of cells on both axes, and a rotation.
    """
    noise = perlin_noise(angles, (u[:, :2] * len(CELLS)).long(), shape)
    return (rotate(noise[:, None], u[:, 2] * 180 - 90) > NOISE_THRESHOLD).to(angles.dtype)


def perlin_noise(angles: Tensor, cells: Tensor, shape: Sequence[int]) -> Tensor:
    """Return Perlin noise (B,H,W), about [-1,1], with its own number of cells for each image and axis.

    `angles` (B,33,33) in radians: `angles[b, i, j]` stands at grid node (i, j) of image b, and its gradient
    (cos, sin) multiplies (row offset, column offset); an image with r x c cells uses the first r+1 rows and c+1
    columns. `cells` (B,2): places in `CELLS` for rows and columns. Quintic fade, times sqrt(2). H and W need not be
    multiples of the number of cells.
    """
    # noise(y, x) = sum over nodes ij of weight_i(y) weight_j(x) [cos_ij (y - i) + sin_ij (x - j)]: each of the
    # two terms is a row factor times a matrix of gradients times a column factor.
    weight_y, offset_y = _node_weights(shape[0], angles.dtype, angles.device)[cells[:, 0]].unbind(1)
    weight_x, offset_x = _node_weights(shape[1], angles.dtype, angles.device)[cells[:, 1]].unbind(1)
    rows = torch.cat((offset_y @ angles.cos(), weight_y @ angles.sin()), dim=2)
    columns = torch.cat((weight_x, offset_x), dim=2)
    return math.sqrt(2) * (rows @ columns.mT)


@lru_cache(maxsize=8)
def _node_weights(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return for each of `CELLS` the nodes' weights along an axis, and weights times offsets: (6, 2, size, 33)."""
    nodes = torch.arange(NODES, dtype=torch.float64)  # which not every device has
    scales = []
    for cells in CELLS:
        positions = torch.arange(size, dtype=torch.float64) * cells / size
        offsets = positions[:, None] - nodes
        near = (1 - offsets.abs()).clamp(min=0)
        weights = near**3 * (near * (near * 6 - 15) + 10)  # fade(1 - t) = 1 - fade(t)
        scales.append(torch.stack((weights, weights * offsets)).to(dtype))
    return torch.stack(scales).to(device)


def simulate_extended(images: Tensor, textures: Tensor, generator: torch.Generator) -> Simulated:
    """Return good images, some rotated, most of them with an anomaly; square images, else as `simulate` has it.

    Half get a texture, a quarter a drawn flaw, one in seven a part of themselves, moved or in other light, the rest
    nothing. On grey images most anomalies are grey too.
    """
    clean, augmented, mask = simulate(images, textures, generator, TEXTURED / (1 - FLAWED - NEAR))
    u = torch.rand(len(images), 2, generator=generator)

    def put(rows: Tensor, changed: Tensor, where: Tensor) -> None:
        good = clean[rows]
        seen = ((changed - good).abs().amax(1, keepdim=True) > VISIBLE).to(mask.dtype)
        augmented[rows] = changed
        mask[rows] = where * F.max_pool2d(seen, 2 * REACH + 1, 1, REACH)

    drawn = (u[:, 0] < FLAWED).nonzero().flatten()
    kinds = torch.randint(len(KINDS), (len(drawn),), generator=generator)
    for kind in kinds.unique().tolist():
        rows = drawn[kinds == kind].to(images.device)
        draws = Draws(len(rows), generator, images.shape[-1], images.device)
        changed, cover = flawed(clean[rows], list(KINDS)[kind], draws)
        put(rows, changed, (cover > COVERED).to(mask.dtype)[:, None])

    rows = ((u[:, 0] >= FLAWED) & (u[:, 0] < FLAWED + NEAR)).nonzero().flatten().to(images.device)
    if len(rows):
        draws = Draws(len(rows), generator, images.shape[-1], images.device)
        angles = torch.rand(len(rows), NODES, NODES, generator=generator) * (2 * torch.pi)
        cells = torch.rand(len(rows), 3, generator=generator)
        where = perlin_masks(angles.to(images.device), cells.to(images.device), images.shape[2:])
        good = clean[rows]
        other = torch.where(draws.chance(0.5).unsqueeze(1), viewed(good, draws), good)
        light, shade = draws.log_uniform(0.6, 1.6).unsqueeze(1), draws.uniform(-0.15, 0.15).unsqueeze(1)
        opacity = where * draws.uniform(0.4, 1.0).unsqueeze(1)
        put(rows, good + opacity * ((other * light + shade).clamp(0, 1) - good), where)

    grey = (clean.amax(1) - clean.amin(1)).amax((1, 2)) < COLOURLESS
    grey &= (u[:, 1] < GREYED).to(images.device)
    augmented = torch.where(grey[:, None, None, None], augmented.mean(1, keepdim=True), augmented)
    return Simulated(clean, augmented, mask)
