"""Notebooks 04 and 05: classifiers per split, feature set and share of defects kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from lib.classify.evaluate import evaluate_fold
from lib.engine import run_tasks
from lib.pipeline.features import feature_all, image_feature_table, map_feature_table
from lib.pipeline.pictures import in_test_fold, index, splits
from lib.pipeline.run import Run


def classify_fold(run: Run, stage: str, split: str) -> dict[str, Any]:
    """Fit and test one split's classifiers; `stage` is classification (all defects) or imbalance (fewer)."""
    table, study = index(run), run.study
    has_maps = split in splits(run, with_maps=True)
    features = image_feature_table(run)
    inputs = {
        "image": run.store.digest("features/image.npy"),
        "map": run.store.digest(f"features/map-{split}.npy") if has_maps else "",
        "folds": run.store.digest("folds.parquet"),
        "seed": run.seed("classify", split),
        **study.values(("selection", "mlp", "scale", "binary", "repeats", "keep")),
    }
    if stage == "classification":
        inputs["keep"] = [1.0]

    def write(path: Path) -> dict[str, Any]:
        tested = in_test_fold(run, split)
        of_maps = map_feature_table(run, split) if has_maps else None
        levels = [1.0] if stage == "classification" else [share for share in study.keep if share < 1]
        rows, notes = [], []
        for repeat in range(study.repeats):
            for keep in levels:
                result = evaluate_fold(
                    features,
                    of_maps,
                    table["label"].to_numpy(dtype=object),
                    ~tested,
                    classes=tuple(table.attrs["classes"]),
                    keep=keep,
                    selection=study.selection,
                    mlp=study.mlp,
                    scale=study.scale,
                    binary=study.binary,
                    seed=run.seed("classify", split, repeat),
                )
                rows.append(result.predictions.assign(repeat=repeat))
                notes.append(result.diagnostics.assign(repeat=repeat, split=split))
        predictions = (
            pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"row": pd.Series(dtype=int)})
        )
        scheme, fold = split.rsplit("-", 1)
        where = table.iloc[predictions.pop("row").to_numpy()].reset_index(drop=True)
        predictions["label"] = where["label"]  # the true class, in rows of the two-class model too
        predictions.insert(0, "dataset", run.name)
        predictions.insert(1, "scheme", scheme)
        predictions.insert(2, "fold", int(fold))
        predictions.insert(3, "id", where["id"])
        predictions.insert(4, "group", where["group"])
        predictions.to_parquet(path, index=False)
        noted = pd.concat(notes, ignore_index=True).to_dict("records") if notes else []
        return {"diagnostics": noted}

    return run.store.make(f"predictions/{stage}/{split}.parquet", inputs, write)["summary"]


def predictions(run: Run, stage: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all predictions of a stage (imbalance includes classification's) and the fits' diagnostics."""
    feature_all(run)
    names = splits(run)
    summaries = run_tasks(
        classify_fold,
        [(run, stage, name) for name in names],
        label=stage,
        shared_folder=run.store.root,
        scheduler=run.scheduler,
    )
    parts = [run.store.path(f"predictions/{stage}/{name}.parquet") for name in names]
    digests = {name: run.store.digest(f"predictions/{stage}/{name}.parquet") for name in names}
    table = pd.concat([pd.read_parquet(path) for path in parts], ignore_index=True)
    notes = pd.concat([pd.DataFrame(summary["diagnostics"]) for summary in summaries], ignore_index=True)
    if stage == "imbalance":
        whole, whole_notes = predictions(run, "classification")
        table = pd.concat([table, whole], ignore_index=True)
        notes = pd.concat([notes, whole_notes], ignore_index=True)
        digests["classification"] = run.store.digest("predictions/classification.parquet")
    run.store.make(f"predictions/{stage}.parquet", digests, lambda path: table.to_parquet(path, index=False))
    return table, notes
