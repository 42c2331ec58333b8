"""The ten augmentations that DRAEM makes to a texture, for a batch: each image gets its own three, in its own order.

Seven of the ten map each grey value to another: they are written as tables of 256 values per channel (tone curves).
"""

import torch
from torch import Tensor

LEVELS = 256
CHOSEN = 3  # augmentations of a texture
DRAWS = 3  # uniform numbers that one augmentation needs at most


def sample_augmentations(images: int, generator: torch.Generator) -> Tensor:
    """Return (images, 3) places in `AUGMENTATIONS`, drawn for each image without replacement."""
    return torch.rand(images, len(AUGMENTATIONS), generator=generator).argsort(dim=1)[:, :CHOSEN]


def augment(textures: Tensor, chosen: Tensor, draws: Tensor, *, fixed: bool = False) -> Tensor:
    """Return uint8 textures (B,3,H,W), each changed by its row of `chosen` (B,K), from left to right.

    `chosen` holds places in `AUGMENTATIONS`, `draws` (B,K,3) uniform numbers in [0,1) that become their parameters.
    `fixed`: each augmentation is made to all textures and then chosen from, and no data comes back to the CPU; else
    each only to its own, and `chosen` must be on the CPU.
    """
    images = textures.clone()
    for slot in range(chosen.shape[1]):
        column, u = chosen[:, slot], draws[:, slot]
        if fixed:
            changes = [change(images, u) for change in AUGMENTATIONS]
            for kind, changed in enumerate(changes):
                images = torch.where((column == kind)[:, None, None, None], changed, images)
            continue
        kinds = column.tolist()
        for kind in sorted(set(kinds)):
            members = torch.tensor([row for row, drawn in enumerate(kinds) if drawn == kind])
            images[members] = AUGMENTATIONS[kind](images.index_select(0, members), u[members])
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


def _through(curve: Tensor, images: Tensor) -> Tensor:
    """Return images with each grey value replaced by its place in a tone curve (B,1 or 3,256), in grey levels."""
    pixels = images.flatten(2).long()
    return _to_bytes(curve).expand(-1, 3, -1).gather(2, pixels).view_as(images)


def _histograms(images: Tensor) -> Tensor:
    """Return float32 counts (B,3,256) of the grey values."""
    pixels = images.flatten(2).long()
    counts = torch.zeros(*pixels.shape[:2], LEVELS, dtype=torch.int32, device=pixels.device)
    return counts.scatter_add_(2, pixels, counts.new_ones(()).expand(pixels.shape)).float()


# Each takes images (B,3,H,W) uint8 and uniform draws (B,3), and returns images; what has a model there is Pillow's.


def gamma(images: Tensor, u: Tensor) -> Tensor:
    """Raise each channel to its own power U(0.5, 2)."""
    return _through((_levels(u) / 255) ** _scaled(u, 0.5, 2.0)[:, :, None] * 255, images)


def brightness(images: Tensor, u: Tensor) -> Tensor:
    """Multiply by U(0.8, 1.2) and add U(-30, 30), on all channels alike."""
    factor, offset = _scaled(u[:, :1, None], 0.8, 1.2), _scaled(u[:, 1:2, None], -30, 30)
    return _through(_levels(u) * factor + offset, images)


def solarize(images: Tensor, u: Tensor) -> Tensor:
    """With probability 0.5 invert the values from a threshold of 32..128 upwards."""
    levels = _levels(u)
    threshold = torch.floor(_scaled(u[:, 1:2, None], 32, 129))
    inverted = (u[:, :1, None] < 0.5) & (levels >= threshold)
    return _through(torch.where(inverted, 255 - levels, levels), images)


def posterize(images: Tensor, u: Tensor) -> Tensor:
    """Keep the highest 1 to 8 bits."""
    step = torch.exp2(7 - torch.floor(u[:, :1, None] * 8))
    return _through(torch.floor(_levels(u) / step) * step, images)


def invert(images: Tensor, _: Tensor) -> Tensor:
    """Invert all values."""
    return 255 - images


def autocontrast(images: Tensor, u: Tensor) -> Tensor:
    """Stretch each channel to the full range, the darkest and brightest 0..20 % (a whole number) cut off."""
    histogram = _histograms(images)
    cut = torch.floor(histogram.sum(2, keepdim=True) * torch.floor(u[:, :1, None] * 21) / 100)
    low = (histogram.cumsum(2) <= cut).sum(2, keepdim=True).float()
    high = 255 - (histogram.flip(2).cumsum(2) <= cut).sum(2, keepdim=True).float()
    levels = _levels(u)
    stretched = torch.floor(((levels - low) * (255 / (high - low))).clamp(0, 255) + 1e-3)
    return _through(torch.where(high > low, stretched, levels), images)


def equalize(images: Tensor, u: Tensor) -> Tensor:
    """Make each channel's grey values equally frequent."""
    histogram = _histograms(images)
    levels = _levels(u)
    brightest = ((histogram > 0) * levels).amax(2, keepdim=True).long()
    step = torch.floor((histogram.sum(2, keepdim=True) - histogram.gather(2, brightest)) / 255)
    below = histogram.cumsum(2) - histogram
    equal = torch.floor((below + torch.floor(step / 2)) / step.clamp(min=1))
    return _through(torch.where(step > 0, equal, levels), images)


def sharpness(images: Tensor, u: Tensor) -> Tensor:
    """Move by a factor U(0, 2) from the smoothed image (0) over the image (1) to a sharper one (2)."""
    images = images.float()
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    centre = images[:, :, 1:-1, 1:-1]
    smooth = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).add_(centre, alpha=4).div_(13)
    sharpened = images.clone()  # Pillow leaves the border as it is
    sharpened[:, :, 1:-1, 1:-1] = torch.lerp(smooth, centre, _scaled(u[:, :1, None, None], 0, 2))
    return _to_bytes(sharpened)


def hue(images: Tensor, u: Tensor) -> Tensor:
    """Add +-50 of 255 of a full turn to the hue and, drawn apart, +-50 of 255 to the saturation."""
    images = images.float()
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
    return _to_bytes(torch.stack(channels, dim=1))


def turn(images: Tensor, u: Tensor) -> Tensor:
    """Rotate by up to 45 degrees; black outside."""
    return _to_bytes(rotate(images.float(), _scaled(u[:, 0], -45, 45)))


AUGMENTATIONS = (  # in the order of the official list
    gamma, brightness, sharpness, hue, solarize, posterize, invert, autocontrast, equalize, turn
)  # fmt: skip
