"""Simpler ways beside the method: do they do as well?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from lib.classification.feature_sets import BASELINES, FEATURE_SETS, GUIDED, MAIN
from lib.evaluation.metrics import ALL, FPR_LIMIT, POOLED, RECALL_AT_5_FPR, Good, at_keep
from lib.evaluation.published_results import display_name
from lib.evaluation.significance import METHOD, format_p
from lib.reporting.cells import (
    IN_BRACKETS,
    TITLES,
    binary_title,
    read_cells,
    synthetic_notes,
    wide_frame,
    with_intervals,
)
from lib.reporting.table import Table, display_frame

TITLES_OF = {
    False: ("Baselines", "What could do as well, pooled over all test folds"),
    True: ("Guided", "The map as a guide to the image's own features, pooled over all test folds"),
}
OTHER_TABLE = {False: "the table of map-guided features", True: "the table of baselines"}
_METRICS = ("defect_recall", "false_reject_rate", "weighted_auc", "binary_auc", RECALL_AT_5_FPR)
_AGAINST = f"AUC (Multiclass) against {FEATURE_SETS[METHOD].title}"


def baseline_table(
    predictions: pd.DataFrame,
    good: Good,
    versus: pd.DataFrame,
    context: str = "",
    *,
    binary: str = "collapsed",
    sets: Sequence[str] = BASELINES,
) -> Table | None:
    """Return feature sets beside image, map and both, at every keep that has them; None where there are none.

    `sets` are the baselines, or `GUIDED`; `versus` is `against_method` of the predictions at keep 1. Raises
    `ValueError` for predictions that cannot be counted.
    """
    simple = predictions[predictions["features"].isin(sets)]
    rows: list[dict[Any, Any]] = []
    ends: dict[Any, list[tuple[float, float]]] = {}
    for keep in sorted(set(simple["keep"]), reverse=True):
        for cell in read_cells(at_keep(predictions, keep), good, binary, POOLED, _METRICS, None):
            for name in (*MAIN, *sets):
                if pd.isna(cell.value(name, "defect_recall", ALL)):
                    continue
                row: dict[Any, Any] = {("Dataset", ""): cell.dataset, ("Folds", ""): cell.scheme}
                row |= {("Features", ""): FEATURE_SETS[name].title, ("Defects kept", ""): keep}
                for metric in _METRICS:
                    column = (binary_title(metric), "")
                    row[column] = cell.value(name, metric, ALL)
                    ends.setdefault(column, []).append(cell.interval(name, metric, ALL))
                rows.append(row | _against(versus, cell.dataset, cell.scheme, name, keep))
    if not rows:
        return None
    numbers = wide_frame(rows)
    formats: dict[Any, Callable[[Any], str]] = {
        (binary_title(metric), ""): ("{:.4f}" if "auc" in metric else "{:.2%}").format for metric in _METRICS
    }
    formats |= {("Dataset", ""): display_name, ("Defects kept", ""): "{:.0%}".format}
    formats |= dict.fromkeys(
        [(_AGAINST, "Difference"), (_AGAINST, "Low"), (_AGAINST, "High")], "{:+z.4f}".format
    )
    formats |= dict.fromkeys([(_AGAINST, "p (Wilcoxon)"), (_AGAINST, "p (Holm)")], format_p)
    numbers, frame = with_intervals(numbers, display_frame(numbers, formats), ends, ".1%")
    shown = [name for name in sets if name in set(simple["features"])]
    notes = (
        *(f"{FEATURE_SETS[name].title}: {FEATURE_SETS[name].description}." for name in shown),
        f"{TITLES[RECALL_AT_5_FPR]}: the threshold is moved on the pooled test folds, so it ranks "
        "and promises nothing.",
        f"Differences have a 95 % bootstrap interval, Low to High; Holm adjusts over all comparisons with "
        f"{FEATURE_SETS[METHOD].title} at all defects, in AUC and in recall at {FPR_LIMIT:.0%} false rejects, those of "
        f"{OTHER_TABLE[tuple(sets) == GUIDED]} included.",
        IN_BRACKETS,
        *synthetic_notes(list(dict.fromkeys(numbers[("Dataset", "")]))),
    )
    name, title = TITLES_OF[tuple(sets) == GUIDED]
    return Table(name, title, context, frame, numbers, notes, headers=4)


def guided_table(
    predictions: pd.DataFrame,
    good: Good,
    versus: pd.DataFrame,
    context: str = "",
    *,
    binary: str = "collapsed",
) -> Table | None:
    """Return the map-guided feature sets beside image, map and both, as `baseline_table` does the baselines."""
    return baseline_table(predictions, good, versus, context, binary=binary, sets=GUIDED)


def _against(versus: pd.DataFrame, dataset: str, scheme: str, name: str, keep: float) -> dict[Any, float]:
    found = versus[
        (versus["dataset"] == dataset)
        & (versus["scheme"] == scheme)
        & (versus["keep"] == keep)
        & (versus["a"] == name)
        & (versus["metric"] == "weighted_auc")
    ]
    columns = {
        "Difference": "difference",
        "Low": "low",
        "High": "high",
        "p (Wilcoxon)": "p",
        "p (Holm)": "p_holm",
    }
    return {
        (_AGAINST, shown): float(found[column].iloc[0]) if len(found) else float("nan")
        for shown, column in columns.items()
    }
