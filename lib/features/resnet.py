"""ResNet-18 up to its average-pool layer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lib.artifacts import file_sha256
from lib.features.backbone_weights import (
    EMBEDDED_FOLDER,
    IMAGENET_SHA256,
    REMEDY,
    WeightsError,
    embedded_files,
    resolve_weights,
)
from lib.torch_utils import load_state_dict

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RANDOM_SEED = 0
EMBEDDED_SCALE = ".scale"


@dataclass(frozen=True)
class Backbone:
    """A frozen ResNet-18: `model` maps normalised (n, 3, side, side) to (n, 512); `name` is made for captions."""

    model: nn.Module
    name: str
    sha256: str  # of the weights file, or of the parameters where there is no file
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def load_backbone(weights: str = "auto", *, offline: bool = False) -> Backbone:
    """Return ResNet-18 with the weights that `resolve_weights` finds; on the CPU, in eval mode, without gradients.

    A file may be any `state_dict` of torchvision's ResNet-18, `.pth`/`.pt` (read with weights_only=True) or
    `.safetensors`; half precision is raised to float32 and its classifier `fc` is not needed. Raises WeightsError.
    """
    source = resolve_weights(weights, offline=offline)
    if source == "embedded":
        try:
            state, sha256, _ = load_embedded()
        except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
            issue = f"{EMBEDDED_FOLDER}: the embedded backbone is damaged ({error})"
            raise WeightsError(f"{issue}; restore it from the repository, or {REMEDY}") from error
        return Backbone(_network(state, EMBEDDED_FOLDER), "ResNet-18 (formula-driven, embedded)", sha256)
    if source == "random-init":
        state = _random_state_dict(RANDOM_SEED)
        digest = hashlib.sha256()
        for key, tensor in sorted(state.items()):
            digest.update(key.encode() + tensor.numpy().tobytes())
        name = f"ResNet-18 (random-init, seed {RANDOM_SEED})"
        return Backbone(_network(state, Path(source)), name, digest.hexdigest())
    path = Path(source)
    if path.suffix not in (".pth", ".pt", ".safetensors"):
        raise WeightsError(f"{path}: unknown kind {path.suffix!r}; expected .pth, .pt or .safetensors")
    sha256 = file_sha256(path)
    try:
        state = load_state_dict(path)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    label = "IMAGENET1K_V1" if sha256 == IMAGENET_SHA256 else path.name
    return Backbone(_network(state, path), f"ResNet-18 ({label})", sha256)


def load_embedded(folder: Path | None = None) -> tuple[dict[str, Tensor], str, dict[str, Any]]:
    """Return the float32 state, the SHA-256 over all files, and what their headers say about it.

    Matrices and kernels are int8 in the files, with a scale per output channel beside them.
    """
    digest = hashlib.sha256()
    state: dict[str, Tensor] = {}
    about: dict[str, Any] = {}
    for path in embedded_files(folder):
        digest.update(path.read_bytes())
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            state |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    for name in [name for name in state if name.endswith(EMBEDDED_SCALE)]:
        scale, weight = state.pop(name), name.removesuffix(EMBEDDED_SCALE)
        state[weight] = state[weight].float() * scale.view(-1, *[1] * (state[weight].ndim - 1))
    return state, digest.hexdigest(), about


class _AveragePool(nn.Module):
    """ResNet-18 cut after its average-pool layer: (n, 3, side, side) to (n, 512)."""

    def __init__(self, resnet: nn.Module) -> None:
        from torchvision.models.feature_extraction import create_feature_extractor

        super().__init__()
        self.body = create_feature_extractor(resnet, ["avgpool"])

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)["avgpool"].flatten(1)


def _empty_resnet18() -> nn.Module:
    """Build the architecture without memory or random numbers: shapes only."""
    from torchvision.models import resnet18

    with torch.device("meta"):
        return resnet18(weights=None)


def _network(state: dict[str, Tensor], path: Path) -> nn.Module:
    """Build the backbone from `state`; raise WeightsError with all that does not fit.

    Left aside: the classifier `fc`, cut off anyway, and `num_batches_tracked`, which old files lack and eval ignores.
    """
    model = _AveragePool(_empty_resnet18())
    counters = [key for key in model.body.state_dict() if key.endswith(".num_batches_tracked")]
    used = {key: value for key, value in state.items() if key not in ("fc.weight", "fc.bias", *counters)}
    expected = {key: value for key, value in model.body.state_dict().items() if key not in counters}
    issues = [f"missing {key}" for key in expected if key not in used]
    issues += [f"unexpected {key}" for key in used if key not in expected]
    for key in [key for key in expected if key in used]:
        shapes = tuple(used[key].shape), tuple(expected[key].shape)
        if shapes[0] != shapes[1]:
            issues.append(f"{key} has shape {shapes[0]}, expected {shapes[1]}")
        elif not used[key].is_floating_point() or not torch.isfinite(used[key]).all():
            issues.append(f"{key} has values that are not finite floating-point numbers")
    if issues:
        listed = "; ".join(issues[:12]) + (f"; and {len(issues) - 12} more" if len(issues) > 12 else "")
        remedy = "give weights of ResNet-18, or --weights embedded"
        raise WeightsError(f"{path}: not a state_dict of torchvision's ResNet-18: {listed}; {remedy}")
    complete = {key: value.float() for key, value in used.items()} | dict.fromkeys(counters, torch.tensor(0))
    model.body.load_state_dict(complete, assign=True)
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _random_state_dict(seed: int) -> dict[str, Tensor]:
    """Initialise as torchvision does (He, fan out; norms 1 and 0), from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for key, tensor in _empty_resnet18().state_dict().items():
        if key.startswith("fc.") or key.endswith(".num_batches_tracked"):
            continue
        value = torch.full(tensor.shape, 1.0 if key.endswith((".weight", ".running_var")) else 0.0)
        if value.ndim == 4:
            nn.init.kaiming_normal_(value, mode="fan_out", nonlinearity="relu", generator=generator)
        state[key] = value
    return state
