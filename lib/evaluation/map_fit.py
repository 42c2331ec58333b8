"""In-sample against cross-fitted maps, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from lib.evaluation.metrics import Good, binary_predictions, good_class
from lib.evaluation.significance import Comparison, bootstrap_difference

IN_SAMPLE, CROSS_FITTED = "in_sample", "cross_fitted"
EXCESS = 0.05  # of the good images; a warning, so it does not wait for a difference to be shown
MAP_FIT_NAMES = {IN_SAMPLE: "as written", CROSS_FITTED: "cross-fitted"}


class MapFitGap(NamedTuple):
    """In-sample minus cross-fitted maps: the false-reject rate, and the AUC of good against defective."""

    rejects: Comparison
    auc: Comparison

    @property
    def is_overfit(self) -> bool:
        """Whether more good images are rejected, by more than `EXCESS`, and nothing is ranked better for it."""
        return self.rejects.difference > EXCESS and self.auc.difference <= 0


Excess = Mapping[str, Mapping[str, MapFitGap]]  # by data set and feature set


def side_by_side(main: pd.DataFrame, other: pd.DataFrame, map_fit: str) -> pd.DataFrame:
    """Return the predictions with in-sample and with cross-fitted maps, at keep 1.

    The column `map_fit` says which, empty for what uses no map. `main` are the study's predictions, with maps by
    `map_fit`; `other` are those with the other maps, of the feature sets that use the map. No rows where it has none.
    """
    if other.empty:
        return main.iloc[:0].assign(map_fit="")
    whole = main[main["keep"] == 1.0]
    other = other[other["keep"] == 1.0].merge(whole[["dataset", "scheme"]].drop_duplicates())
    parts = [
        whole[whole["features"] == "image"].assign(map_fit=""),
        whole[whole["features"].isin(set(other["features"]))].assign(map_fit=map_fit),
        other.assign(map_fit=IN_SAMPLE if map_fit == CROSS_FITTED else CROSS_FITTED),
    ]
    return pd.concat(parts, ignore_index=True)


def excess_rejects(
    map_methods: pd.DataFrame, good: Good, *, seed: int, binary: str = "collapsed", n: int = 2000
) -> dict[str, dict[str, MapFitGap]]:
    """Return what classifiers on in-sample maps reject in excess, over all test folds, from `side_by_side`."""
    found: dict[str, dict[str, MapFitGap]] = {}
    mapped = binary_predictions(map_methods[map_methods["map_fit"] != ""], binary)
    for (dataset, features), rows in mapped.groupby(["dataset", "features"], sort=False):
        pair, name = rows.assign(features=rows["map_fit"]), good_class(good, str(dataset))
        gaps = [
            bootstrap_difference(pair, metric, IN_SAMPLE, CROSS_FITTED, name, seed, n)
            for metric in ("false_reject_rate", "binary_auc")
        ]
        found.setdefault(str(dataset), {})[str(features)] = MapFitGap(*gaps)
    return found
