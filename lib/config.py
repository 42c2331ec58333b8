"""Every setting of a study in one frozen dataclass, the presets, and overrides checked by name."""

from __future__ import annotations

import ctypes
import dataclasses
import difflib
import hashlib
import math
import operator
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class MapSource:
    """What can make anomaly maps: its name in tables, what it does, and the module whose `DETECTOR` does it."""

    title: str
    help: str
    module: str


MAP_SOURCES = {
    "draem": MapSource("DRAEM", "trained", "lib.draem.detector"),
    "patchcore": MapSource("PatchCore", "distances to patches of good images", "lib.anomaly_maps.patchcore"),
}

PRESETS: dict[str, dict[str, Any]] = {
    # Tests: every code path in seconds; the results mean nothing. At a lower rate four steps leave constant maps.
    "smoke": dict(
        image_size=32, reconstructive_width=4, discriminative_width=4, draem_steps=4, draem_lr=1e-2, folds=2,
        synthetic_scale=0.01, synthetic_side=64, feature_size=32, mlp=(16, 8), keep=(0.5, 1.0),
        inner_folds=2, coreset_size=50,
    ),
    # Two CPU cores, no network: the three drawn products in minutes.
    "quick": dict(draem_batch=4, draem_lr=1e-3),
    # One GPU, or a CPU (with `CPU_STANDARD`).
    "standard": dict(
        image_size=256, reconstructive_width=128, discriminative_width=64, draem_steps=5000, folds=5,
        synthetic_scale=0.5, synthetic_side=256, feature_size=224, coreset_size=2000, leak_check="all", draem_lr=1e-4,
        draem_simulation="paper",
    ),
    # The paper's own: 700 epochs, ten folds, full counts.
    "paper": dict(
        image_size=256, reconstructive_width=128, discriminative_width=64, draem_steps=0, draem_epochs=700,
        folds=10, synthetic_scale=1.0, synthetic_side=256, backbone="resnet18", feature_size=224, coreset_size=2000,
        leak_check="all", draem_lr=1e-4, draem_start="scratch", draem_simulation="paper",
    ),
}  # fmt: skip

CPU_STANDARD: dict[str, Any] = dict(
    image_size=128, reconstructive_width=32, discriminative_width=16, draem_steps=1500, synthetic_side=128,
    synthetic_scale=0.25, leak_check="image", draem_lr=3e-4, draem_simulation="extended",
)  # fmt: skip

# What the last release had, and the way out.
_TWO_STUDIES = "make a second study with the other {}, and compare the two with --compare"
GONE = {
    "patch_size": "use feature_size",
    "weights=embedded": "use weights=auto",
    "offline": "use weights=auto (never downloads)",
    "compare_map_fit": _TWO_STUDIES.format("map_fit"),
    "compare_map_source": _TWO_STUDIES.format("map_source"),
    "guided_baseline": "map-guided features are always compared with the mean of good training images",
}


def overlap_of(tile: int) -> int:
    """Return how many pixels neighbouring tiles of this side share: a quarter of it, a multiple of 8."""
    return tile // 32 * 8


def whole_side(tile: int, tiles: int) -> int:
    """Return the side of a picture, in pixels, that tiles x tiles overlapping squares of side `tile` fill."""
    return tile * tiles - overlap_of(tile) * (tiles - 1)


def map_method_title(map_method: str) -> str:
    """Return what maps made in this way (see `Study.map_method`) are called in tables."""
    titles = {"in_sample": "DRAEM", "cross_fitted": "DRAEM, cross-fitted"}
    return titles.get(map_method) or MAP_SOURCES[map_method].title


class UsageError(ValueError):
    """A command, preset or setting that cannot be used; the message lists every reason."""


BOUNDS = (("ge", "at least", operator.ge), ("gt", "above", operator.gt), ("le", "at most", operator.le))


def setting(default: Any, help_text: str, **bounds: float) -> Any:
    """Declare a field with its meaning and its bounds by `BOUNDS` (of each element, where it holds several)."""
    assert set(bounds) <= {name for name, _, _ in BOUNDS}
    return field(default=default, metadata={"help": help_text, **bounds})


def choices(name: str) -> tuple[str, ...]:
    """Return the allowed values of a setting, none where any value of its type will do."""
    if name == "map_source":
        return tuple(MAP_SOURCES)
    kind = typing.get_type_hints(Study)[name]
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()


@dataclass(frozen=True)
class Study:
    """Settings of a study; each field is one interpretation of the paper or one cost."""

    preset: str = setting("quick", "the preset that the other settings started from")
    seed: int = setting(744, "seed of all random numbers, with data set, fold and purpose", ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = setting("auto", "where torch runs; mps: an Apple GPU")
    threads: int = setting(1, "threads of a fold's task; another number changes the last bits", ge=1)
    # images
    good: str = setting("", "name of the good class; empty: good, ok, normal or free")
    groups: str = setting("", "CSV (id, group): images of one object, never split between train and test")
    group_regex: str = setting("", "regular expression on an image's path whose first group names the object")
    skip_bad: bool = setting(False, "leave out and list unusable files instead of stopping")
    invert_masks: bool = setting(False, "black marks defects in mask files, not white")
    resize: Literal["squash", "pad", "crop"] = setting("squash", "how an image becomes square")
    region: str = setting("", "seen alone: left,top,right,bottom in shares, or a picture that is white there")
    tiles: int = setting(1, "images are seen in tiles x tiles squares of image_size, feature_size", ge=1, le=16)
    synthetic_scale: float = setting(0.15, "drawn products: share of the paper's image counts", gt=0, le=1)
    synthetic_side: int = setting(128, "drawn products: side of the images, in pixels", ge=32, le=4096)
    # folds
    folds: int = setting(3, "number of cross-validation folds", ge=2)
    cv: Literal["auto", "stratified", "grouped"] = setting("auto", "auto: grouped where groups are known")
    leak_check: Literal["none", "image", "all"] = setting(
        "image", "stratified folds beside grouped ones: none, with the image features only, or all"
    )
    # DRAEM
    image_size: int = setting(64, "side of DRAEM's input and of the maps, in pixels; a multiple of 32", ge=32)
    reconstructive_width: int = setting(16, "channels of the reconstructive network's first block", ge=1)
    discriminative_width: int = setting(8, "channels of the discriminative network's first block", ge=1)
    draem_epochs: int = setting(0, "passes over a fold's good training images; 0: draem_steps counts", ge=0)
    draem_steps: int = setting(250, "training steps per fold; 0: draem_epochs counts", ge=0)
    draem_batch: int = setting(8, "images per DRAEM training step", ge=1)
    draem_lr: float = setting(3e-4, "learning rate, x0.2 at 80 and 90 % of the steps; DRAEM's: 1e-4", gt=0)
    draem_precision: Literal["auto", "float32", "bf16"] = setting(
        "auto", "convolutions while training on CUDA: TF32 (auto), float32 or bf16; a CPU uses float32"
    )
    textures: str = setting("", "folder of anomaly textures in DTD's layout; empty: a known one, else drawn")
    draem_start: Literal["pretrained", "scratch"] = setting(
        "pretrained", "start of training: the included weights, where there are some of these widths, or random ones"
    )
    draem_weights: str = setting("", "file of pretrained weights to start from (`make draem-weights`)")
    draem_simulation: Literal["paper", "extended"] = setting(
        "extended", "simulated defects: textures (paper), or also drawn flaws and parts of the product itself"
    )
    draem_checkpoint: str = setting("", "folder with official DRAEM checkpoints to use instead of training")
    # maps and features
    map_source: str = setting(
        "draem", "what makes the maps: " + "; ".join(f"{name}, {source.help}" for name, source in MAP_SOURCES.items())
    )
    coreset_size: int = setting(1000, "patches that a PatchCore keeps of all good ones", ge=1)
    map_encoding: Literal["raw", "jet"] = setting("raw", "raw: map as grey image; jet: min-max and colours")
    map_fit: Literal["in_sample", "cross_fitted"] = setting(
        "in_sample", "DRAEM's maps: by the fold's one DRAEM, or of training images by one that saw others"
    )
    backbone: str = setting("efficientnet_lite0", "network for features; resnet18 (the paper's), or timm's")
    weights: str = setting(
        "auto", "the backbone's: auto (installed or cached), imagenet (may download), a file, or random-init"
    )
    feature_size: int = setting(160, "side of the images that the backbone sees, in pixels", ge=32)
    guided: bool = setting(True, "also evaluate map-guided features")
    guided_patches: tuple[int, ...] = setting((3, 12, 48), "most anomalous patches averaged, by number", ge=1)
    # classifier
    selection: Literal["sqrt_n", "per_source", "none"] = setting(
        "sqrt_n", "features kept by mutual information: floor(sqrt(N)) jointly, per source, or all"
    )
    mlp: tuple[int, ...] = setting((512, 100), "hidden layers of the classifier", ge=1)
    scale: Literal["standard", "none"] = setting("standard", "inputs standardised on the training fold")
    binary: Literal["collapsed", "separate"] = setting(
        "collapsed", "defective or good: from the multiclass prediction, or by a model of its own"
    )
    keep: tuple[float, ...] = setting((0.25, 0.5, 0.75, 1.0), "shares of training defects kept", gt=0, le=1)
    repeats: int = setting(1, "trainings of everything random in each fold, map source included", ge=1)
    baselines: bool = setting(True, "also evaluate simpler feature sets and models")
    inner_folds: int = setting(3, "folds within a training fold, for thresholds on out-of-fold scores", ge=2)
    alpha: float = setting(0.005, "level of significance", gt=0, le=1)
    required: tuple[float, ...] = setting((0.9, 0.95, 0.99, 0.995), "defect recalls to show", gt=0, le=1)
    prevalence: float = setting(0.01, "defective share of the products on the line", gt=0, le=1)
    price_ratio: float = setting(20.0, "cost of a missed defect, in false rejects", gt=0)
    # the verdict on a data set: usable, pre-sorting only, not usable, or cannot tell
    target_recall: float = setting(0.9, "defect recall that the verdict is about", gt=0, le=1)
    usable_rejects: float = setting(0.1, "usable: false rejects certainly below this share", gt=0, le=1)
    presort_rejects: float = setting(0.3, "pre-sorting: false rejects certainly below this share", gt=0, le=1)
    least_good: int = setting(50, "cannot tell: fewer good images (or objects) than this", ge=1)
    verdict_per: Literal["image", "object"] = setting("image", "object: its most suspicious image decides")

    @classmethod
    def of(cls, preset: str = "quick", overrides: Mapping[str, Any] | None = None) -> Study:
        """Return the preset with `overrides` (name to value or to its text); raises `UsageError` with all faults."""
        if preset not in PRESETS:
            raise UsageError(f"no preset {preset!r}{nearest(preset, PRESETS)}; presets: {', '.join(PRESETS)}")
        smaller = preset == "standard" and not cuda_available()
        values: dict[str, Any] = {"preset": preset, **PRESETS[preset], **(CPU_STANDARD if smaller else {})}
        issues: list[str] = []
        kinds = typing.get_type_hints(cls)
        for name, value in (overrides or {}).items():
            if now := GONE.get(name) or GONE.get(f"{name}={value}"):
                issues.append(f"{name}={value}: does not exist any more; {now}")
            elif name not in kinds or name == "preset":
                near = nearest(name, kinds) if name != "preset" else ": choose it with --preset"
                issues.append(f"unknown setting {name!r}{near} (`--list` shows them all)")
            else:
                try:
                    values[name] = _parsed(value, kinds[name])
                except ValueError as error:
                    issues.append(f"{name}={value!r}: {error}")
        for name, other in (("draem_epochs", "draem_steps"), ("draem_steps", "draem_epochs")):
            if name in (overrides or {}) and other not in (overrides or {}):
                values[other] = 0
        study = cls(**values)
        issues += study._issues()
        if issues:
            raise UsageError("\n".join(issues))
        return study

    def _issues(self) -> list[str]:
        issues = [issue for item in dataclasses.fields(self) for issue in _out_of_bounds(self, item)]
        once = all(len(set(shares)) == len(shares) for shares in (self.keep, self.required))
        steps, size, trained_once = self.draem_steps, self.image_size, bool(self.draem_checkpoint)
        rules = (
            (size % 32, f"image_size={size}: must be a multiple of 32 (DRAEM halves it five times)"),
            (self.tiles > 1 and self.feature_size % 8, "feature_size: must be a multiple of 8 where there are tiles"),
            ((steps > 0) == (self.draem_epochs > 0),
             f"draem_steps={steps}, draem_epochs={self.draem_epochs}: exactly one must be above 0"),
            (1.0 not in self.keep, f"keep={self.keep}: must include 1.0"),
            (self.usable_rejects > self.presort_rejects,
             f"usable_rejects={self.usable_rejects}: must not be above presort_rejects={self.presort_rejects}"),
            (not once, f"keep={self.keep}, required={self.required}: name each share once"),
            (1 in (self.alpha, self.prevalence),
             f"alpha={self.alpha}, prevalence={self.prevalence}: must be below 1"),
            (self.device in ("cpu", "mps") and self.draem_precision == "bf16",
             f"draem_precision=bf16 is for CUDA only, device={self.device}: leave it at auto"),
            (self.groups and self.group_regex, "groups and group_regex contradict each other: give one"),
            (self.cv == "stratified" and (self.groups or self.group_regex),
             "cv=stratified ignores groups: leave out groups/group_regex, or cv=auto"),
            (self.draem_weights and (trained_once or self.draem_start == "scratch"),
             "draem_weights are for training from them: leave out draem_checkpoint and draem_start=scratch"),
            (self.draem_weights and self.map_source != "draem",
             f"map_source={self.map_source} trains no DRAEM: leave out draem_weights"),
            (trained_once and self.map_method == "cross_fitted",
             "draem_checkpoint is one DRAEM trained elsewhere, and cross-fitted maps need two trained here: "
             "map_fit=in_sample"),
        )  # fmt: skip
        return issues + [issue for wrong, issue in rules if wrong]

    def seed_for(self, *purpose: object) -> int:
        """Return a seed in [0, 2**31) from the study's seed and the purpose, whatever the order of execution."""
        text = "\x1f".join(map(str, (self.seed, *purpose)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    @property
    def recalls(self) -> list[float]:
        """The defect recalls whose price is shown, the verdict's among them, rising."""
        return sorted({*self.required, self.target_recall})

    @property
    def map_side(self) -> int:
        """The side of a whole image as DRAEM sees it, and of the maps, in pixels."""
        return whole_side(self.image_size, self.tiles)

    @property
    def feature_side(self) -> int:
        """The side of a whole image as the backbone sees it, in pixels."""
        return whole_side(self.feature_size, self.tiles)

    @property
    def map_method(self) -> str:
        """How maps are made: DRAEM's in_sample or cross_fitted, or a map source that always cross-fits."""
        return self.map_fit if self.map_source == "draem" else self.map_source

    def steps_for(self, n_good: int, sharing: int = 1) -> int:
        """Return the steps of a DRAEM with `n_good` good training images, one of `sharing` that share `draem_steps`."""
        shared = -(-self.draem_steps // sharing)
        return shared or max(1, self.draem_epochs * n_good * self.tiles**2 // self.draem_batch)

    def values(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the named fields as JSON values."""
        found = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the nearest known name, or nothing."""
    close = difflib.get_close_matches(str(name), [str(item) for item in known], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def cuda_available() -> bool:
    """Tell whether torch finds a CUDA device; torch, seconds to import, is asked only where there is a driver."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


def _out_of_bounds(study: Study, item: dataclasses.Field[Any]) -> Iterable[str]:
    value, allowed = getattr(study, item.name), choices(item.name)
    if allowed and value not in allowed:
        yield f"{item.name}={value!r}: expected one of {', '.join(allowed)}{nearest(str(value), allowed)}"
    each = value if isinstance(value, tuple) else (value,)
    if not each:
        yield f"{item.name}: at least one number"
    bounds = [(text, holds, item.metadata[name]) for name, text, holds in BOUNDS if name in item.metadata]
    if not all(holds(number, bound) for number in each for _, holds, bound in bounds):
        must = " and ".join(f"{text} {bound:g}" for text, _, bound in bounds)
        yield f"{item.name}={as_text(value)}: must be {must}"


def _parsed(value: Any, kind: Any) -> Any:
    """Return `value` (possibly text) as the type of a setting's field; raises ValueError in plain words."""
    if isinstance(kind, types.GenericAlias):  # tuple[int, ...] or tuple[float, ...]
        parts = value.strip("() ,").split(",") if isinstance(value, str) else value
        parts = parts if isinstance(parts, tuple | list) else [parts]
        return tuple(_parsed(part, typing.get_args(kind)[0]) for part in parts)
    if kind is bool:
        known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if (text := str(value).lower()) not in known:
            raise ValueError("expected true or false")
        return known[text]
    if kind not in (int, float):
        return str(value)
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("expected a number") from None
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    if kind is int and (isinstance(value, bool) or number != int(number)):
        raise ValueError("expected a whole number")
    return int(number) if kind is int else number


def as_text(value: Any) -> str:
    """Return a setting's value as tables show it."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value) if value != "" else "–"
