"""Measures with their bootstrap intervals, for the bands of curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lib.classification.feature_sets import MAIN
from lib.evaluation.bootstrap import quantile_ends, samples
from lib.evaluation.metrics import (
    ALL,
    RECALL_AT_5_FPR,
    binary_predictions,
    check_predictions,
    defect_classes,
    good_class,
)

_DECIDED = (
    "defect_recall",
    "false_reject_rate",
    "binary_auc",
    RECALL_AT_5_FPR,
)  # by the study's binary decision


def bands(
    predictions: pd.DataFrame,
    good: str | Mapping[str, str],
    metrics: Sequence[str],
    *,
    seed: int,
    binary: str = "collapsed",
    by_class: bool = False,
    n: int = 400,
) -> pd.DataFrame:
    """Return image, map and both pooled over the test folds, with 95 % intervals from n bootstrap samples of images.

    Groups of images are drawn together where known. One row per dataset, scheme, keep, features, metric and class:
    value, low, high. Over all classes, or `by_class` for each defect class (class_recall, defect_recall only). Raises
    `ValueError` for predictions that cannot be counted or paired.
    """
    check_predictions(predictions, good)
    rows = []
    main = predictions[predictions["features"].isin(MAIN)]
    for (dataset, scheme, keep), cell in main.groupby(["dataset", "scheme", "keep"], sort=False):
        name, present = good_class(good, str(dataset)), [one for one in MAIN if one in set(cell["features"])]
        where = {"dataset": dataset, "scheme": scheme, "keep": keep}
        for metric in metrics:
            part = binary_predictions(cell, binary) if metric in _DECIDED else binary_predictions(cell)
            for label in defect_classes(cell, name) if by_class else [ALL]:
                for features, sampled in samples(part, metric, present, name, seed, n, label).items():
                    low, high = quantile_ends(sampled[1:])
                    found = {"value": sampled[0], "low": low, "high": high}
                    rows.append(where | {"features": features, "metric": metric, "class": label} | found)
    columns = ["dataset", "scheme", "keep", "features", "metric", "class", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
