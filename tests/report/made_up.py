"""Small made-up predictions whose measures can be counted by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

CLASSES = ("good", "a", "b")


def rows(
    labels: Sequence[str],
    predicted: Sequence[str],
    *,
    features: str = "image",
    folds: Sequence[int] | None = None,
    classes: Sequence[str] = CLASSES,
    sure: float = 0.8,
    **columns: object,
) -> pd.DataFrame:
    """Return multiclass predictions that give `sure` to the predicted class and share the rest."""
    n, rest = len(labels), (1 - sure) / (len(classes) - 1)
    frame = pd.DataFrame(
        {
            "dataset": "toy",
            "scheme": "stratified",
            "fold": list(folds) if folds is not None else [0] * n,
            "id": [f"{place:04d}" for place in range(n)],
            "group": pd.Series([None] * n, dtype=object),
            "label": list(labels),
            "predicted": list(predicted),
            "features": features,
            "task": "multiclass",
            "keep": 1.0,
            "repeat": 0,
        }
    ).assign(**columns)
    for name in classes:
        frame[f"p:{name}"] = [sure if name == one else rest for one in predicted]
    return frame


def by_fold(misses: dict[str, Sequence[int]], per_fold: int = 10, **columns: object) -> pd.DataFrame:
    """Return predictions with `misses[features][fold]` of `per_fold` defects called good in each fold.

    Every fold also has `per_fold` good images, all right, and all defects are of class a.
    """
    parts = []
    for features, by in misses.items():
        labels, predicted, folds = [], [], []
        for fold, missed in enumerate(by):
            labels += ["good"] * per_fold + ["a"] * per_fold
            predicted += ["good"] * (per_fold + missed) + ["a"] * (per_fold - missed)
            folds += [fold] * 2 * per_fold
        parts.append(
            rows(labels, predicted, features=features, folds=folds, classes=("good", "a"), **columns)
        )
    return pd.concat(parts, ignore_index=True)
