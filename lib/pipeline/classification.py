"""Notebooks 04 and 05: classifiers per split, feature set and share of defects kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib.artifacts import fingerprint
from lib.classification.feature_sets import (
    BASELINES,
    COLUMN_BLOCKS,
    COMBINED_DETECTORS,
    FEATURE_SETS,
    GUIDED,
    LINEAR_BASELINES,
    LINEAR_GUIDED,
    MAIN,
)
from lib.config import MapMethod
from lib.datasets.splits import FoldError, inner_parts
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.pipeline.dataset import in_test_fold, index, splits
from lib.pipeline.detectors import map_splits
from lib.pipeline.features import BLOCKS, IMAGE, feature_all, map_columns_file
from lib.pipeline.maps import score_file
from lib.pipeline.run import Run, make_each
from lib.pipeline.task_cost import classifier_cost

CODE = ("lib.classification.cross_validation", "lib.datasets.splits", "lib.pipeline.classification")
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
    """Return how the maps that a stage uses are made: the study's own, or those that a check compares with."""
    others = {CHECK: run.study.alternative_map_fit, SOURCE_CHECK: run.study.alternative_map_source}
    return others.get(stage, run.study.map_method)


def stage_splits(run: Run, stage: str) -> list[str]:
    """Return the splits that a stage evaluates: all, or for a check those with maps to compare with."""
    return map_splits(run, map_method(run, stage)) if stage in CHECKS else splits(run)


def levels(run: Run, stage: str) -> list[float]:
    """Return the shares of defects that a stage keeps."""
    return [share for share in run.study.keep if share < 1] if stage == "imbalance" else [1.0]


class Fit(NamedTuple):
    """One fit: rows of the index, which of them it learns from (the rest is predicted), and what it is called."""

    rows: np.ndarray
    train: np.ndarray
    keep: float
    seed: int
    name: dict[str, int]


def _fits(run: Run, stage: str, split: str) -> Iterator[Fit]:
    """Yield the fits of a stage in one split.

    Calibration fits on inner folds of the training images, dealt by the split's own scheme: grouped within grouped
    folds. The other stages fit on all training images, at each share of defects kept.
    """
    table, train = index(run), ~in_test_fold(run, split)
    trained = np.flatnonzero(train)
    labels = table["label"].to_numpy(dtype=str)[trained]
    groups = table["group"].to_numpy(dtype=str)[trained] if split.startswith("grouped") else None
    for repeat in range(run.study.repeats):
        if stage != CALIBRATION:
            for keep in levels(run, stage):
                seed = run.seed("classify", split, repeat)
                yield Fit(np.arange(len(train)), train, keep, seed, {"repeat": repeat})
            continue
        seed = run.seed(CALIBRATION, split, repeat)
        for inner, part in enumerate(inner_parts(labels, groups, run.study.inner_folds, seed=seed)):
            known = ~np.isin(np.arange(len(trained)), part)
            yield Fit(trained, known, 1.0, seed, {"repeat": repeat, "inner": inner})


def predict_fold(run: Run, stage: str, split: str) -> dict[str, Any]:
    """Fit one split's classifiers and predict; returns the summary.

    `stage`: classification (all defects kept), imbalance (fewer), one of `CHECKS` (all defects, maps made otherwise,
    the feature sets that use the map), or calibration (the training images, each by models fitted on inner folds
    without it). A class that an inner training part lacks gets probability 0 there, and a part that lacks all classes
    but one fits nothing, so that its images stay without prediction; calibration's `absent` names the classes of both
    (repeat, inner, classes, fitted). The other stages' `diagnostics` have a row for each network.
    """

    def write(path: Path) -> dict[str, Any]:
        from lib.classification.cross_validation import evaluate_fold

        table, fits, report = index(run), list(_fits(run, stage, split)), step_bar(f"{split}, fits")
        labels, classes = table["label"].to_numpy(dtype=object), tuple(table.attrs["classes"])
        blocks = {name: _columns(run, file) for name, file in source_files(run, stage, split).items()}
        settings = {name: getattr(run.study, name) for name in ("selection", "mlp", "scale", "binary")}
        rows, diagnostics, absent = [], [], []
        for done, fit in enumerate(fits, start=1):
            mine = labels[fit.rows]
            gone = set(mine) - set(mine[fit.train])  # what no model of this part can predict
            missing = [name for name in classes if name in gone]
            fitted = len(set(mine[fit.train])) > 1
            if missing:
                absent.append({**fit.name, "classes": missing, "fitted": fitted})
            if fitted:
                result = evaluate_fold(
                    {name: columns[fit.rows] for name, columns in blocks.items()},
                    mine,
                    fit.train,
                    classes=classes,
                    keep=fit.keep,
                    feature_sets=feature_sets(run, split, stage),
                    seed=fit.seed,
                    **settings,
                )
                found = result.predictions
                rows.append(found.assign(row=fit.rows[found["row"]], **fit.name))
                diagnostics.append(result.diagnostics.assign(**fit.name, split=split))
            report(done, len(fits))
        _stored(run, split, rows).to_parquet(path, index=False)
        if stage == CALIBRATION:
            return {"absent": absent}
        notes = pd.concat(diagnostics, ignore_index=True) if diagnostics else pd.DataFrame()
        return {"diagnostics": notes.to_dict("records")}

    return run.store.make(_name(stage, split), _made_from(run, stage, split), write)["summary"]


def check_training_parts(run: Run) -> None:
    """Raise FoldError where a fit would see no class twice: the selection of columns needs neighbours in a class."""
    from lib.classification.cross_validation import subsample_defects

    table, study = index(run), run.study
    if study.selection == "none" or len(table) > FEW_IMAGES:
        return
    labels, good = table["label"].to_numpy(dtype=str), table.attrs["good"]
    for split in splits(run):
        kept = subsample_defects(labels, ~in_test_fold(run, split), good=good, keep=min(study.keep), seed=0)
        parts = [labels[kept], *(labels[fit.rows][fit.train] for fit in _fits(run, CALIBRATION, split))]
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
    if stage in CHECKS and not getattr(run.study, stage):
        table, notes = predictions(run, "classification")
        return table.iloc[:0], notes.iloc[:0]
    table, summaries, digests = _all_splits(run, stage)
    notes = pd.concat([pd.DataFrame(one["diagnostics"]) for one in summaries.values()], ignore_index=True)
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
    table, summaries, digests = _all_splits(run, CALIBRATION)
    name = f"predictions/{CALIBRATION}.parquet"
    run.store.make(name, digests, lambda path: table.to_parquet(path, index=False))
    table.attrs["absent"] = [
        {"split": split, **note} for split, one in summaries.items() for note in one["absent"]
    ]
    return table


def _all_splits(run: Run, stage: str) -> tuple[pd.DataFrame, dict[str, Any], dict[str, str]]:
    """Make a stage's predictions where they are not proven; return them, and by split the summaries and digests."""
    feature_all(run)
    names = stage_splits(run, stage)
    parts = run.study.inner_folds if stage == CALIBRATION else 1
    fits = sum(len(feature_sets(run, split, stage)) for split in names) * len(levels(run, stage)) * parts
    cost = classifier_cost(run, len(index(run)))
    cost["seconds"] *= fits * run.study.repeats / len(names)
    make_each(run, predict_fold, [(run, stage, split) for split in names], stage, cost, gpu=False)
    manifests = {split: run.store.manifest(_name(stage, split)) or {} for split in names}
    tables = [pd.read_parquet(run.store.path(_name(stage, split))) for split in names]
    summaries = {split: found["summary"] for split, found in manifests.items()}
    digests = {split: found["sha256"] for split, found in manifests.items()}
    return pd.concat(tables, ignore_index=True), summaries, digests


def _name(stage: str, split: str) -> str:
    return f"predictions/{stage}/{split}.parquet"


def _made_from(run: Run, stage: str, split: str) -> dict[str, Any]:
    """Return what a split's predictions depend on; its features must have been made."""
    inputs = {
        "code": code_digest(*CODE),
        "tested": fingerprint({"rows": np.flatnonzero(in_test_fold(run, split)).tolist()}),
        "index": run.store.digest("index.parquet"),
        "files": {block: run.store.digest(name) for block, name in source_files(run, stage, split).items()},
        "feature_sets": feature_sets(run, split, stage),
        "keep": levels(run, stage),
        "seed": run.seed("classify", split),
        **run.study.values(("selection", "mlp", "scale", "binary", "repeats")),
    }
    return inputs | (run.study.values(("inner_folds",)) if stage == CALIBRATION else {})


def source_files(run: Run, stage: str, split: str) -> dict[str, str]:
    """Return the artefacts with the columns that a stage's feature sets need, by block of columns."""
    method, own = map_method(run, stage), run.study.map_method
    files = {"image": IMAGE, "score": score_file(split, method), "other": map_columns_file("map", split, own)}
    files |= {block: map_columns_file(block, split, method) for block in BLOCKS}
    files |= {f"other_{block}": map_columns_file(block, split, own) for block in BLOCKS}
    needed = {block for name in feature_sets(run, split, stage) for block in FEATURE_SETS[name].blocks}
    return {block: files[block] for block in COLUMN_BLOCKS if block in needed | {"image"}}


def _columns(run: Run, file: str) -> np.ndarray:
    found = np.load(run.store.path(file))
    return found[:, None] if found.ndim == 1 else found


def _stored(run: Run, split: str, rows: list[pd.DataFrame]) -> pd.DataFrame:
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
