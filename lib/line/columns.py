"""The columns that a feature set is made of: of the labelled images, and of new pictures by the same steps.

Whatever was fitted before the classifier, such as the map source, is of the split `FINAL`: of all labelled images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.classify.feature_sets import SOURCES
from lib.classify.features import image_features, map_features
from lib.data.images import load_stack
from lib.maps.crossfit import TESTED, cross_fitted
from lib.maps.statistics import map_statistics
from lib.pipeline.anomaly import draems, mapper, score_maps, scores
from lib.pipeline.effort import feature_effort, map_effort
from lib.pipeline.features import backbone, image_feature_table, map_feature_table, map_stats_table
from lib.pipeline.pictures import FINAL, images
from lib.pipeline.run import Run, each_part

AT_ONCE = 128  # pictures per task


@dataclass(frozen=True)
class Measured:
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
    def joined(parts: Sequence[Measured]) -> Measured:
        """Return the parts one after the other."""
        names = ("columns", "embeddings", "brightness", "contrast", "map_scores")
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        digests = tuple(digest for part in parts for digest in part.digests)
        return Measured(**arrays, widths=parts[0].widths, digests=digests)


def in_order(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the sources of a feature set in the order in which their columns are counted."""
    return tuple(name for name in SOURCES if name in sources)


def labelled_measures(run: Run, sources: Sequence[str]) -> Measured:
    """Return what is known of the labelled images, having fitted what comes before the classifier on all of them.

    Where that is cross-fitted, each image's map is by the half that did not see it.
    """
    return each_part(run, _labelled, [(run, tuple(sources), FINAL)], "fitted on all labelled images")[0]


def _labelled(run: Run, sources: Sequence[str], split: str) -> Measured:
    tables: dict[str, Callable[[], np.ndarray]] = {
        "image": lambda: image_feature_table(run),
        "map": lambda: map_feature_table(run, split),
        "stats": lambda: map_stats_table(run, split),
        "score": lambda: scores(run, split)[:, None],
    }
    found = [np.asarray(tables[name](), dtype=np.float32) for name in in_order(sources)]
    stack = images(run, run.study.feature_size)
    return Measured(
        *_side_by_side(found), image_feature_table(run), *exposure(stack), scores(run, split), digests(stack)
    )


def picture_measures(run: Run, folder: Path, names: Sequence[str], sources: Sequence[str]) -> Measured:
    """Return the same of new pictures, files below `folder`, some at a time and side by side where that pays."""
    calls = [
        (run, folder, tuple(sources), tuple(names[start : start + AT_ONCE]))
        for start in range(0, len(names), AT_ONCE)
    ]
    cost, maps = feature_effort(run, AT_ONCE), map_effort(run, AT_ONCE)
    seconds = 2 * cost["seconds"] + maps["seconds"]
    parts = each_part(run, _measured, calls, "new images", seconds=seconds, memory=maps["memory"])
    return Measured.joined(parts)


def _measured(run: Run, folder: Path, sources: Sequence[str], names: Sequence[str]) -> Measured:
    study, net = run.study, backbone(run)
    shown, seen = (load_pictures(run, folder, names, side) for side in (study.image_size, study.feature_size))
    embeddings = image_features(net, seen, study.feature_size, device=run.device)
    maps = _maps(run, shown)
    verdicts = score_maps(maps)
    made: dict[str, Callable[[], np.ndarray]] = {
        "image": lambda: embeddings,
        "map": lambda: map_features(net, maps, study.feature_size, study.map_encoding, device=run.device),
        "stats": lambda: map_statistics(maps),
        "score": lambda: verdicts[:, None],
    }
    found = [np.asarray(made[name](), dtype=np.float32) for name in in_order(sources)]
    return Measured(*_side_by_side(found), embeddings, *exposure(seen), verdicts, digests(seen))


def _side_by_side(found: Sequence[np.ndarray]) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    return np.concatenate(found, axis=1), tuple(part.shape[1] for part in found)


def load_pictures(run: Run, folder: Path, names: Sequence[str], side: int) -> NDArray[np.uint8]:
    """Return new pictures at `side` pixels as the study resizes its own, uint8 (n, side, side, 3)."""
    out = np.empty((len(names), side, side, 3), dtype=np.uint8)
    return load_stack(folder, pd.DataFrame({"path": list(names)}), side, run.study.resize, out)


def picture_maps(run: Run, folder: Path, names: Sequence[str]) -> NDArray[np.float16]:
    """Return the anomaly maps of new pictures, float16 (n, side, side) in [0, 1]."""
    parts = [
        _maps(run, load_pictures(run, folder, names[start : start + AT_ONCE], run.study.image_size))
        for start in range(0, len(names), AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty((0, 0, 0), np.float16)


def _maps(run: Run, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Map pictures that no map source has seen: as test images are, by the mean of all sources of the split."""
    makers = [mapper(run, name) for name in draems(FINAL, run.study.map_fit)]
    if len(makers) == 1:
        return makers[0](pictures)
    out = np.empty(pictures.shape[:3], np.float16)
    return cross_fitted(makers, pictures, np.full(len(pictures), TESTED), out)


def exposure(stack: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each picture's grey values, in [0, 1]; stack uint8 (n, side, side, 3)."""
    greys = [np.asarray(picture, dtype=np.float64).mean(axis=2) / 255 for picture in stack]
    return np.array([grey.mean() for grey in greys]), np.array([grey.std() for grey in greys])


def digests(stack: np.ndarray) -> tuple[str, ...]:
    """Return a digest of each picture's pixels."""
    return tuple(hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest() for picture in stack)
