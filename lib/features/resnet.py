"""ResNet-18 up to its average-pool layer, and where its weights come from."""

from __future__ import annotations

import hashlib
import http.client
import logging
import queue
import threading
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.models.feature_extraction import create_feature_extractor

from lib.config import nearest
from lib.features.embedded import FOLDER, embedded_files, load_embedded
from lib.torch_utils import load_state_dict

IMAGENET_URL: str = ResNet18_Weights.IMAGENET1K_V1.url
IMAGENET_SHA256 = "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
WEIGHT_NAMES = ("auto", "imagenet", "embedded", "random-init")
RANDOM_SEED = 0
PATIENCE_S = 10.0  # seconds that a server has in all to answer, and again for every pause within the download
WAY_OUT = "give the weights with --weights FILE (and --offline to not try the download)"

logger = logging.getLogger(__name__)


class WeightsError(RuntimeError):
    """The backbone's weights cannot be had, or do not fit ResNet-18."""


@dataclass(frozen=True)
class Backbone:
    """A frozen ResNet-18: `model` maps normalised (n, 3, side, side) to (n, 512); `name` is made for captions."""

    model: nn.Module
    name: str
    sha256: str  # of the weights file, or of the parameters where there is no file
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


def load_backbone(weights: str = "auto", *, offline: bool = False) -> Backbone:
    """Load ResNet-18 with the weights that `resolve_weights` finds; on the CPU, in eval mode, without gradients.

    A file may be any `state_dict` of torchvision's ResNet-18, `.pth`/`.pt` (read with weights_only=True) or
    `.safetensors`; half precision is raised to float32 and its classifier `fc` is not needed. Raises WeightsError.
    """
    source = resolve_weights(weights, offline=offline)
    if source == "embedded":
        state, sha256 = _embedded_state()
        return Backbone(_feature_extractor(state), "ResNet-18 (formula-driven, embedded)", sha256)
    if source == "random-init":
        state = _random_state_dict(RANDOM_SEED)
        name = f"ResNet-18 (random-init, seed {RANDOM_SEED})"
        return Backbone(_feature_extractor(state), name, _digest_of_state(state))
    path = Path(source)
    sha256 = _digest_of_file(path)
    label = "IMAGENET1K_V1" if sha256 == IMAGENET_SHA256 else path.name
    model = _feature_extractor(_checked(_read_state_dict(path), path))
    return Backbone(model, f"ResNet-18 ({label})", sha256)


def resolve_weights(weights: str = "auto", *, offline: bool = False) -> str:
    """Settle which weights are used: the path of a file that exists, `embedded` or `random-init`.

    `auto`: torchvision's IMAGENET1K_V1 from its cache, else by download (unless `offline`), else `embedded`, with a
    logged warning. `imagenet`: the first two, or an error. `embedded`, a file and `random-init` (for tests):
    themselves. Resolve once and pass the answer on: it is not looked for again. Raises WeightsError.
    """
    if weights == "random-init":
        return weights
    if weights == "embedded":
        return _embedded()
    if weights not in ("auto", "imagenet"):
        if not _is_file(weights):
            near = nearest(weights, WEIGHT_NAMES)
            raise WeightsError(
                f"weights={weights!r}: no such file{near}; name one, or one of {', '.join(WEIGHT_NAMES)}"
            )
        return weights
    try:
        return str(_imagenet_weights(offline))
    except WeightsError as error:
        if weights == "imagenet":
            raise
        logger.warning("%s. The backbone is the formula-driven ResNet-18 that the project carries.", error)
        return _embedded()


def check_weights(weights: str) -> None:
    """Raise WeightsError where what `resolve_weights` gave does not hold a ResNet-18."""
    if weights == "embedded":
        _embedded_state()
    elif weights not in WEIGHT_NAMES:
        _checked(_read_state_dict(Path(weights)), Path(weights))


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # too long a name, or no permission to look
        return False


def _embedded() -> str:
    try:
        embedded_files()
    except FileNotFoundError as error:
        raise WeightsError(f"weights='embedded': {error}; or {WAY_OUT}") from error
    return "embedded"


def _embedded_state() -> tuple[dict[str, Tensor], str]:
    try:
        state, sha256, _ = load_embedded()
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        trouble = f"{FOLDER}: the embedded backbone is damaged ({error}); restore it from the repository"
        raise WeightsError(f"{trouble}, or {WAY_OUT}") from error
    return _checked(state, FOLDER), sha256


def _imagenet_file() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urllib.parse.urlsplit(IMAGENET_URL).path).name


def _imagenet_weights(offline: bool) -> Path:
    """Give torchvision's IMAGENET1K_V1 from its cache, where the file is sound, else download it there."""
    cached = _imagenet_file()
    trouble = f"{cached}: not there"
    if cached.is_file():
        sha256 = _digest_of_file(cached)
        if sha256 == IMAGENET_SHA256:
            return cached
        trouble = f"{cached}: damaged (SHA-256 begins {sha256[:8]}, expected {IMAGENET_SHA256[:8]})"
    if offline:
        raise WeightsError(f"{trouble}, and offline forbids a download; {WAY_OUT}")
    try:
        _download(IMAGENET_URL, cached, IMAGENET_SHA256)
    except (OSError, http.client.HTTPException, WeightsError) as error:
        reason = str(error) or type(error).__name__
        raise WeightsError(f"{trouble}; {IMAGENET_URL}: download failed ({reason}); {WAY_OUT}") from error
    return cached


def _download(url: str, target: Path, sha256: str) -> None:
    """Write what `url` answers to `target`: whole and with the right hash, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
    digest = hashlib.sha256()
    try:
        with _answer(url) as response, partial.open("xb") as file:
            while chunk := response.read1(1 << 20):
                file.write(chunk)
                digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise WeightsError(f"SHA-256 begins {digest.hexdigest()[:8]}, expected {sha256[:8]}")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _answer(url: str) -> http.client.HTTPResponse:
    """Open an https address within PATIENCE_S in all, name resolution and every address tried included.

    urllib's own timeout starts anew with each address and does not cover name resolution: a daemon thread opens
    the connection, so that neither the wait here nor the end of the program hangs on it.
    """
    outcome: queue.Queue[http.client.HTTPResponse | Exception] = queue.Queue()

    def connect() -> None:
        try:
            outcome.put(urllib.request.urlopen(url, timeout=PATIENCE_S))
        except Exception as error:  # handed over to the waiting thread, which raises it
            outcome.put(error)

    if not url.startswith("https://"):
        raise WeightsError(f"{url}: only https is trusted")
    threading.Thread(target=connect, daemon=True).start()
    try:
        answer = outcome.get(timeout=PATIENCE_S)
    except queue.Empty:
        raise TimeoutError(f"no answer within {PATIENCE_S:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    if not answer.geturl().startswith("https://"):
        answer.close()
        raise WeightsError(f"redirected to {answer.geturl()}: only https is trusted")
    return answer


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_of_state(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key, tensor in sorted(state.items()):
        digest.update(key.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    if path.suffix not in (".pth", ".pt", ".safetensors"):
        raise WeightsError(f"{path}: unknown kind {path.suffix!r}; expected .pth, .pt or .safetensors")
    try:
        return load_state_dict(path)
    except ValueError as error:
        raise WeightsError(str(error)) from error


def _checked(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the backbone's part of `state` as float32, or raise WeightsError listing all that does not fit.

    Left aside: the classifier `fc`, cut off anyway, and `num_batches_tracked`, which old files lack and eval ignores.
    """

    def needed(key: str) -> bool:
        return key not in ("fc.weight", "fc.bias") and not key.endswith(".num_batches_tracked")

    expected = {key: tensor for key, tensor in _empty_resnet18().state_dict().items() if needed(key)}
    found = {key: tensor for key, tensor in state.items() if needed(key)}
    issues = [f"missing {key}" for key in expected if key not in found]
    issues += [f"unexpected {key}" for key in found if key not in expected]
    for key, tensor in found.items():
        if key not in expected:
            continue
        if tensor.shape != expected[key].shape:
            issues.append(f"{key} has shape {tuple(tensor.shape)}, expected {tuple(expected[key].shape)}")
        elif not tensor.is_floating_point():
            issues.append(f"{key} is {tensor.dtype}, expected a floating type")
        elif not torch.isfinite(tensor).all():
            issues.append(f"{key} has values that are not finite")
    if issues:
        shown = "; ".join(issues[:12]) + (f"; and {len(issues) - 12} more" if len(issues) > 12 else "")
        remedy = "give weights of ResNet-18, or --weights embedded"
        raise WeightsError(f"{path}: not a state_dict of torchvision's ResNet-18: {shown}; {remedy}")
    return {key: tensor.float() for key, tensor in found.items()}


def _empty_resnet18() -> nn.Module:
    """Build the architecture without memory or random numbers: shapes only."""
    with torch.device("meta"):
        return resnet18(weights=None)


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


class _AveragePool(nn.Module):
    """ResNet-18 cut after its average-pool layer: (n, 3, side, side) to (n, 512)."""

    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        self.body = create_feature_extractor(resnet, ["avgpool"])

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)["avgpool"].flatten(1)


def _feature_extractor(state: dict[str, Tensor]) -> nn.Module:
    model = _AveragePool(_empty_resnet18())  # leaves `fc` out, so that no tensor stays without a value
    extra = {key: torch.tensor(0) for key in model.body.state_dict() if key.endswith(".num_batches_tracked")}
    model.body.load_state_dict(state | extra, assign=True)
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
