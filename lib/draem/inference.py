"""A trained DRAEM: anomaly maps and image scores, kept in a file, or imported from an official pair of pickles."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from lib.draem.losses import image_score
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.torch_utils import allow_tf32, cut, fast_layout, flush_denormals, join, load_state_dict, some_at_once

# CPU: flat from here on (one thread, widths 16/8, 64 px: 12.5 ms per image at batch 1, 7.4 at 16, 7.9 at 64).
# GPU: a guess at what fills one, and less than a training step takes, which keeps what backward needs.
PIXELS_PER_BATCH = {"cpu": 16 * 64 * 64, "mps": 4 * 256 * 256, "cuda": 32 * 256 * 256}
FORMAT = "draem-1"
BGR_AXES = {  # axes of image channels
    "reconstructive.encoder.block1.0.weight": 1,
    "reconstructive.decoder.fin_out.0.weight": 0,
    "reconstructive.decoder.fin_out.0.bias": 0,
    "discriminative.encoder_segment.block1.0.weight": 1,
}


class Draem(nn.Module):
    """Both networks as a fitted detector (see `lib.anomaly_maps.detectors`): its inputs are images as they are.

    Images are of tiles x tiles overlapping squares of `tile` pixels, where there are several.
    """

    tile, tiles = 0, 1

    def __init__(
        self, reconstructive: ReconstructiveNetwork, discriminative: DiscriminativeNetwork, device: str = "cpu"
    ) -> None:
        super().__init__()
        self.reconstructive, self.discriminative, self.device = reconstructive, discriminative, device

    def compare(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions (n,3,H,W) of images (n,3,H,W) in [0,1], and logits (n,2,H,W): good, anomalous."""
        reconstruction = self.reconstructive(images)
        return reconstruction, self.discriminative(torch.cat((reconstruction, images), dim=1))

    def forward(self, images: Tensor) -> Tensor:
        """Return anomaly maps (n,H,W) in [0,1] of images (n,3,H,W) in [0,1]."""
        return self.compare(images)[1].softmax(dim=1)[:, 1]

    def exported(self, _places: int = 0) -> nn.Module:
        """Return a copy on the CPU, each BatchNorm folded into the convolution before it: same maps, faster."""
        folded = fuse(copy.deepcopy(self).cpu().eval(), inplace=True)
        return folded if self.tiles == 1 else _OfTiles(folded, self.tile, self.tiles)

    def maps(self, inputs: np.ndarray) -> np.ndarray:
        """Return anomaly maps (n,side,side) float16 in [0,1] of images (n,side,side,3) uint8."""
        return self.maps_and_scores(inputs)[0]

    def maps_and_scores(self, images: np.ndarray, batch: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the maps and image scores (n,) float32 in [0,1] of images, which may be memory-mapped.

        The scores are `lib.draem.losses.image_score` of the float32 maps. Where a GPU's memory is too small, the batch
        is halved; RuntimeError where one image is too many.
        """
        count, height, width = images.shape[:3]
        device = torch.device(self.device)
        batch = batch or max(1, PIXELS_PER_BATCH[device.type] // (height * width))
        module = self.exported().to(device).to(memory_format=fast_layout(device))
        maps, scores = np.empty(images.shape[:3], np.float16), np.empty(count, np.float32)
        with torch.inference_mode(), flush_denormals(), allow_tf32(False):
            start = 0
            while start < count:
                rows = slice(start, start + batch)
                try:
                    pixels = torch.from_numpy(np.array(images[rows])).to(device)
                    # (n,H,W,3), its axes moved to (n,3,H,W), is channels_last already
                    found = module(pixels.permute(0, 3, 1, 2).float().div_(255))
                    maps[rows] = found.half().cpu().numpy()
                    scores[rows] = image_score(found, self.tiles).cpu().numpy()
                    start += batch
                except torch.cuda.OutOfMemoryError as error:
                    if batch == 1:
                        issue = f"out of GPU memory for the map of one image of {height}x{width} px"
                        raise RuntimeError(f"{issue}: set a smaller image_size, or device=cpu") from error
                    batch //= 2
        return maps, scores

    def save(self, path: Path, header: dict[str, Any]) -> None:
        """Write both networks to one .safetensors file, with `header` (settings, origin) as texts.

        Several entries of a header come in any order, so all stand in one, as sorted JSON: same networks, same bytes.
        """
        seen = {"tile": self.tile, "tiles": self.tiles} if self.tiles > 1 else {}
        texts = json.dumps({key: str(value) for key, value in (header | seen).items()}, sort_keys=True)
        tensors = {name: value.cpu().contiguous() for name, value in self.state_dict().items()}
        path.write_bytes(to_safetensors(tensors, {FORMAT: texts}))  # save_file lets nobody else read it

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Draem:
        """Return what `save` wrote."""
        draem = cls.of_state(load_file(path), path, device)
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(FORMAT, "{}"))
        draem.tile, draem.tiles = int(header.get("tile", 0)), int(header.get("tiles", 1))
        return draem

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], source: Path, device: str = "cpu") -> Draem:
        """Return networks of the widths of a state in eval mode; ValueError, naming `source`, for no such state."""
        try:
            reconstructive, discriminative = widths_of(state)
            with torch.device("meta"):  # takes no memory, whatever widths a file claims
                parts = ReconstructiveNetwork(reconstructive), DiscriminativeNetwork(discriminative)
                both = dict(zip(("reconstructive", "discriminative"), parts, strict=True))
                nn.ModuleDict(both).load_state_dict(state, assign=True)
            draem = cls(ReconstructiveNetwork(reconstructive), DiscriminativeNetwork(discriminative), device)
            draem.load_state_dict(state)
        except (KeyError, IndexError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:400]  # torch lists every key, some hundreds of them
            raise ValueError(f"{source}: not the weights of DRAEM's two networks: {reason}") from error
        whole = all(state[name].is_floating_point() for name, _ in draem.named_parameters())
        if not whole or not all(value.isfinite().all() for value in state.values()):
            raise ValueError(f"{source}: holds weights that are no finite numbers")
        return draem.eval()


class _OfTiles(nn.Module):
    """A network that makes maps of tiles (n,3,tile,tile), for whole images."""

    def __init__(self, net: nn.Module, tile: int, tiles: int) -> None:
        super().__init__()
        self.net, self.tile, self.tiles = net, tile, tiles

    def forward(self, images: Tensor) -> Tensor:
        most = max(1, PIXELS_PER_BATCH[images.device.type] // self.tile**2)
        maps = some_at_once(self.net, cut(images, self.tile, self.tiles), most)
        return join(maps[:, None], self.tile, self.tiles)[:, 0]


def widths_of(state: Mapping[str, Tensor]) -> list[int]:
    """Return the channels of the first blocks of the reconstructive and of the discriminative network."""
    return [len(state[key]) for key, axis in BGR_AXES.items() if axis == 1]


def import_official(folder: Path) -> Draem:
    """Return a DRAEM for RGB input from a folder with an official pair of pickles.

    The file ending in `_seg.pckl` is the discriminative network, the other `.pckl` the reconstructive one.
    Official models are trained on BGR images: the channels of the first and last convolutions that face the
    image are put in RGB order once, here. Raises FileNotFoundError unless there is exactly one of each,
    ValueError for a file that holds anything but such a state_dict.
    """
    files = sorted(folder.glob("*.pckl"), key=lambda file: file.name.endswith("_seg.pckl"))
    if [file.name.endswith("_seg.pckl") for file in files] != [False, True]:
        found = ", ".join(sorted(file.name for file in files)) or "none"
        issue = f"expected one *_seg.pckl and one other *.pckl, found {found}"
        raise FileNotFoundError(f"{folder}: {issue}; keep one model per folder")
    try:
        parts = dict(zip(("reconstructive", "discriminative"), map(load_state_dict, files), strict=True))
        draem = Draem.of_state({f"{part}.{key}": parts[part][key] for part in parts for key in parts[part]}, folder)
    except ValueError as error:
        remedy = "give an official pair of checkpoints, or train (no --draem-checkpoint)"
        raise ValueError(f"{error}; {remedy}") from error
    state = draem.state_dict()
    for key, axis in BGR_AXES.items():
        state[key].copy_(state[key].unflatten(axis, (-1, 3)).flip(axis + 1).flatten(axis, axis + 1))
    return draem
