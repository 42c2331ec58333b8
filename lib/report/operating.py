"""What an inspection line would run at: false rejects for a required defect recall, and AQL per class (Eq. 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from lib.report.cells import Good, at_keep, read_cells, scheme_name, synthetic_notes, wide_frame
from lib.report.metrics import (
    ALL,
    FEATURE_NAMES,
    FEATURE_SETS,
    POOLED,
    check_predictions,
    decisions,
    good_of,
    thresholds,
)
from lib.report.paper import display_name
from lib.report.rendering import MISSING, Table, display_frame
from lib.report.statistics import clopper_pearson

_OPTIMISTIC = (
    "Thresholds on 1 - p(good) are chosen on the pooled test folds themselves: optimistic. A line has to choose them "
    "on images of its own.",
    "In brackets: Clopper-Pearson 95 % intervals, which take images as independent (too narrow where objects repeat).",
)


def operating_points(
    predictions: pd.DataFrame,
    good: Good,
    context: str = "",
    *,
    required: Sequence[float] = (0.90, 0.95, 0.99, 0.995),
    keep: float = 1.0,
    binary: str = "collapsed",
) -> Table:
    """Return what share of good images each feature set rejects to reach a required defect recall.

    Per data set, scheme, feature set and repeat: the highest threshold on 1 - p(good), over all test folds, that
    reaches it. Raises `ValueError` for a recall outside (0, 1] and for predictions that cannot be counted.
    """
    part = at_keep(predictions, keep)
    check_predictions(part, good)
    keys = ["dataset", "scheme", "repeat", "features"]
    found = []
    for _, rows in decisions(part, binary).groupby(keys, sort=False, observed=True):
        points = thresholds(rows, good_of(good, rows["dataset"].iloc[0]), required)
        found.append(points.assign(**{name: rows[name].iloc[0] for name in keys}))
    numbers = pd.concat(found, ignore_index=True)
    for share, k, n in (
        ("defect_recall", "caught", "n_defects"),
        ("false_reject_rate", "rejected", "n_good"),
    ):
        numbers[share] = numbers[k] / numbers[n]
        ends = [clopper_pearson(*counts) for counts in zip(numbers[k], numbers[n], strict=True)]
        numbers[f"{share}_low"], numbers[f"{share}_high"] = zip(*ends, strict=True)
    numbers = numbers[[*keys, *(name for name in numbers.columns if name not in keys)]]
    shown = {
        "Dataset": numbers["dataset"].map(display_name),
        "Folds": [
            scheme_name(part, *place) for place in zip(numbers["dataset"], numbers["scheme"], strict=True)
        ],
        "Repeat": numbers["repeat"],
        "Features": numbers["features"].map(FEATURE_NAMES),
        "Required defect recall": numbers["required"].map("{:.1%}".format),
        "Threshold": numbers["threshold"].map("{:.3g}".format),
        "Defect recall": _with_interval(numbers, "defect_recall"),
        "False reject rate": _with_interval(numbers, "false_reject_rate"),
    }
    frame = pd.DataFrame(shown).astype(str)
    if numbers["repeat"].nunique() == 1:
        frame = frame.drop(columns="Repeat")
    title = "False rejects that a required defect recall costs"
    notes = (*_OPTIMISTIC, *synthetic_notes(list(dict.fromkeys(numbers["dataset"]))))
    headers = list(frame.columns).index("Required defect recall") + 1
    return Table("Operating points", title, context, frame, numbers, notes, headers=headers)


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

    Each with the Clopper-Pearson 95 % interval of its escapes, pooled over all test folds.
    """
    part = at_keep(predictions, keep)
    cells = read_cells(part, good, binary, POOLED, ("defect_recall",), measures)
    rows = []
    for cell in cells:
        images = part[(part["dataset"] == cell.dataset) & (part["scheme"] == cell.scheme)].drop_duplicates(
            "id"
        )
        counts = images["label"].value_counts()
        for label in [*cell.classes(), ALL]:
            n = int(counts[label] if label != ALL else counts[cell.classes()].sum())
            row: dict[Any, Any] = {
                ("Dataset", ""): cell.dataset,
                ("Folds", ""): scheme_name(part, cell.dataset, cell.scheme),
            }
            row |= {("Class", ""): label, ("Images", ""): n}
            for name in FEATURE_SETS:
                shown = FEATURE_NAMES[name]
                recall = cell.value(name, "defect_recall", label)
                low, high = (
                    clopper_pearson(round((1 - recall) * n), n) if pd.notna(recall) else (recall, recall)
                )
                row |= {
                    (shown, "AQL"): 100 - 100 * recall,
                    (shown, "Low"): 100 * low,
                    (shown, "High"): 100 * high,
                }
                row[(shown, "False reject rate")] = cell.value(name, "false_reject_rate", ALL)
            rows.append(row)
    numbers = wide_frame(rows)
    frame = _aql_frame(numbers)
    title = "Escaping defects in percent (AQL by Eq. 1), and good images rejected"
    notes = (
        "AQL here is the percentage of a class's defective images that pass as good, not an acceptance limit of a "
        "sampling plan.",
        "In brackets: Clopper-Pearson 95 % intervals; none escaped does not mean that none will.",
        *synthetic_notes([cell.dataset for cell in cells]),
    )
    return Table("AQL", title, context, frame, numbers, notes, headers=3)


def _aql_frame(numbers: pd.DataFrame) -> pd.DataFrame:
    formats: dict[Any, Callable[[Any], str]] = dict.fromkeys(numbers.columns, "{:.2f}".format)
    formats |= dict.fromkeys([("Folds", ""), ("Class", ""), ("Images", "")], str) | {
        ("Dataset", ""): display_name
    }
    formats |= {(FEATURE_NAMES[name], "False reject rate"): "{:.2%}".format for name in FEATURE_SETS}
    frame = display_frame(numbers, formats)
    for name in FEATURE_NAMES.values():
        ends = " (" + frame[(name, "Low")] + MISSING + frame[(name, "High")] + ")"
        frame[(name, "AQL")] += ends.where(frame[(name, "AQL")] != MISSING, "")
    return frame[[column for column in frame.columns if column[1] not in ("Low", "High")]]


def _with_interval(numbers: pd.DataFrame, share: str) -> list[str]:
    columns = (numbers[share], numbers[f"{share}_low"], numbers[f"{share}_high"])
    return [f"{value:.2%} ({low:.2%}–{high:.2%})" for value, low, high in zip(*columns, strict=True)]
