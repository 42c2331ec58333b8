"""Notebooks 04 and 05: classifiers per split, feature set and share of defects kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.artifacts import fingerprint
from lib.classification.cross_validation import FIT_DIAGNOSTICS, FoldResult, evaluate_fold, subsample_defects
from lib.classification.feature_sets import (
    BASELINES,
    COMBINED_DETECTORS,
    FEATURE_SETS,
    GUIDED,
    LINEAR_BASELINES,
    LINEAR_GUIDED,
    MAIN,
)
from lib.config import MapMethod
from lib.datasets.splits import FoldError, inner_parts, missing_classes
from lib.execution.parallel import max_parallel, run_tasks
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.pipeline.dataset import in_test_fold, index, splits
from lib.pipeline.detectors import map_name, map_splits
from lib.pipeline.features import IMAGE, feature_all, guided_name, map_feature_name, map_stats_name
from lib.pipeline.run import Run
from lib.pipeline.task_cost import classifier_cost

CALIBRATION, CHECK, SOURCE_CHECK = "calibration", "compare_map_fit", "compare_map_source"
CHECKS = (CHECK, SOURCE_CHECK)  # classification again with maps made otherwise, where the study asks for it
FEW_IMAGES = 200  # above this every part holds several images of some class


def feature_sets(run: Run, split: str, stage: str) -> tuple[str, ...]:
    """Return what a stage evaluates: all baselines where every defect is kept, elsewhere those that cost little.

    A check of other maps leaves out what needs no map; that of the other source adds both sources together.
    """
    if split not in splits(run, with_maps=True):
        return ("image",)
    sets: tuple[str, ...] = MAIN
    whole = stage in ("classification", *CHECKS)
    if run.study.baselines:
        sets += BASELINES if whole else LINEAR_BASELINES
    if run.study.guided:
        sets += GUIDED if whole else LINEAR_GUIDED
    if stage == SOURCE_CHECK:
        sets += tuple(name for name, alone in COMBINED_DETECTORS.items() if alone in sets)
    return tuple(name for name in sets if stage not in CHECKS or FEATURE_SETS[name].blocks != ("image",))


def map_method(run: Run, stage: str) -> MapMethod:
    """Return the reading of the maps that a stage uses: the study's own, or the one that a check compares with."""
    study = run.study
    return {CHECK: study.alternative_map_fit, SOURCE_CHECK: study.alternative_map_source}.get(
        stage, study.map_method
    )


def checked(run: Run, stage: str) -> bool:
    """Tell whether the study asks for a check."""
    return bool(getattr(run.study, stage))


def stage_splits(run: Run, stage: str) -> list[str]:
    """Return the splits that a stage evaluates: all, or for a check those with maps to compare with."""
    return map_splits(run, map_method(run, stage)) if stage in CHECKS else splits(run)


def levels(run: Run, stage: str) -> list[float]:
    """Return the shares of defects that a stage keeps."""
    return [share for share in run.study.keep if share < 1] if stage == "imbalance" else [1.0]


def classify_fold(run: Run, stage: str, split: str) -> dict[str, Any]:
    """Fit and test one split's classifiers.

    `stage` is classification (all defects), imbalance (fewer), or one of `CHECKS` (all defects, maps made otherwise,
    the feature sets that use the map).
    """

    def write(path: Path) -> dict[str, Any]:
        trained, evaluate = ~in_test_fold(run, split), _evaluator(run, stage, split)
        rows, notes, report = [], [], step_bar(f"{split}, fits")
        fits = run.study.repeats * len(levels(run, stage))
        for repeat in range(run.study.repeats):
            seed = run.seed("classify", split, repeat)
            for keep in levels(run, stage):
                result = evaluate(np.arange(len(trained)), trained, keep, seed)
                rows.append(result.predictions.assign(repeat=repeat))
                notes.append(result.diagnostics.assign(repeat=repeat, split=split))
                report(len(notes), fits)
        _written(run, split, rows).to_parquet(path, index=False)
        return {"diagnostics": pd.concat(notes, ignore_index=True).to_dict("records") if notes else []}

    return _made(run, stage, split, write)


def calibrate_fold(run: Run, split: str) -> dict[str, Any]:
    """Predict one split's training images, each by models fitted on inner folds without it.

    The inner folds follow the split's own scheme: grouped within grouped folds. A class that an inner training part
    lacks gets probability 0 there, and a part that lacks all classes but one fits nothing, so that its images stay
    without prediction; the summary's `absent` names the classes of both (repeat, inner, classes, fitted).
    """

    def write(path: Path) -> dict[str, Any]:
        table, evaluate = index(run), _evaluator(run, CALIBRATION, split)
        trained = np.flatnonzero(~in_test_fold(run, split))
        labels = table["label"].to_numpy(dtype=str)[trained]
        rows, notes, report = [], [], step_bar(f"{split}, inner folds")
        for repeat in range(run.study.repeats):
            seed = run.seed(CALIBRATION, split, repeat)
            parts = list(_inner_parts(run, split, trained, seed))
            for inner, part in enumerate(parts):
                known = ~np.isin(np.arange(len(trained)), part)
                missing = missing_classes(labels, known, table.attrs["classes"])
                fitted = len(set(labels[known])) > 1
                if missing:
                    notes.append({"repeat": repeat, "inner": inner, "classes": missing, "fitted": fitted})
                if fitted:
                    result = evaluate(trained, known, 1.0, seed)
                    rows.append(result.predictions.assign(repeat=repeat, inner=inner))
                report(repeat * len(parts) + inner + 1, run.study.repeats * len(parts))
        _written(run, split, rows).to_parquet(path, index=False)
        return {"absent": notes}

    return _made(run, CALIBRATION, split, write)


def _inner_parts(run: Run, split: str, trained: np.ndarray, seed: int) -> list[np.ndarray]:
    """Deal the training rows of a split to inner parts by the split's own scheme; returns positions in `trained`."""
    table = index(run).iloc[trained]
    groups = table["group"].to_numpy(dtype=str) if split.startswith("grouped") else None
    return inner_parts(table["label"].to_numpy(dtype=str), groups, run.study.inner_folds, seed=seed)


def check_training_parts(run: Run) -> None:
    """Raise FoldError where a fit would see no class twice: the selection of columns needs neighbours in a class."""
    table, study = index(run), run.study
    if study.selection == "none" or len(table) > FEW_IMAGES:
        return
    labels, good = table["label"].to_numpy(dtype=str), table.attrs["good"]
    for split in splits(run):
        trained = np.flatnonzero(~in_test_fold(run, split))
        kept = subsample_defects(
            labels, np.isin(np.arange(len(labels)), trained), good=good, keep=min(study.keep), seed=0
        )
        parts = [labels[kept]]
        for repeat in range(study.repeats):
            seed = run.seed(CALIBRATION, split, repeat)
            parts += [labels[np.delete(trained, part)] for part in _inner_parts(run, split, trained, seed)]
        fewest = min((part for part in parts if len(set(part)) > 1), key=len, default=None)
        if fewest is not None and len(set(fewest)) == len(fewest):
            raise FoldError(
                f"a part of the training images of {split} holds one image of each class, too few to choose columns "
                "on: add images, choose more folds or fewer inner_folds, or selection=none"
            )


def predictions(run: Run, stage: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all predictions of a stage and the fits' diagnostics.

    imbalance includes classification's; a check is empty unless the study asks for it, and primary folds only.
    """
    if stage in CHECKS and not checked(run, stage):
        table, notes = predictions(run, "classification")
        return table.iloc[:0], notes.iloc[:0]

    def diagnostics(split: str) -> pd.DataFrame:
        return pd.DataFrame(_summary(run, stage, split)["diagnostics"])

    table, digests = _all_splits(run, stage, classify_fold, (stage,))
    notes = pd.concat([diagnostics(name) for name in stage_splits(run, stage)], ignore_index=True)
    if stage == "imbalance":
        whole, whole_notes = predictions(run, "classification")
        table = pd.concat([table, whole], ignore_index=True)
        notes = pd.concat([notes, whole_notes], ignore_index=True)
        digests["classification"] = run.store.digest("predictions/classification.parquet")
    run.store.make(f"predictions/{stage}.parquet", digests, lambda path: table.to_parquet(path, index=False))
    return table, notes


def calibration(run: Run) -> pd.DataFrame:
    """Return the training images' out-of-fold predictions, all defects kept: what thresholds are chosen on.

    The columns of `predictions`, with `fold` the outer fold whose training images these are, and `inner` the inner
    fold that held the image out. Selection, scaling and fit happen on the other inner folds alone; the maps are those
    of the outer fold, whose source may have been fitted on these very images (setting `map_fit`).
    `attrs["absent"]` lists the classes that an inner training part lacks: split, repeat, inner, classes, fitted.
    """
    table, digests = _all_splits(run, CALIBRATION, calibrate_fold, ())
    name = f"predictions/{CALIBRATION}.parquet"
    run.store.make(name, digests, lambda path: table.to_parquet(path, index=False))
    table.attrs["absent"] = [
        {"split": split, **note}
        for split in splits(run)
        for note in _summary(run, CALIBRATION, split)["absent"]
    ]
    return table


def _all_splits(
    run: Run, stage: str, step: Callable[..., Any], before: tuple[str, ...]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Carry out `step(run, *before, split)` where it is not proven; return the splits' tables and their digests."""
    feature_all(run)
    names = stage_splits(run, stage)
    todo = [name for name in names if not run.store.proven(_name(stage, name), _inputs(run, stage, name))]
    parts = run.study.inner_folds if stage == CALIBRATION else 1
    fits = sum(len(feature_sets(run, name, stage)) for name in todo) * len(levels(run, stage)) * parts
    if todo:
        cost = classifier_cost(run, len(index(run)))
        seconds = cost["seconds"] * fits * run.study.repeats / len(todo)
        run_tasks(
            step,
            [(run, *before, name) for name in todo],
            label=stage,
            shared_folder=run.store.root,
            scheduler=run.scheduler,
            processes=max_parallel(seconds, len(todo), cost["memory"], run.study.threads),
            threads=run.study.threads,
        )
    tables = [pd.read_parquet(run.store.path(_name(stage, name))) for name in names]
    return pd.concat(tables, ignore_index=True), {
        name: run.store.digest(_name(stage, name)) for name in names
    }


def _name(stage: str, split: str) -> str:
    return f"predictions/{stage}/{split}.parquet"


def _made(run: Run, stage: str, split: str, write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    return run.store.make(_name(stage, split), _inputs(run, stage, split), write)["summary"]


def _summary(run: Run, stage: str, split: str) -> dict[str, Any]:
    return (run.store.manifest(_name(stage, split)) or {})["summary"]


def _inputs(run: Run, stage: str, split: str) -> dict[str, Any]:
    """Return what a split's predictions depend on; its features must have been made."""
    sets, files = feature_sets(run, split, stage), source_files(run, stage, split)
    inputs = {
        "code": code_digest("lib.classification.cross_validation", "lib.datasets.splits"),
        "tested": fingerprint({"rows": np.flatnonzero(in_test_fold(run, split)).tolist()}),
        "index": run.store.digest("index.parquet"),
        "files": {source: run.store.digest(name) for source, name in files.items()},
        "feature_sets": sets,
        "keep": levels(run, stage),
        "seed": run.seed("classify", split),
        **run.study.values(("selection", "mlp", "scale", "binary", "repeats")),
    }
    # the diagnostics stand in the manifest: one that lacks a column is made again
    return inputs | (
        run.study.values(("inner_folds",)) if stage == CALIBRATION else {"diagnostics": FIT_DIAGNOSTICS}
    )


def source_files(run: Run, stage: str, split: str) -> dict[str, str]:
    """Return the artefacts with the columns that a stage's feature sets need, by source."""
    how = map_method(run, stage)
    files = {
        "image": IMAGE,
        "map": map_feature_name(split, how),
        "stats": map_stats_name(split, how),
        "score": f"maps/{map_name(split, how)}-scores.npy",
        "other": map_feature_name(split, run.study.map_method),
        "guided": guided_name(split, how),
        "other_stats": map_stats_name(split, run.study.map_method),
        "other_guided": guided_name(split, run.study.map_method),
    }
    needed = {source for name in feature_sets(run, split, stage) for source in FEATURE_SETS[name].blocks}
    return {source: file for source, file in files.items() if source in needed | {"image"}}


def _columns(run: Run, file: str) -> np.ndarray:
    found = np.load(run.store.path(file))
    return found[:, None] if found.ndim == 1 else found


def _evaluator(run: Run, stage: str, split: str) -> Callable[..., FoldResult]:
    """Load what a split's fits share; return a function of (rows of the index, of which to train on, keep, seed).

    All but the given rows are out of reach of the fit and the test; the predictions' `row` counts in the index.
    """
    table, study, sets = index(run), run.study, feature_sets(run, split, stage)
    labels, classes = table["label"].to_numpy(dtype=object), tuple(table.attrs["classes"])
    sources = {name: _columns(run, file) for name, file in source_files(run, stage, split).items()}

    def evaluate(rows: np.ndarray, train: np.ndarray, keep: float, seed: int) -> FoldResult:
        result = evaluate_fold(
            {name: columns[rows] for name, columns in sources.items()},
            labels[rows],
            train,
            classes=classes,
            keep=keep,
            selection=study.selection,
            mlp=study.mlp,
            scale=study.scale,
            binary=study.binary,
            feature_sets=sets,
            seed=seed,
        )
        counted = result.predictions.assign(row=rows[result.predictions["row"]])
        return replace(result, predictions=counted)

    return evaluate


def _written(run: Run, split: str, rows: list[pd.DataFrame]) -> pd.DataFrame:
    """Return predictions by row of the index as they are stored, with data set, scheme, fold, image and true class."""
    found = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"row": pd.Series(dtype=int)})
    scheme, fold = split.rsplit("-", 1)
    where = index(run).iloc[found.pop("row").to_numpy()].reset_index(drop=True)
    found["label"] = where["label"]  # the true class, in rows of the two-class model too
    found.insert(0, "dataset", run.name)
    found.insert(1, "scheme", scheme)
    found.insert(2, "fold", int(fold))
    found.insert(3, "id", where["id"])
    found.insert(4, "group", where["group"])
    return found
