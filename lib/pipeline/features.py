"""Notebook 03: ResNet-18 features of the pictures and of the maps, and the maps summed up in a few numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.anomaly_maps.map_statistics import AREA_THRESHOLDS, PERCENTILES, map_statistics
from lib.artifacts import fingerprint
from lib.config import MapMethod
from lib.datasets.splits import FoldError
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.features.embeddings import image_features, map_features
from lib.features.map_guided_pooling import Pooling, map_guided_features
from lib.pipeline.dataset import FINAL, images, in_test_fold, index, splits
from lib.pipeline.detectors import map_name, map_splits
from lib.pipeline.maps import map_all, maps
from lib.pipeline.patches import backbone, patches, patches_name
from lib.pipeline.run import Run, each_part, each_split
from lib.pipeline.task_cost import feature_cost

IMAGE = "features/image.npy"
AT_ONCE = (
    512  # images per task; the same however many processes there are, so that batches hold the same images
)


def image_feature_table(run: Run) -> np.ndarray:
    """Return the features of all images, float32 (N, 512)."""
    net, side = backbone(run), run.study.feature_size
    stack = images(run, side)
    inputs = {
        "code": code_digest("lib.features.embeddings"),
        "images": run.store.digest(f"images/{side}.npy"),
        "backbone": net.sha256,
        "side": side,
    }

    def write(path: Path) -> dict[str, str]:
        starts = range(0, len(stack), AT_ONCE)
        effort = feature_cost(run, AT_ONCE)
        parts = each_part(
            run, _some_image_features, [(run, start) for start in starts], "image features", **effort
        )
        np.save(path, np.concatenate(parts))
        return {"backbone": net.name, "backbone_sha256": net.sha256}

    run.store.make(IMAGE, inputs, write)
    return np.load(run.store.path(IMAGE))


def _some_image_features(run: Run, start: int) -> np.ndarray:
    side = run.study.feature_size
    pictures = images(run, side)[start : start + AT_ONCE]
    return image_features(backbone(run), pictures, side, device=run.device)


def map_feature_fold(run: Run, map_method: MapMethod, split: str) -> None:
    """Write the features of the split's maps of a reading, float32 (N, 512)."""
    pictures = maps(run, split, map_method)
    net, study = backbone(run), run.study
    inputs = {
        "code": code_digest("lib.features.embeddings"),
        "maps": run.store.digest(f"maps/{map_name(split, map_method)}.npy"),
        "backbone": net.sha256,
        **study.values(("feature_size", "map_encoding")),
    }

    def write(path: Path) -> None:
        size, encoding, report = study.feature_size, study.map_encoding, step_bar(f"{split}, images")
        np.save(path, map_features(net, pictures, size, encoding, device=run.device, progress=report))

    run.store.make(map_feature_name(split, map_method), inputs, write)


def map_stats_fold(run: Run, map_method: MapMethod, split: str) -> None:
    """Write the summary statistics of the split's maps, float32 (N, S), columns as in `STATISTICS`."""
    pictures = maps(run, split, map_method)
    inputs = {
        "code": code_digest("lib.anomaly_maps.map_statistics"),
        "maps": run.store.digest(f"maps/{map_name(split, map_method)}.npy"),
        "percentiles": PERCENTILES,
        "thresholds": AREA_THRESHOLDS,
    }
    name = map_stats_name(split, map_method)
    run.store.make(name, inputs, lambda path: np.save(path, map_statistics(pictures)))


def guided_fold(run: Run, map_method: MapMethod, split: str) -> None:
    """Write the features pooled where the split's maps of a reading point, float32 (N, averages x 384)."""
    guide, seen, study = maps(run, split, map_method), patches(run), run.study
    good, units = compared_with(run, split)
    pooling = Pooling(study.guided_patches, study.guided_baseline)
    inputs = {
        "code": code_digest("lib.features.map_guided_pooling"),
        "maps": run.store.digest(f"maps/{map_name(split, map_method)}.npy"),
        "patches": run.store.digest(patches_name(run)),
        "good": fingerprint({"rows": np.flatnonzero(good).tolist(), "units": units.tolist()}),
        **study.values(("guided_patches", "guided_baseline")),
    }

    def write(path: Path) -> None:
        report = step_bar(f"{split}, images")
        np.save(path, map_guided_features(seen, guide, good, units, pooling, progress=report))

    run.store.make(guided_name(split, map_method), inputs, write)


def compared_with(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which images are good training images of the split, and the object that each image shows, (N,) both.

    An image's patches are compared with those of good training images of other objects.
    """
    table = index(run)
    good = (table["label"] == table.attrs["good"]).to_numpy() & ~in_test_fold(run, split)
    # where groups are unknown, and in stratified folds, which ignore them, an image stands for itself
    by_group = split.startswith("grouped") or (split == FINAL and table.attrs["grouped"])
    return good, (table["group"] if by_group else table["id"]).to_numpy(dtype=str)


def check_guides(run: Run) -> None:
    """Raise `FoldError` for a fold whose good training images all show one object, where patches need another."""
    study = run.study
    if not study.guided or study.guided_baseline != "good_mean":
        return
    for split in splits(run, with_maps=True):
        good, units = compared_with(run, split)
        if len(set(units[good])) < 2:
            raise FoldError(
                f"the good training images of {split} show one object, and map-guided features compare an image with "
                "good ones of other objects: label good images of more objects, or guided_baseline=own_background, "
                "or guided=false"
            )


def guided_name(split: str, map_method: MapMethod) -> str:
    """Return the artefact with the features pooled where the split's maps of a reading point."""
    return f"features/guided-{map_name(split, map_method)}.npy"


def guided_table(run: Run, split: str, map_method: MapMethod | None = None) -> np.ndarray:
    """Return the features pooled where the split's maps of a reading point, the study's own by default.

    Float32 (N, averages x 384).
    """
    map_method = map_method or run.study.map_method
    guided_fold(run, map_method, split)
    return np.load(run.store.path(guided_name(split, map_method)))


def map_stats_name(split: str, map_method: MapMethod) -> str:
    """Return the artefact with the statistics of the split's maps of a reading."""
    return f"features/map-stats-{map_name(split, map_method)}.npy"


def map_stats_table(run: Run, split: str, map_method: MapMethod | None = None) -> np.ndarray:
    """Return the statistics of the split's maps of a reading, the study's own by default, float32 (N, S)."""
    map_method = map_method or run.study.map_method
    map_stats_fold(run, map_method, split)
    return np.load(run.store.path(map_stats_name(split, map_method)))


def feature_all(run: Run) -> None:
    """Make all features that the study's feature sets need."""
    image_feature_table(run)
    map_all(run)
    effort = feature_cost(run, len(index(run)))
    if run.study.guided:
        patches(run)
    for map_method in run.study.map_methods:
        names = map_splits(run, map_method)
        each_split(run, map_feature_fold, names, f"map features {map_method}", map_method, **effort)
        if run.study.guided:
            each_split(run, guided_fold, names, f"guided features {map_method}", map_method)
        if run.study.baselines or run.study.guided:
            each_split(run, map_stats_fold, names, f"map statistics {map_method}", map_method)


def map_feature_name(split: str, map_method: MapMethod) -> str:
    """Return the artefact with the features of the split's maps of a reading."""
    return f"features/map-{map_name(split, map_method)}.npy"


def map_feature_table(run: Run, split: str, map_method: MapMethod | None = None) -> np.ndarray:
    """Return the features of the split's maps of a reading, the study's own by default, float32 (N, 512)."""
    map_method = map_method or run.study.map_method
    map_feature_fold(run, map_method, split)
    return np.load(run.store.path(map_feature_name(split, map_method)))
