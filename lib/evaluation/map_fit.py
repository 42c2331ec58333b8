"""In-sample against cross-fitted maps: the two side by side, and which of them the comparisons rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from lib.evaluation.bootstrap import Interval, bootstrap_difference
from lib.evaluation.metrics import Good, binary_auc, binary_predictions, good_class

IN_SAMPLE, CROSS_FITTED = "in_sample", "cross_fitted"
MAP_FIT_NAMES = {IN_SAMPLE: "as written", CROSS_FITTED: "cross-fitted"}


def side_by_side(main: pd.DataFrame, other: pd.DataFrame, map_fit: str) -> pd.DataFrame:
    """Return the predictions with in-sample and with cross-fitted maps, at keep 1.

    The column `map_fit` says which, empty for what uses no map. `main` are the study's predictions, with maps by
    `map_fit`; `other` are those with the other maps, of the feature sets that use the map. No rows where it has none.
    """
    if other.empty:
        return main.iloc[:0].assign(map_fit="")
    whole = main[main["keep"] == 1.0]
    other = other[other["keep"] == 1.0].merge(whole[["dataset", "scheme"]].drop_duplicates())
    mapped = whole["features"].isin(set(other["features"]))
    remaining = IN_SAMPLE if map_fit == CROSS_FITTED else CROSS_FITTED
    parts = [
        whole[whole["features"] == "image"].assign(map_fit=""),
        whole[mapped].assign(map_fit=map_fit),
        other.assign(map_fit=remaining),
    ]
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class MapFitGap:
    """In-sample minus cross-fitted maps: the false-reject rate with its interval, and the AUC (good or defective)."""

    rejects: Interval
    auc: float

    @property
    def is_overfit(self) -> bool:
        """Whether more good images are rejected, the interval clear of zero, and nothing is ranked better for it."""
        return self.rejects.low > 0 and self.auc <= 0


ByPlace = Mapping[tuple[str, str, str], MapFitGap]


def excess_rejects(
    map_methods: pd.DataFrame, good: Good, *, seed: int, binary: str = "collapsed", n: int = 2000
) -> dict[tuple[str, str, str], MapFitGap]:
    """Return what classifiers on in-sample maps reject in excess, by (dataset, scheme, features).

    Pooled over the test folds; the interval is a 95 % bootstrap, clustered by group where groups are known.
    """
    found = {}
    mapped = map_methods[map_methods["map_fit"] != ""]
    for (dataset, scheme, features), rows in mapped.groupby(["dataset", "scheme", "features"], sort=False):
        pair = binary_predictions(rows, binary).assign(features=lambda t: t["map_fit"])
        name = good_class(good, str(dataset))
        rejects = bootstrap_difference(pair, "false_reject_rate", IN_SAMPLE, CROSS_FITTED, name, seed, n)
        seen, unseen = (binary_auc(pair[pair["features"] == fit], name) for fit in (IN_SAMPLE, CROSS_FITTED))
        found[str(dataset), str(scheme), str(features)] = MapFitGap(rejects, seen - unseen)
    return found


def choose_map_fit(excess: ByPlace, dataset: str, scheme: str, map_fit: str) -> str:
    """Return the map fit that the conclusions of a data set rest on.

    Cross-fitted where some feature set overfits in-sample maps: it rejects more good images and ranks no better for it.
    Else the study's own `map_fit`. (More false rejects alone may be no more than another threshold.)
    """
    mine = [gap for place, gap in excess.items() if place[:2] == (dataset, scheme)]
    return CROSS_FITTED if any(gap.is_overfit for gap in mine) else map_fit


def primary_predictions(
    main: pd.DataFrame, map_methods: pd.DataFrame, excess: ByPlace, map_fit: str
) -> pd.DataFrame:
    """Return the predictions at keep 1 that conclusions rest on: per data set and scheme, by the chosen map fit.

    Where it is not the study's own, feature sets without such maps are left out, the image alone excepted.
    """
    parts = []
    for (dataset, scheme), rows in main[main["keep"] == 1.0].groupby(["dataset", "scheme"], sort=False):
        map_method = choose_map_fit(excess, str(dataset), str(scheme), map_fit)
        if map_method != map_fit:
            rows = map_methods[(map_methods["dataset"] == dataset) & (map_methods["scheme"] == scheme)]
            rows = rows[rows["map_fit"].isin(["", map_method])].drop(columns="map_fit")
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)
