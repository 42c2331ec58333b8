"""Textures: families of procedural surfaces, coloured, and the bank that DRAEM's simulated anomalies are cut from.

A family turns random draws into a batch of height fields in [0, 1].
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lib.datasets.errors import DatasetError, Issue
from lib.datasets.image_io import map_files, read_rgb
from lib.datasets.layouts.listing import walk
from lib.synthetic.noise import Draws, look_up, seeded, smoothstep, unit

# The strokes that a printed sign is made of, as end points in a cell three wide and four high.
STROKES = (
    ((0, 0), (2, 0)), ((0, 0), (0, 2)), ((2, 0), (2, 2)), ((0, 2), (2, 2)), ((0, 2), (0, 4)),
    ((2, 2), (2, 4)), ((0, 4), (2, 4)), ((0, 2), (2, 0)), ((0, 2), (2, 4)),
)  # fmt: skip


def brushed(draws: Draws) -> Tensor:
    """Fine parallel scratches, as on brushed or ground metal."""
    angle = draws.uniform(0.0, math.pi)
    fine = draws.streaks(angle, draws.uniform(0.15, 0.6), draws.uniform(0.0, 0.008))
    broad = draws.streaks(angle, draws.uniform(0.3, 0.8), draws.uniform(0.02, 0.08))
    return (0.5 + 0.17 * fine + 0.1 * broad).clamp(0.0, 1.0)


def cast(draws: Draws) -> Tensor:
    """Rounded pits and bumps of one size, as on cast metal or moulded leather grain."""
    size = draws.log_uniform(0.012, 0.06)
    bumps = draws.streaks(draws.uniform(0.0, math.pi), size, size * draws.uniform(0.7, 1.4))
    return (0.5 + 0.2 * bumps + 0.05 * draws.fractal(1.2)).clamp(0.0, 1.0)


def woven(draws: Draws) -> Tensor:
    """Warp and weft threads that pass over and under one another: plain weave, twill and basket."""
    x, y = draws.turned_grid(straight=0.3)
    threads = draws.log_uniform(6.0, 22.0)
    wobble = 0.15 * draws.fractal(2.0)
    u, v = x * threads + wobble, y * threads * draws.uniform(0.7, 1.4) + wobble
    period, shift = draws.integers(2, 5), draws.integers(1, 3)
    over = (u.floor() + shift * v.floor()).remainder(period) < (period / 2).floor()
    across_u, across_v = (math.pi * u).sin().abs(), (math.pi * v).sin().abs()
    tone, warp = draws.uniform(0.2, 0.5), across_u.sqrt() * (0.6 + 0.4 * across_v)
    height = torch.where(over, warp, tone + (1 - tone) * across_v.sqrt() * across_u)
    return (height + 0.06 * draws.white()).clamp(0.0, 1.0)


def glyphs(draws: Draws) -> Tensor:
    """Rows of printed signs made of random strokes."""
    x, y = draws.turned_grid(straight=0.6)
    lines = draws.log_uniform(2.5, 9.0)
    u, v = x * lines * 1.3 + 20.0, y * lines + 20.0
    column, row = u.floor(), v.floor()
    px, py = (u - column) * 3.4 - 0.7, (v - row) * 5.6 - 0.8
    weight = draws.uniform(0.16, 0.42)
    edge = 5.6 * lines / draws.side
    blank = look_up(draws.table(), column, row) < draws.uniform(0.0, 0.3)
    distance = torch.full_like(u, 9.0)
    for (ax, ay), (bx, by) in STROKES:
        drawn = look_up(draws.table(), column, row) < 0.5
        dx, dy = bx - ax, by - ay
        t = (((px - ax) * dx + (py - ay) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0)
        stroke = torch.hypot(px - ax - t * dx, py - ay - t * dy)
        distance = torch.where(drawn & ~blank, torch.minimum(distance, stroke), distance)
    ink = smoothstep(weight + 0.5 * edge, weight - 0.5 * edge, distance)
    ground = 0.12 * unit(draws.fractal(draws.uniform(0.5, 2.0)))
    return ground + (0.88 - 0.2 * draws.uniform() * unit(draws.white())) * ink


def grained(draws: Draws) -> Tensor:
    """Wood: year rings cut off-centre, with fibres."""
    x, y = draws.turned_grid()
    y = y + draws.uniform(0.1, 0.9)
    radius = torch.hypot(x * draws.uniform(0.1, 0.6), y) + draws.uniform(0.01, 0.05) * draws.fractal(2.2)
    ring = (radius * draws.uniform(7.0, 22.0)).remainder(1.0)
    late = ring ** draws.uniform(1.5, 5.0) * smoothstep(1.0, 0.9, ring)
    fibre = draws.streaks(draws.uniform(0.0, math.pi), 0.25, 0.002)
    return (0.15 + 0.7 * late + 0.08 * fibre).clamp(0.0, 1.0)


def speckled(draws: Draws) -> Tensor:
    """Grains of several sizes scattered over an even ground, as in granite or metal-flake lacquer."""
    size = draws.log_uniform(0.002, 0.02)
    fine = draws.streaks(draws.uniform(0.0, 1.0), size, size)
    coarse = draws.streaks(draws.uniform(0.0, 1.0), 2.5 * size, 2.5 * size)
    level, width = draws.uniform(0.6, 1.6), draws.uniform(0.1, 0.8)
    light, dark = smoothstep(level, level + width, fine), smoothstep(level, level + width, coarse)
    return (0.5 + 0.5 * light - 0.45 * dark + 0.05 * draws.fractal(1.5)).clamp(0.0, 1.0)


def waved(draws: Draws) -> Tensor:
    """Ripples bent by a slow warp, as in sand, flow lines or water."""
    x, y = draws.turned_grid()
    warp = draws.uniform(0.01, 0.12) * draws.fractal(draws.uniform(2.0, 3.2))
    phase = 2 * math.pi * draws.log_uniform(3.0, 18.0) * (x + warp + draws.uniform(-0.5, 0.5) * y * y)
    crest = 0.5 + 0.5 * (phase + draws.uniform(0.0, 0.9) * phase.sin()).sin()
    return crest ** draws.log_uniform(0.5, 3.0)


def tiled(draws: Draws) -> Tensor:
    """Tiles, bricks or a checkerboard, each piece with its own tone and joints between them."""
    x, y = draws.turned_grid(straight=0.4)
    count = draws.log_uniform(2.5, 10.0)
    v = y * count * draws.uniform(1.0, 2.2)
    u = x * count + torch.where(draws.chance(0.5), 0.5, 0.0) * v.floor().remainder(2.0)
    column, row = u.floor(), v.floor()
    tone = look_up(draws.table(0.35, 1.0), column, row)
    tone = torch.where(draws.chance(0.4), 0.3 + 0.7 * (column + row).remainder(2.0), tone)
    border = torch.minimum(0.5 - (u - column - 0.5).abs(), 0.5 - (v - row - 0.5).abs())
    joint, soft = draws.uniform(-0.05, 0.09), draws.uniform(0.03, 0.12)
    grain = 0.05 * draws.fractal(draws.uniform(0.3, 1.5))
    return (tone * smoothstep(joint, joint + soft, border) + grain).clamp(0.0, 1.0)


def glossy(draws: Draws) -> Tensor:
    """A smooth polished surface: wide gradients and the reflections of a few lamps."""
    x, y = draws.turned_grid()
    height = 0.35 + draws.uniform(-0.6, 0.6) * x + 0.06 * draws.fractal(3.5)
    for _ in range(3):
        cx, cy = draws.uniform(-0.5, 0.5), draws.uniform(-0.5, 0.5)
        long, wide = draws.log_uniform(0.06, 0.9), draws.log_uniform(0.02, 0.2)
        bend = draws.uniform(-1.5, 1.5) * x * x
        lamp = ((x - cx) / long) ** 2 + ((y - cy + bend) / wide) ** 2
        height = height + draws.uniform(0.2, 0.8) * smoothstep(1.0, 1.0 - draws.uniform(0.15, 1.0), lamp)
    return height.clamp(0.0, 1.0)


def cellular(draws: Draws) -> Tensor:
    """Cells with rounded or flat bodies, as in foam, pebbles or crystals."""
    x, y = draws.turned_grid()
    count = draws.log_uniform(3.5, 14.0)
    u, v = x * count, y * count * draws.uniform(0.6, 1.4)
    first, second, tone = draws.cells(u, v, draws.uniform(0.3, 1.0))
    body = torch.where(draws.chance(0.5), (1.0 - first).clamp(0.0, 1.0), tone)
    rim = smoothstep(0.0, draws.uniform(0.05, 0.5), second - first)
    return body * (1.0 - draws.uniform(0.2, 1.0) * (1.0 - rim))


def cracked(draws: Draws) -> Tensor:
    """Thin crooked cracks between dried or broken plates."""
    x, y = draws.turned_grid()
    count, bend = draws.log_uniform(2.0, 8.0), draws.uniform(0.08, 0.3)
    u, v = x * count + bend * draws.fractal(1.6), y * count + bend * draws.fractal(1.6)
    first, second, tone = draws.cells(u, v, 0.95)
    width = draws.uniform(0.02, 0.1)
    plate = 0.7 + 0.25 * (tone - 0.5) * draws.uniform() + 0.06 * draws.fractal(draws.uniform(0.6, 1.8))
    return (plate * smoothstep(0.3 * width, width + 1.5 * count / draws.side, second - first)).clamp(0.0, 1.0)


def clouded(draws: Draws) -> Tensor:
    """Fractal noise from rough to cloudy."""
    return unit(draws.fractal(draws.uniform(0.7, 2.4), draws.uniform(0.5, 5.0)))


def marbled(draws: Draws) -> Tensor:
    """Veins where folded noise crosses zero, as in marble."""
    fold = draws.fractal(draws.uniform(1.7, 2.6), draws.uniform(0.5, 4.0)).abs()
    vein = (-fold * draws.log_uniform(1.5, 9.0)).exp()
    return (0.7 * vein + 0.3 * unit(draws.fractal(1.6))).clamp(0.0, 1.0)


def banded(draws: Draws) -> Tensor:
    """Straight bands of unequal width and tone, sharp or blurred."""
    x, _ = draws.turned_grid()
    position = (x + 1.0) * draws.log_uniform(8.0, 40.0)
    table = draws.table()
    index, share = position.floor(), position - position.floor()
    here, after = (look_up(table, at, index * 0) for at in (index, index + 1))
    blur = draws.uniform(0.05, 1.0)
    return here + (after - here) * smoothstep(1.0 - blur, 1.0, share) + 0.02 * draws.white()


def dotted(draws: Draws) -> Tensor:
    """Rows of equal dots or holes on a square or staggered lattice."""
    x, y = draws.turned_grid(straight=0.3)
    count = draws.log_uniform(4.0, 14.0)
    v = y * count
    u = x * count + torch.where(draws.chance(0.5), 0.5, 0.0) * v.floor().remainder(2.0)
    distance = torch.hypot(u - u.floor() - 0.5, v - v.floor() - 0.5)
    radius, soft = draws.uniform(0.18, 0.42), draws.uniform(0.05, 0.3)
    return 0.85 * smoothstep(radius + soft, radius - soft, distance) + 0.15 * unit(draws.fractal(1.3))


HEIGHTS: dict[str, Callable[[Draws], Tensor]] = {
    function.__name__: function
    for function in (
        brushed, cast, woven, glyphs, grained, speckled, waved, tiled, glossy, cellular, cracked, clouded,
        marbled, banded, dotted,
    )
}  # fmt: skip
FAMILIES = tuple(HEIGHTS)


def procedural_textures(count: int, side: int, seed: int) -> Tensor:
    """Coloured and grey surfaces, uint8 (count, 3, side, side).

    Texture i is of family `FAMILIES[i % len(FAMILIES)]` and depends on (seed, i, side) alone: a longer run begins
    with the shorter one.
    """
    images = torch.empty((count, 3, side, side), dtype=torch.uint8)
    for number in range(count):
        draws = Draws(1, seeded(seed, number), side)
        images[number] = coloured(HEIGHTS[FAMILIES[number % len(FAMILIES)]](draws), draws)[0]
    return images


def load_texture_bank(folder: str, side: int, seed: int, count: int = 400) -> tuple[Tensor, str]:
    """Textures to draw anomalies from, uint8 (M, 3, side, side), and a name that says what they are.

    They are the images below `folder`, cropped to the centred square, of which `seed` draws `count` where there are
    more; without a folder, procedural ones. Raises DatasetError where there is no image, or with all that cannot be
    read.
    """
    if not folder:
        return procedural_textures(count, side, seed), f"procedural textures ({count}, seed {seed})"
    root, listing = Path(folder), walk(Path(folder))
    files = listing.images
    if len(files) > count:
        keep = np.random.default_rng(seed).choice(len(files), count, replace=False)
        files = [files[i] for i in sorted(keep)]

    def square(path: Path) -> np.ndarray:
        whole = Image.fromarray(read_rgb(path))
        return np.asarray(ImageOps.fit(whole, (side, side), Image.Resampling.BILINEAR))

    squares, bad = map_files(root, files, square)
    issues = [*listing.structural, *listing.issues, *bad.values()]
    if not files and not issues:
        issues = [Issue(folder, "no texture in it", "name a folder with images, such as DTD's")]
    if issues:
        raise DatasetError(issues, f"{root}: textures")
    stack = torch.from_numpy(np.stack(list(squares.values()))).permute(0, 3, 1, 2).contiguous()
    return stack, f"DTD folder ({len(files)} images)"


def coloured(height: Tensor, draws: Draws) -> Tensor:
    """Heights (B, side, side) painted with a random colour ramp and lit, uint8 (B, 3, side, side)."""
    height = torch.where(draws.chance(0.5), height, 1.0 - height)
    dark = draws.uniform(0.0, 0.4)  # of four colours (B, 4, 3) up to a light one, a third of the ramps grey
    light = dark + draws.uniform(0.3, 0.6)
    level = dark + (light - dark) * torch.linspace(0, 1, 4, device=draws.device, dtype=draws.dtype).view(4, 1)
    hue = draws.uniform(-1.0, 1.0, (1, 3)) + draws.uniform(0.0, 0.8) * draws.uniform(-1.0, 1.0, (4, 3))
    chroma = torch.where(draws.chance(0.33), 0.0, draws.uniform(0.05, 0.4))
    level = level + draws.uniform(-0.15, 0.15, (4, 1))
    stops = (level + chroma * (hue - hue.mean(-1, keepdim=True)))[..., None, None]
    position = 3.0 * height.clamp(0.0, 1.0).unsqueeze(1)
    steps = ((stops[:, k + 1] - stops[:, k]) * (position - k).clamp(0.0, 1.0) for k in range(3))
    colour = stops[:, 0] + sum(steps)  # piecewise linear through the four stops
    slope_y, slope_x = torch.gradient(height, dim=(1, 2))
    angle = draws.uniform(0.0, 2 * math.pi)  # of a lamp from one side, for half of the surfaces
    strength = torch.where(draws.chance(0.5), 0.0, draws.uniform(0.5, 4.0))
    relief = (strength * (angle.cos() * slope_x + angle.sin() * slope_y)).clamp(-0.6, 0.6)
    x, y = draws.grid()
    light = relief + (draws.uniform(-0.5, 0.5) * x + draws.uniform(-0.5, 0.5) * y)  # uneven from side to side
    grain = draws.uniform(-0.03, 0.04).clamp_min(0.0) * draws.white()
    colour = colour * (1.0 + light).unsqueeze(1) + grain.unsqueeze(1)
    return (colour.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
