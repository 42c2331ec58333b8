"""DRAEM's weights on disk: one self-describing safetensors file, or the official pair of pickles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from lib.artifacts import write_bytes
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork, widths_of
from lib.torch_utils import load_state_dict

FORMAT = "draem-1"
_PREFIXES = ("reconstructive.", "discriminative.")
# The reconstructive network's tensors with an axis of image channels.
_IMAGE_AXES = {"encoder.block1.0.weight": 1, "decoder.fin_out.0.weight": 0, "decoder.fin_out.0.bias": 0}


def save_draem(
    path: Path,
    reconstructive: ReconstructiveNetwork,
    discriminative: DiscriminativeNetwork,
    header: dict[str, str],
) -> None:
    """Write both networks to one safetensors file, atomically, with `header` (settings, origin) in its header.

    The same networks and header give the same bytes: safetensors writes several header entries in any order, so
    all stand in one, as sorted JSON.
    """
    tensors = {
        prefix + key: value.detach().cpu().contiguous()
        for prefix, network in zip(_PREFIXES, (reconstructive, discriminative), strict=True)
        for key, value in network.state_dict().items()
    }
    write_bytes(path, to_safetensors(tensors, {FORMAT: json.dumps(header, sort_keys=True)}))


def load_draem(path: Path) -> tuple[ReconstructiveNetwork, DiscriminativeNetwork, dict[str, str]]:
    """Return both networks in eval mode on the CPU, and the header, of a file written by `save_draem`.

    Raises FileNotFoundError if there is none, ValueError if it is damaged or something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such DRAEM checkpoint; train it first")
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a readable safetensors file ({error}); delete it and train again"
        ) from error
    if FORMAT not in header:
        raise ValueError(f"{path}: its header names no {FORMAT!r}; name a DRAEM checkpoint of this project")
    parts = [
        {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        for prefix in _PREFIXES
    ]
    return *_networks(parts[0], parts[1], str(path)), json.loads(header[FORMAT])


def import_official(folder: Path) -> tuple[ReconstructiveNetwork, DiscriminativeNetwork]:
    """Return both networks, in eval mode and for RGB input, from a folder with an official pair of pickles.

    The file ending in `_seg.pckl` is the discriminative network, the other `.pckl` the reconstructive one.
    Official models are trained on BGR images: the channels of the first and last convolutions that face the
    image are put in RGB order once, here. Raises FileNotFoundError unless there is exactly one of each,
    ValueError for a file that holds anything but such a state_dict.
    """
    files = sorted(folder.glob("*.pckl"))
    segmenting = [file for file in files if file.name.endswith("_seg.pckl")]
    reconstructing = [file for file in files if file not in segmenting]
    if len(segmenting) != 1 or len(reconstructing) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise FileNotFoundError(
            f"{folder}: expected one *_seg.pckl and one other *.pckl, found {found}; keep one model per folder"
        )
    try:
        reconstructive = _swap_channels(load_state_dict(reconstructing[0]), _IMAGE_AXES)
        discriminative = _swap_channels(
            load_state_dict(segmenting[0]), {"encoder_segment.block1.0.weight": 1}
        )
        return _networks(reconstructive, discriminative, str(folder))
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{error}; give an official pair of checkpoints, or train (no --draem-checkpoint)"
        ) from error


def _networks(
    reconstructive: Mapping[str, Tensor], discriminative: Mapping[str, Tensor], source: str
) -> tuple[ReconstructiveNetwork, DiscriminativeNetwork]:
    try:
        first = ReconstructiveNetwork(widths_of(reconstructive))
        second = DiscriminativeNetwork(widths_of(discriminative))
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
