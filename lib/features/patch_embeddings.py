"""ResNet-18's features of each place of a picture: the directions of its second and third stage, locally averaged.

After Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (CVPR 2022), section 3.1: what a middle stage
says of a place is still about the place, and no longer about single pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.feature_extraction import create_feature_extractor

from lib.features.resnet import Backbone
from lib.torch_utils import allow_tf32

STAGES = {"layer2.1.relu_1": "second", "layer3.1.relu_1": "third"}
N_CHANNELS = 128 + 256
STRIDE = 8  # pixels from one patch to the next


def grid(side: int) -> int:
    """Return how many patches a picture of `side` pixels has along a side."""
    return -(-side // STRIDE)


class PatchExtractor(nn.Module):
    """Normalised pictures (n, 3, side, side) to patches (n, 384, side/8, side/8), sharing the backbone's weights."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.middle = create_feature_extractor(backbone.model.body, STAGES).eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """Average both stages over 3 x 3 places, bring the third to the second's grid, join both at length 1.

        The length of a stage's features is mostly brightness and contrast; without it distances tell more (on magnetic
        tiles the image AUROC of a PatchCore rose from 0.72 to 0.82, the mean over folds: docs/guided.md).
        """
        stages = self.middle(pictures)
        fine, coarse = (
            F.avg_pool2d(stages[name], 3, stride=1, padding=1, count_include_pad=False)
            for name in STAGES.values()
        )
        coarse = F.interpolate(coarse, fine.shape[2:], mode="bilinear", align_corners=False)
        return torch.cat((F.normalize(fine, dim=1), F.normalize(coarse, dim=1)), dim=1)


def patch_features(
    backbone: Backbone,
    images: NDArray[np.uint8],
    out: NDArray[np.float16],
    *,
    batch: int = 32,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float16]:
    """Write to `out` (N, h, w, 384) the patches of RGB images (N, side, side, 3) uint8, h = w = `grid(side)`.

    Both may be memory maps: one batch is held at a time. Raises ValueError on another shape or type.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images must be (N, side, side, 3) uint8, not {images.shape} {images.dtype}")
    places = (grid(images.shape[1]), grid(images.shape[2]))
    if out.shape != (len(images), *places, N_CHANNELS) or out.dtype != np.float16:
        raise ValueError(
            f"out must be {(len(images), *places, N_CHANNELS)} float16, not {out.shape} {out.dtype}"
        )
    extractor = PatchExtractor(backbone).to(device)
    mean = torch.tensor(backbone.mean, device=device).view(3, 1, 1)
    std = torch.tensor(backbone.std, device=device).view(3, 1, 1)
    with torch.inference_mode(), allow_tf32(False):
        for start in range(0, len(images), batch):
            stop = min(start + batch, len(images))
            pixels = torch.from_numpy(images[start:stop].astype(np.float32) / 255).to(device)
            pictures = ((pixels.permute(0, 3, 1, 2) - mean) / std).contiguous(
                memory_format=torch.channels_last
            )
            out[start:stop] = extractor(pictures).permute(0, 2, 3, 1).half().cpu().numpy()
            if progress is not None:
                progress(stop, len(images))
    return out
