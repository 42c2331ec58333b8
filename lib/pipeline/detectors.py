"""Notebook 01: the models that make maps: which a split needs, which images each may see, how they are fitted and kept.

A model has a name: `grouped-0` is fitted on all good training images of that split, `grouped-0-inner-0` on one half of
them, for cross-fitted maps. So are `grouped-0-repeat-1` and `grouped-0-repeat-1-inner-0`, with other seeds and halves.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.anomaly_maps.detectors import FitTask, FittedDetector, detector
from lib.artifacts import fingerprint
from lib.config import MAP_SOURCES
from lib.datasets.splits import N_INNER, make_inner_folds
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.pipeline.dataset import images, in_test_fold, index, repeated, splits
from lib.pipeline.embeddings import image_features_of, patches, patches_digest
from lib.pipeline.run import Run, each_part, fit_cost, once

INNER = "-inner-"


def map_splits(run: Run) -> list[str]:
    """Return the splits, of all repeats, that get maps."""
    return repeated(run, splits(run, with_maps=True))


def models(run: Run, split: str) -> list[str]:
    """Return the names of the models that make the split's maps: one, or one for each half."""
    halves = [f"{split}{INNER}{half}" for half in range(N_INNER)]
    return [split] if run.study.map_method == "in_sample" else halves


def all_models(run: Run) -> list[str]:
    """Return the names of all models that the study's maps need."""
    return [name for split in map_splits(run) for name in models(run, split)]


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


def model_file(run: Run, name: str) -> str:
    """Return the artefact with the model `name`."""
    return f"{run.study.map_source}/{name}.safetensors"


def inputs(run: Run) -> tuple[np.ndarray, str]:
    """Return what the map source reads of all images (N, ...), memory-mapped, and its digest."""
    if detector(run.study.map_source).inputs == "images":
        return images(run, run.study.map_side), run.store.digest(f"images/{run.study.map_side}.npy")
    return patches(run), patches_digest(run)


def inputs_of(run: Run, at_side: Callable[[int], np.ndarray]) -> np.ndarray:
    """Return what the map source reads of other images, `at_side` returns them (n, side, side, 3) uint8 at any side."""
    if detector(run.study.map_source).inputs == "images":
        return at_side(run.study.map_side)
    return image_features_of(run, at_side(run.study.feature_side))[1]


def fit_task(run: Run, name: str) -> FitTask:
    """Return what the model `name` is fitted on."""
    split, _, half = name.partition(INNER)
    source = run.study.map_source
    return FitTask(
        run.study,
        inputs(run)[0],
        good_rows(run, name),
        good_rows(run, f"{split}{INNER}{1 - int(half)}") if half else np.empty(0, int),
        sharing=N_INNER if half else 1,
        seed=run.seed(detector(source).seed or source, name),
        device=run.device,
    )


def fit_model(run: Run, name: str) -> dict[str, Any]:
    """Fit the model `name` where it is not proven; returns its summary."""
    source, task = run.study.map_source, fit_task(run, name)
    maker = detector(source)
    made_from = {
        "code": code_digest(MAP_SOURCES[source].module, "lib.pipeline.detectors"),
        "inputs": inputs(run)[1],
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

    return run.store.make(model_file(run, name), made_from, write)["summary"]


def load_model(run: Run, name: str) -> FittedDetector:
    """Return the model `name`, fitted where it is not proven."""
    fit_model(run, name)
    return detector(run.study.map_source).load(run.store.path(model_file(run, name)), run.device)


def fit_models(run: Run) -> pd.DataFrame:
    """Fit all models of the study's map source; returns their summaries by name.

    DRAEM's columns: origin, start, steps, textures, history (rows of `training_history`).
    PatchCore's: images it was filled from, patches offered and kept, images held out for its scale, rare (the distance
    that one of 200 of their patches exceeds).
    """
    names = all_models(run)
    inputs(run)
    cost = fit_cost(run, len(good_rows(run, names[0])), N_INNER if INNER in names[0] else 1)
    title = MAP_SOURCES[run.study.map_source].title
    summaries = each_part(run, fit_model, [(run, name) for name in names], title, cost, makes=True)
    how_made = ["seconds", "peak_bytes", "device", "resumed"]
    return pd.DataFrame(summaries, pd.Index(names, name="model")).drop(columns=how_made)


def training_history(run: Run) -> pd.DataFrame:
    """Return the losses of all DRAEMs, fitted where need be (split: the DRAEM's name; step, l2, ssim, focal, loss, lr).

    No rows where the study asks for no DRAEM, or its DRAEM was trained elsewhere.
    """
    fitted = fit_models(run) if run.study.map_source == "draem" else pd.DataFrame()
    models_of: dict[str, Any] = dict(fitted.get("history", {}))
    rows = [{**row, "split": name} for name, history in models_of.items() for row in history]
    table = pd.DataFrame(rows, columns=["step", "l2", "ssim", "focal", "loss", "lr", "split"])
    if digests := {name: run.store.digest(model_file(run, name)) for name in models_of}:
        made_from = {"code": code_digest("lib.pipeline.detectors"), "draem": digests}
        run.store.make("draem/history.csv", made_from, lambda path: table.to_csv(path, index=False))
    return table


def _draem_training(run: Run, name: str, **changes: Any) -> tuple[Any, tuple[Any, Any, Any]]:
    """Return the trained DRAEM `name`, and what it was trained with: images, textures, settings with `changes`."""
    from lib.draem.detector import texture_bank, training_images, training_settings
    from lib.draem.training import TrainingSettings

    trained, task = load_model(run, name), fit_task(run, name)
    settings = TrainingSettings(**training_settings(task) | changes)
    return trained, (training_images(task), texture_bank(run.study)[0], settings)


def first_and_last_scores(run: Run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the test images' scores by the DRAEM `name` after its very first step, and after its last."""
    from lib.draem.training import train

    trained, given = _draem_training(run, name, steps=1)
    before, _ = train(*given, device=run.device)
    before.tile, before.tiles = trained.tile, trained.tiles
    tested = inputs(run)[0][in_test_fold(run, name.partition(INNER)[0])]
    return before.maps_and_scores(tested)[1], trained.maps_and_scores(tested)[1]


def simulated_examples(run: Run, name: str, count: int) -> dict[str, np.ndarray]:
    """Return good training images or tiles, simulated defects on them, and the trained DRAEM's answer (see `panel`)."""
    from lib.draem.training import panel

    trained, given = _draem_training(run, name, seed=run.seed("panel", name))
    return panel(trained, *given, count)
