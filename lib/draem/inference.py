"""Anomaly maps and image scores from a trained DRAEM."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lib.artifacts import write_bytes
from lib.draem.checkpoints import load_networks
from lib.draem.losses import image_score
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.torch_utils import allow_tf32, as_stored, flush_denormals

# CPU: flat from here on (one thread, widths 16/8, 64 px: 12.5 ms per image at batch 1, 7.4 at 16, 7.9 at 64).
# GPU: a guess at what fills one, unmeasured.
PIXELS_PER_BATCH = {"cpu": 16 * 64 * 64, "cuda": 32 * 256 * 256}
FORMAT = "draem-1"
_PREFIXES = ("reconstructive.", "discriminative.")


@dataclass(frozen=True)
class Draem:
    """A trained DRAEM as a fitted detector (see `lib.anomaly_maps.detectors`): its inputs are images as they are."""

    reconstructive: ReconstructiveNetwork
    discriminative: DiscriminativeNetwork
    device: str = "cpu"

    def maps(self, inputs: np.ndarray) -> np.ndarray:
        """Return anomaly maps (n,side,side) float16 in [0,1] of images (n,side,side,3) uint8."""
        return self.maps_and_scores(inputs)[0]

    def maps_and_scores(self, images: np.ndarray, batch: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the maps and image scores (n,) float32 in [0,1] of images, which may be memory-mapped.

        The scores are `lib.draem.losses.image_score` of the float32 maps. A GPU that runs out of memory gets half the
        batch; RuntimeError if one image is too much.
        """
        count, height, width = images.shape[:3]
        kind = torch.device(self.device).type
        batch = batch or max(1, PIXELS_PER_BATCH[kind] // (height * width))
        first, second = (
            fold_batchnorm(network).to(self.device).to(memory_format=torch.channels_last)
            for network in (self.reconstructive, self.discriminative)
        )
        out, scores = np.empty(images.shape[:3], np.float16), np.empty(count, np.float32)
        done = 0
        with torch.inference_mode(), flush_denormals(), allow_tf32(False):
            while done < count:
                rows = slice(done, min(done + batch, count))
                try:
                    maps = _maps(first, second, torch.from_numpy(np.array(images[rows])).to(self.device))
                    scores[rows] = image_score(maps).cpu().numpy()
                    out[rows] = maps.half().cpu().numpy()
                    done = rows.stop
                except torch.cuda.OutOfMemoryError as error:
                    if rows.stop - done == 1:
                        raise RuntimeError(
                            f"out of GPU memory for one image of {height}x{width} px: set a smaller image_size "
                            "or device='cpu'"
                        ) from error
                    batch = (rows.stop - done) // 2
        return out, scores

    def save(self, path: Path, header: dict[str, Any]) -> None:
        """Write both networks to one .safetensors file, atomically, with `header` (settings, origin) as texts.

        The same networks and header give the same bytes: safetensors writes several header entries in any order, so
        all stand in one, as sorted JSON.
        """
        tensors = {
            prefix + key: value.detach().cpu().contiguous()
            for prefix, network in zip(_PREFIXES, (self.reconstructive, self.discriminative), strict=True)
            for key, value in network.state_dict().items()
        }
        texts = json.dumps({key: str(value) for key, value in header.items()}, sort_keys=True)
        write_bytes(path, to_safetensors(tensors, {FORMAT: texts}))

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Draem:
        """Return what `save` wrote; ValueError for other tensors."""
        tensors = load_file(path)
        first, second = (
            {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            for prefix in _PREFIXES
        )
        return cls(*load_networks(first, second, str(path)), device)


def fold_batchnorm(network: nn.Module) -> nn.Module:
    """Return a copy in eval mode, each BatchNorm folded into the convolution before it: same outputs, faster."""
    folded = copy.deepcopy(network).eval()
    for sequence in [layer for layer in folded.modules() if isinstance(layer, nn.Sequential)]:
        for index in range(1, len(sequence)):
            before, layer = sequence[index - 1], sequence[index]
            if isinstance(before, nn.Conv2d) and isinstance(layer, nn.BatchNorm2d):
                sequence[index - 1] = fuse_conv_bn_eval(before, layer)
                sequence[index] = nn.Identity()
    return folded


def _maps(reconstructive: nn.Module, discriminative: nn.Module, images: Tensor) -> Tensor:
    # (N,H,W,3), its axes moved to (N,3,H,W), is channels_last already
    x = images.permute(0, 3, 1, 2).float().div_(255)
    logits = discriminative(torch.cat((reconstructive(x), x), dim=1))
    return logits.softmax(dim=1)[:, 1]


class DraemMaps(nn.Module):
    """A DRAEM from images (n, 3, side, side) in [0, 1] to maps (n, side, side), BatchNorm folded in."""

    def __init__(self, draem: Draem) -> None:
        super().__init__()
        self.first, self.second = fold_batchnorm(draem.reconstructive), fold_batchnorm(draem.discriminative)

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct, compare, and return the anomalous class's probability at each pixel."""
        logits = self.second(torch.cat((self.first(images), images), dim=1))
        return as_stored(logits.softmax(dim=1)[:, 1])
