"""What a study will cost on this machine: a few seconds of calibration, then arithmetic over the study's size."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from lib.anomaly_maps.detectors import detector
from lib.classification.classifiers import fit_predict
from lib.config import MapMethod, Study, map_source_of
from lib.datasets.splits import N_INNER
from lib.draem.training import TrainingSettings, train
from lib.features.embeddings import image_features
from lib.features.mutual_information import estimate_mutual_information, n_selected
from lib.features.patch_embeddings import N_CHANNELS, grid
from lib.features.resnet import load_backbone
from lib.synthetic.textures import procedural_textures

TEXTURES = 400  # pictures of the bank that DRAEM's anomalies are cut from
PROCESS_BYTES = 350_000_000  # Python with PyTorch and what else a kernel imports
SECONDS_PER_NOTEBOOK = 5.0  # a kernel's start, imports, figures, HTML
# Fits of `image` that the baselines cost, from tests/benchmarks: `stats` alone is four, as few columns learn slowly.
BASELINE_FITS, CHEAP_FITS, GUIDED_FITS = 7.0, 0.2, 2.0
PATCHES_SHARE = 0.8  # of a ResNet-18's work that its first three stages are


@dataclass(frozen=True)
class Size:
    """How large a data set is: images in all, good ones, classes, splits, splits with maps."""

    images: int
    good: int
    splits: int
    map_splits: int


@dataclass(frozen=True)
class Speed:
    """Seconds on this machine: per DRAEM training image and map, per ResNet-18 image, per fit of 400 rows."""

    draem_training: float
    draem_map: float
    resnet: float
    fit: float
    information: float


def calibrate(study: Study, device: str) -> Speed:
    """Time each kind of work once at a small size and scale it to the study's by its share of operations."""
    small = device == "cpu"
    side = min(64, study.image_size) if small else study.image_size
    widths = (16, 8) if small else (study.reconstructive_width, study.discriminative_width)
    ratio = (study.image_size / side) ** 2 * (
        0.81 * (study.reconstructive_width / widths[0]) ** 2
        + 0.19 * (study.discriminative_width / widths[1]) ** 2
    )
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (16, side, side, 3), dtype=np.uint8)
    textures = procedural_textures(8, side, 0)

    def steps(count: int) -> Callable[[], object]:
        settings = TrainingSettings(
            reconstructive_width=widths[0], discriminative_width=widths[1], steps=count, batch=8, seed=0
        )
        return lambda: train(pictures, textures, settings, device=device)

    torch.set_num_threads(study.threads)
    steps(1)()
    per_image = max(_seconds(steps(5)) - _seconds(steps(1)), 1e-3) / (4 * 8) * ratio
    backbone = load_backbone("random-init")
    big = rng.integers(0, 255, (16, study.feature_size, study.feature_size, 3), dtype=np.uint8)
    image_features(backbone, big[:2], study.feature_size, device=device)
    resnet = _seconds(lambda: image_features(backbone, big, study.feature_size, device=device)) / len(big)
    table = rng.normal(size=(400, 64)).astype(np.float32)
    labels = np.where(table[:, 0] > 0, "a", "b")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        columns = table[:, : n_selected(400)]
        fit = _seconds(lambda: fit_predict(columns, labels, columns[:9], ("a", "b"), hidden=study.mlp))
    information = _seconds(lambda: estimate_mutual_information(table, labels, seed=0)) / 64 * 1024
    return Speed(per_image, per_image / 3.5, resnet, fit, information)


def estimate(study: Study, size: Size, speed: Speed, tasks: int = 1) -> dict[str, float]:
    """Return the seconds of each notebook of one data set (06, once per study, aside), `tasks` folds at a time."""
    trained = max(1, round(size.good * (1 - 1 / study.folds)))
    rows = size.images * (1 - 1 / study.folds) / 400
    models = study.repeats * (2 if study.binary == "separate" else 1)
    level = size.splits * models * (3 * speed.fit + speed.information) * rows
    fit = size.map_splits * models * speed.fit * rows
    guided = GUIDED_FITS * fit * study.guided
    cheap = level + CHEAP_FITS * fit * study.baselines + guided
    whole = level + BASELINE_FITS * fit * study.baselines + guided
    # a cross-fitted fold: two DRAEMs, and two maps of each test image
    made = map_splits(study, size)
    steps = maps = 0.0
    memories = compared_images = 0.0
    patches = size.images * speed.resnet * PATCHES_SHARE * (study.patch_size / study.feature_size) ** 2
    for map_method, folds in made.items():
        shares, source = _models(map_method), map_source_of(map_method)
        images = folds * size.images * (1 + (shares - 1) / study.folds)
        if source != "draem":
            memories += folds * shares * detector(source).fit_cost(study, trained // shares, shares)[0]
            compared_images += images * detector(source).map_seconds(study)
        else:
            steps += folds * shares * study.steps_for(trained // shares, shares)
            maps += images
    early = patches if memories else 0.0
    late = patches if study.guided and not memories else 0.0
    compared = (sum(made.values()) - size.map_splits) / size.splits
    seconds = {
        "00_dataset": size.images * 0.01,
        "01_draem_training": steps * study.draem_batch * speed.draem_training + memories + early,
        "02_anomaly_maps": (maps + size.images) * speed.draem_map + compared_images,
        "03_features": (1 + sum(made.values())) * size.images * speed.resnet + late,
        "04_classification": whole * (1 + compared) + cheap * (study.inner_folds - 1),
        "05_imbalance_study": cheap * sum(share for share in study.keep if share < 1),
    }
    if study.draem_checkpoint:
        seconds["01_draem_training"] = 1.0 + memories + early
    at_once = {name: 1 if name == "00_dataset" else max(1, min(tasks, size.splits)) for name in seconds}
    return {name: value / at_once[name] + SECONDS_PER_NOTEBOOK for name, value in seconds.items()}


def _models(map_method: MapMethod) -> int:
    """Return how many models make the maps of a split."""
    return 1 if map_method == "in_sample" else N_INNER


def map_splits(study: Study, size: Size) -> dict[MapMethod, int]:
    """Return the number of splits that get maps of each reading; the one beside it is made for one scheme only."""
    return {one: size.map_splits if one == study.map_method else study.folds for one in study.map_methods}


def disk(study: Study, size: Size) -> dict[str, int]:
    """Return the bytes that the artefacts of each notebook of one data set take."""
    made = map_splits(study, size)
    networks = (
        4
        * _weights(study)
        * sum(count * _models(one) for one, count in made.items() if map_source_of(one) == "draem")
    )
    sides = {study.image_size, study.feature_size}
    patches = 0
    if study.guided or any(detector(map_source_of(one)).inputs == "patches" for one in made):
        sides.add(study.patch_size)
        patches = size.images * grid(study.patch_size) ** 2 * N_CHANNELS * 2
    return {
        "00_dataset": size.images * 3 * sum(side**2 for side in sides),
        "01_draem_training": int(networks),
        "02_anomaly_maps": sum(made.values()) * size.images * 2 * study.image_size**2,
        "03_features": (1 + sum(made.values())) * size.images * 512 * 4 + patches,
    }


def disk_bytes(study: Study, size: Size) -> int:
    """Return the bytes that the artefacts of one data set take."""
    return sum(disk(study, size).values())


def memory(study: Study, size: Size, cpu: bool) -> dict[str, int]:
    """Return the bytes of memory that one task of each notebook takes, at the least; mapped files aside.

    `cpu`: DRAEM trains in the machine's own memory.
    """
    pixels = 3 * study.image_size**2
    widths = study.reconstructive_width + study.discriminative_width
    training = (size.good * (1 - 1 / study.folds) + (0 if study.draem_checkpoint else TEXTURES)) * pixels
    if cpu and not study.draem_checkpoint:
        # weights, gradients, Adam's two moments; and what backward needs: 10 to 20 % more were measured at 64 to 256 px
        training += 4 * 4 * _weights(study) + study.draem_batch * study.image_size**2 * (1000 + 80 * widths)
    resnet = 64 * study.feature_size**2 * 150 if cpu else 0
    layers = pairwise((1024, *study.mlp))
    classifier = 4 * size.images * 512 * 4 + 4 * 4 * sum(above * below for above, below in layers)
    needs = {"01_draem_training": training, "03_features": resnet}
    needs |= dict.fromkeys(("04_classification", "05_imbalance_study"), classifier)
    return {name: int(PROCESS_BYTES + value) for name, value in needs.items()}


def memory_bytes(study: Study, size: Size, cpu: bool, side_by_side: int = 1, workers: int = 0) -> int:
    """Return the bytes of memory that one data set takes at its largest stage, at the least; mapped files aside.

    `side_by_side` data sets have a process each beside their kernels; `workers` Dask processes carry the stages of
    whichever data set runs.
    """
    stage = max(memory(study, size, cpu).values())
    return int(stage * max(1, workers) + PROCESS_BYTES * (side_by_side > 1) + PROCESS_BYTES * (workers > 0))


def _weights(study: Study) -> float:
    """Return how many weights a DRAEM has, nearly: they grow with the square of the widths."""
    reconstructive = 69.05e6 * (study.reconstructive_width / 128) ** 2
    return reconstructive + 28.37e6 * (study.discriminative_width / 64) ** 2


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
