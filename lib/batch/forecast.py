"""What a study will take on this machine, by notebook: seconds, memory of one task, disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from lib.anomaly_maps.detectors import detector
from lib.batch.calibration import Machine
from lib.config import MapMethod, map_source_of
from lib.datasets.splits import N_INNER
from lib.draem.detector import network_bytes
from lib.execution.progress import format_duration
from lib.pipeline.dataset import index, splits
from lib.pipeline.run import (
    FIT,
    INFORMATION,
    PROCESS,
    Run,
    classifier_cost,
    feature_cost,
    fit_cost,
    map_cost,
)
from lib.synthetic.products import image_counts

SECONDS_PER_NOTEBOOK = 5.0  # a kernel's start, imports, figures, HTML
# Fits of `image` that the baselines cost, from tests/benchmarks: `stats` alone is four, as few columns learn slowly.
BASELINE_FITS, CHEAP_FITS, GUIDED_FITS = 7.0, 0.2, 2.0
PATCHES_SHARE = 0.8  # of a ResNet-18's work that its first three stages are
PATCH_SIDE, PATCH_BYTES = 8, 768  # pixels and bytes of a patch, as in lib.features.patch_embeddings


@dataclass(frozen=True)
class Size:
    """How large a data set is: images in all, good ones, splits, splits with maps."""

    images: int
    good: int
    splits: int
    map_splits: int


def size_of(run: Run) -> Size:
    """Return how large a data set is (a stand-in's size is known before it is drawn)."""
    study = run.study
    if run.synthetic:
        counts = image_counts(run.dataset, study.synthetic_scale)
        return Size(sum(counts.values()), counts["good"], study.folds, study.folds)
    table = index(run)
    good = int((table["label"] == table.attrs["good"]).sum())
    return Size(len(table), good, len(splits(run)), len(splits(run, with_maps=True)))


def estimate(run: Run, size: Size, machine: Machine, tasks: int = 1) -> dict[str, float]:
    """Return the seconds of each notebook of one data set (06, once per study, aside), `tasks` folds at a time."""
    study, made = run.study, map_splits(run, size)
    images = feature_cost(run, size.images)["seconds"]
    patches = images * PATCHES_SHARE * (study.patch_size / study.feature_size) ** 2
    trained = max(1, round(size.good * (1 - 1 / study.folds)))
    training = maps = 0.0
    for map_method, folds in made.items():
        count = _models(map_method)
        mapped = round(folds * size.images * (1 + (count - 1) / study.folds))  # two maps of each test image
        maps += map_cost(run, mapped, map_method)["seconds"]
        cost = fit_cost(run, map_source_of(map_method), trained // count, count)
        training += folds * count * cost["seconds"]
    fits = study.repeats * (2 if study.binary == "separate" else 1)
    fit = fits * classifier_cost(run, size.images)["seconds"]
    level = (3 + INFORMATION / FIT) * size.splits + GUIDED_FITS * study.guided * size.map_splits
    cheap = fit * (level + CHEAP_FITS * study.baselines * size.map_splits)
    whole = fit * (level + BASELINE_FITS * study.baselines * size.map_splits)
    compared = (sum(made.values()) - size.map_splits) / size.splits
    first = _reads_patches(made)  # or patches are for map-guided pooling only
    at_once = max(1, min(tasks, size.splits))
    networks, classifiers = machine.networks / at_once, machine.classifiers / at_once
    features = (1 + sum(made.values())) * images + patches * (study.guided and not first)
    seconds = {
        "00_dataset": size.images * 0.01,
        "01_draem_training": (training + patches * first) * networks,
        "02_anomaly_maps": maps * networks,
        "03_features": features * networks,
        "04_classification": (whole * (1 + compared) + cheap * (study.inner_folds - 1)) * classifiers,
        "05_imbalance_study": cheap * sum(share for share in study.keep if share < 1) * classifiers,
    }
    return {name: value + SECONDS_PER_NOTEBOOK for name, value in seconds.items()}


def map_splits(run: Run, size: Size) -> dict[MapMethod, int]:
    """Return the number of splits that get maps of each kind; those for comparison are made for one scheme only."""
    study = run.study
    return {one: size.map_splits if one == study.map_method else study.folds for one in study.map_methods}


def disk(run: Run, size: Size) -> dict[str, int]:
    """Return the bytes that the artefacts of each notebook of one data set take."""
    study, made = run.study, map_splits(run, size)
    networks = sum(count * _models(one) for one, count in made.items() if map_source_of(one) == "draem")
    sides, patches = {study.image_size, study.feature_size}, 0
    if study.guided or _reads_patches(made):
        sides.add(study.patch_size)
        patches = size.images * (-(-study.patch_size // PATCH_SIDE)) ** 2 * PATCH_BYTES
    return {
        "00_dataset": size.images * 3 * sum(side**2 for side in sides),
        "01_draem_training": int(network_bytes(study) * networks),
        "02_anomaly_maps": sum(made.values()) * size.images * 2 * study.image_size**2,
        "03_features": (1 + sum(made.values())) * size.images * 512 * 4 + patches,
    }


def _models(map_method: MapMethod) -> int:
    """Return how many models make the maps of a split."""
    return 1 if map_method == "in_sample" else N_INNER


def _reads_patches(methods: Collection[MapMethod]) -> bool:
    return any(detector(map_source_of(one)).inputs == "patches" for one in methods)


def memory(run: Run, size: Size) -> dict[str, int]:
    """Return the bytes of memory that one task of each notebook takes, at the least; mapped files and GPU aside."""
    cpu, n_good = run.device == "cpu", round(size.good * (1 - 1 / run.study.folds))
    fit = classifier_cost(run, size.images)["memory"]
    pictures = PROCESS + n_good * 3 * run.study.image_size**2
    return {
        "01_draem_training": int(fit_cost(run, "draem", n_good, 1)["memory"] if cpu else pictures),
        "03_features": int(feature_cost(run, size.images)["memory"] if cpu else PROCESS),
        "04_classification": int(fit),
        "05_imbalance_study": int(fit),
    }


def memory_at_once(run: Run, size: Size, side_by_side: int = 1, workers: int = 0) -> int:
    """Return the bytes of memory that one data set takes at its largest stage, at the least; mapped files aside.

    `workers` Dask processes, if any, carry the stages of the `side_by_side` data sets.
    """
    stage = max(memory(run, size).values())
    return stage * max(1, workers) + PROCESS * ((side_by_side > 1) + (workers > 0))


def describe(run: Run, size: Size, seconds: Mapping[str, float], done: Collection[str] = ()) -> Iterator[str]:
    """Yield lines for one data set: what each notebook of `seconds` takes of time, memory of a task, and disk."""
    needed, kept = memory(run, size), disk(run, size)
    yield f"{run.name}: {size.images} images ({size.good} good), {size.splits} splits"
    for name, value in seconds.items():
        time = "proven, nothing to do" if name in done else f"about {format_duration(value)}"
        yield f"  {name:<20} {time:<22} {_bytes(needed.get(name)):>8} {_bytes(kept.get(name)):>8}".rstrip()


def _bytes(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
