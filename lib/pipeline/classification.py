"""Notebooks 04 and 05: classifiers per split, feature set and share of defects kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.classification.feature_sets import COLUMN_BLOCKS, FEATURE_SETS
from lib.datasets.splits import FoldError
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.pipeline.dataset import in_test_fold, index, parse_split, repeated, splits
from lib.pipeline.embeddings import IMAGE
from lib.pipeline.features import BLOCKS, feature_all, map_columns_file
from lib.pipeline.maps import score_file
from lib.pipeline.patch_scores import CALIBRATION, fit_facts, fits_of, levels, patch_scores, patch_scores_file
from lib.pipeline.run import Run, classifier_cost, each_part

CODE = (
    *("lib.classification.cross_validation", "lib.datasets.splits"),
    *("lib.pipeline.classification", "lib.pipeline.patch_scores"),
)
FEW_IMAGES = 200  # above this every part holds several images of some class


def feature_sets(run: Run, split: str, stage: str) -> tuple[str, ...]:
    """Return what a stage evaluates: all baselines where every defect is kept, elsewhere those that cost little."""
    if parse_split(split).of_fold not in splits(run, with_maps=True):
        return ("image",)
    asked = ["main", *["baseline"] * run.study.baselines, *["guided", "combined"] * run.study.guided]
    every = stage == "classification"
    return tuple(
        name
        for name, one in FEATURE_SETS.items()
        if one.group in asked and (every or one.group == "main" or one.model != "network")
    )


def predict_fold(run: Run, stage: str, split: str) -> dict[str, Any]:
    """Fit one split's classifiers and predict; returns the summary, whose `diagnostics` have a row for each of them.

    `stage`: classification (all defects kept), imbalance (fewer), or calibration (the training images, each by models
    fitted on inner folds without it). A class that an inner training part lacks gets probability 0 there, and a part
    that lacks all classes but one fits nothing, so that its images stay without prediction.
    """
    files, sets = source_files(run, stage, split), feature_sets(run, split, stage)
    if "patch" in files:
        patch_scores(run, stage, split)
    made_from = {  # its features must have been made
        "code": code_digest(*CODE),
        "files": {block: run.store.digest(name) for block, name in files.items()},
        "feature_sets": sets,
        **run.study.values(("selection", "mlp", "scale", "binary")),
        **fit_facts(run, stage, split),
    }

    def write(path: Path) -> dict[str, Any]:
        from lib.classification.cross_validation import evaluate_fold

        table, fits, report = index(run), list(fits_of(run, stage, split)), step_bar(f"{split}, fits")
        labels = table["label"].to_numpy(dtype=str)
        blocks = {name: _columns(run, file) for name, file in files.items()}
        settings = ("selection", "mlp", "scale", "binary", "inner_folds")
        how = {name: getattr(run.study, name) for name in settings}
        how |= {"classes": tuple(table.attrs["classes"]), "feature_sets": sets}
        patch, found, diagnostics = blocks.pop("patch", None), [], []
        for done, (rows, train, keep, seed, groups, name) in enumerate(fits, start=1):
            if len(set(labels[rows][train])) > 1:
                every = len(rows) == len(table)
                given = {block: columns if every else columns[rows] for block, columns in blocks.items()}
                if patch is not None:  # taught anew for every fit
                    given["patch"] = patch[done - 1, rows]
                own = None if groups is None else groups[rows]
                result = evaluate_fold(given, labels[rows], train, keep=keep, seed=seed, groups=own, **how)
                mine = result.predictions
                found.append(mine.assign(row=rows[mine["row"]], **name))
                of_fold = parse_split(split).of_fold
                diagnostics += result.diagnostics.assign(**name, split=of_fold).to_dict("records")
            report(done, len(fits))
        _stored(run, split, found).to_parquet(path, index=False)
        return {"diagnostics": diagnostics}

    return run.store.make(_name(stage, split), made_from, write)["summary"]


def check_training_parts(run: Run) -> None:
    """Raise FoldError where a fit would see no class twice: the selection of columns needs neighbours in a class."""
    from lib.classification.cross_validation import subsample_defects

    table, study = index(run), run.study
    if study.selection == "none" or len(table) > FEW_IMAGES:
        return
    labels, good = table["label"].to_numpy(dtype=str), table.attrs["good"]
    for split in repeated(run, splits(run)):
        kept = subsample_defects(labels, ~in_test_fold(run, split), good=good, keep=min(study.keep), seed=0)
        parts = [labels[kept], *(labels[rows][train] for rows, train, *_ in fits_of(run, CALIBRATION, split))]
        fewest = min((part for part in parts if len(set(part)) > 1), key=len, default=None)
        if fewest is not None and len(set(fewest)) == len(fewest):
            raise FoldError(
                f"a part of the training images of {split} holds one image of each class, too few to choose columns "
                "on: add images, choose more folds or fewer inner_folds, or selection=none"
            )


def predictions(run: Run, stage: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all predictions of a stage and the fits' diagnostics; imbalance includes classification's.

    Every repeat has the same rows (calibration's but for those without prediction).
    """
    feature_all(run)
    names = repeated(run, splits(run))
    fits = run.study.inner_folds if stage == CALIBRATION else len(levels(run, stage))
    cost = classifier_cost(run, len(index(run)))
    cost["seconds"] *= fits * len(feature_sets(run, names[0], stage))
    calls = [(run, stage, split) for split in names]
    summaries = each_part(run, predict_fold, calls, stage, cost, gpu=False, makes=True)
    notes = pd.concat([pd.DataFrame(one["diagnostics"]) for one in summaries], ignore_index=True)
    tables = [pd.read_parquet(run.store.path(_name(stage, split))) for split in names]
    made = {split: run.store.digest(_name(stage, split)) for split in names}
    made["code"] = code_digest("lib.pipeline.classification")
    if stage == "imbalance":
        whole, whole_notes = predictions(run, "classification")
        tables.append(whole)
        notes = pd.concat([notes, whole_notes], ignore_index=True)
        made["classification"] = run.store.digest("predictions/classification.parquet")
    table = pd.concat(tables, ignore_index=True)
    run.store.make(f"predictions/{stage}.parquet", made, lambda path: table.to_parquet(path, index=False))
    return table, notes


def calibration(run: Run) -> pd.DataFrame:
    """Return the training images' out-of-fold predictions, all defects kept: what thresholds are chosen on.

    The columns of `predictions`, with `fold` the outer fold whose training images these are, and `inner` the inner
    fold that held the image out. Selection, scaling and fit happen on the other inner folds alone; the maps are those
    of the outer fold, whose source may have been fitted on these very images (setting `map_fit`).
    """
    return predictions(run, CALIBRATION)[0]


def load_predictions(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what `lib.evaluation.results.compute_results` takes beside the study, over all its data sets.

    `good` names the good class by data set.
    """
    stages = {"found": "imbalance", "calibration": CALIBRATION}
    tables = {
        name: pd.concat([predictions(run, stage)[0] for run in runs], ignore_index=True)
        for name, stage in stages.items()
    }
    return tables | {"good": {run.name: str(index(run).attrs["good"]) for run in runs}}


def _name(stage: str, split: str) -> str:
    return f"predictions/{stage}/{split}.parquet"


def source_files(run: Run, stage: str, split: str) -> dict[str, str]:
    """Return the artefacts with the columns that a stage's feature sets need, by block of columns."""
    files = {"image": IMAGE, "score": score_file(run, split), "patch": patch_scores_file(stage, split)}
    files |= {block: map_columns_file(run, block, split) for block in BLOCKS}
    needed = {block for name in feature_sets(run, split, stage) for block in FEATURE_SETS[name].blocks}
    return {block: files[block] for block in COLUMN_BLOCKS if block in needed | {"image"}}


def _columns(run: Run, file: str) -> np.ndarray:
    found: np.ndarray = np.load(run.store.path(file), mmap_mode="r")  # some rows and columns are read at a time
    return found[:, None] if found.ndim == 1 else found


def _stored(run: Run, split: str, rows: list[pd.DataFrame]) -> pd.DataFrame:
    """Return predictions by row of the index as they are stored, with data set, scheme, fold, image and true class."""
    found = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"row": []}, dtype=int)
    mine, where = parse_split(split), index(run).iloc[found.pop("row")].reset_index(drop=True)
    about = where[["id", "group"]].assign(dataset=run.name, scheme=mine.scheme, fold=mine.fold)
    found["label"] = where["label"]  # the true class, in rows of the two-class model too
    return about[["dataset", "scheme", "fold", "id", "group"]].join(found)
