"""Everything that a run depends on, in one frozen dataclass; presets; overrides checked by name."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from lib.presets import PRESETS, preset_values
from lib.values import parse_value

MapMethod = Literal[
    "in_sample", "cross_fitted", "patchcore"
]  # how maps are made: DRAEM's two ways, the memory


class StudyError(ValueError):
    """A preset or setting that cannot be used; the message lists every fault."""


def setting(default: Any, help_text: str) -> Any:
    """Declare a field with its meaning; the few values that a text may take stand in its type."""
    return field(default=default, metadata={"help": help_text})


def choices(name: str) -> tuple[str, ...]:
    """Return the allowed values of a setting, none where any value of its type will do."""
    kind = typing.get_type_hints(Study)[name]
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()


@dataclass(frozen=True)
class Study:
    """Settings of a study; each field is one reading of the paper or one cost (see `describe`)."""

    preset: str = setting("quick", "the preset that the other settings started from")
    seed: int = setting(744, "every random number derives from this, the data set, the fold and the purpose")
    device: Literal["auto", "cpu", "cuda"] = setting("auto", "where torch runs")
    threads: int = setting(
        1,
        "threads of each fold's task; on a CPU another number gives other last bits, folds run side by side",
    )
    # images
    good: str = setting("", "name of the good class; empty: good, ok, normal or free")
    groups: str = setting("", "CSV (id, group): images of one object, never split between train and test")
    group_regex: str = setting(
        "", "regular expression on the image's path whose first group names the object"
    )
    skip_bad: bool = setting(
        False, "leave unusable files out, and list them, instead of refusing the data set"
    )
    resize: Literal["squash", "pad", "crop"] = setting("squash", "how a picture becomes square")
    synthetic_scale: float = setting(0.15, "stand-ins only: share of the paper's image counts that is drawn")
    synthetic_side: int = setting(128, "stand-ins only: side of the drawn photographs, in pixels")
    # folds
    folds: int = setting(3, "number of cross-validation folds")
    cv: Literal["auto", "stratified", "grouped"] = setting(
        "auto", "auto: grouped where groups are known, else stratified"
    )
    leak_check: Literal["none", "image", "all"] = setting(
        "image",
        "beside grouped folds, stratified ones for comparison: none, with the image features only, or all",
    )
    # DRAEM
    image_size: int = setting(
        64, "side of DRAEM's input and of the anomaly maps, in pixels; a multiple of 32"
    )
    reconstructive_width: int = setting(16, "channels of the reconstructive network's first block")
    discriminative_width: int = setting(8, "channels of the discriminative network's first block")
    draem_epochs: int = setting(0, "passes over the training fold's good images; 0: draem_steps counts")
    draem_steps: int = setting(250, "training steps per fold; 0: draem_epochs counts")
    draem_batch: int = setting(8, "images per DRAEM training step")
    # Few steps want a higher rate than the paper's 1e-4: docs/draem.md has the evidence.
    draem_lr: float = setting(3e-4, "DRAEM's learning rate (x0.2 at 80 % and 90 % of the steps)")
    draem_warmup: int = setting(
        0, "steps over which DRAEM's learning rate rises from nothing; the paper has none"
    )
    draem_precision: Literal["auto", "float32", "tf32", "bf16"] = setting(
        "auto",
        "DRAEM's convolutions while training: float32; on CUDA also tf32, which auto takes there, or bf16",
    )
    draem_compile: bool = setting(
        False,
        "torch.compile DRAEM's networks: minutes at first, and no faster on the card measured (docs/draem.md)",
    )
    textures: str = setting(
        "", "folder of anomaly textures in DTD's layout; empty: torchvision's, else drawn"
    )
    draem_checkpoint: str = setting("", "folder with official DRAEM checkpoints to use instead of training")
    # maps and features
    map_source: Literal["draem", "patchcore"] = setting(
        "draem",
        "what makes the maps: draem, trained; patchcore, distances to remembered patches of good images "
        "(minutes on a CPU, always cross-fitted)",
    )
    compare_map_source: bool = setting(
        False,
        "make the other source's maps too, for comparison and for both sources in one classifier: primary folds, all "
        "defects",
    )
    coreset_size: int = setting(1000, "patches that a PatchCore keeps of all good ones (a greedy coreset)")
    patch_size: int = setting(
        96, "side of the pictures whose patches are remembered, and pooled where the map points, in pixels"
    )
    map_encoding: Literal["raw", "jet"] = setting("raw", "raw: map as grey picture; jet: min-max and colours")
    map_fit: Literal["in_sample", "cross_fitted"] = setting(
        "in_sample",
        "DRAEM's maps. in_sample: all from the fold's one DRAEM; cross_fitted: a training image's from a DRAEM that "
        "did not see it, two per fold that share the steps",
    )
    compare_map_fit: bool = setting(
        False, "make the other reading of map_fit too, for comparison: primary folds, all defects"
    )
    weights: str = setting(
        "auto", "ResNet-18 weights: auto, imagenet, embedded, a file, or random-init (for tests)"
    )
    offline: bool = setting(False, "never try a download")
    feature_size: int = setting(96, "side of the pictures that ResNet-18 sees, in pixels")
    guided: bool = setting(
        True, "also pool the image's own features where the map points, as feature sets of their own"
    )
    guided_patches: tuple[int, ...] = setting(
        (3, 12, 48),
        "of a picture's patches, how many of the most anomalous are averaged, an average for each number",
    )
    guided_weights: Literal["hard", "soft"] = setting(
        "hard", "hard: these patches alike; soft: every patch, by the softmax of the map"
    )
    guided_baseline: Literal["good", "rest", "nothing"] = setting(
        "good",
        "what pooled features are compared with: good training images at the same place, the rest of the picture, or "
        "nothing",
    )
    # classifier
    selection: Literal["sqrt_n", "per_source", "none"] = setting(
        "sqrt_n", "columns kept by mutual information: floor(sqrt(N)) jointly, per source, or all"
    )
    mlp: tuple[int, ...] = setting((512, 100), "hidden layers of the classifier")
    scale: Literal["standard", "none"] = setting(
        "standard", "inputs standardised on the training fold, or not"
    )
    binary: Literal["collapsed", "separate"] = setting(
        "collapsed", "defective or good: from the multiclass prediction, or a two-class model of its own"
    )
    keep: tuple[float, ...] = setting((0.25, 0.5, 0.75, 1.0), "shares of the defective training images kept")
    repeats: int = setting(1, "repetitions of the classification with other seeds")
    baselines: bool = setting(
        True, "also evaluate simpler feature sets and models that the three should beat"
    )
    inner_folds: int = setting(
        3, "folds within each training fold, whose out-of-fold scores thresholds are chosen on"
    )
    alpha: float = setting(0.005, "level of significance")
    # the line
    required: tuple[float, ...] = setting(
        (0.9, 0.95, 0.99, 0.995), "defect recalls whose price in false rejects is shown"
    )
    prevalence: float = setting(0.01, "defective share of the products on the line, for escapes per million")

    @classmethod
    def of(cls, preset: str = "quick", overrides: Mapping[str, Any] | None = None) -> Study:
        """Return the preset with `overrides` (name to value or to its text); raises `StudyError` with all faults."""
        if preset not in PRESETS:
            raise StudyError(
                f"unknown preset {preset!r}{nearest(preset, PRESETS)}; presets: {', '.join(PRESETS)}"
            )
        values: dict[str, Any] = {"preset": preset, **preset_values(preset)}
        issues: list[str] = []
        kinds = typing.get_type_hints(cls)
        for name, value in (overrides or {}).items():
            if name not in kinds or name == "preset":
                near = nearest(name, kinds) if name != "preset" else ": choose it with --preset"
                issues.append(f"unknown setting {name!r}{near} (`--list` shows them all)")
                continue
            try:
                values[name] = parse_value(value, kinds[name])
            except ValueError as error:
                issues.append(f"{name}={value!r}: {error}")
        if "draem_epochs" in (overrides or {}) and "draem_steps" not in (overrides or {}):
            values["draem_steps"] = 0
        if "draem_steps" in (overrides or {}) and "draem_epochs" not in (overrides or {}):
            values["draem_epochs"] = 0
        study = cls(**values)
        issues += study._issues()
        if issues:
            raise StudyError("\n".join(issues))
        return study

    def _issues(self) -> list[str]:
        """Say everything that is wrong with the values."""
        issues = []
        for item in dataclasses.fields(self):
            value, allowed = getattr(self, item.name), choices(item.name)
            if allowed and value not in allowed:
                close = nearest(str(value), allowed)
                issues.append(f"{item.name}={value!r}: expected one of {', '.join(allowed)}{close}")
        least = {
            "seed": 0, "folds": 2, "image_size": 32, "feature_size": 32, "draem_batch": 1, "synthetic_side": 32,
            "reconstructive_width": 1, "discriminative_width": 1, "repeats": 1, "draem_epochs": 0, "draem_steps": 0,
            "draem_warmup": 0, "inner_folds": 2, "threads": 1, "coreset_size": 1,
            "patch_size": 32,
        }  # fmt: skip
        issues += [
            f"{name}={getattr(self, name)}: must be at least {low}"
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if self.image_size % 32:
            issues.append(
                f"image_size={self.image_size}: must be a multiple of 32 (DRAEM halves it five times)"
            )
        if (self.draem_steps > 0) == (self.draem_epochs > 0):
            issues.append(
                f"draem_steps={self.draem_steps}, draem_epochs={self.draem_epochs}: exactly one must be above 0"
            )
        if self.synthetic_side > 4096:
            issues.append(f"synthetic_side={self.synthetic_side}: must be at most 4096")
        if not 0 < self.synthetic_scale <= 1:
            issues.append(f"synthetic_scale={self.synthetic_scale}: must be in (0, 1]")
        if not all(0 < share <= 1 for share in self.keep) or 1.0 not in self.keep:
            issues.append(f"keep={self.keep}: shares in (0, 1] that include 1.0")
        if len(set(self.keep)) < len(self.keep) or len(set(self.required)) < len(self.required):
            issues.append(f"keep={self.keep}, required={self.required}: name each share once")
        if not self.guided_patches or min(self.guided_patches) < 1:
            issues.append(f"guided_patches={self.guided_patches}: at least one number, each from 1 up")
        if not self.mlp or any(width < 1 for width in self.mlp):
            issues.append(f"mlp={self.mlp}: at least one hidden layer, widths from 1 up")
        if not 0 < self.alpha < 1 or self.draem_lr <= 0:
            issues.append(f"alpha={self.alpha}, draem_lr={self.draem_lr}: must be positive, alpha below 1")
        if not self.required or not all(0 < recall <= 1 for recall in self.required):
            issues.append(f"required={self.required}: defect recalls in (0, 1]")
        if not 0 < self.prevalence < 1:
            issues.append(f"prevalence={self.prevalence}: a share of all products, between 0 and 1")
        if self.device == "cpu" and self.draem_precision in ("tf32", "bf16"):
            issues.append(
                f"draem_precision={self.draem_precision} is for CUDA only, device=cpu: leave it at auto"
            )
        if self.groups and self.group_regex:
            issues.append("groups and group_regex contradict each other: give one")
        if self.cv == "stratified" and (self.groups or self.group_regex):
            issues.append("cv=stratified ignores groups: leave out groups/group_regex, or cv=auto")
        if self.map_source == "patchcore" and self.compare_map_fit:
            issues.append(
                "compare_map_fit compares two readings of DRAEM's maps, and map_source=patchcore has one: leave it "
                "out, or map_source=draem"
            )
        if self.draem_checkpoint and "cross_fitted" in self.map_methods:
            issues.append(
                "draem_checkpoint is one DRAEM trained elsewhere, and cross-fitted maps need two trained here: "
                "map_fit=in_sample, compare_map_fit=false"
            )
        if self.offline and self.weights == "imagenet":
            issues.append("weights=imagenet may need a download that offline forbids: give a file")
        return issues

    def seed_for(self, *purpose: object) -> int:
        """Return a seed in [0, 2**31) from the study's seed and the purpose, whatever the order of execution."""
        text = "\x1f".join(map(str, (self.seed, *purpose)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    @property
    def map_method(self) -> MapMethod:
        """How the maps are made that the results rest on."""
        return "patchcore" if self.map_source == "patchcore" else self.map_fit

    @property
    def alternative_map_fit(self) -> MapMethod:
        """The other reading of `map_fit`, which `compare_map_fit` compares with."""
        return "cross_fitted" if self.map_fit == "in_sample" else "in_sample"

    @property
    def alternative_map_source(self) -> MapMethod:
        """How the other map source makes its maps, which `compare_map_source` compares with."""
        return self.map_fit if self.map_source == "patchcore" else "patchcore"

    @property
    def map_methods(self) -> tuple[MapMethod, ...]:
        """All ways of making maps that the study asks for: what the results rest on, then what is compared."""
        fit = (self.alternative_map_fit,) if self.compare_map_fit else ()
        source = (self.alternative_map_source,) if self.compare_map_source else ()
        return (self.map_method, *fit, *source)

    def steps_for(self, n_good: int, sharing: int = 1) -> int:
        """Return the steps of a DRAEM with `n_good` good training images, one of `sharing` that share `draem_steps`."""
        shared = -(-self.draem_steps // sharing)
        return shared or max(1, self.draem_epochs * n_good // self.draem_batch)

    def values(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the named fields as JSON values."""
        return {name: _plain(getattr(self, name)) for name in names}

    def describe(self) -> pd.DataFrame:
        """Return every setting with its value, the preset's value where it differs, and its meaning."""
        base = Study.of(self.preset)
        rows = []
        for item in dataclasses.fields(self):
            value, standard = getattr(self, item.name), getattr(base, item.name)
            changed = "" if value == standard else f"preset {self.preset}: {_shown(standard)}"
            rows.append((item.name, _shown(value), changed, item.metadata["help"]))
        return pd.DataFrame(rows, columns=["setting", "value", "changed from", "meaning"]).set_index(
            "setting"
        )


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the nearest known name, or nothing."""
    close = difflib.get_close_matches(str(name), [str(item) for item in known], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def parse_settings(pairs: Sequence[str]) -> dict[str, str]:
    """Turn FIELD=VALUE texts into a dictionary; raises `StudyError` for a text without an equals sign."""
    issues = [pair for pair in pairs if "=" not in pair]
    if issues:
        raise StudyError(f"expected FIELD=VALUE, got: {', '.join(issues)}")
    settings: dict[str, str] = {}
    for name, value in (pair.split("=", 1) for pair in pairs):
        if settings.setdefault(name, value) != value:
            raise StudyError(f"{name}={settings[name]} and {name}={value} contradict each other: give one")
    return settings


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value) if value != "" else "–"
