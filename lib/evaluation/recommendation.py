"""One recommended feature set per data set, chosen on training images alone, and what the choice is worth."""

from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.metrics import RECALL_AT_5_FPR, Good, good_class, summary

RULE = "the highest recall at 5 % false rejects on training images, scored by models that did not see them"


def recommend(tested: pd.DataFrame, calibration: pd.DataFrame, good: Good, binary: str = "collapsed") -> pd.DataFrame:
    """Return what the rule says of each feature set and what another choice would have given, per data set.

    `tested`: predictions of test folds at keep 1; `calibration`: out-of-fold predictions of their training images (its
    rows may be none). One row per dataset and features: `training`, recall at 5 % false rejects on training images (NaN
    where none were scored), `recall`, the same on the test folds, `folds` that chose it when each chooses by itself,
    `recommended`, and `nested`: the recall on the test folds where each uses its own choice, the same in all rows. No
    feature set is recommended where no training images were scored.
    """
    rows = []
    for dataset, frame in tested.groupby("dataset", sort=False):
        name = good_class(good, str(dataset))
        outside = _recalls(frame, name, binary, ["fold"])
        by_fold = outside[:0]
        if len(calibration):
            here = (calibration[["dataset", "scheme"]] == [dataset, frame["scheme"].iloc[0]]).all(axis=1)
            by_fold = _recalls(calibration[here], name, binary, ["fold", "inner"])
        by_fold = by_fold.dropna(axis=1, how="all").dropna(how="all")
        training = by_fold.mean().reindex(outside.columns)
        chosen: dict[Any, Any] = dict(by_fold.idxmax(axis=1).items())
        picked = pd.Series([outside[one].get(fold) for fold, one in chosen.items()], dtype=float)
        for features in [one for one in FEATURE_SETS if one in outside]:
            best = bool(len(chosen)) and features == training.idxmax()
            figures = training[features], outside[features].mean(), list(chosen.values()).count(features)
            rows.append((dataset, features, *figures, best, picked.mean()))
    columns = ["dataset", "features", "training", "recall", "folds", "recommended", "nested"]
    return pd.DataFrame(rows, columns=columns)


def recommended(table: pd.DataFrame) -> str:
    """Return the feature set that `recommend` of one data set chose; empty where none."""
    return next(iter(table.loc[table["recommended"], "features"]), "")


def _recalls(rows: pd.DataFrame, good: str, binary: str, parts: list[str]) -> pd.DataFrame:
    """Return recall at 5 % false rejects by fold (mean over its parts) and feature set, in their order."""
    numbered = rows.assign(fold=rows.groupby(parts).ngroup())
    fold_of = rows["fold"].groupby(numbered["fold"].astype(str)).first()
    table = summary(numbered, good, binary, (RECALL_AT_5_FPR,))
    table = table[(table["metric"] == RECALL_AT_5_FPR) & table["fold"].isin(fold_of.index)]
    by_set = table.groupby([table["fold"].map(fold_of), "features"])["value"].mean().unstack()
    return by_set[[one for one in FEATURE_SETS if one in by_set]]
