"""A frozen backbone: images to pooled features, and to features of each place, in one pass."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lib.config import whole_side
from lib.datasets.errors import first_few
from lib.features.backbone_weights import KNOWN, RANDOM, WeightsError, grid, resolve_weights, weights_digest
from lib.torch_utils import cut, join, load_state_dict, some_at_once

TAPPED = (4, 8, 16)  # strides of the stages that patches are made of (docs/backbones.md)
RANDOM_SEED = 0
BATCH = 32  # images, or tiles, at once
OTHERS = "give others with --weights FILE, or their network with --backbone; some fit feature_size=224 only"


class Backbone(nn.Module):
    """A network without its classifier: images (n, 3, whole, whole) in [0, 1] to pooled features and patches.

    `whole` is the side of an image of tiles x tiles overlapping squares of `side` pixels, which the network sees.

    Patches are the features of each place: those of the network's stages at strides 4, 8 and 16, averaged over 3 x 3
    places and brought to one grid, after Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (CVPR
    2022), section 3.1. A transformer's are the tokens of its blocks at half and at three quarters of its depth.

    `title` is made for captions; `sha256` is that of the weights' file; `licence` that of the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, side: int, title: str, sha256: str, licence: str, tiles: int = 1) -> None:
        super().__init__()
        stages: list[dict[str, Any]] = list(net.feature_info)  # type: ignore[arg-type]
        strides = [stage["reduction"] for stage in stages]
        self.taps, self.is_transformer = taps(strides), len(set(strides)) == 1
        self.net, self.side, self.seen_side = net, side, fitting_side(net, side)
        self.tiles, self.whole = tiles, whole_side(side, tiles)
        self.title, self.sha256, self.licence = title, sha256, licence
        self.n_features = int(net.head_hidden_size)  # type: ignore[arg-type]
        self.n_channels = sum(stages[tap]["num_chs"] for tap in self.taps)
        config: dict[str, Any] = net.pretrained_cfg  # type: ignore[assignment]
        self.register_buffer("mean", torch.tensor(config["mean"]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(config["std"]).view(3, 1, 1))
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pooled features (n, n_features) and the patches (n, n_channels, whole/8, whole/8).

        Of tiles the maximum of each pooled feature, and of each tile the patches nearest to its centre.
        Each stage's part of a patch has length 1: the length is mostly brightness and contrast, and distances separate
        better without it (on magnetic tiles a PatchCore's image AUROC rose from 0.72 to 0.82, docs/guided.md).
        """
        pooled, patches = some_at_once(self._of_tiles, cut(images, self.side, self.tiles), BATCH)
        return self._maximum(pooled), join(patches, self.side, self.tiles)

    def _of_tiles(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pooled features and the patches of squares of `side` pixels."""
        final, stages = self.net.forward_intermediates(  # type: ignore[operator]
            self._input(images), indices=self.taps, norm=self.is_transformer
        )
        places = (grid(self.side), grid(self.side))
        parts = []
        for stage in stages:
            local = F.avg_pool2d(stage, 3, stride=1, padding=1, count_include_pad=False)
            if local.shape[2:] != places:
                local = F.interpolate(local, places, mode="bilinear", align_corners=False)
            parts.append(F.normalize(local, dim=1))
        return self.net.forward_head(final, pre_logits=True), torch.cat(parts, dim=1)  # type: ignore[operator]

    def pooled(self, images: Tensor) -> Tensor:
        """Return the pooled features (n, n_features) alone."""

        def of_tiles(images: Tensor) -> Any:
            final = self.net.forward_features(self._input(images))  # type: ignore[operator]
            return self.net.forward_head(final, pre_logits=True)  # type: ignore[operator]

        return self._maximum(some_at_once(of_tiles, cut(images, self.side, self.tiles), BATCH))

    def _maximum(self, pooled: Tensor) -> Tensor:
        return pooled if self.tiles == 1 else pooled.unflatten(0, (-1, self.tiles**2)).amax(dim=1)

    def _input(self, images: Tensor) -> Tensor:
        """Normalise images and bring them to a size that a transformer's patches fill."""
        normalised = (images - self.mean) / self.std
        if self.seen_side != self.side:
            size = (self.seen_side, self.seen_side)
            normalised = F.interpolate(normalised, size, mode="bilinear", align_corners=False)
        return normalised.contiguous(memory_format=torch.channels_last)


def load_backbone(name: str, weights: str = "auto", side: int = 224, tiles: int = 1) -> Backbone:
    """Return a backbone for images, or their tiles, of `side` pixels with the weights of `resolve_weights`; on the CPU.

    `name`: one of `KNOWN`, or of timm's models. A file may be any state_dict of the network, `.pth`/`.pt` (read with
    weights_only=True) or `.safetensors`; half precision is raised to float32, a classifier left out. Raises
    WeightsError.
    """
    import timm

    create: Any = timm.create_model
    known, source = KNOWN.get(name), resolve_weights(name, weights)
    model, sha256 = known.timm if known else name, weights_digest(name, source)
    with torch.device("meta"):  # shapes only
        empty = create(model)
    config, options = empty.pretrained_cfg, {"num_classes": 0}
    if config.get("fixed_input_size"):
        options["img_size"] = fitting_side(empty, side)
    published = known is not None and sha256 == known.sha256
    if known and published:
        label, licence = "ImageNet", known.licence
    elif source == weights:
        label, licence = Path(source).name, "not known to this project"
    else:  # timm's own
        label, licence = config.get("tag") or "timm", config.get("license") or "not known to this project"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        net = create(model, **options)
    if source == RANDOM:
        label = f"{RANDOM}, seed {RANDOM_SEED}"
    else:
        state = _read(Path(source))
        if known and known.package and published:  # the same tensors in the same order, by other names
            state = dict(zip(empty.state_dict(), state.values(), strict=True))
        _fill(net, state, set(empty.state_dict()), f"{source}: no weights of backbone={name}")
    return Backbone(fold_norms(net.eval()), side, f"{name} ({label})", sha256, licence, tiles)


def fitting_side(net: nn.Module, side: int) -> int:
    """Return the side at which a network sees an image of `side` pixels: a transformer's patches fill it."""
    strides = {stage["reduction"] for stage in net.feature_info}  # type: ignore[union-attr]
    return max(1, round(side / (patch := strides.pop()))) * patch if len(strides) == 1 else side


def taps(strides: Sequence[int]) -> list[int]:
    """Return which stages, by the strides of all, the patches are made of; raises WeightsError where there are none."""
    if len(set(strides)) == 1:  # a transformer's blocks
        return [len(strides) // 2 - 1, len(strides) * 3 // 4 - 1]
    if not set(TAPPED) <= set(strides):
        raise WeightsError(f"the backbone's stages have strides {strides}, {TAPPED} are needed; take another")
    return [max(row for row, stride in enumerate(strides) if stride == wanted) for wanted in TAPPED]


def fold_norms(net: nn.Module) -> nn.Module:
    """Return a ResNet or EfficientNet with each batch normalisation as part of the convolution before it.

    In these two families modules are called in the order in which they are registered; others are left as they are.
    """
    from timm.models import EfficientNet, ResNet

    if not isinstance(net, EfficientNet | ResNet):
        return net
    for module in net.modules():
        children = list(module.named_children())
        for (name, convolution), (after, norm) in pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(convolution, norm))
                setattr(module, after, getattr(norm, "act", nn.Identity()))
    return net


def _fill(net: nn.Module, state: dict[str, Tensor], names: set[str], issue: str) -> None:
    """Load weights, named and sized as timm or their publishers have it, `names` with a classifier; or WeightsError."""
    convert = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    try:
        state = convert(state, net) if convert else state
        found = net.load_state_dict(state, strict=False)
    except Exception as error:  # timm's converters fail in their own ways on what they do not know
        said = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        raise WeightsError(f"{issue}: {first_few(said)}; {OTHERS}") from error
    used = [key for key, value in net.state_dict().items() if key in state and value.is_floating_point()]
    faults = {
        # older files lack these counters, and eval mode ignores them
        "missing": [key for key in found.missing_keys if not key.endswith("num_batches_tracked")],
        "unexpected": sorted(set(found.unexpected_keys) - names),  # of a deeper network, say
        "not all finite floating-point numbers in": [
            key for key in used if not (state[key].is_floating_point() and state[key].isfinite().all())
        ],
    }
    for fault, keys in faults.items():
        if keys:
            raise WeightsError(f"{issue}: {fault} {first_few(keys)}; {OTHERS}")


def _read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file of weights; raises WeightsError."""
    if path.suffix not in (".pth", ".pt", ".safetensors"):
        raise WeightsError(f"{path}: unknown kind {path.suffix!r}; expected .pth, .pt or .safetensors")
    try:
        return load_state_dict(path)
    except ValueError as error:
        raise WeightsError(str(error)) from error
