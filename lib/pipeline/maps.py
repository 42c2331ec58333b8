"""Notebook 02: a map of every image in every split, by each reading that the study asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lib.anomaly_maps.cross_fitting import predict_cross_fitted_maps, predict_maps
from lib.artifacts import fingerprint, new_array
from lib.config import MAP_SOURCES, MapMethod, map_source_of
from lib.draem.losses import image_score
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.pipeline.dataset import in_test_fold, index
from lib.pipeline.detectors import (
    fit_model,
    fit_models,
    inner_folds,
    inputs,
    inputs_name,
    load_model,
    map_name,
    map_splits,
    model_file,
    models,
)
from lib.pipeline.run import Run, each_split
from lib.pipeline.task_cost import map_cost


def map_fold(run: Run, map_method: MapMethod, split: str) -> None:
    """Write the split's map of every image, float16 (N, side, side), and their image scores, float32 (N,)."""
    source, names = map_source_of(map_method), models(split, map_method)
    artefact, side = map_name(split, map_method), run.study.image_size
    for name in names:
        fit_model(run, source, name)
    seen = inputs(run, source)
    inner = None if map_method == "in_sample" else inner_folds(run, split)
    made_from: dict[str, Any] = {
        "code": code_digest(MAP_SOURCES[source].module, "lib.anomaly_maps.cross_fitting"),
        "inputs": run.store.digest(inputs_name(run, source)),
        "models": [run.store.digest(model_file(source, name)) for name in names],
        "halves": fingerprint({"halves": None if inner is None else inner.tolist()}),
    }

    def write(path: Path) -> None:
        out = new_array(path, np.float16, (len(seen), side, side))
        report, fitted = step_bar(f"{split}, images"), [load_model(run, source, name) for name in names]
        if inner is None:
            predict_maps(fitted[0], seen, out, report)
        else:
            predict_cross_fitted_maps(fitted, seen, inner, out, report)
        out.flush()

    run.store.make(f"maps/{artefact}.npy", made_from, write)
    maps = np.load(run.store.path(f"maps/{artefact}.npy"), mmap_mode="r")
    run.store.make(
        f"maps/{artefact}-scores.npy",
        {"code": code_digest("lib.draem.losses"), "maps": run.store.digest(f"maps/{artefact}.npy")},
        lambda path: np.save(path, score_maps(maps)),
    )


def score_maps(maps: np.ndarray) -> np.ndarray:
    """Return DRAEM's image score of each map (N, H, W), float32 (N,), some at a time."""
    chunks = (np.asarray(maps[i : i + 256], dtype=np.float32) for i in range(0, len(maps), 256))
    return np.concatenate([image_score(torch.from_numpy(chunk)).numpy() for chunk in chunks])


def map_all(run: Run) -> pd.DataFrame:
    """Make all maps; returns the image scores: reading (the study's own first), split, id, label, tested, score."""
    for source in dict.fromkeys(map(map_source_of, run.study.map_methods)):
        fit_models(run, source)
    table = index(run)[["id", "label"]]
    parts = []
    for map_method in run.study.map_methods:
        names = map_splits(run, map_method)
        each_split(
            run, map_fold, names, f"maps {map_method}", map_method, **map_cost(run, len(table), map_method)
        )
        for name in names:
            told, tested = scores(run, name, map_method), in_test_fold(run, name)
            parts.append(table.assign(map_method=map_method, split=name, tested=tested, score=told))
    return pd.concat(parts, ignore_index=True)


def maps(run: Run, split: str, map_method: MapMethod | None = None) -> np.ndarray:
    """Return the split's maps of a reading, the study's own by default, memory-mapped (N, side, side) float16."""
    map_method = map_method or run.study.map_method
    map_fold(run, map_method, split)
    return np.load(run.store.path(f"maps/{map_name(split, map_method)}.npy"), mmap_mode="r")


def scores(run: Run, split: str, map_method: MapMethod | None = None) -> np.ndarray:
    """Return the image scores of the split's maps of a reading, the study's own by default, float32 (N,)."""
    map_method = map_method or run.study.map_method
    map_fold(run, map_method, split)
    return np.load(run.store.path(f"maps/{map_name(split, map_method)}-scores.npy"))
