"""Drawing products: canvas, lamps seen in shiny surfaces, spots and dents, dust, lens and sensor."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from lib.synthetic.noise import noise_field, smoothstep

Array = np.ndarray
# A rectangular soft light as a mirror sees it: centre, half sizes and softness as directions, and power.
Lamp = tuple[float, float, float, float, float, float]


class Canvas:
    """Pixel centres of a square image: x (1, side) to the right and y (side, 1) downwards, in [-1, 1]."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.pixel = 2.0 / side
        axis = (np.arange(side) + 0.5) * self.pixel - 1.0
        self.x, self.y = axis[None, :], axis[:, None]

    def turned(self, x: float, y: float, angle: float) -> tuple[Array, Array]:
        """Coordinates of a part whose centre is (x, y) and which is turned by `angle` radians."""
        cos, sin = np.cos(angle), np.sin(angle)
        dx, dy = self.x - x, self.y - y
        return cos * dx + sin * dy, cos * dy - sin * dx


def bell(value: Array, centre: float | Array, width: float) -> Array:
    """A Gaussian bell of height 1."""
    return np.exp(-0.5 * ((value - centre) / width) ** 2)


def look_up(table: Array, position: Array, low: float, high: float) -> Array:
    """Values of a table whose entries stand evenly from `low` to `high`, nearest entry."""
    index = (position - low) * ((len(table) - 1) / (high - low)) + 0.5
    return table[np.clip(index, 0, len(table) - 1).astype(np.intp)]


def reflected(lamps: Sequence[Lamp], x: Array, y: Array) -> Array:
    """The light that arrives from the directions (x, y) of mirror rays."""
    light = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for at_x, at_y, half_x, half_y, soft, power in lamps:
        across = smoothstep(half_x + soft, half_x - soft, np.abs(x - at_x))
        light += power * across * smoothstep(half_y + soft, half_y - soft, np.abs(y - at_y))
    return light


def blot(u: Array, v: Array, radius: float, ragged: float, rough: Array, soft: float) -> Array:
    """A spot with a ragged edge (`rough` is noise of deviation 1); coverage in [0, 1]."""
    distance = np.hypot(u, v) / radius + ragged * rough
    return smoothstep(1.0 + soft, 1.0 - soft, distance)


def dent(
    u: Array, v: Array, radius: float, depth: float, strength: float, rng: Generator
) -> tuple[Array, Array, Array]:
    """A hollow that levels out at `radius`: its uneven height, relative tone and extent."""
    coverage = np.clip(1.0 - (u * u + v * v) / (radius * radius), 0.0, None) ** 2
    uneven = coverage * (1.0 + 0.05 * noise_field(rng, len(u), 2.2, 6.0))
    return (
        -depth * uneven,
        -0.15 * strength * coverage,
        coverage**0.25,
    )  # a mask of the extent reaches to the rim


def dusted(light: Array, canvas: Canvas, rng: Generator, grains: float, strength: float) -> Array:
    """The image with some faint grains of dust, as clean parts have them too."""
    for _ in range(rng.poisson(grains)):
        x, y = rng.uniform(-1.0, 1.0, 2)
        radius, amount = rng.uniform(0.004, 0.012), rng.uniform(-0.5, 1.0) * strength
        reach = int(np.ceil(3.0 * radius / canvas.pixel)) + 1
        column, row = int((x + 1.0) / canvas.pixel), int((y + 1.0) / canvas.pixel)
        rows = slice(max(row - reach, 0), row + reach + 1)
        columns = slice(max(column - reach, 0), column + reach + 1)
        squared = (canvas.x[:, columns] - x) ** 2 + (canvas.y[rows] - y) ** 2
        light[rows, columns] += (amount * np.exp(-squared / (2.0 * radius**2)))[..., None]
    return light


def develop(light: Array, canvas: Canvas, rng: Generator) -> Array:
    """Linear light (side, side, 3) through lens and sensor: the photograph, uint8."""
    x0, y0 = rng.uniform(-0.15, 0.15, 2)
    vignette = 1.0 - rng.uniform(0.06, 0.11) * ((canvas.x - x0) ** 2 + (canvas.y - y0) ** 2)
    gains = rng.uniform(1.25, 1.36) * np.array([rng.uniform(0.985, 1.015), 1.0, rng.uniform(0.98, 1.02)])
    blur = rng.gamma(12.0, 0.00025) / canvas.pixel + 0.3
    haze, shot, dark = rng.uniform(0.002, 0.008), rng.uniform(0.006, 0.010), rng.uniform(0.002, 0.004)

    exposed = np.maximum(light, 0.0).transpose(2, 0, 1) * vignette * gains[:, None, None] + haze
    exposed = ndimage.gaussian_filter(exposed, (0.0, blur, blur), truncate=3.0, mode="nearest")
    exposed *= (1.0 + 0.12 * exposed) / (1.0 + 0.45 * exposed)  # highlights roll off, blacks stay
    value = np.sqrt(exposed)  # the camera's gamma
    value += rng.standard_normal(value.shape) * (shot * np.sqrt(value) + dark)
    return np.clip(np.rint(value * 255.0), 0, 255).astype(np.uint8).transpose(1, 2, 0).copy()


def mould_grain(rng: Generator, canvas: Canvas) -> Array:
    """The fine etched grain of moulded plastic and matt plates: mean 0, deviation 1."""
    return noise_field(rng, canvas.side, 1.5, rng.uniform(35.0, 45.0))
