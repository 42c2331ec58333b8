"""Shavers: the wordmark that is pad-printed on the dark satin body of a shaver."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from lib.synthetic.noise import noise_field, smoothstep
from lib.synthetic.rendering import Array, Canvas, bell, dusted, mould_grain, reflected, wordmark
from lib.synthetic.texture_families import height_field

HEIGHT = 0.25  # of a glyph, in half sides of the image
STROKE = 0.028  # half a stroke's width


def shavers(canvas: Canvas, label: str, scene: Generator, flaw: Generator) -> tuple[Array, Array]:
    """Linear light (side, side, 3) of one print and the coverage (side, side) of its defect."""
    x, y, turn = scene.normal(0.0, 0.01), scene.normal(-0.02, 0.01), scene.normal(0.0, 0.005)
    u, v = canvas.turned(x, y, turn)
    zoom = scene.uniform(0.99, 1.01)
    slip_u, slip_v = scene.normal(0.0, 0.005, 2)  # of the pad on the body
    weight = STROKE * scene.uniform(0.96, 1.04)
    fuzz = 0.0035 * height_field("cast", scene, canvas.side)

    def ink(du: float, dv: float) -> Array:
        distance = wordmark((u - slip_u - du) / zoom, (v - slip_v - dv) / zoom, HEIGHT)
        return smoothstep(weight + canvas.pixel, weight - canvas.pixel, distance + fuzz)

    once = ink(0.0, 0.0)
    printed, coverage = once, np.zeros_like(once)
    if label == "double":
        printed, coverage = _double(once, ink, flaw)
    elif label == "interrupted":
        printed, coverage = _interrupted(canvas, once, u, v, flaw)

    body = _body(canvas, scene, u, v)
    density = scene.uniform(0.90, 0.97) * (1.0 - 0.1 * height_field("clouded", scene, canvas.side))
    lit = 0.75 + 0.8 * body.mean(-1, keepdims=True)
    paint = scene.uniform(0.54, 0.59) * np.array([0.97, 1.0, 1.02]) * lit
    light = body + (printed * density)[..., None] * (paint - body)
    return dusted(light, canvas, scene, 6.0, 0.04), coverage


def _body(canvas: Canvas, scene: Generator, u: Array, v: Array) -> Array:
    """The moulded handle: upright, bent to both sides, with a chrome trim below the print."""
    grain = mould_grain(scene, canvas)
    bow = v - 0.74 - 0.13 * u * u  # the trim's middle line
    trim = smoothstep(0.085 + canvas.pixel, 0.085 - canvas.pixel, np.abs(bow))
    seam = bell(np.abs(bow), 0.10, 0.012)
    nx = 0.75 * u + 0.013 * grain
    ny = 0.12 * v + 0.013 * grain
    lean, power = scene.normal(0.0, 0.02), scene.uniform(0.93, 1.07)
    lamps = [
        (-0.56 + lean, -0.1, 0.08, 0.9, 0.24, 0.26 * power),
        (0.68 + lean, 0.0, 0.04, 0.9, 0.2, 0.15 * power),
        (0.1 + lean, -0.5, 0.6, 0.28, 0.3, 0.09 * power),
    ]
    satin = 0.030 + reflected(lamps, nx, ny) * (1.0 + 0.06 * grain)
    satin *= 1.0 - 0.8 * seam
    hue = np.array([0.78, 0.94, 1.2]) * scene.uniform(0.985, 1.015, 3)
    chrome_lamps = [
        (-0.45 + lean, -0.45, 0.5, 0.16, 0.12, 0.9 * power),
        (0.6 + lean, 0.35, 0.25, 0.1, 0.08, 0.5 * power),
    ]
    chrome = 0.10 + reflected(chrome_lamps, 0.75 * u, bow / 0.085) + 0.12 * smoothstep(0.2, 0.9, bow / 0.085)
    return satin[..., None] * hue + trim[..., None] * (chrome[..., None] - satin[..., None] * hue)


def _double(once: Array, ink: Callable[[float, float], Array], flaw: Generator) -> tuple[Array, Array]:
    """The pad touched twice: a paler second print beside the first."""
    way, gap = flaw.uniform(0.0, 2 * np.pi), flaw.uniform(0.018, 0.085)
    ghost = ink(gap * np.cos(way), gap * np.sin(way))
    strength = 0.2 + 0.75 * flaw.beta(1.8, 1.3)
    return np.maximum(once, strength * ghost), np.maximum(ghost - once, 0.0)


def _interrupted(canvas: Canvas, once: Array, u: Array, v: Array, flaw: Generator) -> tuple[Array, Array]:
    """Ink is missing: cuts across the strokes, or a patch where the pad did not touch."""
    rows, columns = np.nonzero(once > 0.5)
    pick = flaw.integers(len(rows))
    du, dv = (axis - axis[rows[pick], columns[pick]] for axis in (u, v))
    rough = noise_field(flaw, canvas.side, 1.6, 4.0)
    strength = 0.4 + 0.6 * flaw.beta(2.0, 0.9)
    if flaw.uniform() < 0.55:
        way = flaw.uniform(0.0, np.pi)
        across = dv * np.cos(way) - du * np.sin(way)
        width = flaw.uniform(0.025, 0.09)
        near = smoothstep(flaw.uniform(0.25, 1.4), 0.1, np.hypot(du, dv))
        gone = near * smoothstep(1.2, 0.7, np.abs(across) / width + 0.25 * rough)
    else:
        size = flaw.uniform(0.07, 0.36)
        gone = smoothstep(1.15, 0.75, np.hypot(du, dv) / size + 0.35 * rough)
    removed = once * gone
    return once - strength * removed, removed
