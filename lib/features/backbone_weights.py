"""Which file the ResNet-18's weights are read from, and its SHA-256; reads no weights and needs no torch."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from lib.artifacts import file_sha256
from lib.config import nearest
from lib.datasets.download import DownloadError, download_file

IMAGENET_URL = "https://download.pytorch.org/models/resnet18-f37072fd.pth"  # torchvision's IMAGENET1K_V1
IMAGENET_SHA256 = "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"
WEIGHT_NAMES = ("auto", "imagenet", "embedded", "random-init")
EMBEDDED_FOLDER = Path(__file__).with_name("weights")
EMBEDDED_PREFIX = "resnet18-formula"
REMEDY = "give the weights with --weights FILE (and --offline to not try the download)"

logger = logging.getLogger(__name__)


class WeightsError(RuntimeError):
    """The backbone's weights cannot be had, or do not fit ResNet-18."""


def resolve_weights(weights: str = "auto", *, offline: bool = False) -> str:
    """Return which weights are used: the path of a file that exists, `embedded` or `random-init`.

    `auto`: torchvision's IMAGENET1K_V1 from its cache, else by download (unless `offline`), else `embedded`, with a
    logged warning. `imagenet`: the first two, or an error. `embedded`, a file and `random-init` (for tests):
    themselves. Raises WeightsError.
    """
    if weights == "random-init":
        return weights
    if weights in ("auto", "imagenet"):
        try:
            return str(_imagenet_file(offline))
        except WeightsError as error:
            if weights == "imagenet":
                raise
            instead = "The backbone is the formula-driven ResNet-18 that the project carries."
            logger.warning("%s. %s", error, instead)
            weights = "embedded"
    if weights == "embedded":
        try:
            embedded_files()
        except FileNotFoundError as error:
            raise WeightsError(f"weights='embedded': {error}; or {REMEDY}") from error
        return weights
    try:
        found = Path(weights).is_file()
    except OSError:  # too long a name, or no permission to look
        found = False
    if not found:
        near = nearest(weights, WEIGHT_NAMES)
        raise WeightsError(
            f"weights={weights!r}: no such file{near}; name one, or one of {', '.join(WEIGHT_NAMES)}"
        )
    return weights


def weights_digest(source: str) -> str:
    """Return the SHA-256 that `lib.features.resnet.Backbone` has with the weights that `resolve_weights` gave."""
    if source == "random-init":
        from lib.features.resnet import load_backbone  # drawn, not read

        return load_backbone(source).sha256
    if source != "embedded":
        return file_sha256(Path(source))
    digest = hashlib.sha256()
    for path in embedded_files():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def embedded_files(folder: Path | None = None) -> list[Path]:
    """Return the files of the backbone that the project carries; FileNotFoundError where one, or all, are missing."""
    folder = folder or EMBEDDED_FOLDER
    files = sorted(folder.glob(f"{EMBEDDED_PREFIX}-*.safetensors"))
    if not files or len(files) != int(files[0].stem.rsplit("-", 1)[1]):
        raise FileNotFoundError(
            f"{folder}: {len(files)} files of the embedded backbone: `python -m lib.pretraining.training`"
        )
    return files


def _imagenet_file(offline: bool) -> Path:
    """Return torchvision's IMAGENET1K_V1 in its cache; where the file is missing or damaged, download it there."""
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = Path(os.environ.get("TORCH_HOME") or f"{caches}/torch").expanduser()  # as torch.hub
    cached = home / "hub" / "checkpoints" / IMAGENET_URL.rsplit("/", 1)[1]
    issue = f"{cached}: not there"
    if cached.is_file():
        sha256 = file_sha256(cached)
        if sha256 == IMAGENET_SHA256:
            return cached
        issue = f"{cached}: damaged (SHA-256 begins {sha256[:8]}, expected {IMAGENET_SHA256[:8]})"
    if offline:
        raise WeightsError(f"{issue}, and offline forbids a download; {REMEDY}")
    try:
        return download_file(IMAGENET_URL, cached, IMAGENET_SHA256)
    except (OSError, DownloadError) as error:
        raise WeightsError(f"{issue}; {error}; {REMEDY}") from error
