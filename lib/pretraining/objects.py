"""Objects of random outline on a plainer ground, as products lie before a camera."""

import math

import torch
from torch import Tensor

from lib.synthetic.noise import Draws, smoothstep


def placed(surfaces: Tensor, grounds: Tensor, draws: Draws) -> Tensor:
    """Images (B,3,side,side): objects made of `surfaces`, some with a hole, lit from a side, on `grounds`.

    An outline is round, wavy or faceted, long ones among them, and covers a twentieth to most of the image.
    """
    x, y = draws.grid()
    x, y = x - draws.uniform(-0.12, 0.12), y - draws.uniform(-0.12, 0.12)
    turned = draws.uniform(0.0, 2 * math.pi)
    long = torch.where(draws.chance(0.5), 1.0, draws.log_uniform(0.35, 1.0))
    u, v = turned.cos() * x + turned.sin() * y, (turned.cos() * y - turned.sin() * x) / long
    around, distance = torch.atan2(v, u), torch.hypot(u, v)

    radius, corners = draws.uniform(0.22, 0.5), draws.integers(2, 9)
    wave = draws.uniform(0.0, 0.18) * torch.cos(corners * around + draws.uniform(0.0, 2 * math.pi))
    wave = wave + draws.uniform(0.0, 0.08) * torch.cos((corners + 3) * around + draws.uniform(0.0, 2 * math.pi))
    sector = 2 * math.pi / corners
    facet = torch.cos(sector / 2) / torch.cos(around.remainder(sector) - sector / 2)
    faceted, wavy = draws.chance(0.4) & (corners > 2), draws.chance(0.6)
    outline = radius * (1 + torch.where(wavy, wave, 0.0)) * torch.where(faceted, facet, 1.0)

    edge = 1.5 / draws.side
    inside = smoothstep(outline + edge, outline - edge, distance)
    hole = smoothstep(-edge, edge, distance - outline * draws.uniform(0.15, 0.6))
    inside = inside * torch.where(draws.chance(0.35), hole, 1.0)
    rim = torch.exp(-(((outline - distance) / draws.uniform(0.01, 0.06)).clamp_min(0.0) ** 2))
    light = draws.uniform(-0.6, 0.6) * u / radius + draws.uniform(-0.5, 0.5) * rim
    lit = surfaces * (1.0 + light.clamp(-0.8, 0.8)).unsqueeze(1)

    mean = grounds.mean((2, 3), keepdim=True)
    plain = mean + draws.log_uniform(0.03, 0.6).unsqueeze(1) * (grounds - mean)
    plain = plain * draws.uniform(0.3, 1.3).unsqueeze(1)
    return plain + inside.unsqueeze(1) * (lit - plain)
