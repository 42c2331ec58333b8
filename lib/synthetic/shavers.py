"""Shavers: the wordmark that is pad-printed on the dark satin body of a shaver."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy import ndimage

from lib.synthetic.noise import drawn, noise_field, smoothstep
from lib.synthetic.rendering import Array, Canvas, bell, blot, dusted, mould_grain, over, reflected
from lib.synthetic.textures import cast, clouded

HEIGHT = 0.25  # of a glyph, in half sides of the image
STROKE = 0.028  # half a stroke's width
RASTER = 192  # rows per unit height of a glyph

# Signs of an invented script, each with its width: strokes as points x, y, x, y, ... in a box of height 1.
GLYPHS: tuple[tuple[float, tuple[tuple[float, ...], ...]], ...] = (
    (0.9, ((0.0, 1.0, 0.45, 0.0, 0.9, 1.0),)),
    (0.7, ((0.0, 0.0, 0.7, 0.0), (0.1, 0.5, 0.7, 0.5), (0.0, 1.0, 0.7, 1.0))),
    (0.75, ((0.0, 1.0, 0.0, 0.0, 0.75, 1.0, 0.75, 0.0),)),
    (0.8, ()),  # the ring
    (0.7, ((0.0, 0.0, 0.0, 1.0), (0.0, 0.5, 0.7, 0.0), (0.25, 0.35, 0.7, 1.0))),
    (0.75, ((0.0, 0.0, 0.0, 0.7, 0.25, 1.0, 0.75, 1.0, 0.75, 0.0),)),
)
GAP, MARGIN = 0.34, 0.5  # between the signs, and around the word
WORD_WIDTH = sum(width for width, _ in GLYPHS) + GAP * (len(GLYPHS) - 1)


def shavers(canvas: Canvas, label: str, scene: Generator, flaw: Generator) -> tuple[Array, Array]:
    """Linear light (side, side, 3) of one print and the coverage (side, side) of its defect."""
    x, y, turn = scene.normal((0.0, -0.02, 0.0), (0.01, 0.01, 0.005))
    u, v = canvas.turned(x, y, turn)
    zoom, weight = scene.uniform(0.99, 1.01), STROKE * scene.uniform(0.96, 1.04)
    slip_u, slip_v = scene.normal(0.0, 0.005, 2)  # of the pad on the body
    fuzz = 0.0035 * drawn(cast, scene, canvas.side)

    def ink(du: float, dv: float) -> Array:
        column = ((u - slip_u - du) / zoom / HEIGHT + WORD_WIDTH / 2 + MARGIN) * RASTER - 0.5
        row = ((v - slip_v - dv) / zoom / HEIGHT + 0.5 + MARGIN) * RASTER - 0.5
        distance = HEIGHT * ndimage.map_coordinates(_wordmark(), (row, column), order=1, mode="nearest")
        return smoothstep(weight + canvas.pixel, weight - canvas.pixel, distance + fuzz)

    once = printed = ink(0.0, 0.0)
    coverage = np.zeros_like(once)
    if label == "double":  # the pad touched twice: a paler second print beside the first
        way, gap = flaw.uniform(0.0, 2 * np.pi), flaw.uniform(0.018, 0.085)
        ghost = ink(gap * np.cos(way), gap * np.sin(way))
        printed = np.maximum(once, (0.2 + 0.75 * flaw.beta(1.8, 1.3)) * ghost)
        coverage = np.maximum(ghost - once, 0.0)
    elif label == "interrupted":
        coverage = once * _gone(once, u, v, flaw)
        printed = once - (0.4 + 0.6 * flaw.beta(2.0, 0.9)) * coverage

    body = _body(canvas, scene, u, v)
    density = scene.uniform(0.90, 0.97) * (1.0 - 0.1 * drawn(clouded, scene, canvas.side))
    paint = scene.uniform(0.54, 0.59) * np.array([0.97, 1.0, 1.02])
    light = over(body, paint * (0.75 + 0.8 * body.mean(-1, keepdims=True)), printed * density)
    return dusted(light, canvas, scene, 6.0, 0.04), coverage


def _body(canvas: Canvas, scene: Generator, u: Array, v: Array) -> Array:
    """The moulded handle: upright, bent to both sides, with a chrome trim below the print."""
    grain = mould_grain(scene, canvas)
    bow = v - 0.74 - 0.13 * u * u  # the trim's middle line
    trim = smoothstep(0.085 + canvas.pixel, 0.085 - canvas.pixel, np.abs(bow))
    nx, ny = 0.75 * u + 0.013 * grain, 0.12 * v + 0.013 * grain
    lean, power = scene.normal(0.0, 0.02), scene.uniform(0.93, 1.07)
    lamps = [
        (-0.56 + lean, -0.1, 0.08, 0.9, 0.24, 0.26 * power),
        (0.68 + lean, 0.0, 0.04, 0.9, 0.2, 0.15 * power),
        (0.1 + lean, -0.5, 0.6, 0.28, 0.3, 0.09 * power),
    ]
    satin = 0.030 + reflected(lamps, nx, ny) * (1.0 + 0.06 * grain)
    satin *= 1.0 - 0.8 * bell(np.abs(bow), 0.10, 0.012)  # the seam
    hue = np.array([0.78, 0.94, 1.2]) * scene.uniform(0.985, 1.015, 3)
    lamps = [(-0.45 + lean, -0.45, 0.5, 0.16, 0.12, 0.9 * power), (0.6 + lean, 0.35, 0.25, 0.1, 0.08, 0.5 * power)]
    bent = bow / 0.085
    chrome = 0.10 + reflected(lamps, 0.75 * u, bent) + 0.12 * smoothstep(0.2, 0.9, bent)
    return over(satin[..., None] * hue, chrome[..., None], trim)


def _gone(once: Array, u: Array, v: Array, flaw: Generator) -> Array:
    """Where ink is missing, in [0, 1]: a cut across the strokes, or a patch where the pad did not touch."""
    rows, columns = np.nonzero(once > 0.5)
    pick = int(flaw.uniform() * len(rows))
    du, dv = (axis - axis[rows[pick], columns[pick]] for axis in (u, v))
    rough = noise_field(flaw, len(u), 1.6, 4.0)
    if flaw.uniform() < 0.55:
        way, width, far = flaw.uniform((0.0, 0.025, 0.25), (np.pi, 0.09, 1.4))
        across = dv * np.cos(way) - du * np.sin(way)
        return smoothstep(far, 0.1, np.hypot(du, dv)) * smoothstep(1.2, 0.7, np.abs(across) / width + 0.25 * rough)
    return blot(du, dv, 0.95 * flaw.uniform(0.07, 0.36), 0.35 * rough, 0.2)


@lru_cache(maxsize=1)
def _wordmark() -> Array:
    """Distances to the strokes' middle lines, in glyph heights, with a margin around the word."""
    sheet = Image.new("1", (int((WORD_WIDTH + 2 * MARGIN) * RASTER), int((1 + 2 * MARGIN) * RASTER)), 1)
    pen, left = ImageDraw.Draw(sheet), MARGIN
    for width, strokes in GLYPHS:
        for stroke in strokes:
            points = RASTER * (np.reshape(stroke, (-1, 2)) + np.array([left, MARGIN]))
            pen.line(points.ravel().tolist(), fill=0)
        if not strokes:
            box = RASTER * np.array([left, MARGIN, left + width, MARGIN + 1.0])
            pen.ellipse(box.tolist(), outline=0)
        left += width + GAP
    return ndimage.distance_transform_edt(np.asarray(sheet)) / RASTER
