"""Maps as the paper writes them, or cross-fitted: side by side, and which of the two to believe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.bootstrap import Interval, bootstrap_difference
from lib.evaluation.metrics import ALL, POOLED, RECALL_AT_5_FPR, binary_auc, binary_predictions, good_class
from lib.evaluation.published_results import display_name
from lib.reporting.cells import (
    IN_BRACKETS,
    Good,
    binary_title,
    read_cells,
    synthetic_notes,
    wide_frame,
    with_intervals,
)
from lib.reporting.table import Table, display_frame

AS_WRITTEN, CROSS_FITTED = "in_sample", "cross_fitted"
READINGS = {AS_WRITTEN: "as written", CROSS_FITTED: "cross-fitted"}
_METRICS = ("weighted_auc", "binary_auc", "defect_recall", "false_reject_rate", RECALL_AT_5_FPR)
_READING = "Maps of training images"


def side_by_side(main: pd.DataFrame, other: pd.DataFrame, map_fit: str) -> pd.DataFrame:
    """Return both readings' predictions at keep 1 with a column `map_fit`, empty for what uses no map.

    `main` are the study's predictions under the reading `map_fit`, `other` those of the other reading, which hold
    only the feature sets that use the map. No rows where `other` has none.
    """
    if other.empty:
        return main.iloc[:0].assign(map_fit="")
    whole = main[main["keep"] == 1.0]
    places = whole[["dataset", "scheme"]].apply(tuple, axis=1)
    other = other[
        (other["keep"] == 1.0) & other[["dataset", "scheme"]].apply(tuple, axis=1).isin(set(places))
    ]
    mapped = whole["features"].isin(set(other["features"]))
    remaining = AS_WRITTEN if map_fit == CROSS_FITTED else CROSS_FITTED
    parts = [
        whole[whole["features"] == "image"].assign(map_fit=""),
        whole[mapped].assign(map_fit=map_fit),
        other.assign(map_fit=remaining),
    ]
    return pd.concat(parts, ignore_index=True)


def map_fit_table(
    map_methods: pd.DataFrame, good: Good, context: str = "", binary: str = "collapsed"
) -> Table | None:
    """Return both readings of every feature set that uses the map, with false rejects; None where there is no check.

    `map_methods` is `side_by_side`. Raises `ValueError` for predictions that cannot be counted.
    """
    if map_methods.empty:
        return None
    found = []
    for map_method, rows in map_methods.groupby("map_fit", sort=False):
        for cell in read_cells(rows, good, binary, POOLED, _METRICS, None):
            found += [
                (cell.dataset, cell.scheme, name, str(map_method), cell)
                for name in FEATURE_SETS
                if name in set(rows["features"])
            ]
    order = list(FEATURE_SETS)
    found.sort(key=lambda row: (row[0], row[1], order.index(row[2]), row[3]))
    lines: list[dict[Any, Any]] = []
    ends: dict[Any, list[tuple[float, float]]] = {}
    for dataset, scheme, name, map_method, cell in found:
        line: dict[Any, Any] = {("Dataset", ""): dataset, ("Folds", ""): scheme}
        line |= {
            ("Features", ""): FEATURE_SETS[name].title,
            (_READING, ""): READINGS.get(map_method, "none used"),
        }
        for metric in _METRICS:
            column = (binary_title(metric), "")
            line[column] = cell.value(name, metric, ALL)
            ends.setdefault(column, []).append(cell.interval(name, metric, ALL))
        lines.append(line)
    numbers = wide_frame(lines)
    formats: dict[Any, Callable[[Any], str]] = {
        (binary_title(metric), ""): ("{:.4f}" if "auc" in metric else "{:.2%}").format for metric in _METRICS
    }
    numbers, frame = with_intervals(
        numbers, display_frame(numbers, formats | {("Dataset", ""): display_name}), ends, ".1%"
    )
    notes = (
        "As written: the maps of training images come from a source that was fitted on the good ones among them. "
        "Cross-fitted: from sources that did not see them, as it is for test images.",
        "A high recall beside many false rejects is no success: the classifier learned that a clean map means good.",
        IN_BRACKETS,
        *synthetic_notes(list(dict.fromkeys(numbers[("Dataset", "")]))),
    )
    title = "Maps as written against cross-fitted, with all defects, pooled over all test folds"
    return Table("Map fit", title, context, frame, numbers, notes, headers=4)


@dataclass(frozen=True)
class MapFitGap:
    """As written minus cross-fitted: the false-reject rate with its interval, and the AUC (good or defective)."""

    rejects: Interval
    auc: float

    @property
    def trap(self) -> bool:
        """Whether more good images are rejected, the interval clear of zero, and nothing is ranked better for it."""
        return self.rejects.low > 0 and self.auc <= 0


ByPlace = Mapping[tuple[str, str, str], MapFitGap]


def excess_rejects(
    map_methods: pd.DataFrame, good: Good, *, seed: int, binary: str = "collapsed", n: int = 2000
) -> dict[tuple[str, str, str], MapFitGap]:
    """Return what the as-written reading rejects in excess, by (dataset, scheme, features).

    Pooled over the test folds; the interval is a 95 % bootstrap, clustered by group where groups are known.
    """
    found = {}
    mapped = map_methods[map_methods["map_fit"] != ""]
    for (dataset, scheme, features), rows in mapped.groupby(["dataset", "scheme", "features"], sort=False):
        pair = binary_predictions(rows, binary).assign(features=lambda t: t["map_fit"])
        name = good_class(good, str(dataset))
        rejects = bootstrap_difference(pair, "false_reject_rate", AS_WRITTEN, CROSS_FITTED, name, seed, n)
        written, fitted = (
            binary_auc(pair[pair["features"] == map_method], name)
            for map_method in (AS_WRITTEN, CROSS_FITTED)
        )
        found[str(dataset), str(scheme), str(features)] = MapFitGap(rejects, written - fitted)
    return found


def choose_map_fit(excess: ByPlace, dataset: str, scheme: str, map_fit: str) -> str:
    """Return the reading that the conclusions of a data set rest on.

    Cross-fitted where some feature set falls into the trap as written: it rejects more good images and ranks no better
    for it. Else the study's own reading `map_fit`. (More false rejects alone may be no more than another threshold.)
    """
    mine = [gap for place, gap in excess.items() if place[:2] == (dataset, scheme)]
    return CROSS_FITTED if any(gap.trap for gap in mine) else map_fit


def primary_predictions(
    main: pd.DataFrame, map_methods: pd.DataFrame, excess: ByPlace, map_fit: str
) -> pd.DataFrame:
    """Return the predictions at keep 1 that conclusions rest on: per data set and scheme, the believed reading.

    Where it is not the study's own, feature sets without that reading are left out, the image alone excepted.
    """
    parts: Sequence[pd.DataFrame] = []
    for (dataset, scheme), rows in main[main["keep"] == 1.0].groupby(["dataset", "scheme"], sort=False):
        map_method = choose_map_fit(excess, str(dataset), str(scheme), map_fit)
        if map_method != map_fit:
            rows = map_methods[(map_methods["dataset"] == dataset) & (map_methods["scheme"] == scheme)]
            rows = rows[rows["map_fit"].isin(["", map_method])].drop(columns="map_fit")
        parts = [*parts, rows]
    return pd.concat(parts, ignore_index=True)
