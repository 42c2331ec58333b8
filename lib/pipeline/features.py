"""Notebook 03: ResNet-18 features of the pictures and of the maps, and the maps summed up in a few numbers."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from lib.classify.backbone import Backbone, load_backbone
from lib.classify.features import image_features, map_features
from lib.maps.statistics import AREA_THRESHOLDS, PERCENTILES, map_statistics
from lib.pipeline.anomaly import map_all, maps
from lib.pipeline.pictures import images, splits
from lib.pipeline.run import Run, each_split


def backbone(run: Run) -> Backbone:
    """Return the ResNet-18 that the study's `weights` name."""
    return _backbone(run.study.weights, run.study.offline)


@lru_cache(maxsize=1)
def _backbone(weights: str, offline: bool) -> Backbone:
    return load_backbone(weights, offline=offline)


def image_feature_table(run: Run) -> np.ndarray:
    """Return the features of all images, float32 (N, 512)."""
    net, side = backbone(run), run.study.feature_size
    stack = images(run, side)
    inputs = {"images": run.store.digest(f"images/{side}.npy"), "backbone": net.sha256, "side": side}

    def write(path: Path) -> dict[str, str]:
        np.save(path, image_features(net, stack, side, device=run.device))
        return {"backbone": net.name, "backbone_sha256": net.sha256}

    run.store.make("features/image.npy", inputs, write)
    return np.load(run.store.path("features/image.npy"))


def map_feature_fold(run: Run, split: str) -> None:
    """Write the features of the split's maps, float32 (N, 512)."""
    pictures = maps(run, split)
    net, study = backbone(run), run.study
    inputs = {
        "maps": run.store.digest(f"maps/{split}.npy"),
        "backbone": net.sha256,
        **study.values(("feature_size", "map_encoding")),
    }

    def write(path: Path) -> None:
        np.save(path, map_features(net, pictures, study.feature_size, study.map_encoding, device=run.device))

    run.store.make(f"features/map-{split}.npy", inputs, write)


def map_stats_fold(run: Run, split: str) -> None:
    """Write the summary statistics of the split's maps, float32 (N, S), columns as `lib.maps.statistics` names them."""
    pictures = maps(run, split)
    inputs = {
        "maps": run.store.digest(f"maps/{split}.npy"),
        "percentiles": PERCENTILES,
        "thresholds": AREA_THRESHOLDS,
    }
    run.store.make(
        f"features/map-stats-{split}.npy", inputs, lambda path: np.save(path, map_statistics(pictures))
    )


def map_stats_table(run: Run, split: str) -> np.ndarray:
    """Return the summary statistics of the split's maps, float32 (N, S)."""
    map_stats_fold(run, split)
    return np.load(run.store.path(f"features/map-stats-{split}.npy"))


def feature_all(run: Run) -> None:
    """Make the features of the images and of every split's maps, and where there are baselines the maps' statistics."""
    image_feature_table(run)
    map_all(run)
    each_split(run, map_feature_fold, splits(run, with_maps=True), "map features")
    if run.study.baselines:
        each_split(run, map_stats_fold, splits(run, with_maps=True), "map statistics")


def map_feature_table(run: Run, split: str) -> np.ndarray:
    """Return the features of the split's maps, float32 (N, 512)."""
    map_feature_fold(run, split)
    return np.load(run.store.path(f"features/map-{split}.npy"))
