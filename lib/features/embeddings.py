"""The 512 average-pool features of images and of anomaly maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

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
BATCH = 64


def image_features(
    backbone: Backbone, images: NDArray[np.uint8], side: int, *, device: str = "cpu"
) -> NDArray[np.float32]:
    """Return the features (N, 512) of RGB images (N, H, W, 3) uint8, resized to `side` and ImageNet-normalised.

    `images` may be a memory map: one batch is read at a time.
    """
    features = np.empty((len(images), N_FEATURES), np.float32)
    return forward_in_batches(
        backbone, backbone.model, lambda rows: as_tensor(images[rows]), features, side, BATCH, device
    )


def map_features(
    backbone: Backbone,
    maps: NDArray[np.floating],
    side: int,
    encoding: MapEncoding = "raw",
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return the features (N, 512) of anomaly maps (N, H, W) in [0, 1], given to the backbone as images.

    `raw`: the value in all three channels. `jet`: each map stretched to its own minimum and maximum (a constant one
    counts as all minimum), then matplotlib's jet. Then resized to `side` and ImageNet-normalised.
    """
    colours = jet_colours()

    def read(rows: slice) -> Tensor:
        values = torch.from_numpy(maps[rows].astype(np.float32))
        return values[:, None].expand(-1, 3, -1, -1) if encoding == "raw" else jet(values, colours)

    features = np.empty((len(maps), N_FEATURES), np.float32)
    return forward_in_batches(backbone, backbone.model, read, features, side, BATCH, device, progress)


def forward_in_batches(
    backbone: Backbone,
    model: Callable[[Tensor], Tensor],
    read: Callable[[slice], Tensor],
    out: NDArray[Any],
    side: int,
    batch: int,
    device: str,
    progress: Progress | None = None,
) -> NDArray[Any]:
    """Write to `out` (N, ...), and return, what `model`, a part of the backbone, makes of images (n, 3, side, side).

    `read` returns the images of some rows, (n, 3, H, W) in [0, 1]: they are resized to `side` and normalised as the
    backbone expects. Convolutions are computed in float32 on every device.
    """
    backbone.model.to(device)
    mean = torch.tensor(backbone.mean, device=device).view(3, 1, 1)
    std = torch.tensor(backbone.std, device=device).view(3, 1, 1)
    for start in range(0, len(out), batch):
        rows = slice(start, min(start + batch, len(out)))
        with torch.inference_mode(), allow_tf32(False):
            images = read(rows).to(device)
            if images.shape[2:] != (side, side):
                images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
            normalised = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
            out[rows] = model(normalised).cpu().numpy()
        if progress is not None:
            progress(rows.stop, len(out))
    return out


def as_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Return images (n, H, W, 3) uint8 as (n, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)


def jet_colours() -> Tensor:
    """Return the colours of matplotlib's jet, (256, 3) in [0, 1]."""
    import matplotlib

    return torch.tensor(matplotlib.colormaps["jet"](range(256)), dtype=torch.float32)[:, :3]


def jet(maps: Tensor, colours: Tensor) -> Tensor:
    """Return maps (n, H, W), each stretched to [0, 1], in `jet_colours`: (n, 3, H, W) in [0, 1]."""
    lowest = maps.amin(dim=(1, 2), keepdim=True)
    extent = maps.amax(dim=(1, 2), keepdim=True) - lowest
    stretched = (maps - lowest) / torch.where(extent > 0, extent, torch.ones_like(extent))
    steps = (stretched * len(colours)).to(torch.int64).clamp(max=len(colours) - 1)
    return colours[steps].permute(0, 3, 1, 2)
