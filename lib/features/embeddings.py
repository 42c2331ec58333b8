"""Features of images, pooled and by place, and pooled features of anomaly maps."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lib.features.backbone import BATCH, Backbone
from lib.features.backbone_weights import grid
from lib.torch_utils import allow_tf32

MapEncoding = Literal["raw", "jet"]
Progress = Callable[[int, int], None]  # called with (images done, images in all) after each batch


def image_features(
    backbone: Backbone, images: NDArray[np.uint8], *, device: str = "cpu"
) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    """Return the pooled features (N, n_features) and the patches (N, h, w, n_channels) of RGB images, in one pass.

    images (N, whole, whole, 3) uint8, at the backbone's `whole` side; h = w = `grid(whole)`.
    """
    places = grid(backbone.whole)
    pooled = np.empty((len(images), backbone.n_features), np.float32)
    patches = np.empty((len(images), places, places, backbone.n_channels), np.float16)
    read = lambda rows: as_tensor(images[rows])  # noqa: E731
    for rows, (whole, local) in _in_batches(backbone, backbone, read, len(images), device):
        pooled[rows] = whole.cpu().numpy()
        patches[rows] = local.permute(0, 2, 3, 1).half().cpu().numpy()
    return pooled, patches


def map_features(
    backbone: Backbone,
    maps: NDArray[np.floating],
    encoding: MapEncoding = "raw",
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return the pooled features (N, n_features) of anomaly maps (N, H, W) in [0, 1], given to the backbone as images.

    `raw`: the value in all three channels. `jet`: each map stretched to its own minimum and maximum (a constant one
    counts as all minimum), then matplotlib's jet. Then resized to the backbone's `whole` side.
    """
    colours, size = jet_colours(), (backbone.whole, backbone.whole)

    def read(rows: slice) -> Tensor:
        values = torch.from_numpy(maps[rows].astype(np.float32))
        images = values[:, None].expand(-1, 3, -1, -1) if encoding == "raw" else jet(values, colours)
        if images.shape[2:] == size:
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True)

    features = np.empty((len(maps), backbone.n_features), np.float32)
    for rows, pooled in _in_batches(backbone, backbone.pooled, read, len(maps), device, progress):
        features[rows] = pooled.cpu().numpy()
    return features


def _in_batches(
    backbone: Backbone,
    model: Callable[[Tensor], Any],
    read: Callable[[slice], Tensor],
    count: int,
    device: str,
    progress: Progress | None = None,
) -> Iterator[tuple[slice, Any]]:
    """Yield the rows of each batch, and what `model` makes of the images (n, 3, side, side) that `read` returns.

    Convolutions are computed in float32 on every device.
    """
    backbone.to(device)
    at_once = max(1, BATCH // backbone.tiles**2)
    for start in range(0, count, at_once):
        rows = slice(start, min(start + at_once, count))
        with torch.inference_mode(), allow_tf32(False):
            yield rows, model(read(rows).to(device))
        if progress is not None:
            progress(rows.stop, count)


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
