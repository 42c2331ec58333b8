"""Shaft: the slender turned metal pin that carries a toothbrush's motion to the brush, lying on a matt plate."""

import numpy as np
from numpy.random import Generator

from lib.synthetic.noise import drawn, noise_field, smoothstep
from lib.synthetic.rendering import Array, Canvas, bell, blot, dent, dusted, mould_grain, over, reflected
from lib.synthetic.textures import brushed

# Where the pin's radius changes along its axis: shank, groove, collar, body, neck, tip.
STEPS = ((-0.62, -0.06), (-0.54, 0.10), (-0.40, -0.09), (0.42, -0.05), (0.52, -0.06), (0.60, 0.075))
SHANK = 0.34


def shaft(canvas: Canvas, label: str, scene: Generator, flaw: Generator) -> tuple[Array, Array]:
    """Linear light (side, side, 3) of one pin and the coverage (side, side) of its defect."""
    x, y = scene.uniform(-0.03, 0.03, 2)
    along, across = canvas.turned(x, y, scene.normal(0.0, 0.01))
    size = scene.uniform(0.985, 1.015)
    radius = size * _radius(along)
    bump, tone, stain, coverage = _defect(label, along, across, size, flaw)
    light = _metal(canvas, scene, along, across / radius, np.gradient(radius, canvas.pixel, axis=1), bump)
    light *= (1.0 + tone)[..., None]
    light = over(light, np.array([0.075, 0.05, 0.032]) * (0.6 + 0.4 * light), stain)
    inside = smoothstep(radius + canvas.pixel, radius - canvas.pixel, np.abs(across))
    plate = _plate(canvas, scene, across, np.abs(across) - size * _radius(along, 0.16))
    return dusted(over(plate, light, inside), canvas, scene, 5.0, 0.05), coverage * inside


def _radius(along: Array, chamfer: float = 0.012) -> Array:
    """The pin's radius at places along its axis; each step is twice a `chamfer` long."""
    steps = (change * smoothstep(at - chamfer, at + chamfer, along) for at, change in STEPS)
    return SHANK + sum(steps)


def _metal(canvas: Canvas, scene: Generator, along: Array, t: Array, slope: Array, bump: Array) -> Array:
    """The turned surface: strip lights stretched along the pin, turning marks, dark and bright chamfers.

    `t` is -1 at the upper and 1 at the lower outline.
    """
    marks = 0.6 * scene.standard_normal(4096) + 0.4 * np.repeat(scene.standard_normal(512), 8)
    turned = np.interp(along, np.linspace(-1.7, 1.7, 4096), marks)
    worn = np.interp(along, np.linspace(-1.7, 1.7, 4096), drawn(brushed, scene, 64).ravel() - 0.5)
    down, right = np.gradient(bump, canvas.pixel)
    ny = np.clip(t, -1.0, 1.0) + 0.012 * turned + down
    nx = -0.28 * slope + 0.04 * along + right + 0.05 * worn
    lean, power = scene.normal(0.0, 0.015), scene.uniform(0.94, 1.06)
    lamps = [
        (0.0, -0.42 + lean, 0.75, 0.10, 0.09, 1.25 * power),
        (0.05, 0.30 + lean, 0.55, 0.035, 0.045, 0.55 * power),
        (0.0, -0.80 + lean, 1.2, 0.05, 0.08, 0.30 * power),
        (0.0, 0.82 + lean, 1.5, 0.08, 0.12, 0.22),
        (-0.55, -0.15, 0.2, 0.6, 0.15, 0.25 * power),
    ]
    sky = (0.20 - 0.10 * ny + 0.12 * bell(ny, -0.35, 0.4)) * (1.0 + 0.08 * turned)
    edge = np.clip(1.0 - t * t, 0.0, 1.0) ** 0.25
    steel = (sky + reflected(lamps, nx, ny) * (1.0 + 0.10 * turned)) * (0.35 + 0.65 * edge)
    return 0.8 * steel[..., None] * scene.uniform((0.995, 1.0, 0.99), (1.02, 1.0, 1.01))


def _plate(canvas: Canvas, scene: Generator, across: Array, gap: Array) -> Array:
    """The matt inspection plate under the pin, with the pin's soft shadow at a `gap` from its outline."""
    hue = np.array([0.92, 1.0, 1.1]) * scene.uniform(0.99, 1.01, 3)
    tone = scene.uniform(0.12, 0.14) * (1.0 - 0.18 * canvas.y + 0.1 * canvas.x)
    tone = tone * (1.0 + 0.05 * mould_grain(scene, canvas))
    away = -np.maximum(gap, 0)
    shadow = np.where(across > 0, 0.75 * np.exp(away / 0.16), 0.45 * np.exp(away / 0.05))
    return (tone * (1.0 - shadow))[..., None] * hue


def _defect(label: str, along: Array, across: Array, size: float, flaw: Generator) -> tuple[Array, Array, Array, Array]:
    """Height, relative tone, stain and coverage of a defect, each (side, side); all zero on a good pin."""
    nothing = np.zeros_like(along)
    if label == "good":
        return nothing, nothing, nothing, nothing
    at = flaw.uniform(-0.88, 0.88)  # on the visible side of the pin
    height = flaw.uniform(-0.75, 0.75) * size * float(_radius(np.array(at)))
    if label == "stripe":  # a drawn line along the pin, slightly oblique and fading at its ends
        u, length, width = along - 0.6 * at, flaw.uniform(0.6, 1.8), flaw.uniform(0.013, 0.032)
        coverage = smoothstep(0.5 * length, 0.35 * length, np.abs(u))
        coverage = coverage * bell(across, height + flaw.normal(0.0, 0.015) * u, width)
        strength = flaw.beta(1.8, 1.2)
        tone = flaw.choice([-0.7, 0.9]) * (0.45 + 0.75 * strength)
        return -0.004 * strength * coverage, tone * coverage, nothing, coverage
    least, most = {"big": ((0.095, 0.7), (0.28, 2.0)), "small": ((0.03, 0.8), (0.08, 1.4))}[label]
    extent, stretch = flaw.uniform(least, most)
    u, v, strength = (along - at) / stretch, across - height, flaw.beta(2.2, 1.1)
    kind = flaw.choice(["residue", "dent", "wear"])
    if kind == "dent":
        bump, coverage = dent(u, v, 1.25 * extent, (0.10 + 0.26 * strength) * extent, flaw)
        return bump, -0.15 * strength * coverage**4, nothing, coverage
    rough, grain = noise_field(flaw, len(u), 1.7, 4.0), noise_field(flaw, len(u), 0.6, 3.0)
    coverage = blot(u, v, extent, 0.22 * rough, 0.25)
    if kind == "residue":
        stain = (0.35 + 0.6 * strength) * coverage * np.clip(0.8 + 0.25 * rough, 0.3, 1.0)
        return nothing, nothing, stain, coverage
    tone = flaw.choice([-0.6, 0.8]) * (0.4 + 0.7 * strength) * np.clip(0.6 + 0.6 * grain, 0.0, 1.5)
    return nothing, tone * coverage, nothing, coverage
