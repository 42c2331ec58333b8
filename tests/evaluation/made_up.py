"""Small made-up predictions whose measures can be counted by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lib.evaluation.metrics import ALL, Answers, counted, measured

CLASSES = ("good", "a", "b")


def measure(metric: str, frame: pd.DataFrame, good: str, label: str = ALL) -> tuple[float, int]:
    """Return one of the measures of a frame's images as they are, and the number of images behind it."""
    answers = Answers.of(frame)
    value = float(measured(metric, answers, good, label)[0])
    return value, int(counted(metric, answers, good, label)[1].sum())


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
        parts.append(rows(labels, predicted, features=features, folds=folds, classes=("good", "a"), **columns))
    return pd.concat(parts, ignore_index=True)


def scored(scores: Mapping[str, Sequence[float]], **columns: object) -> pd.DataFrame:
    """Return predictions of class name to defect scores 1 - p(good); an image is called defective from 0.5 on."""
    classes = ("good", *(name for name in scores if name != "good"))
    labels = [name for name, values in scores.items() for _ in values]
    score = np.array([value for values in scores.values() for value in values], dtype=float)
    frame = rows(labels, np.where(score < 0.5, "good", classes[1]), classes=classes, **columns)
    frame["p:good"] = 1 - score
    for name in classes[1:]:
        frame[f"p:{name}"] = score / (len(classes) - 1)
    return frame


def study(
    skill: Mapping[str, float],
    *,
    n: int = 150,
    folds: int = 5,
    keep: Sequence[float] = (1.0,),
    calibrated: bool = False,
    seed: int = 0,
    **columns: object,
) -> pd.DataFrame:
    """Return predictions of three classes whose scores tell the truth as well as `skill` of the feature set says.

    The noise is the same for all feature sets; skill shrinks with keep. With `calibrated`, the rows are each fold's
    training images instead, with an `inner` fold, as the calibration table has them.
    """
    parts = []
    for share in keep:
        noise = np.random.default_rng(seed).normal(size=(n, len(CLASSES)))
        labels = np.array(CLASSES)[np.arange(n) % 3]
        home = np.arange(n) // 3 % folds
        for features, strength in skill.items():
            logits = noise + strength * share**0.5 * (labels[:, None] == np.array(CLASSES))
            chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            frame = rows(labels, np.array(CLASSES)[chances.argmax(axis=1)], features=features, folds=home)
            frame[[f"p:{name}" for name in CLASSES]] = chances
            parts.append(frame.assign(keep=share, **columns))
    table = pd.concat(parts, ignore_index=True)
    if not calibrated:
        return table
    inner = [table[table["fold"] != fold].assign(fold=fold, inner=table["fold"]) for fold in range(folds)]
    return pd.concat(inner, ignore_index=True)
