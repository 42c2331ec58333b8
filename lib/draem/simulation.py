"""Simulated anomalies: textures blended into good images under Perlin masks, a whole batch at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from lib.draem.augmentation import DRAWS, augment, rotate, sample_augmentations
from lib.draem.perlin import NODES, SCALES, perlin_batch

ROTATED, ANOMALOUS = 0.3, 0.5  # probabilities
LARGEST_BETA = 0.8
NOISE_THRESHOLD = 0.5


class Simulated(NamedTuple):
    """A training batch: what to reconstruct, what to show the networks, and where they differ."""

    clean: Tensor  # (B,3,H,W) in [0,1]
    augmented: Tensor  # (B,3,H,W) in [0,1]
    mask: Tensor  # (B,1,H,W), 0 or 1


def simulate(images: Tensor, textures: Tensor, generator: torch.Generator) -> Simulated:
    """Return good images, some rotated, and about half of them with a simulated anomaly (Zavrtanik 2021, 3.3).

    `images` (B,3,H,W) float in [0,1]; `textures` (M,3,H',W') uint8 on the same device, resized to H x W where
    they differ (have them resized beforehand: `resize_textures`). `generator` is a CPU generator: what is
    random is small and drawn there, so every device sees the same draws and nothing is waited for.
    Raises ValueError for inputs of another shape, type or device.
    """
    _check(images, textures, generator)
    count, _, height, width = images.shape
    device = images.device
    u = torch.rand(count, 8, generator=generator)
    changes = sample_augmentations(count, generator)
    draws = torch.rand(count, changes.shape[1], DRAWS, generator=generator)
    angles = torch.rand(count, NODES, NODES, generator=generator) * (2 * torch.pi)

    turned = (u[:, 0] < ROTATED).nonzero().flatten()
    marred = (u[:, 1] < ANOMALOUS).nonzero().flatten()
    clean = images
    if len(turned):
        here = _to(turned, device)
        rotated = rotate(images.index_select(0, here), _to(u[turned, 2] * 180 - 90, device))
        clean = images.index_copy(0, here, rotated)
    augmented, mask = clean.clone(), images.new_zeros(count, 1, height, width)
    if len(marred):
        here = _to(marred, device)
        scales = (u[marred, 3:5] * len(SCALES)).long()
        noise = perlin_batch(_to(angles[marred], device), _to(scales, device), (height, width))
        noise = rotate(noise[:, None], _to(u[marred, 5] * 180 - 90, device))
        anomaly = (noise > NOISE_THRESHOLD).to(images.dtype)
        chosen = textures.index_select(0, _to((u[marred, 6] * len(textures)).long(), device))
        changed = augment(
            resize_textures(chosen, (height, width)), changes[marred], _to(draws[marred], device)
        )
        opacity = anomaly * _to(1 - LARGEST_BETA * u[marred, 7], device)[:, None, None, None]
        good = clean.index_select(0, here)
        blend = changed.to(images.dtype).div_(255).sub_(good).mul_(opacity).add_(good)  # exactly good outside
        augmented.index_copy_(0, here, blend)
        mask.index_copy_(0, here, anomaly)
    return Simulated(clean, augmented, mask)


def resize_textures(textures: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return uint8 textures (M,3,H,W) at `shape`, antialiased; the same tensor where they have it already."""
    if textures.shape[2:] == torch.Size(shape):
        return textures
    return TF.resize(textures, list(shape), antialias=True)


def _to(values: Tensor, device: torch.device) -> Tensor:
    return values.to(device, non_blocking=True)


def _check(images: Tensor, textures: Tensor, generator: torch.Generator) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"images must be float (B,3,H,W) in [0,1], got {images.dtype} {tuple(images.shape)}")
    if textures.ndim != 4 or textures.shape[1] != 3 or textures.dtype != torch.uint8 or not len(textures):
        raise ValueError(f"textures must be uint8 (M,3,H,W), got {textures.dtype} {tuple(textures.shape)}")
    if images.device != textures.device:
        raise ValueError(
            f"images are on {images.device}, textures on {textures.device}: move one to the other"
        )
    if generator.device.type != "cpu":
        raise ValueError(f"the generator must be a CPU generator, got one on {generator.device}")
