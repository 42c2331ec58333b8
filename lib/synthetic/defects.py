"""Procedural defects on any surface: a batch of images in, the same with a flaw of one kind each, and its mask."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.synthetic.noise import Draws, smoothstep

Flaw = Callable[[Tensor, Draws], tuple[Tensor, Tensor]]  # float images in [0,1], draws: flawed ones, coverage


def flawed(images: Tensor, kind: str, draws: Draws) -> tuple[Tensor, Tensor]:
    """Float images (B,3,side,side) in [0,1] with a flaw of `kind`, and its coverage (B,side,side) in [0,1].

    Outside the coverage the images are as they were. KeyError unless `kind` is one of `KINDS`.
    """
    changed, coverage = KINDS[kind](images, draws)
    changed = images + coverage.unsqueeze(1) * (changed.clamp(0.0, 1.0) - images)
    return changed, coverage


def _placed(draws: Draws, reach: float = 0.38) -> tuple[Tensor, Tensor]:
    """Coordinates about a random point, turned by a random angle; both (B,side,side), in shares of the side."""
    x, y = draws.grid()
    x, y = x - draws.uniform(-reach, reach), y - draws.uniform(-reach, reach)
    angle = draws.uniform(0.0, 2 * math.pi)
    return angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x


def _tone(images: Tensor, draws: Draws, least: float = 0.15, most: float = 0.6) -> Tensor:
    """A colour that stands off from each image's mean, darker or lighter; (B,3,1,1)."""
    mean = images.mean((2, 3), keepdim=True)
    away = draws.sign() * draws.uniform(least, most)
    tint = draws.uniform(-0.1, 0.1, (3, 1, 1)) * draws.chance(0.5).unsqueeze(-1)
    return (mean + away.unsqueeze(1) + tint).clamp(0.0, 1.0)


def _band(draws: Draws, distance: Tensor, half_width: Tensor | float) -> Tensor:
    """Coverage of what lies within `half_width`, at least a pixel's edge soft."""
    edge = 1.0 / draws.side
    return smoothstep(half_width + edge, half_width - edge, distance)


def scratch(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A thin, slightly bent line with tapered ends."""
    u, v = _placed(draws)
    length = draws.uniform(0.1, 0.4)
    taper = (1.0 - (u / length) ** 2).clamp_min(0.0).sqrt()
    width = draws.log_uniform(0.004, 0.014)
    cover = _band(draws, (v - draws.uniform(-1.2, 1.2) * u * u).abs(), width) * (taper > 0.05) * taper
    return _tone(images, draws).expand_as(images), cover


def crack(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A dark crooked line that thins out, sometimes right across."""
    u, v = _placed(draws, 0.25)
    length = draws.uniform(0.15, 0.8)
    crooked = draws.uniform(0.02, 0.06) * draws.fractal(draws.uniform(1.3, 1.9), 2.0)
    width = draws.log_uniform(0.004, 0.02) * (1.0 - (u / length) ** 2).clamp_min(0.0)
    cover = _band(draws, (v + crooked).abs(), width) * (u.abs() < length)
    return images * draws.uniform(0.05, 0.6).unsqueeze(1), cover


def blob(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A small spot: a hole, a bubble or a splash, dark or light, with a rim at times."""
    u, v = _placed(draws)
    radius = draws.log_uniform(0.015, 0.09)
    ragged = 1.0 + draws.uniform(0.0, 0.35) * draws.fractal(2.0, 3.0)
    distance = torch.hypot(u, v * draws.uniform(1.0, 1.8)) * ragged
    cover = _band(draws, distance, radius)
    rim = torch.where(draws.chance(0.4), draws.uniform(-0.5, 0.5), 0.0)
    rim = rim * smoothstep(0.6 * radius, radius, distance)
    return _tone(images, draws) + rim.unsqueeze(1) + 0.3 * (images - images.mean((2, 3), keepdim=True)), cover


def stain(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A wide, soft change of tone with the surface still to be seen."""
    u, v = _placed(draws)
    radius = draws.uniform(0.12, 0.35)
    distance = torch.hypot(u, v * draws.uniform(1.0, 2.0)) + 0.06 * draws.fractal(2.2, 2.0)
    cover = smoothstep(radius, radius * draws.uniform(0.2, 0.9), distance)
    gain = 1.0 + draws.sign() * draws.uniform(0.15, 0.5)
    tint = draws.uniform(-0.12, 0.12, (3, 1, 1)) * draws.chance(0.5).unsqueeze(-1)
    return images * gain.unsqueeze(1) + tint, cover


def chip(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A piece broken out along straight facets, its ground flat and of another tone."""
    u, v = _placed(draws)
    size = draws.uniform(0.04, 0.16)
    distance = torch.full_like(u, -1.0)
    for _ in range(5):
        angle = draws.uniform(0.0, 2 * math.pi)
        facet = (angle.cos() * u + angle.sin() * v) / (size * draws.uniform(0.5, 1.2))
        distance = torch.maximum(distance, facet)
    cover = smoothstep(1.0 + 1.0 / (size * draws.side), 1.0 - 1.0 / (size * draws.side), distance)
    facet = draws.uniform(-0.3, 0.3) * u / size
    return _tone(images, draws, 0.1, 0.5) + facet.unsqueeze(1) + 0.05 * draws.white().unsqueeze(1), cover


def dent(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A smooth hollow or bump: light on one flank, shade on the other."""
    u, v = _placed(draws)
    radius = draws.uniform(0.05, 0.2)
    squared = (u * u + (v * draws.uniform(1.0, 1.6)) ** 2) / (radius * radius)
    bowl = (1.0 - squared).clamp_min(0.0)
    shade = draws.uniform(0.4, 1.4) * draws.sign() * (u / radius) * bowl
    return images * (1.0 + shade).unsqueeze(1), (squared < 1.0).to(images.dtype)


def flow(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A bundle of soft, bent, parallel lines, as where plastic flowed together."""
    u, v = _placed(draws, 0.25)
    bent = v + draws.uniform(-1.5, 1.5) * u * u + 0.02 * draws.fractal(2.4, 2.0)
    waves = (2 * math.pi * draws.log_uniform(5.0, 20.0) * bent).sin()
    length, wide = draws.uniform(0.25, 0.6), draws.uniform(0.05, 0.16)
    cover = smoothstep(1.0, 0.4, torch.hypot(u / length, bent / wide))
    return images + (draws.uniform(0.08, 0.3) * waves).unsqueeze(1), cover


def double(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """The pattern seen twice, a little shifted, in a part or all of the image."""
    reach = draws.uniform(0.02, 0.08)
    angle = draws.uniform(0.0, 2 * math.pi)
    ghost = _shifted(images, reach * angle.cos(), reach * angle.sin())
    u, v = _placed(draws)
    whole = draws.chance(0.4)
    cover = torch.where(whole, 1.0, smoothstep(0.5, 0.35, torch.hypot(u, v)))
    mixed = torch.where(draws.chance(0.5).unsqueeze(1), torch.minimum(images, ghost), 0.5 * (images + ghost))
    return mixed, cover


def stripe(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A straight bar across the image: rubbed, inked or worn."""
    _, v = _placed(draws, 0.3)
    half = draws.log_uniform(0.01, 0.08)
    cover = smoothstep(half + draws.uniform(0.01, 0.04), half * 0.8, v.abs())
    changed = images * (1.0 + draws.sign() * draws.uniform(0.2, 0.7)).unsqueeze(1)
    return torch.where(draws.chance(0.6).unsqueeze(1), changed, _tone(images, draws)), cover


def smear(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A part wiped smooth: the surface's grain is gone, its tone remains."""
    u, v = _placed(draws)
    radius = draws.uniform(0.1, 0.3)
    distance = torch.hypot(u, v * draws.uniform(1.0, 3.0)) + 0.03 * draws.fractal(2.0, 2.0)
    kernel = max(3, draws.side // 10) | 1
    blurred = F.avg_pool2d(images, kernel, 1, kernel // 2, count_include_pad=False)
    return blurred, smoothstep(radius, 0.8 * radius, distance)


def foreign(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A part where the surface is another one: the image mirrored, turned and rescaled in tone."""
    other = images.flip(0) if len(images) > 1 else 1.0 - images.flip(2, 3)
    rough = draws.fractal(draws.uniform(1.6, 2.4), draws.uniform(2.0, 4.0))
    u, v = _placed(draws)
    distance = torch.hypot(u, v) + 0.05 * rough
    radius = draws.uniform(0.08, 0.28)
    return other, _band(draws, distance, radius)


def missing(images: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """A part of the pattern is not there: only the image's mean tone."""
    u, v = _placed(draws)
    size = draws.uniform(0.08, 0.25)
    cover = _band(draws, torch.maximum(u.abs(), v.abs() * draws.uniform(1.0, 3.0)), size)
    return images.mean((2, 3), keepdim=True) + 0.02 * draws.white().unsqueeze(1), cover


def _shifted(images: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Images moved by shares of their side (B,1,1), the border repeated."""
    theta = torch.zeros(len(images), 2, 3, device=images.device, dtype=images.dtype)
    theta[:, 0, 0] = theta[:, 1, 1] = 1.0
    theta[:, 0, 2], theta[:, 1, 2] = 2 * right[:, 0, 0], 2 * down[:, 0, 0]
    field = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, field, padding_mode="border", align_corners=False)


KINDS: dict[str, Flaw] = {
    function.__name__: function
    for function in (
        scratch, crack, blob, stain, chip, dent, flow, double, stripe, smear, foreign, missing,
    )
}  # fmt: skip
