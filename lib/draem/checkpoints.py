"""DRAEM's networks from stored weights: from a state, or from an official pair of pickles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.torch_utils import load_state_dict

# The reconstructive network's tensors with an axis of image channels, and the discriminative one's.
_RECONSTRUCTIVE = {"encoder.block1.0.weight": 1, "decoder.fin_out.0.weight": 0, "decoder.fin_out.0.bias": 0}
_DISCRIMINATIVE = {"encoder_segment.block1.0.weight": 1}


def import_official(folder: Path) -> tuple[ReconstructiveNetwork, DiscriminativeNetwork]:
    """Return both networks, in eval mode and for RGB input, from a folder with an official pair of pickles.

    The file ending in `_seg.pckl` is the discriminative network, the other `.pckl` the reconstructive one.
    Official models are trained on BGR images: the channels of the first and last convolutions that face the
    image are put in RGB order once, here. Raises FileNotFoundError unless there is exactly one of each,
    ValueError for a file that holds anything but such a state_dict.
    """
    files = sorted(folder.glob("*.pckl"), key=lambda file: file.name.endswith("_seg.pckl"))
    if [file.name.endswith("_seg.pckl") for file in files] != [False, True]:
        found = ", ".join(sorted(file.name for file in files)) or "none"
        raise FileNotFoundError(
            f"{folder}: expected one *_seg.pckl and one other *.pckl, found {found}; keep one model per folder"
        )
    try:
        reconstructive = _swap_channels(load_state_dict(files[0]), _RECONSTRUCTIVE)
        discriminative = _swap_channels(load_state_dict(files[1]), _DISCRIMINATIVE)
        return load_networks(reconstructive, discriminative, str(folder))
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{error}; give an official pair of checkpoints, or train (no --draem-checkpoint)"
        ) from error


def load_networks(
    reconstructive: Mapping[str, Tensor], discriminative: Mapping[str, Tensor], source: str
) -> tuple[ReconstructiveNetwork, DiscriminativeNetwork]:
    """Return both networks in eval mode on the CPU from their states; ValueError, naming `source`, for other states."""
    try:
        first = ReconstructiveNetwork(len(reconstructive["encoder.block1.0.weight"]))
        second = DiscriminativeNetwork(len(discriminative["encoder_segment.block1.0.weight"]))
        first.load_state_dict(reconstructive)
        second.load_state_dict(discriminative)
    except (KeyError, IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:400]  # torch lists every key, some hundreds of them
        raise ValueError(f"{source}: not the weights of DRAEM's two networks: {reason}") from error
    for network in (first, second):
        if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
            raise ValueError(f"{source}: holds values that are not finite")
    return first.eval(), second.eval()


def _swap_channels(state: Mapping[str, Tensor], axes: Mapping[str, int]) -> dict[str, Tensor]:
    """Reverse each group of three channels along the named tensors' axes: BGR to RGB."""
    swapped = dict(state)
    for key, axis in axes.items():
        if key not in state or state[key].shape[axis] % 3:
            raise ValueError(f"not an official DRAEM state_dict: {key} is missing or has another shape")
        swapped[key] = state[key].unflatten(axis, (-1, 3)).flip(axis + 1).flatten(axis, axis + 1)
    return swapped
