"""Notebook 01: the models that make maps: which a split needs, which images each may see, how they are fitted and kept.

A model has a name: `grouped-0` is fitted on all good training images of that split, `grouped-0-inner-0` on one half of
them, for cross-fitted maps. So are `grouped-0-repeat-1` and `grouped-0-repeat-1-inner-0`, with other seeds and halves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.anomaly_maps.detectors import FitTask, FittedDetector, detector
from lib.artifacts import fingerprint
from lib.config import MAP_SOURCES, MapMethod, map_source_of
from lib.datasets.splits import N_INNER, make_inner_folds
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.pipeline.dataset import images, in_test_fold, index, primary_splits, repeated, splits
from lib.pipeline.embeddings import image_features_of, patches, patches_digest
from lib.pipeline.run import Run, each_part, fit_cost, once

INNER = "-inner-"


def map_splits(run: Run, map_method: MapMethod) -> list[str]:
    """Return the splits, of all repeats, that get maps made in this way; for comparison, the primary scheme's."""
    own = map_method == run.study.map_method
    return repeated(run, splits(run, with_maps=True) if own else primary_splits(run))


def models(split: str, map_method: MapMethod) -> list[str]:
    """Return the names of the models that make the split's maps: one, or one for each half."""
    return [split] if map_method == "in_sample" else [f"{split}{INNER}{half}" for half in range(N_INNER)]


def all_models(run: Run, source: str) -> list[str]:
    """Return the names of all models of a map source that the study asks for, those of its own maps first."""
    asked = [one for one in run.study.map_methods if map_source_of(one) == source]
    return [name for one in asked for split in map_splits(run, one) for name in models(split, one)]


@once
def inner_folds(run: Run, split: str) -> np.ndarray:
    """Return the half (0 or 1) of each training image of the split, -1 for test images; by group where known."""
    table = index(run)
    groups = table["group"].to_numpy() if table.attrs["grouped"] else None
    labels, tested = table["label"].to_numpy(), in_test_fold(run, split)
    return make_inner_folds(labels, groups, tested, table.attrs["good"], run.seed("inner", split))


def good_rows(run: Run, name: str) -> np.ndarray:
    """Return the index positions of the good images that the model `name` is fitted on."""
    split, _, half = name.partition(INNER)
    table = index(run)
    training = inner_folds(run, split) == int(half) if half else ~in_test_fold(run, split)
    return np.flatnonzero((table["label"] == table.attrs["good"]).to_numpy() & training)


def model_file(source: str, name: str) -> str:
    """Return the artefact with the model `name` of a map source."""
    return f"{source}/{name}.safetensors"


def inputs(run: Run, source: str) -> tuple[np.ndarray, str]:
    """Return what a map source reads of all images (N, ...), memory-mapped, and its digest."""
    if detector(source).inputs == "images":
        return images(run, run.study.map_side), run.store.digest(f"images/{run.study.map_side}.npy")
    return patches(run), patches_digest(run)


def inputs_of(run: Run, source: str, at_side: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return what a map source reads of other images, which `at_side` returns (n, side, side, 3) uint8 at any side."""
    if detector(source).inputs == "images":
        return at_side(run.study.map_side)
    return image_features_of(run, at_side(run.study.feature_side))[1]


def fit_task(run: Run, source: str, name: str) -> FitTask:
    """Return what the model `name` of a map source is fitted on."""
    split, _, half = name.partition(INNER)
    return FitTask(
        run.study,
        inputs(run, source)[0],
        good_rows(run, name),
        good_rows(run, f"{split}{INNER}{1 - int(half)}") if half else np.empty(0, int),
        sharing=N_INNER if half else 1,
        seed=run.seed(detector(source).seed or source, name),
        device=run.device,
    )


def fit_model(run: Run, source: str, name: str) -> dict[str, Any]:
    """Fit the model `name` of a map source where it is not proven; returns its summary."""
    task, maker = fit_task(run, source, name), detector(source)
    made_from = {
        "code": code_digest(MAP_SOURCES[source].module, "lib.pipeline.detectors"),
        "inputs": inputs(run, source)[1],
        "rows": fingerprint({"rows": task.good.tolist(), "held out": task.held_out.tolist()}),
        **maker.depends_on(task),
    }

    def write(path: Path) -> dict[str, Any]:
        checkpoint = run.store.path(f"{source}/{name}.{fingerprint(made_from)[:12]}.resume.pt")
        for left in checkpoint.parent.glob(f"{name}.*.resume.pt"):  # by other settings, images or code
            if left != checkpoint:
                left.unlink(missing_ok=True)
        began = {"device": run.device, "resumed": checkpoint.exists()}
        going_on = replace(task, checkpoint=checkpoint, progress=step_bar(f"{name}, steps"))
        fitted, summary = maker.fit(going_on)
        fitted.save(path, {"dataset": run.name, "model": name, "preset": run.study.preset})
        checkpoint.unlink(missing_ok=True)
        return summary | began

    return run.store.make(model_file(source, name), made_from, write)["summary"]


def load_model(run: Run, source: str, name: str) -> FittedDetector:
    """Return the model `name` of a map source, fitted where it is not proven."""
    fit_model(run, source, name)
    return detector(source).load(run.store.path(model_file(source, name)), run.device)


def fit_models(run: Run, source: str) -> pd.DataFrame:
    """Fit all models of a map source that the study asks for; returns their summaries by name.

    No rows where it asks for none. DRAEM's columns: origin, start, steps, textures, history (rows of
    `training_history`).
    PatchCore's: images (good ones it was filled from), offered and kept (patches), held out (good images that its scale
    was set on), rare (the distance that one of 200 of their patches exceeds).
    """
    names = all_models(run, source)
    if not names:
        return pd.DataFrame()
    inputs(run, source)
    sharing = N_INNER if all(INNER in name for name in names) else 1
    cost = fit_cost(run, source, len(good_rows(run, names[0])), sharing)
    calls = [(run, source, name) for name in names]
    summaries = each_part(run, fit_model, calls, MAP_SOURCES[source].title, cost, makes=True)
    how_made = ["seconds", "peak_bytes", "device", "resumed"]
    return pd.DataFrame(summaries, pd.Index(names, name="model")).drop(columns=how_made)


def training_history(run: Run) -> pd.DataFrame:
    """Return the losses of all DRAEMs, fitted where need be (split: the DRAEM's name; step, l2, ssim, focal, loss, lr).

    No rows where the study asks for no DRAEM, or its DRAEM was trained elsewhere.
    """
    models_of: dict[str, Any] = dict(fit_models(run, "draem").get("history", {}))
    rows = [{**row, "split": name} for name, history in models_of.items() for row in history]
    table = pd.DataFrame(rows, columns=["step", "l2", "ssim", "focal", "loss", "lr", "split"])
    if digests := {name: run.store.digest(model_file("draem", name)) for name in models_of}:
        made_from = {"code": code_digest("lib.pipeline.detectors"), "draem": digests}
        run.store.make("draem/history.csv", made_from, lambda path: table.to_csv(path, index=False))
    return table


def first_and_last_scores(run: Run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the test images' scores by the DRAEM `name` after its very first step, and after its last."""
    from lib.draem.detector import texture_bank, training_images, training_settings
    from lib.draem.training import TrainingSettings, train

    trained: Any = load_model(run, "draem", name)
    task = fit_task(run, "draem", name)
    settings = TrainingSettings(**training_settings(task) | {"steps": 1})
    before, _ = train(training_images(task), texture_bank(run.study)[0], settings, device=run.device)
    before.tile, before.tiles = trained.tile, trained.tiles
    tested = task.inputs[in_test_fold(run, name.partition(INNER)[0])]
    return before.maps_and_scores(tested)[1], trained.maps_and_scores(tested)[1]


def simulated_examples(run: Run, name: str, count: int) -> dict[str, np.ndarray]:
    """Return good training images or tiles, simulated defects on them, and the trained DRAEM's answer (see `panel`)."""
    from lib.draem.detector import texture_bank, training_images, training_settings
    from lib.draem.training import TrainingSettings, panel

    trained: Any = load_model(run, "draem", name)
    task = fit_task(run, "draem", name)
    settings = TrainingSettings(**training_settings(task) | {"seed": run.seed("panel", name)})
    return panel(trained, training_images(task), texture_bank(run.study)[0], settings, count)
