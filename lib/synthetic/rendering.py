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
        self.side, self.pixel = side, 2.0 / side
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


def over(ground: Array, paint: Array, cover: Array) -> Array:
    """Light (side, side, 3) of a ground where it is not covered, of the paint where `cover` (side, side) is 1."""
    return ground + cover[..., None] * (paint - ground)


def reflected(lamps: Sequence[Lamp], x: Array, y: Array) -> Array:
    """The light that arrives from the directions (x, y) of mirror rays."""
    light = np.zeros(np.broadcast_shapes(x.shape, y.shape))
    for at_x, at_y, half_x, half_y, soft, power in lamps:
        across = smoothstep(half_x + soft, half_x - soft, np.abs(x - at_x))
        light += power * across * smoothstep(half_y + soft, half_y - soft, np.abs(y - at_y))
    return light


def blot(u: Array, v: Array, radius: float, ragged: Array, soft: float) -> Array:
    """A spot whose edge is `ragged` (in radii); coverage in [0, 1]."""
    return smoothstep(1.0 + soft, 1.0 - soft, np.hypot(u, v) / radius + ragged)


def dent(u: Array, v: Array, radius: float, depth: float, rng: Generator) -> tuple[Array, Array]:
    """A hollow that levels out at `radius`: its uneven height, and its extent to the rim in [0, 1]."""
    hollow = np.clip(1.0 - (u * u + v * v) / (radius * radius), 0.0, None) ** 2
    return -depth * hollow * (1.0 + 0.05 * noise_field(rng, len(u), 2.2, 6.0)), hollow**0.25


def dusted(light: Array, canvas: Canvas, rng: Generator, grains: float, strength: float) -> Array:
    """The image with some faint grains of dust, as clean parts have them too."""
    for _ in range(rng.poisson(grains)):
        x, y, radius, amount = rng.uniform((-1.0, -1.0, 0.004, -0.5), (1.0, 1.0, 0.012, 1.0))
        grain = bell(canvas.x, x, radius) * bell(canvas.y, y, radius)
        light += (amount * strength * grain)[..., None]
    return light


def develop(light: Array, canvas: Canvas, rng: Generator) -> Array:
    """Linear light (side, side, 3) through lens and sensor: the photograph, uint8."""
    x0, y0 = rng.uniform(-0.15, 0.15, 2)
    vignette = 1.0 - rng.uniform(0.06, 0.11) * ((canvas.x - x0) ** 2 + (canvas.y - y0) ** 2)
    gains = rng.uniform(1.25, 1.36) * rng.uniform((0.985, 1.0, 0.98), (1.015, 1.0, 1.02))
    blur = rng.gamma(12.0, 0.00025) / canvas.pixel + 0.3
    haze, shot, dark = rng.uniform((0.002, 0.006, 0.002), (0.008, 0.010, 0.004))

    exposed = np.maximum(light, 0.0) * vignette[..., None] * gains + haze
    exposed = ndimage.gaussian_filter(exposed, blur, truncate=3.0, mode="nearest", axes=(0, 1))
    exposed *= (1.0 + 0.12 * exposed) / (1.0 + 0.45 * exposed)  # highlights roll off, blacks stay
    value = np.sqrt(exposed)  # the camera's gamma
    value += rng.standard_normal(value.shape) * (shot * np.sqrt(value) + dark)
    return np.clip(np.rint(value * 255.0), 0, 255).astype(np.uint8)


def mould_grain(rng: Generator, canvas: Canvas) -> Array:
    """The fine etched grain of moulded plastic and matt plates: mean 0, deviation 1."""
    return noise_field(rng, canvas.side, 1.5, rng.uniform(35.0, 45.0))
