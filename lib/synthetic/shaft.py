"""Shaft: the slender turned metal pin that carries a toothbrush's motion to the brush, lying on a matt plate."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from lib.synthetic.noise import drawn, noise_field, smoothstep
from lib.synthetic.rendering import Array, Canvas, bell, blot, dent, dusted, look_up, mould_grain, reflected
from lib.synthetic.textures import brushed

SPAN = (-1.7, 1.7)  # of tables along the axis
STATIONS = np.linspace(*SPAN, 4096)
# Where the pin's radius changes along its axis: shank, groove, collar, body, neck, tip.
STEPS = ((-0.62, -0.06), (-0.54, 0.10), (-0.40, -0.09), (0.42, -0.05), (0.52, -0.06), (0.60, 0.075))
SHANK = 0.34


def shaft(canvas: Canvas, label: str, scene: Generator, flaw: Generator) -> tuple[Array, Array]:
    """Linear light (side, side, 3) of one pin and the coverage (side, side) of its defect."""
    x, y = scene.uniform(-0.03, 0.03), scene.uniform(-0.03, 0.03)
    along, across = canvas.turned(x, y, scene.normal(0.0, 0.01))
    size = scene.uniform(0.985, 1.015)
    outline, softened = _profile()
    radius_table = size * outline
    radius = look_up(radius_table, along, *SPAN)
    t = across / radius  # -1 at the upper and 1 at the lower outline

    bump, tone, stain, coverage = _defect(label, canvas, along, across, radius_table, flaw)
    light = _metal(canvas, scene, along, t, radius_table, bump)
    light *= (1.0 + tone)[..., None]
    light += stain[..., None] * (np.array([0.075, 0.05, 0.032]) * (0.6 + 0.4 * light) - light)

    inside = smoothstep(radius + canvas.pixel, radius - canvas.pixel, np.abs(across))
    plate = _plate(canvas, scene, along, across, size * softened)
    light = plate + inside[..., None] * (light - plate)
    return dusted(light, canvas, scene, 5.0, 0.05), coverage * inside


@lru_cache(maxsize=1)
def _profile() -> tuple[Array, Array]:
    """The pin's radius at each station, with short chamfers at the steps, and as a soft lamp's shadow shows it."""
    radius = np.full_like(STATIONS, SHANK)
    for at, change in STEPS:
        radius += change * smoothstep(at - 0.012, at + 0.012, STATIONS)
    return radius, ndimage.gaussian_filter1d(radius, 0.09 / (STATIONS[1] - STATIONS[0]))


def _metal(
    canvas: Canvas, scene: Generator, along: Array, t: Array, radius_table: Array, bump: Array
) -> Array:
    """The turned surface: strip lights stretched along the pin, turning marks, dark and bright chamfers."""
    marks = 0.6 * scene.standard_normal(len(STATIONS)) + 0.4 * np.repeat(scene.standard_normal(512), 8)
    chamfer = look_up(np.gradient(radius_table, STATIONS), along, *SPAN)
    turned = look_up(marks, along, *SPAN)
    worn = look_up(drawn(brushed, scene, 64).ravel() - 0.5, along, *SPAN)
    down, right = np.gradient(bump, canvas.pixel)
    ny = np.clip(t, -1.0, 1.0) + 0.012 * turned + down
    nx = -0.28 * chamfer + 0.04 * along + right + 0.05 * worn
    lean, power = scene.normal(0.0, 0.015), scene.uniform(0.94, 1.06)
    lamps = [
        (0.0, -0.42 + lean, 0.75, 0.10, 0.09, 1.25 * power),
        (0.05, 0.30 + lean, 0.55, 0.035, 0.045, 0.55 * power),
        (0.0, -0.80 + lean, 1.2, 0.05, 0.08, 0.30 * power),
        (0.0, 0.82 + lean, 1.5, 0.08, 0.12, 0.22),
        (-0.55, -0.15, 0.2, 0.6, 0.15, 0.25 * power),
    ]
    sky = 0.20 - 0.10 * ny + 0.12 * bell(ny, -0.35, 0.4)
    gleam = reflected(lamps, nx, ny) * (1.0 + 0.10 * turned)
    edge = np.sqrt(np.maximum(1.0 - np.minimum(np.abs(t), 1.0) ** 2, 0.0))
    steel = (sky * (1.0 + 0.08 * turned) + gleam) * (0.35 + 0.65 * edge**0.5)
    tone = np.array([scene.uniform(0.995, 1.02), 1.0, scene.uniform(0.99, 1.01)])
    return 0.8 * steel[..., None] * tone


def _plate(canvas: Canvas, scene: Generator, along: Array, across: Array, outline: Array) -> Array:
    """The matt inspection plate under the pin, with the pin's soft shadow."""
    surface = mould_grain(scene, canvas)
    hue = np.array([0.92, 1.0, 1.1]) * scene.uniform(0.99, 1.01, 3)
    tone = scene.uniform(0.12, 0.14) * (1.0 - 0.18 * canvas.y + 0.1 * canvas.x) * (1.0 + 0.05 * surface)
    gap = np.abs(across) - look_up(outline, along, *SPAN)
    away = -np.maximum(gap, 0)
    shadow = np.where(across > 0, 0.75 * np.exp(away / 0.16), 0.45 * np.exp(away / 0.05))
    return (tone * (1.0 - shadow))[..., None] * hue


def _defect(
    label: str, canvas: Canvas, along: Array, across: Array, radius_table: Array, flaw: Generator
) -> tuple[Array, Array, Array, Array]:
    """Height, relative tone, stain and coverage of a defect, each (side, side); all zero on a good pin."""
    nothing = np.zeros((canvas.side, canvas.side))
    if label == "good":
        return nothing, nothing, nothing, nothing
    at = flaw.uniform(-0.88, 0.88)  # on the visible side of the pin
    height = flaw.uniform(-0.75, 0.75) * float(look_up(radius_table, np.array(at), *SPAN))
    if label == "stripe":
        return _stripe(along - 0.6 * at, across, height, flaw)
    size = flaw.uniform(0.095, 0.28) if label == "big" else flaw.uniform(0.03, 0.08)
    strength = flaw.beta(2.2, 1.1)
    stretch = flaw.uniform(0.7, 2.0) if label == "big" else flaw.uniform(0.8, 1.4)
    kind = flaw.choice(["residue", "dent", "wear"])
    if kind == "dent":
        u, v = (along - at) / stretch, across - height
        bump, tone, extent = dent(u, v, 1.25 * size, (0.10 + 0.26 * strength) * size, strength, flaw)
        return bump, tone, nothing, extent
    rough = noise_field(flaw, canvas.side, 1.7, 4.0)
    coverage = blot((along - at) / stretch, across - height, size, 0.22, rough, 0.25)
    if kind == "residue":
        patchy = np.clip(0.8 + 0.25 * rough, 0.3, 1.0)
        return nothing, nothing, (0.35 + 0.6 * strength) * coverage * patchy, coverage
    grainy = np.clip(0.6 + 0.6 * noise_field(flaw, canvas.side, 0.6, 3.0), 0.0, 1.5)
    return nothing, flaw.choice([-0.6, 0.8]) * (0.4 + 0.7 * strength) * coverage * grainy, nothing, coverage


def _stripe(along: Array, across: Array, height: float, flaw: Generator) -> tuple[Array, Array, Array, Array]:
    """A drawn line along the pin, slightly oblique and fading at its ends."""
    length, width = flaw.uniform(0.6, 1.8), flaw.uniform(0.013, 0.032)
    drift = flaw.normal(0.0, 0.015) * along
    fade = smoothstep(0.5 * length, 0.35 * length, np.abs(along))
    coverage = fade * bell(across, height + drift, width)
    strength = flaw.beta(1.8, 1.2)
    tone = flaw.choice([-0.7, 0.9]) * (0.45 + 0.75 * strength)
    return -0.004 * strength * coverage, tone * coverage, np.zeros_like(coverage), coverage
