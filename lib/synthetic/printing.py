"""The printed marks of the drawn products: an invented wordmark and an emblem, as distances to their outline."""

from functools import lru_cache

import numpy as np

Array = np.ndarray
Line = tuple[float, float, float, float]

RASTER = 192  # rows per unit height of a glyph

# Signs of an invented script, as strokes in a box of height 1; each comes with its width.
GLYPHS: tuple[tuple[float, tuple[Line, ...]], ...] = (
    (0.9, ((0.0, 1.0, 0.45, 0.0), (0.45, 0.0, 0.9, 1.0))),
    (0.7, ((0.0, 0.0, 0.7, 0.0), (0.1, 0.5, 0.7, 0.5), (0.0, 1.0, 0.7, 1.0))),
    (0.75, ((0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 0.75, 1.0), (0.75, 1.0, 0.75, 0.0))),
    (0.8, ()),  # the ring
    (0.7, ((0.0, 0.0, 0.0, 1.0), (0.0, 0.5, 0.7, 0.0), (0.25, 0.35, 0.7, 1.0))),
    (0.75, ((0.0, 0.0, 0.0, 0.7), (0.0, 0.7, 0.25, 1.0), (0.25, 1.0, 0.75, 1.0), (0.75, 1.0, 0.75, 0.0))),
)
GAP = 0.34
WORD_WIDTH = sum(width for width, _ in GLYPHS) + GAP * (len(GLYPHS) - 1)
MARGIN = 0.5


def _to_stroke(x: Array, y: Array, line: Line) -> Array:
    ax, ay, bx, by = line
    dx, dy = bx - ax, by - ay
    t = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    return np.hypot(x - ax - t * dx, y - ay - t * dy)


@lru_cache(maxsize=1)
def _wordmark() -> Array:
    """Distances to the strokes' middle lines, in glyph heights, with a margin around the word."""
    rows, columns = int((1 + 2 * MARGIN) * RASTER), int((WORD_WIDTH + 2 * MARGIN) * RASTER)
    y = (np.arange(rows)[:, None] + 0.5) / RASTER - MARGIN
    x = (np.arange(columns)[None, :] + 0.5) / RASTER - MARGIN
    distance = np.full((rows, columns), 9.0)
    left = 0.0
    for width, lines in GLYPHS:
        strokes = [_to_stroke(x - left, y, line) for line in lines]
        if not lines:
            strokes = [np.abs(np.hypot((x - left - width / 2) / width, y - 0.5) - 0.5) * (1 + width) / 2]
        distance = np.minimum.reduce([distance, *strokes])
        left += width + GAP
    return distance


def wordmark(u: Array, v: Array, height: float) -> Array:
    """Distance of (u, v) to the middle of the word's strokes, in the units of u; the word is centred at 0.

    `height` is that of a glyph. Bilinear between the points of a raster; at least the margin outside it.
    """
    table = _wordmark()
    column = np.clip((u / height + WORD_WIDTH / 2 + MARGIN) * RASTER - 0.5, 0, table.shape[1] - 1.001)
    row = np.clip((v / height + 0.5 + MARGIN) * RASTER - 0.5, 0, table.shape[0] - 1.001)
    c, r = column.astype(np.intp), row.astype(np.intp)
    fc, fr = column - c, row - r
    flat, start = table.ravel(), r * table.shape[1] + c
    top = flat[start] * (1 - fc) + flat[start + 1] * fc
    bottom = flat[start + table.shape[1]] * (1 - fc) + flat[start + table.shape[1] + 1] * fc
    return height * (top * (1 - fr) + bottom * fr)


def emblem(u: Array, v: Array, radius: float) -> Array:
    """Signed distance (negative inside) to a rotor of three curved blades in a thin ring, in the units of u."""
    r = np.hypot(u, v) / radius
    angle = np.arctan2(v, u) + 0.9 * r
    blade = (0.42 - np.cos(3.0 * angle)) * 0.3 * np.clip(r, 0.15, 1.0)
    blade = np.maximum.reduce([blade, r - 0.78, 0.2 - r])
    return radius * np.minimum(blade, np.abs(r - 0.95) - 0.045)
