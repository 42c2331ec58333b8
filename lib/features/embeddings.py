"""The 512 average-pool features of images and of anomaly maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lib.features.resnet import Backbone
from lib.torch_utils import allow_tf32

MapEncoding = Literal["raw", "jet"]
Progress = Callable[[int, int], None]  # called with (images done, images in all) after each batch

N_FEATURES = 512


def image_features(
    backbone: Backbone,
    images: NDArray[np.uint8],
    side: int,
    *,
    batch: int = 64,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Compute the features (N, 512) of RGB images (N, H, W, 3) uint8, resized to `side` and ImageNet-normalised.

    `images` may be a memory map: one batch is read at a time. Raises ValueError on another shape or type.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images must be (N, H, W, 3) uint8, not {images.shape} {images.dtype}")

    def encode(start: int, stop: int) -> Tensor:
        return torch.from_numpy(images[start:stop].astype(np.float32) / 255).permute(0, 3, 1, 2)

    return _features(backbone, encode, len(images), side, batch, device, progress)


def map_features(
    backbone: Backbone,
    maps: NDArray[np.floating],
    side: int,
    encoding: MapEncoding = "raw",
    *,
    batch: int = 64,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Compute the features (N, 512) of anomaly maps (N, H, W), shown to the backbone as pictures.

    `raw`: the value, in [0, 1], in all three channels. `jet`: each map stretched to its own minimum and maximum
    (a constant one counts as all minimum), then matplotlib's jet. Then resized to `side` and ImageNet-normalised.
    Raises ValueError on another encoding, shape or type, and on values that are not finite or, for raw, outside [0, 1].
    """
    if encoding not in get_args(MapEncoding):
        raise ValueError(
            f"map_encoding={encoding!r} is unknown: choose one of {', '.join(get_args(MapEncoding))}"
        )
    if not np.issubdtype(maps.dtype, np.floating) or maps.ndim != 3:
        raise ValueError(f"maps must be (N, H, W) floats, not {maps.shape} {maps.dtype}")

    def encode(start: int, stop: int) -> Tensor:
        values = maps[start:stop].astype(np.float32)
        lowest, highest = values.min(axis=(1, 2)), values.max(axis=(1, 2))
        usable = np.isfinite(lowest) & np.isfinite(highest)  # NaN spreads to minimum and maximum
        if encoding == "raw":
            usable &= (lowest >= 0) & (highest <= 1)
        if not usable.all():
            at = int(np.flatnonzero(~usable)[0])
            bounds = "be finite" if encoding == "jet" else "lie in [0, 1]"
            raise ValueError(
                f"map {start + at}: values {lowest[at]} to {highest[at]}, but they must {bounds}"
            )
        if encoding == "raw":
            return torch.from_numpy(values)[:, None].expand(-1, 3, -1, -1)
        return torch.from_numpy(_jet(values)).permute(0, 3, 1, 2)

    return _features(backbone, encode, len(maps), side, batch, device, progress)


def _jet(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colour maps (n, H, W), each stretched to [0, 1], with matplotlib's jet: (n, H, W, 3) in [0, 1]."""
    lowest = maps.min(axis=(1, 2), keepdims=True)
    extent = maps.max(axis=(1, 2), keepdims=True) - lowest
    stretched = (maps - lowest) / np.where(extent > 0, extent, 1)
    return matplotlib.colormaps["jet"](stretched)[..., :3].astype(np.float32)


def _features(
    backbone: Backbone,
    encode: Callable[[int, int], Tensor],
    total: int,
    side: int,
    batch: int,
    device: str | torch.device,
    progress: Progress | None,
) -> NDArray[np.float32]:
    """Run the backbone over `encode(start, stop)`, which gives (n, 3, H, W) in [0, 1], batch by batch."""
    if side < 1 or batch < 1:
        raise ValueError(f"side={side} and batch={batch} must be at least 1")
    model = backbone.model.to(device)
    mean = torch.tensor(backbone.mean, device=device).view(3, 1, 1)
    std = torch.tensor(backbone.std, device=device).view(3, 1, 1)
    features = np.empty((total, N_FEATURES), dtype=np.float32)
    for start in range(0, total, batch):
        stop = min(start + batch, total)
        with torch.inference_mode(), allow_tf32(False):
            pictures = encode(start, stop).to(device)
            if pictures.shape[2:] != (side, side):
                pictures = F.interpolate(
                    pictures, (side, side), mode="bilinear", antialias=True, align_corners=False
                )
            normalised = ((pictures - mean) / std).contiguous(memory_format=torch.channels_last)
            features[start:stop] = model(normalised).cpu().numpy()
        if progress is not None:
            progress(stop, total)
    return features
