"""Deco cap: the round lacquered cap in the centre of a metal shaving head, seen from above in its nest."""

import numpy as np
from numpy.random import Generator

from lib.synthetic.noise import noise_field, smoothstep
from lib.synthetic.rendering import Array, Canvas, bell, blot, dent, dusted, mould_grain, over, reflected

HUB, FACE, RIM = 0.40, 0.875, 0.93  # radii where hub, metallic face and chamfer begin to end


def deco_cap(canvas: Canvas, label: str, scene: Generator, flaw: Generator) -> tuple[Array, Array]:
    """Linear light (side, side, 3) of one cap and the coverage (side, side) of its defect."""
    radius = scene.uniform(0.775, 0.795)
    x, y = scene.uniform(-0.02, 0.02, 2)
    u, v = (axis / radius for axis in canvas.turned(x, y, scene.normal(0.0, 0.05)))
    r, pixel = np.hypot(u, v), canvas.pixel / radius
    bump = tone = coverage = np.zeros_like(r)
    if label != "good":
        bump, tone, coverage = (_flowlines if label == "flowlines" else _marks)(u, v, flaw)

    flake = 0.2 * noise_field(scene, canvas.side, 0.3)
    face = smoothstep(HUB + 0.02, HUB + 0.03, r) * smoothstep(FACE, FACE - 0.01, r)
    slope_y, slope_x = np.gradient(bump, pixel)
    steep = _slope(r, pixel) / np.maximum(r, 1e-6)
    nx, ny = steep * u + slope_x + 0.05 * flake * face, steep * v + slope_y + 0.04 * flake * face
    light = _lacquer(scene, u, v, r, face, flake, nx, ny) * (1.0 + tone)[..., None]
    ink = 0.8 * smoothstep(pixel, -pixel, _emblem(u, v)) * scene.uniform(0.87, 0.95) * (1.0 + tone)
    light = over(light, np.array([0.62, 0.63, 0.64]) * scene.uniform(0.96, 1.04), ink)

    cap = smoothstep(1.0 + canvas.pixel, 1.0 - canvas.pixel, r)
    nest = _nest(canvas, scene, r, (u + v) / 2.0)[..., None] * np.array([0.95, 1.0, 1.06])
    return dusted(over(nest, light, cap), canvas, scene, 5.0, 0.04), coverage * cap


def _slope(r: Array, pixel: float) -> Array:
    """How much the surface falls outwards at each radius: dome, hub step, groove, chamfer.

    No edge is sharper than a pixel (in cap radii), so that their gleam does not break up into dots.
    """
    sharp = max(0.015, 1.5 * pixel)
    hub = 0.40 * bell(r, HUB, sharp) - 0.28 * bell(r, HUB + 2.8 * sharp, sharp)
    groove = 0.38 * bell(r, FACE + 0.012, sharp) - 0.38 * bell(r, FACE + 0.012 + 2.6 * sharp, sharp)
    return 0.13 * r + hub + groove + 0.62 * smoothstep(RIM, 1.0, r)


def _lacquer(scene: Generator, u: Array, v: Array, r: Array, face: Array, flake: Array, nx: Array, ny: Array) -> Array:
    """The cap's lacquer under a large soft light, a strip and the dark hole of the camera."""
    sway, tilt = scene.normal(0.0, 0.02, 2)
    rx, ry, power = 2.0 * nx + sway, 2.0 * ny + tilt, scene.uniform(0.95, 1.05)
    satin = [
        (-0.42, -0.46, 0.44, 0.36, 0.38, 1.15 * power),
        (0.72, 0.25, 0.2, 0.7, 0.3, 0.8 * power),
        (0.05, 0.03, 0.09, 0.09, 0.13, -0.10),
    ]
    gloss = [(-0.3, -0.3, 0.22, 0.12, 0.06, power), (0.85, 0.2, 0.12, 0.6, 0.12, 1.1 * power)]
    soft, sharp = reflected(satin, rx, ry) + 0.17 - 0.10 * ry, reflected(gloss, rx, ry)
    spun = np.interp(r, np.linspace(0.0, 1.0, 2048), scene.standard_normal(2048))
    sheen = 1.0 + 0.2 * scene.uniform(0.8, 1.2) * (u * u - v * v + 0.6 * u * v) / np.maximum(r * r, 1e-6)
    metal = face * (0.05 + 0.42 * soft * sheen * (1.0 + 0.22 * flake + 0.012 * spun))
    plastic = (1.0 - face) * (0.014 + 0.08 * soft + 0.3 * sharp)
    rim = smoothstep(RIM - 0.01, RIM + 0.01, r) * (0.06 + 0.25 * soft + 0.45 * sharp)
    graphite = np.array([0.93, 0.97, 1.05]) * scene.uniform((0.99, 1.0, 0.99), (1.01, 1.0, 1.02))
    return metal[..., None] * graphite + (plastic + rim)[..., None]


def _nest(canvas: Canvas, scene: Generator, r: Array, down: Array) -> Array:
    """The matt holder around the cap: a bore with a contact shadow, and a cast surface out of focus."""
    light = scene.uniform(0.064, 0.076) * (1.0 - 0.35 * down) * (1.0 + 0.06 * mould_grain(scene, canvas))
    bore = 1.0 - 0.6 * smoothstep(1.105, 1.085, r) - 0.38 * smoothstep(1.16, 1.0, r)
    return np.maximum(light * bore + 0.09 * bell(r, 1.11, 0.012) * np.clip(0.35 - down, 0.0, 1.0), 0.002)


def _flowlines(u: Array, v: Array, flaw: Generator) -> tuple[Array, Array, Array]:
    """Wavy lines where the melt's front stalled: height, relative tone and coverage, each (side, side)."""
    r, angle, reach = np.hypot(u, v), flaw.uniform(0.0, 2 * np.pi), flaw.uniform(0.35, 0.95)
    du, dv = u - reach * np.cos(angle), v - reach * np.sin(angle)  # from the gate
    front = np.hypot(du, dv) + flaw.uniform(0.015, 0.05) * noise_field(flaw, len(u), 3.0, 2.0)
    start, spacing = flaw.uniform(0.12, 0.6), flaw.uniform(0.06, 0.13)
    lines = np.zeros_like(front)
    for k in range(flaw.integers(3, 10)):
        at = start + spacing * (k + flaw.uniform(-0.2, 0.2))
        lines += flaw.uniform(0.5, 1.0) * bell(front, at, flaw.uniform(0.014, 0.034))
    heading = angle + np.pi + flaw.normal(0.0, 0.6)
    facing = (du * np.cos(heading) + dv * np.sin(heading)) / (front + 0.2)
    fade = smoothstep(flaw.uniform(-1.4, 0.0), 0.6, facing)
    fade *= np.clip(0.8 + 0.4 * noise_field(flaw, len(u), 2.0, 3.0), 0.0, 1.0)
    zone = smoothstep(HUB + 0.02, HUB + 0.06, r) * smoothstep(FACE, FACE - 0.04, r)
    coverage, strength = np.clip(lines, 0.0, 1.0) * fade * zone, flaw.beta(2.0, 1.3)
    tone = flaw.choice([-1.0, -1.0, 0.7]) * (0.14 + 0.7 * strength)
    return (0.0004 + 0.003 * strength) * coverage, tone * coverage, coverage


def _marks(u: Array, v: Array, flaw: Generator) -> tuple[Array, Array, Array]:
    """Scratches, dents or dark specks somewhere on the cap: height, relative tone and coverage."""
    kind = flaw.choice(["scratch", "dent", "speck"], p=[0.5, 0.25, 0.25])
    angle, reach, strength = flaw.uniform(0.0, 2 * np.pi), 0.9 * flaw.uniform() ** 0.5, flaw.beta(1.8, 1.2)
    du, dv = u - reach * np.cos(angle), v - reach * np.sin(angle)
    if kind == "scratch":
        coverage = np.zeros_like(du)
        way, length, width = flaw.uniform((0.0, 0.5, 0.013), (np.pi, 1.6, 0.030))
        for _ in range(flaw.integers(2, 6)):
            heading, shift = way + flaw.normal(0.0, 0.12), flaw.normal(0.0, 0.05, 2)
            along = (du - shift[0]) * np.cos(heading) + (dv - shift[1]) * np.sin(heading)
            across = (dv - shift[1]) * np.cos(heading) - (du - shift[0]) * np.sin(heading)
            half, bend = 0.5 * length * flaw.uniform(0.5, 1.0), flaw.normal(0.0, 0.3)
            taper = np.clip(1.0 - (along / half) ** 2, 0.0, 1.0) ** 0.5
            coverage = np.maximum(coverage, taper * bell(across, bend * along * along, 0.7 * width))
        bright = flaw.choice([1.7, -0.7])
        return -0.004 * strength * coverage, bright * (0.4 + 0.9 * strength) * coverage, coverage
    radius = flaw.uniform(0.07, 0.22)
    if kind == "dent":
        squeeze = flaw.uniform(0.6, 1.6)
        bump, coverage = dent(du * squeeze, dv / squeeze, radius, (0.12 + 0.3 * strength) * radius, flaw)
        return bump, -0.15 * strength * coverage**4, coverage
    coverage = blot(du, dv, radius, 0.16 * noise_field(flaw, len(u), 2.0, 3.0), 0.45)
    return 0.002 * coverage, -(0.45 + 0.5 * strength) * coverage, coverage


def _emblem(u: Array, v: Array, radius: float = 0.29) -> Array:
    """Signed distance (negative inside) to a rotor of three curved blades in a thin ring, in the units of u."""
    r = np.hypot(u, v) / radius
    blade = (0.42 - np.cos(3.0 * (np.arctan2(v, u) + 0.9 * r))) * 0.3 * np.clip(r, 0.15, 1.0)
    blade = np.maximum.reduce([blade, r - 0.78, 0.2 - r])
    return radius * np.minimum(blade, np.abs(r - 0.95) - 0.045)
