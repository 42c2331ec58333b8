"""The geometry of tiles: how many pixels they share, and the side of the whole that they fill; whole numbers alone."""


def overlap_of(tile: int) -> int:
    """Return how many pixels neighbouring tiles of this side share: a quarter of it, a multiple of 8."""
    return tile // 32 * 8


def whole_side(tile: int, tiles: int) -> int:
    """Return the side of a picture, in pixels, that tiles x tiles overlapping squares of side `tile` fill."""
    return tile * tiles - overlap_of(tile) * (tiles - 1)


class Tiled:
    """The sides of whole images, from the sides of their tiles."""

    tiles: int
    image_size: int
    feature_size: int

    @property
    def map_side(self) -> int:
        """The side of a whole image as DRAEM sees it, and of the maps, in pixels."""
        return whole_side(self.image_size, self.tiles)

    @property
    def feature_side(self) -> int:
        """The side of a whole image as the backbone sees it, in pixels."""
        return whole_side(self.feature_size, self.tiles)
