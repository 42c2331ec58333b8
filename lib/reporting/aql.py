"""The paper's Eq. 1: which share of each class's defective products escapes, with its interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.evaluation.metrics import ALL, POOLED, Good, aql, at_keep
from lib.evaluation.published_results import display_name
from lib.reporting.cells import (
    read_cells,
    scheme_name,
    synthetic_notes,
    wide_frame,
    with_intervals,
)
from lib.reporting.table import Table, display_frame

_REJECTS = "False reject rate"


def aql_table(
    predictions: pd.DataFrame,
    good: Good,
    context: str = "",
    *,
    keep: float = 1.0,
    binary: str = "collapsed",
    measures: pd.DataFrame | None = None,
) -> Table:
    """Return the AQL (Eq. 1: 100 - defect recall, in percent) per class and feature set, with false rejects beside.

    Each with the Clopper-Pearson 95 % interval of its escapes, pooled over all test folds. `measures` is `summary` of
    the same predictions, where already computed. Raises `ValueError` for predictions that cannot be counted.
    """
    part = at_keep(predictions, keep)
    cells = read_cells(part, good, binary, POOLED, ("defect_recall",), measures)
    rows = []
    ends: dict[Any, list[tuple[float, float]]] = {(FEATURE_SETS[name].title, "AQL"): [] for name in MAIN}
    for cell in cells:
        counts = cell.counts.xs(("defect_recall", POOLED), level=("metric", "fold"))
        for label in [*cell.classes(), ALL]:
            row: dict[Any, Any] = {
                ("Dataset", ""): cell.dataset,
                ("Folds", ""): scheme_name(part, cell.dataset, cell.scheme),
                ("Class", ""): label,
                ("Images", ""): int(counts.xs(label, level="class").iloc[0]),
            }
            for name in MAIN:
                low, high = cell.interval(name, "defect_recall", label)
                ends[(FEATURE_SETS[name].title, "AQL")].append((aql(high), aql(low)))
                row[(FEATURE_SETS[name].title, "AQL")] = aql(cell.value(name, "defect_recall", label))
                row[(FEATURE_SETS[name].title, _REJECTS)] = cell.value(name, "false_reject_rate", ALL)
            rows.append(row)
    numbers = wide_frame(rows)
    formats: dict[Any, Callable[[Any], str]] = dict.fromkeys(numbers.columns, "{:.2f}".format)
    formats |= dict.fromkeys([("Folds", ""), ("Class", ""), ("Images", "")], str)
    formats |= {("Dataset", ""): display_name}
    formats |= {(FEATURE_SETS[name].title, _REJECTS): "{:.2%}".format for name in MAIN}
    numbers, frame = with_intervals(numbers, display_frame(numbers, formats), ends, ".2f")
    title = "Escaping defects in percent (AQL by Eq. 1), and good images rejected"
    notes = (
        "AQL here is the percentage of a class's defective images that pass as good, not an acceptance limit of a "
        "sampling plan.",
        "In brackets: Clopper-Pearson 95 % intervals; none escaped does not mean that none will.",
        *synthetic_notes([cell.dataset for cell in cells]),
    )
    return Table("AQL", title, context, frame, numbers, notes, headers=3)
