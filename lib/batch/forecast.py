"""What a study needs on this machine, by notebook: seconds, memory of one task, disk."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from platformdirs import user_cache_path

from lib.artifacts import HOST, write_text
from lib.config import map_source_of
from lib.datasets.splits import N_INNER
from lib.draem.detector import network_bytes, training_image
from lib.execution.progress import format_duration
from lib.features.backbone_weights import grid
from lib.features.backbone_weights import size_of as backbone_size
from lib.pipeline.dataset import index, repeated, splits
from lib.pipeline.run import FIT, INFORMATION, PROCESS, Run, classifier_cost, feature_cost, fit_cost, map_cost
from lib.synthetic.products import image_counts

GUESSES = {"cpu": 1.0, "mps": 0.05, "cuda": 5e-4}  # a CPU's core, a laptop's GPU (no measurement), an H200
LONG_ENOUGH = 60.0  # seconds of training that tell a speed
START = 8.0  # seconds of a kernel's start and imports, paid once per data set
BESIDE = {  # seconds of a notebook besides, and of each image more: measures, figures, HTML
    "00_dataset": (1.5, 0.0005),
    "01_draem_training": (2.5, 0.0015),
    "02_anomaly_maps": (1.7, 0.001),
    "03_features": (1.4, 0.001),
    "04_classification": (5.0, 0.0025),
    "05_imbalance_study": (2.5, 0.002),
    "06_statistics": (3.0, 0.003),
}
# Fits of `image` that the baselines cost, from tests/benchmarks: `stats` alone is four, as few columns learn slowly.
BASELINE_FITS, CHEAP_FITS, GUIDED_FITS = 7.0, 0.2, 2.0


def stored_speed(run: Run) -> float | None:
    """Return how many times the seconds of `lib.pipeline.run` networks took here; None where not known."""
    try:
        return float(json.loads(_speed_file(run).read_text(encoding="utf-8"))["networks"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def store_speed(run: Run) -> None:
    """Store how fast this host trained the study's DRAEMs, with this number of threads, on this device.

    Those trained in several sessions aside: the seconds known are those of the last one.
    """
    models = [run.store.manifest(name) for name in run.store.names() if name.startswith("draem/")]
    trained = [model["summary"] for model in models if model and model["host"] == HOST]
    trained = [
        one for one in trained if one.get("device") == run.device and not one["resumed"] and "steps" in one
    ]
    seconds = sum(summary["seconds"] for summary in trained)
    if seconds >= LONG_ENOUGH:
        images = run.study.draem_batch * sum(summary["steps"] for summary in trained)
        with suppress(OSError):  # without a cache folder the guess stays
            speed = {"networks": seconds / (images * training_image(run.study))}
            write_text(_speed_file(run), json.dumps(speed) + "\n")


def _speed_file(run: Run) -> Path:
    name = f"{HOST}-{run.device}-{run.study.threads}-threads.json"
    return user_cache_path("anomaly-map-study") / name


class Size(NamedTuple):
    """How large a data set is: images in all, good ones, splits of all repeats, those of them with maps."""

    images: int
    good: int
    splits: int
    map_splits: int


def size_of(run: Run) -> Size:
    """Return how large a data set is (a drawn product's is known before it is drawn)."""
    study = run.study
    if run.synthetic:
        counts = image_counts(run.dataset, study.synthetic_scale)
        trained = study.folds * study.repeats
        return Size(sum(counts.values()), counts["good"], trained, trained)
    table = index(run)
    good = int((table["label"] == table.attrs["good"]).sum())
    every, mapped = (repeated(run, splits(run, with_maps=some)) for some in (False, True))
    return Size(len(table), good, len(every), len(mapped))


def forecast(run: Run, size: Size, speed: float, tasks: int = 1) -> pd.DataFrame:
    """Return what each notebook takes for one data set, its share of 06 included, `tasks` folds at a time.

    `speed`: how many times the seconds of `lib.pipeline.run` networks take; on a CPU, classifiers as well.
    Columns: seconds; memory, bytes of one task at the least, mapped files and GPU aside; disk, bytes of artefacts; 0
    where it is negligible.
    """
    study, cpu = run.study, run.device == "cpu"
    n_good = round(size.good * (1 - 1 / study.folds))  # in a training part
    training = maps = 0.0
    stacks = networks = 0  # maps of all images, and DRAEMs
    for map_method in study.map_methods:
        source, models = map_source_of(map_method), 1 if map_method == "in_sample" else N_INNER
        # those for comparison are made for one scheme only
        folds = size.map_splits if map_method == study.map_method else study.folds * study.repeats
        maps += map_cost(run, folds * size.images, map_method)["seconds"]
        training += folds * models * fit_cost(run, source, n_good // models, models)["seconds"]
        stacks += folds
        networks += folds * models * (source == "draem")

    image_features = feature_cost(run, size.images)
    features = image_features["seconds"] * (1 + stacks)
    network = backbone_size(study.backbone)
    patch_values = grid(study.feature_side) ** 2 * network.n_channels  # in half precision
    feature_disk = size.images * ((1 + stacks) * network.n_features * 4 + patch_values * 2)
    image_disk = size.images * 3 * sum(side**2 for side in {study.map_side, study.feature_side})

    classifier = classifier_cost(run, size.images)
    fit = classifier["seconds"] * (2 if study.binary == "separate" else 1)
    level = (3 + INFORMATION / FIT) * size.splits + GUIDED_FITS * study.guided * size.map_splits
    cheap = fit * (level + CHEAP_FITS * study.baselines * size.map_splits)
    whole = fit * (level + BASELINE_FITS * study.baselines * size.map_splits)
    fits = whole * (1 + (stacks - size.map_splits) / size.splits) + cheap * (study.inner_folds - 1)
    thinned = cheap * sum(share for share in study.keep if share < 1)

    at_once = max(1, min(tasks, size.splits))
    on_device, on_cpu = speed / at_once, (speed if cpu else 1.0) / at_once
    images = PROCESS + n_good * 3 * study.map_side**2
    trainer = fit_cost(run, "draem", n_good, 1)["memory"] if cpu else images
    rows = {
        "00_dataset": (size.images * 0.01, 0, image_disk),
        "01_draem_training": (training * on_device, trainer, network_bytes(study) * networks),
        "02_anomaly_maps": (maps * on_device, 0, stacks * size.images * 2 * study.map_side**2),
        "03_features": (features * on_device, image_features["memory"] if cpu else PROCESS, feature_disk),
        "04_classification": (fits * on_cpu, classifier["memory"], 0),
        "05_imbalance_study": (thinned * on_cpu, classifier["memory"], 0),
        "06_statistics": (0, 0, 0),
    }
    found = pd.DataFrame.from_dict(rows, orient="index", columns=["seconds", "memory", "disk"], dtype=float)
    beside = {name: once + each * size.images for name, (once, each) in BESIDE.items()}
    return found.assign(seconds=found["seconds"] + pd.Series(beside))


def describe(run: Run, size: Size, costs: pd.DataFrame, done: Collection[str] = ()) -> Iterator[str]:
    """Yield lines for one data set: what each notebook of `costs` takes of time, memory of a task, and disk."""
    yield f"{run.name}: {size.images} images ({size.good} good), {size.splits} splits"
    for name, seconds, memory, disk in costs.itertuples():
        time = "proven, nothing to do" if name in done else f"about {format_duration(seconds)}"
        yield f"  {name:<20} {time:<22} {_bytes(memory):>8} {_bytes(disk):>8}".rstrip()


def _bytes(count: float) -> str:
    return "" if not count else f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
