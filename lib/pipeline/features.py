"""Notebook 03: ResNet-18 features of the pictures and of the maps, and the maps summed up in a few numbers."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from lib.classify.backbone import Backbone, load_backbone
from lib.classify.features import image_features, map_features
from lib.maps.statistics import AREA_THRESHOLDS, PERCENTILES, map_statistics
from lib.pipeline.anomaly import map_all, map_name, map_splits, maps
from lib.pipeline.effort import feature_effort
from lib.pipeline.pictures import images, index
from lib.pipeline.run import Run, each_part, each_split
from lib.source import code_of
from lib.study import MapFit

AT_ONCE = (
    512  # images per task; the same however many processes there are, so that batches hold the same images
)


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
    inputs = {
        "code": code_of("lib.classify.features"),
        "images": run.store.digest(f"images/{side}.npy"),
        "backbone": net.sha256,
        "side": side,
    }

    def write(path: Path) -> dict[str, str]:
        starts = range(0, len(stack), AT_ONCE)
        effort = feature_effort(run, AT_ONCE)
        parts = each_part(
            run, _some_image_features, [(run, start) for start in starts], "image features", **effort
        )
        np.save(path, np.concatenate(parts))
        return {"backbone": net.name, "backbone_sha256": net.sha256}

    run.store.make("features/image.npy", inputs, write)
    return np.load(run.store.path("features/image.npy"))


def _some_image_features(run: Run, start: int) -> np.ndarray:
    side = run.study.feature_size
    pictures = images(run, side)[start : start + AT_ONCE]
    return image_features(backbone(run), pictures, side, device=run.device)


def map_feature_fold(run: Run, fit: MapFit, split: str) -> None:
    """Write the features of the split's maps of a reading, float32 (N, 512)."""
    pictures = maps(run, split, fit)
    net, study = backbone(run), run.study
    inputs = {
        "code": code_of("lib.classify.features"),
        "maps": run.store.digest(f"maps/{map_name(split, fit)}.npy"),
        "backbone": net.sha256,
        **study.values(("feature_size", "map_encoding")),
    }

    def write(path: Path) -> None:
        np.save(path, map_features(net, pictures, study.feature_size, study.map_encoding, device=run.device))

    run.store.make(map_feature_name(split, fit), inputs, write)


def map_stats_fold(run: Run, fit: MapFit, split: str) -> None:
    """Write the summary statistics of the split's maps, float32 (N, S), columns as `lib.maps.statistics` names them."""
    pictures = maps(run, split, fit)
    inputs = {
        "code": code_of("lib.maps.statistics"),
        "maps": run.store.digest(f"maps/{map_name(split, fit)}.npy"),
        "percentiles": PERCENTILES,
        "thresholds": AREA_THRESHOLDS,
    }
    name = map_stats_name(split, fit)
    run.store.make(name, inputs, lambda path: np.save(path, map_statistics(pictures)))


def map_stats_name(split: str, fit: MapFit) -> str:
    """Return the artefact with the statistics of the split's maps of a reading."""
    return f"features/map-stats-{map_name(split, fit)}.npy"


def map_stats_table(run: Run, split: str, fit: MapFit | None = None) -> np.ndarray:
    """Return the statistics of the split's maps of a reading, the study's own by default, float32 (N, S)."""
    fit = fit or run.study.map_fit
    map_stats_fold(run, fit, split)
    return np.load(run.store.path(map_stats_name(split, fit)))


def feature_all(run: Run) -> None:
    """Make the features of the images and of all maps, and where there are baselines the maps' statistics."""
    image_feature_table(run)
    map_all(run)
    effort = feature_effort(run, len(index(run)))
    for fit in run.study.map_fits:
        names = map_splits(run, fit)
        each_split(run, map_feature_fold, names, f"map features {fit}", fit, **effort)
        if run.study.baselines:
            each_split(run, map_stats_fold, names, f"map statistics {fit}", fit)


def map_feature_name(split: str, fit: MapFit) -> str:
    """Return the artefact with the features of the split's maps of a reading."""
    return f"features/map-{map_name(split, fit)}.npy"


def map_feature_table(run: Run, split: str, fit: MapFit | None = None) -> np.ndarray:
    """Return the features of the split's maps of a reading, the study's own by default, float32 (N, 512)."""
    fit = fit or run.study.map_fit
    map_feature_fold(run, fit, split)
    return np.load(run.store.path(map_feature_name(split, fit)))
