"""The trained backbone in the files that the project carries: int8 weights with a scale per output channel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from lib.artifacts import write_bytes
from lib.features.backbone_weights import EMBEDDED_PREFIX
from lib.features.resnet import EMBEDDED_SCALE

SHARD_BYTES = 2_600_000


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 of a weight (out, ...) and its scales (out,): per output channel, the largest value is 127."""
    scale = weight.flatten(1).abs().amax(1).clamp_min(1e-12) / 127
    shape = (-1, *[1] * (weight.ndim - 1))
    return (weight / scale.view(shape)).round().to(torch.int8), scale


def save_embedded(state: Mapping[str, Tensor], folder: Path, about: Mapping[str, Any]) -> list[Path]:
    """Write a backbone's state in shards; matrices and kernels as int8, all else as float32. Return the files.

    `about` stands as JSON in each file's header. Files of an earlier state are removed first.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith("fc.") or name.endswith(".num_batches_tracked"):
            continue
        if value.ndim > 1:
            tensors[name], tensors[name + EMBEDDED_SCALE] = quantise(value.float())
        else:
            tensors[name] = value.float()
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in tensors.items():
        if size + value.nbytes > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = value.contiguous()
        size += value.nbytes
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{EMBEDDED_PREFIX}-*.safetensors"):
        old.unlink()
    files = []
    for number, shard in enumerate(shards, start=1):
        path = folder / f"{EMBEDDED_PREFIX}-{number}-of-{len(shards)}.safetensors"
        write_bytes(path, save(shard, metadata={"about": json.dumps(about, sort_keys=True)}))
        files.append(path)
    return files
