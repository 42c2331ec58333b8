"""ResNet-18's features of each place of an image: the directions of its second and third stage, locally averaged.

After Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (CVPR 2022), section 3.1: the features of a
middle stage are still about their place, and no longer about single pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lib.features.embeddings import Progress, as_tensor, forward_in_batches
from lib.features.resnet import Backbone

STAGES = {"layer2.1.relu_1": "second", "layer3.1.relu_1": "third"}
N_CHANNELS = 128 + 256
STRIDE = 8  # pixels from one patch to the next
BATCH = 32


def grid(side: int) -> int:
    """Return how many patches an image of `side` pixels has along a side."""
    return -(-side // STRIDE)


class PatchExtractor(nn.Module):
    """Normalised images (n, 3, side, side) to patches (n, 384, side/8, side/8), sharing the backbone's weights."""

    def __init__(self, backbone: Backbone) -> None:
        from torchvision.models.feature_extraction import create_feature_extractor

        super().__init__()
        self.middle = create_feature_extractor(backbone.model.body, STAGES).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Average both stages over 3 x 3 places, bring the third to the second's grid, join both at length 1.

        The length of a stage's features is mostly brightness and contrast; distances separate better without it: on
        magnetic tiles the image AUROC of a PatchCore rose from 0.72 to 0.82, the mean over folds (docs/guided.md).
        """
        stages = self.middle(images)
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
    device: str = "cpu",
    progress: Progress | None = None,
) -> NDArray[np.float16]:
    """Write to `out` (N, h, w, 384) the patches of RGB images (N, side, side, 3) uint8, h = w = `grid(side)`.

    Both may be memory maps: one batch is held at a time. Returns `out`.
    """
    extractor = PatchExtractor(backbone).to(device)

    def read(rows: slice) -> Tensor:
        return as_tensor(images[rows])

    def patches(normalised: Tensor) -> Tensor:
        return extractor(normalised).permute(0, 2, 3, 1).half()

    return forward_in_batches(backbone, patches, read, out, images.shape[1], BATCH, device, progress)
