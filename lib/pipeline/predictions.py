"""Notebooks 04 and 05: classifiers per split, feature set and share of defects kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.classify.evaluate import FeatureSet, evaluate_fold
from lib.pipeline.anomaly import map_splits
from lib.pipeline.features import feature_all, image_feature_table, map_feature_name, map_feature_table
from lib.pipeline.pictures import in_test_fold, index, splits
from lib.pipeline.run import Run, each_split
from lib.store import fingerprint

CHECK = "map_fit_check"
FEATURE_SETS: tuple[FeatureSet, ...] = ("image", "map", "both")
USE_MAP: tuple[FeatureSet, ...] = ("map", "both")


def classify_fold(run: Run, stage: str, split: str) -> dict[str, Any]:
    """Fit and test one split's classifiers.

    `stage` is classification (all defects), imbalance (fewer), or map_fit_check (all defects, the other reading of
    `map_fit`, the feature sets that use the map).
    """
    table, study = index(run), run.study
    has_maps = split in splits(run, with_maps=True)
    features = image_feature_table(run)
    fit = study.map_fits[-1] if stage == CHECK else study.map_fit
    inputs = {
        "image": run.store.digest("features/image.npy"),
        "map": run.store.digest(map_feature_name(split, fit)) if has_maps else "",
        "index": run.store.digest("index.parquet"),
        "tested": fingerprint({"rows": np.flatnonzero(in_test_fold(run, split)).tolist()}),
        "seed": run.seed("classify", split),
        **study.values(("selection", "mlp", "scale", "binary", "repeats", "keep")),
    }
    if stage != "imbalance":
        inputs["keep"] = [1.0]

    def write(path: Path) -> dict[str, Any]:
        tested = in_test_fold(run, split)
        of_maps = map_feature_table(run, split, fit) if has_maps else None
        levels = [1.0] if stage != "imbalance" else [share for share in study.keep if share < 1]
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
                    feature_sets=USE_MAP if stage == CHECK else FEATURE_SETS,
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
    """Return all predictions of a stage and the fits' diagnostics.

    imbalance includes classification's; map_fit_check is empty unless the study asks for it, and primary folds only.
    """
    feature_all(run)
    if stage == CHECK and not run.study.map_fit_check:
        table, notes = predictions(run, "classification")
        return table.iloc[:0], notes.iloc[:0]
    names = map_splits(run, run.study.map_fits[-1]) if stage == CHECK else splits(run)
    summaries = each_split(run, classify_fold, names, stage, stage)
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
