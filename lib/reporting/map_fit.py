"""Maps as the paper writes them, or cross-fitted: side by side, and which of the two to believe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.map_fit import READINGS
from lib.evaluation.metrics import (
    ALL,
    POOLED,
    RECALL_AT_5_FPR,
    Good,
)
from lib.evaluation.published_results import display_name
from lib.reporting.cells import (
    IN_BRACKETS,
    binary_title,
    read_cells,
    synthetic_notes,
    wide_frame,
    with_intervals,
)
from lib.reporting.table import Table, display_frame

_METRICS = ("weighted_auc", "binary_auc", "defect_recall", "false_reject_rate", RECALL_AT_5_FPR)
_READING = "Maps of training images"


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
