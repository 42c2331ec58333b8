"""The backbone that the project carries: int8 weights with a scale per output channel, in a few safetensors files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from lib.artifacts import write_bytes

FOLDER = Path(__file__).with_name("weights")
PREFIX = "resnet18-formula"
SHARD_BYTES = 2_600_000
SCALE = ".scale"


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 of a weight (out, ...) and its scales (out,): per output channel, the largest value is 127."""
    scale = weight.flatten(1).abs().amax(1).clamp_min(1e-12) / 127
    shape = (-1, *[1] * (weight.ndim - 1))
    return (weight / scale.view(shape)).round().to(torch.int8), scale


def dequantise(weight: Tensor, scale: Tensor) -> Tensor:
    """Return the float32 weight of int8 (out, ...) and scales (out,)."""
    return weight.float() * scale.view(-1, *[1] * (weight.ndim - 1))


def save_embedded(state: Mapping[str, Tensor], folder: Path, about: Mapping[str, Any]) -> list[Path]:
    """Write a backbone's state in shards; matrices and kernels as int8, all else as float32. Return the files.

    `about` stands as JSON in each file's header. Files of an earlier state are removed first.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith("fc.") or name.endswith(".num_batches_tracked"):
            continue
        if value.ndim > 1:
            tensors[name], tensors[name + SCALE] = quantise(value.float())
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
    for old in folder.glob(f"{PREFIX}-*.safetensors"):
        old.unlink()
    files = []
    for number, shard in enumerate(shards, start=1):
        path = folder / f"{PREFIX}-{number}-of-{len(shards)}.safetensors"
        write_bytes(path, save(shard, metadata={"about": json.dumps(about, sort_keys=True)}))
        files.append(path)
    return files


def embedded_files(folder: Path = FOLDER) -> list[Path]:
    """Return the shards; FileNotFoundError where one, or all, are missing."""
    files = sorted(folder.glob(f"{PREFIX}-*.safetensors"))
    if not files or len(files) != int(files[0].stem.rsplit("-", 1)[1]):
        raise FileNotFoundError(
            f"{folder}: {len(files)} files of the embedded backbone: `python -m lib.pretraining.training`"
        )
    return files


def load_embedded(folder: Path = FOLDER) -> tuple[dict[str, Tensor], str, dict[str, Any]]:
    """Return the float32 state, the SHA-256 over all files, and what the header says about them."""
    digest = hashlib.sha256()
    state: dict[str, Tensor] = {}
    scales: dict[str, Tensor] = {}
    about: dict[str, Any] = {}
    for path in embedded_files(folder):
        digest.update(path.read_bytes())
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            for name in file.keys():  # noqa: SIM118 (no dictionary)
                (scales if name.endswith(SCALE) else state)[name.removesuffix(SCALE)] = file.get_tensor(name)
    state |= {name: dequantise(state[name], scale) for name, scale in scales.items()}
    return state, digest.hexdigest(), about
