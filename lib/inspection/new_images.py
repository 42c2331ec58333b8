"""The columns that a feature set is made of: of the labelled images, and of new pictures by the same steps.

Whatever was fitted before the classifier, such as the map source, is of the split `FINAL`: of all labelled images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from lib.anomaly_maps.cross_fitting import predict_cross_fitted_maps, predict_maps
from lib.anomaly_maps.detectors import detector
from lib.anomaly_maps.map_statistics import map_statistics
from lib.classification.feature_sets import COLUMN_BLOCKS
from lib.datasets.image_io import load_stack
from lib.datasets.splits import TEST_ROW
from lib.features.embeddings import image_features, map_features
from lib.features.map_guided_pooling import Pooling, ReferenceMean, pool
from lib.inspection.out_of_distribution import brightness_contrast
from lib.pipeline.dataset import FINAL, images, index
from lib.pipeline.detectors import inputs_of, load_model, models
from lib.pipeline.features import guided_table, image_feature_table, map_feature_table, map_stats_table
from lib.pipeline.maps import score_maps, scores
from lib.pipeline.patches import backbone, patches, patches_of
from lib.pipeline.run import Run, each_part
from lib.pipeline.task_cost import feature_cost, map_cost

Pictures = Callable[[int], np.ndarray]  # some images, (n, side, side, 3) uint8, at the side asked for
AT_ONCE = 128  # pictures per task


@dataclass(frozen=True)
class ImageFeatures:
    """What is known of n pictures before any is judged.

    columns (n, d) float32, the sources one after the other, `widths` columns of each; embeddings (n, 512) float32,
    the backbone's features of the picture; brightness and contrast (n,), mean and standard deviation of the grey
    values in [0, 1]; map_scores (n,); digests (n,), equal where two pictures are the same at the backbone's size.
    """

    columns: NDArray[np.float32]
    widths: tuple[int, ...]
    embeddings: NDArray[np.float32]
    brightness: NDArray[np.float64]
    contrast: NDArray[np.float64]
    map_scores: NDArray[np.float32]
    digests: tuple[str, ...]

    @staticmethod
    def joined(parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """Return the parts one after the other."""
        names = ("columns", "embeddings", "brightness", "contrast", "map_scores")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        digests = tuple(digest for part in parts for digest in part.digests)
        return ImageFeatures(**arrays, widths=parts[0].widths, digests=digests)


def in_order(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the sources of a feature set in the order in which their columns are counted."""
    return tuple(name for name in COLUMN_BLOCKS if name in sources)


def features_of_labelled(run: Run, sources: Sequence[str]) -> ImageFeatures:
    """Return what is known of the labelled images, having fitted what comes before the classifier on all of them.

    Where that is cross-fitted, each image's map is by the half that did not see it.
    """
    return each_part(run, _labelled, [(run, tuple(sources), FINAL)], "fitted on all labelled images")[0]


def _labelled(run: Run, sources: Sequence[str], split: str) -> ImageFeatures:
    tables: dict[str, Callable[[], np.ndarray]] = {
        "image": lambda: image_feature_table(run),
        "map": lambda: map_feature_table(run, split),
        "stats": lambda: map_stats_table(run, split),
        "score": lambda: scores(run, split)[:, None],
        "guided": lambda: guided_table(run, split),
    }
    found = [np.asarray(tables[name](), dtype=np.float32) for name in in_order(sources)]
    stack = images(run, run.study.feature_size)
    return ImageFeatures(
        *_side_by_side(found),
        image_feature_table(run),
        *brightness_contrast(stack),
        scores(run, split),
        digests(stack),
    )


def features_of_new(run: Run, folder: Path, names: Sequence[str], sources: Sequence[str]) -> ImageFeatures:
    """Return the same of new pictures, files below `folder`, some at a time and side by side where that pays."""
    calls = [
        (run, folder, tuple(sources), tuple(names[start : start + AT_ONCE]), f"from {start + 1}")
        for start in range(0, len(names), AT_ONCE)
    ]
    features, maps = feature_cost(run, AT_ONCE), map_cost(run, AT_ONCE, run.study.map_method)
    seconds = 2 * features["seconds"] + maps["seconds"]
    parts = each_part(run, _measured, calls, "new images", seconds=seconds, memory=maps["memory"])
    return ImageFeatures.joined(parts)


def _measured(
    run: Run, folder: Path, sources: Sequence[str], names: Sequence[str], _label: str
) -> ImageFeatures:
    study, net, pictures = run.study, backbone(run), pictures_of(run, folder, names)
    seen = pictures(study.feature_size)
    embeddings = image_features(net, seen, study.feature_size, device=run.device)
    under = inputs_of(run, study.map_source, pictures)
    maps = _mapped(run, under)
    verdicts = score_maps(maps)
    guides = under if detector(study.map_source).inputs == "patches" else None
    made: dict[str, Callable[[], np.ndarray]] = {
        "image": lambda: embeddings,
        "map": lambda: map_features(net, maps, study.feature_size, study.map_encoding, device=run.device),
        "stats": lambda: map_statistics(maps),
        "score": lambda: verdicts[:, None],
        "guided": lambda: _guided(
            run, patches_of(run, pictures(study.patch_size)) if guides is None else guides, maps
        ),
    }
    found = [np.asarray(made[name](), dtype=np.float32) for name in in_order(sources)]
    return ImageFeatures(
        *_side_by_side(found), embeddings, *brightness_contrast(seen), verdicts, digests(seen)
    )


def _guided(run: Run, seen: np.ndarray, maps: NDArray[np.float16]) -> NDArray[np.float32]:
    """Pool the patches of new pictures where their maps point, compared with all good labelled images."""
    study = run.study
    pooling = Pooling(study.guided_patches, study.guided_baseline)
    usual = usual_patches(run) if pooling.baseline == "good_mean" else None
    here = torch.from_numpy(seen.astype(np.float32))
    return pool(here, torch.from_numpy(maps.astype(np.float32)), usual, pooling).numpy()


@lru_cache(maxsize=1)
def usual_patches(run: Run) -> torch.Tensor:
    """Return the mean of all good labelled images' patches at each place, float32 (h, w, C)."""
    table, seen = index(run), patches(run)
    return ReferenceMean.of(seen, (table["label"] == table.attrs["good"]).to_numpy()).without(seen[:0])


def _side_by_side(found: Sequence[np.ndarray]) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    return np.concatenate(found, axis=1), tuple(part.shape[1] for part in found)


def pictures_of(run: Run, folder: Path, names: Sequence[str]) -> Pictures:
    """Return a function from a side to the pictures at that side, resized as the study resizes its own, read once."""

    @cache
    def pictures(side: int) -> np.ndarray:
        out = np.empty((len(names), side, side, 3), dtype=np.uint8)
        return load_stack(folder, pd.DataFrame({"path": list(names)}), side, run.study.resize, out)

    return pictures


def maps_of(run: Run, pictures: Pictures) -> NDArray[np.float16]:
    """Map pictures that no map source has seen, as test images are, by the mean of the split's sources.

    Returns float16 (n, side, side) in [0, 1].
    """
    return _mapped(run, inputs_of(run, run.study.map_source, pictures))


def _mapped(run: Run, seen: np.ndarray) -> NDArray[np.float16]:
    """Map what the study's map source sees of pictures."""
    map_method, side = run.study.map_method, run.study.image_size
    fitted = [load_model(run, run.study.map_source, name) for name in models(FINAL, map_method)]
    out = np.empty((len(seen), side, side), np.float16)
    if len(fitted) == 1:
        return predict_maps(fitted[0], seen, out)
    return predict_cross_fitted_maps(fitted, seen, np.full(len(seen), TEST_ROW), out)


def digests(stack: np.ndarray) -> tuple[str, ...]:
    """Return a digest of each picture's pixels."""
    return tuple(hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest() for picture in stack)
