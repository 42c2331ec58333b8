"""Measures of one data set by defect class, and what one feature set changes against another, image by image."""

from collections.abc import Sequence

import pandas as pd

from lib.evaluation.bootstrap import Paired, quantile_ends
from lib.evaluation.metrics import RECALL_AT_5_FPR, defect_classes

CHANGES = ("defects gained", "defects lost", "good products saved", "good products lost")


def class_recalls(
    predictions: pd.DataFrame, good: str, features: Sequence[str], *, seed: int, n: int = 400
) -> pd.DataFrame:
    """Return the defect recall of each class at 5 % false rejects, with 95 % intervals from n bootstrap samples.

    `predictions`: rows of one data set, scheme and keep that decide good or defective. One row per class, weakest of
    the last feature set first, and feature set: class, images, features, value, low, high.
    """
    rows = []
    for label in defect_classes(predictions, good):
        part = predictions[predictions["label"].isin([good, label])]
        images = part.loc[part["label"] == label, "id"].nunique()
        for name, sampled in Paired(part, features, good).samples(RECALL_AT_5_FPR, seed, n).items():
            low, high = quantile_ends(sampled.with_training(seed)[1:].clip(0, 1))
            rows.append((label, images, name, float(sampled.values[0]), low, high))
    table = pd.DataFrame(rows, columns=["class", "images", "features", "value", "low", "high"])
    last = table[table["features"] == features[-1]].sort_values("value", kind="stable")["class"]
    return table.sort_values("class", key=lambda names: names.map(list(last).index), kind="stable")


def changed(predictions: pd.DataFrame, rejected: pd.Series, good: str, a: str, b: str) -> pd.Series:
    """Return how many images feature set a decides otherwise than b, by `CHANGES`; the mean over the repeats.

    `predictions`: rows of one data set, scheme and keep; `rejected`: bool by their index, as `operating_points` gives.
    """
    keys = ["repeat", "id", "label"]
    chosen = predictions[predictions["features"].isin([a, b])].assign(rejected=rejected)
    sides = chosen.pivot(index=keys, columns="features", values="rejected")
    more, less = sides[a] & ~sides[b], ~sides[a] & sides[b]
    bad = sides.index.get_level_values("label") != good
    counts = ((more & bad).sum(), (less & bad).sum(), (less & ~bad).sum(), (more & ~bad).sum())
    return pd.Series(counts, CHANGES) / predictions["repeat"].nunique()


def decided(predictions: pd.DataFrame, rejected: pd.Series, good: str) -> pd.DataFrame:
    """Return predictions with the class that a threshold leaves: good, or the likeliest defect class where rejected.

    `rejected`: bool by the index of the rows. Those of another index (a two-class model's) stay as they are.
    """
    of_defects = predictions.filter(like="p:").drop(columns=f"p:{good}")
    likeliest = of_defects.fillna(-1).idxmax(axis=1).astype(str).str.removeprefix("p:")
    out = rejected.reindex(predictions.index)
    named = likeliest.where(out.eq(True), good).where(out.notna(), predictions["predicted"])
    return predictions.assign(predicted=named)
