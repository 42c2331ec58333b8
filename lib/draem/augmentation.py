"""The ten augmentations that DRAEM makes to a texture, for a batch: each image gets its own three, in its own order.

Seven of the ten map each grey value to another: they are written as tables of 256 values per channel (tone curves).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

LEVELS = 256
DRAWS = 3  # uniform numbers that one augmentation needs at most


def sample_augmentations(images: int, generator: torch.Generator) -> Tensor:
    """Return (images, 3) places in `AUGMENTATIONS`, drawn for each image without replacement."""
    return torch.rand(images, len(AUGMENTATIONS), generator=generator).argsort(dim=1)[:, :3]


def augment(textures: Tensor, chosen: Tensor, draws: Tensor) -> Tensor:
    """Return uint8 textures (B,3,H,W), each changed by its row of `chosen` (B,K), from left to right.

    `chosen` holds places in `AUGMENTATIONS` on the CPU, `draws` (B,K,3) uniform numbers in [0,1) that become their
    parameters, on the textures' device. No data comes back to the CPU.
    """
    images, functions = textures.clone(), list(AUGMENTATIONS.values())
    for slot, column in enumerate(chosen.T.tolist()):
        for kind in sorted(set(column)):
            rows = [row for row, drawn in enumerate(column) if drawn == kind]
            members = torch.tensor(rows, device=images.device)
            images[members] = functions[kind](images.index_select(0, members), draws[members, slot])
    return images


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Return float images (B,C,H,W) rotated by degrees (B,) about their centres; bilinear, zeros outside."""
    height, width = images.shape[2:]
    angle = torch.deg2rad(degrees)[:, None]
    cosine, sine = angle.cos(), angle.sin()
    x = ((torch.arange(width, dtype=torch.float32, device=images.device) + 0.5) * (2 / width) - 1)[None]
    y = ((torch.arange(height, dtype=torch.float32, device=images.device) + 0.5) * (2 / height) - 1)[None]
    # A sampling point as one complex number: columns' and rows' shares are added in a single pass over memory.
    from_columns = torch.complex(cosine * x, -sine * x * (width / height))
    from_rows = torch.complex(sine * y * (height / width), cosine * y)
    grid = torch.view_as_real(from_rows[:, :, None] + from_columns[:, None, :])
    return torch.nn.functional.grid_sample(images, grid, align_corners=False)


def _to_bytes(values: Tensor) -> Tensor:
    # float to uint8 without int16 between takes five times as long on a CPU
    return values.clamp_(0, LEVELS - 1).add_(0.5).to(torch.int16).to(torch.uint8)


def _levels(like: Tensor) -> Tensor:
    return torch.arange(LEVELS, dtype=torch.float32, device=like.device).expand(len(like), 1, LEVELS)


def _scaled(u: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * u


def _by_curve(curve: Callable[[Tensor, Tensor], Tensor], images: Tensor, u: Tensor) -> Tensor:
    pixels = images.flatten(2).long()
    table = _to_bytes(curve(u, pixels)).expand(-1, 3, -1)
    return table.gather(2, pixels).view_as(images)


def _in_floats(change: Callable[[Tensor, Tensor], Tensor], images: Tensor, u: Tensor) -> Tensor:
    return _to_bytes(change(images.float(), u))


# Tone curves: uniform draws (B,3) and grey values (B,3,P) int64 to curves (B,1 or 3,256) in grey levels, as Pillow's.


def gamma_curve(u: Tensor, _: Tensor) -> Tensor:
    """Raise each channel to its own power U(0.5, 2)."""
    return (_levels(u) / 255) ** _scaled(u, 0.5, 2.0)[:, :, None] * 255


def brightness_curve(u: Tensor, _: Tensor) -> Tensor:
    """Multiply by U(0.8, 1.2) and add U(-30, 30), on all channels alike."""
    return _levels(u) * _scaled(u[:, :1, None], 0.8, 1.2) + _scaled(u[:, 1:2, None], -30, 30)


def solarize_curve(u: Tensor, _: Tensor) -> Tensor:
    """With probability 0.5 invert the values from a threshold of 32..128 upwards."""
    levels = _levels(u)
    threshold = torch.floor(_scaled(u[:, 1:2, None], 32, 129))
    return torch.where((u[:, :1, None] < 0.5) & (levels >= threshold), 255 - levels, levels)


def posterize_curve(u: Tensor, _: Tensor) -> Tensor:
    """Keep the highest 1 to 8 bits."""
    step = torch.exp2(7 - torch.floor(u[:, :1, None] * 8))
    return torch.floor(_levels(u) / step) * step


def _histograms(pixels: Tensor) -> Tensor:
    """Return float32 counts (B,C,256) of the grey values (B,C,P) int64."""
    counts = torch.zeros(*pixels.shape[:2], LEVELS, dtype=torch.int32, device=pixels.device)
    return counts.scatter_add_(2, pixels, counts.new_ones(()).expand(pixels.shape)).float()


def autocontrast_curve(u: Tensor, pixels: Tensor) -> Tensor:
    """Stretch each channel to the full range, the darkest and brightest 0..20 % (a whole number) cut off."""
    histogram = _histograms(pixels)
    cut = torch.floor(histogram.sum(2, keepdim=True) * torch.floor(u[:, :1, None] * 21) / 100)
    low = (histogram.cumsum(2) <= cut).sum(2, keepdim=True).float()
    high = 255 - (histogram.flip(2).cumsum(2) <= cut).sum(2, keepdim=True).float()
    levels = _levels(u)
    stretched = torch.floor(((levels - low) * (255 / (high - low))).clamp(0, 255) + 1e-3)
    return torch.where(high > low, stretched, levels)


def equalize_curve(u: Tensor, pixels: Tensor) -> Tensor:
    """Make each channel's grey values equally frequent."""
    histogram = _histograms(pixels)
    levels = _levels(u)
    brightest = ((histogram > 0) * levels).amax(2, keepdim=True).long()
    step = torch.floor((histogram.sum(2, keepdim=True) - histogram.gather(2, brightest)) / 255)
    below = histogram.cumsum(2) - histogram
    return torch.where(step > 0, torch.floor((below + torch.floor(step / 2)) / step.clamp(min=1)), levels)


# Spatial and colour changes: float images (B,3,H,W) in grey levels and draws (B,3) to the same.


def sharpness(images: Tensor, u: Tensor) -> Tensor:
    """Move by a factor U(0, 2) from the smoothed image (0) over the image (1) to a sharper one (2)."""
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    centre = images[:, :, 1:-1, 1:-1]
    smooth = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).add_(centre, alpha=4).div_(13)
    sharpened = images.clone()  # Pillow leaves the border as it is
    sharpened[:, :, 1:-1, 1:-1] = torch.lerp(smooth, centre, _scaled(u[:, :1, None, None], 0, 2))
    return sharpened


def hue_and_saturation(images: Tensor, u: Tensor) -> Tensor:
    """Add +-50 of 255 of a full turn to the hue and, drawn apart, +-50 of 255 to the saturation."""
    red, green, blue = images.unbind(1)
    value = images.amax(1)
    chroma = value - images.amin(1)
    safe = chroma.clamp(min=1e-6)
    other = torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    sixth = torch.where(value == red, (green - blue) / safe, other)
    shift = _scaled(u[:, :2], -50, 50)[:, :, None, None] / 255
    sixth = sixth + 6 * shift[:, 0]
    saturation = (chroma / value.clamp(min=1e-6) + shift[:, 1]).clamp_(0, 1)
    strength = value * saturation
    channels = []
    for offset in (5, 3, 1):  # value - strength * clamp(min(k, 4 - k), 0, 1), k = (offset + hue) mod 6
        k = sixth + offset - 6 * torch.floor((sixth + offset) / 6)
        channels.append(value - strength * (2 - (k - 2).abs()).clamp_(0, 1))
    return torch.stack(channels, dim=1)


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # in the order of the official list
    "gamma": partial(_by_curve, gamma_curve),
    "brightness": partial(_by_curve, brightness_curve),
    "sharpness": partial(_in_floats, sharpness),
    "hue": partial(_in_floats, hue_and_saturation),
    "solarize": partial(_by_curve, solarize_curve),
    "posterize": partial(_by_curve, posterize_curve),
    "invert": partial(_by_curve, lambda u, _: 255 - _levels(u)),
    "autocontrast": partial(_by_curve, autocontrast_curve),
    "equalize": partial(_by_curve, equalize_curve),
    "rotate": partial(
        _in_floats, lambda images, u: rotate(images, _scaled(u[:, 0], -45, 45))
    ),  # black outside
}
