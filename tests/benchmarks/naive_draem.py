"""DRAEM's simulation and training step as one would first write them from the paper: the benchmarks' baseline.

One image at a time with NumPy and Pillow; the images and textures may be read from files each time, as a data
loader does. Float32, PyTorch's default memory layout, one convolution per SSIM term, unfused Adam.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

Source = Path | Image.Image


def perlin(shape: tuple[int, int], cells: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise (H,W) by the textbook: a gradient per node, repeated over its cell, and four corners interpolated."""
    sides = [math.ceil(size / count) * count for size, count in zip(shape, cells, strict=True)]  # whole cells
    steps = sides[0] // cells[0], sides[1] // cells[1]
    grid = np.mgrid[0 : cells[0] : 1 / steps[0], 0 : cells[1] : 1 / steps[1]].transpose(1, 2, 0)
    grid = grid[: sides[0], : sides[1]] % 1
    angles = 2 * math.pi * rng.random((cells[0] + 1, cells[1] + 1))
    gradients = np.stack((np.cos(angles), np.sin(angles)), axis=-1).repeat(steps[0], 0).repeat(steps[1], 1)
    down, right = steps
    corners = [
        ((grid - (row, column)) * gradients[row * down :, column * right :][: sides[0], : sides[1]]).sum(-1)
        for row in (0, 1)
        for column in (0, 1)
    ]
    t = 6 * grid**5 - 15 * grid**4 + 10 * grid**3
    top = corners[0] * (1 - t[..., 1]) + corners[1] * t[..., 1]
    bottom = corners[2] * (1 - t[..., 1]) + corners[3] * t[..., 1]
    return (math.sqrt(2) * (top * (1 - t[..., 0]) + bottom * t[..., 0]))[: shape[0], : shape[1]]


def change(image: Image.Image, kind: int, rng: np.random.Generator) -> Image.Image:
    """One of the ten texture changes, in the specification's order."""
    if kind == 0:
        powered = (np.asarray(image) / 255) ** rng.uniform(0.5, 2, 3) * 255
        return Image.fromarray(powered.round().astype(np.uint8))
    if kind == 1:
        values = np.asarray(image, np.float32) * rng.uniform(0.8, 1.2) + rng.uniform(-30, 30)
        return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if kind == 2:
        return ImageEnhance.Sharpness(image).enhance(rng.uniform(0, 2))
    if kind == 3:
        hsv = np.asarray(image.convert("HSV"), np.int16).copy()
        hsv[..., 0] = (hsv[..., 0] + rng.integers(-50, 51)) % 256
        hsv[..., 1] = (hsv[..., 1] + rng.integers(-50, 51)).clip(0, 255)
        return Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB")
    if kind == 4:
        return ImageOps.solarize(image, int(rng.integers(32, 129))) if rng.random() < 0.5 else image
    if kind == 5:
        return ImageOps.posterize(image, int(rng.integers(1, 9)))
    if kind == 6:
        return ImageOps.invert(image)
    if kind == 7:
        return ImageOps.autocontrast(image, cutoff=int(rng.integers(0, 21)))
    if kind == 8:
        return ImageOps.equalize(image)
    return image.rotate(rng.uniform(-45, 45), Image.Resampling.BILINEAR)


def simulate_one(
    good: Source, textures: list[Source], side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clean image and augmented image (H,W,3) float32 in [0,1], and mask (H,W,1)."""
    picture = _opened(good, side)
    if rng.random() < 0.3:
        picture = picture.rotate(rng.uniform(-90, 90), Image.Resampling.BILINEAR)
    clean = np.asarray(picture, np.float32) / 255
    texture = _opened(textures[rng.integers(len(textures))], side)
    for kind in rng.choice(10, 3, replace=False):
        texture = change(texture, int(kind), rng)
    cells = 2 ** int(rng.integers(0, 6)), 2 ** int(rng.integers(0, 6))
    noise = Image.fromarray(perlin((side, side), cells, rng).astype(np.float32))
    noise = noise.rotate(rng.uniform(-90, 90), Image.Resampling.BILINEAR)
    mask = (np.asarray(noise) > 0.5).astype(np.float32)[:, :, None]
    beta = rng.uniform(0, 0.8)
    pasted = np.asarray(texture, np.float32) / 255 * mask
    augmented = clean * (1 - mask) + (1 - beta) * pasted + beta * clean * mask
    if rng.random() < 0.5:
        return clean, clean, np.zeros_like(mask)
    return clean, augmented, mask


def simulate(goods: list[Source], textures: list[Source], side: int, rng: np.random.Generator) -> list[Tensor]:
    """A batch of clean images, augmented images and masks, (B,C,H,W)."""
    parts = zip(*(simulate_one(good, textures, side, rng) for good in goods), strict=True)
    return [torch.from_numpy(np.stack(part).transpose(0, 3, 1, 2).astype(np.float32)) for part in parts]


def training_step(
    reconstructive: nn.Module, discriminative: nn.Module, optimiser: torch.optim.Optimizer, batch: list[Tensor]
) -> float:
    """One step on a simulated batch; returns its loss."""
    clean, augmented, mask = batch
    reconstruction = reconstructive(augmented)
    logits = discriminative(torch.cat((reconstruction, augmented), dim=1))
    loss = F.mse_loss(reconstruction, clean) + _ssim(reconstruction, clean) + _focal(logits, mask)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


def _opened(source: Source, side: int) -> Image.Image:
    image = Image.open(source).convert("RGB") if isinstance(source, Path) else source
    return image if image.size == (side, side) else image.resize((side, side), Image.Resampling.BILINEAR)


def _ssim(a: Tensor, b: Tensor) -> Tensor:
    offsets = torch.arange(11, device=a.device) - 5.0
    line = torch.exp(-(offsets**2) / 4.5)
    line = line / line.sum()
    window = torch.outer(line, line).expand(3, 1, 11, 11).contiguous()

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(x, window, padding=5, groups=3)

    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    numerator = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    return 1 - (numerator / ((mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 9e-4))).mean()


def _focal(logits: Tensor, mask: Tensor) -> Tensor:
    target = torch.cat((1 - mask, mask), dim=1).clamp(1e-5, 1 - 1e-5)
    p = (target * logits.softmax(dim=1)).sum(dim=1) + 1e-5
    return (-((1 - p) ** 2) * p.log()).mean()
