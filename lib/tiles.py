"""The geometry of tiles: how many pixels they share, and the side of the whole that they fill; whole numbers alone."""


def overlap_of(tile: int) -> int:
    """Return how many pixels neighbouring tiles of this side share: a quarter of it, a multiple of 8."""
    return tile // 32 * 8


def whole_side(tile: int, tiles: int) -> int:
    """Return the side of a picture, in pixels, that tiles x tiles overlapping squares of side `tile` fill."""
    return tile * tiles - overlap_of(tile) * (tiles - 1)
