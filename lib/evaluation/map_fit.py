"""In-sample against cross-fitted maps: the two side by side, and which of them the comparisons rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from lib.evaluation.metrics import Good, binary_predictions, good_class, measure
from lib.evaluation.significance import Comparison, bootstrap_difference

IN_SAMPLE, CROSS_FITTED = "in_sample", "cross_fitted"
MAP_FIT_NAMES = {IN_SAMPLE: "as written", CROSS_FITTED: "cross-fitted"}


class MapFitGap(NamedTuple):
    """In-sample minus cross-fitted maps: the false-reject rate with its interval, and the AUC (good or defective)."""

    rejects: Comparison
    auc: float

    @property
    def is_overfit(self) -> bool:
        """Whether more good images are rejected, the interval clear of zero, and nothing is ranked better for it."""
        return self.rejects.low > 0 and self.auc <= 0


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
    """Return what classifiers on in-sample maps reject in excess, pooled over the test folds, from `side_by_side`."""
    found: dict[str, dict[str, MapFitGap]] = {}
    mapped = binary_predictions(map_methods[map_methods["map_fit"] != ""], binary)
    for (dataset, features), rows in mapped.groupby(["dataset", "features"], sort=False):
        pair, name = rows.assign(features=rows["map_fit"]), good_class(good, str(dataset))
        rejects = bootstrap_difference(pair, "false_reject_rate", IN_SAMPLE, CROSS_FITTED, name, seed, n)
        areas = {fit: measure("binary_auc", one, name)[0] for fit, one in pair.groupby("features")}
        gap = MapFitGap(rejects, areas[IN_SAMPLE] - areas[CROSS_FITTED])
        found.setdefault(str(dataset), {})[str(features)] = gap
    return found


def primary_predictions(
    main: pd.DataFrame, map_methods: pd.DataFrame, excess: Excess, map_fit: str
) -> pd.DataFrame:
    """Return the predictions at keep 1 that conclusions rest on, per data set.

    With cross-fitted maps where some feature set overfits in-sample ones: it rejects more good images and ranks no
    better for it (more false rejects alone may be no more than another threshold). Then feature sets without such maps
    are left out, the image alone excepted. Else with the study's own `map_fit`.
    """
    parts = []
    for dataset, rows in main[main["keep"] == 1.0].groupby("dataset", sort=False):
        overfit = any(gap.is_overfit for gap in excess.get(str(dataset), {}).values())
        if overfit and map_fit == IN_SAMPLE:
            of_fit = map_methods["map_fit"].isin(["", CROSS_FITTED])
            rows = map_methods[(map_methods["dataset"] == dataset) & of_fit].drop(columns="map_fit")
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)
