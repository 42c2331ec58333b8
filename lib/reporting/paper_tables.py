"""Tables 1, 2 and 3 in the paper's layout with false rejects beside every recall, and the paper's figures beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.evaluation.metrics import ALL, POOLED, Good, at_keep
from lib.evaluation.published_results import display_name, product_of, table1_paper
from lib.reporting.aql import aql_table
from lib.reporting.beside import table2_beside_paper, table3_beside_paper
from lib.reporting.cells import (
    ESTIMATES,
    TITLES,
    BoldTests,
    binary_title,
    notes_of,
    read_cells,
    scheme_name,
    synthetic_notes,
    wide_frame,
    with_intervals,
)
from lib.reporting.operating import operating_points, operating_points_by_class
from lib.reporting.table import Table, display_frame

__all__ = [
    "Table",
    "aql_table",
    "operating_points",
    "operating_points_by_class",
    "table1",
    "table2",
    "table2_beside_paper",
    "table3",
    "table3_beside_paper",
]


def table1(images: pd.DataFrame, context: str) -> Table:
    """Return Table 1, the images per class, with the paper's counts beside where it has the data set.

    `images` has columns dataset, id, label, and group where objects are known; an image named several times (as in
    predictions) counts once.
    """
    unique = images.drop_duplicates(["dataset", "id"])
    by_class = unique.groupby(["dataset", "label"], observed=True)
    numbers = by_class.agg(**{"Number of examples": ("id", "size")}).reset_index()
    numbers.columns = pd.Index(["Dataset", "Class", "Number of examples"])
    if "group" in unique and unique["group"].notna().any():
        groups = by_class["group"].nunique()
        numbers["Groups"] = groups.where(groups > 0).to_numpy()
    datasets = list(dict.fromkeys(numbers["Dataset"]))
    if any(product_of(name) for name in datasets):
        printed = table1_paper().set_index(["dataset", "class"])["n"]
        keys = [
            (product_of(row[0]), row[1]) for row in zip(numbers["Dataset"], numbers["Class"], strict=True)
        ]
        numbers["Paper"] = [float(printed.get(key, float("nan"))) for key in keys]
        numbers["Difference"] = numbers["Number of examples"] - numbers["Paper"]
    formats: dict[Any, Callable[[Any], str]] = {"Dataset": display_name, "Difference": lambda n: f"{n:+,.0f}"}
    formats |= dict.fromkeys(("Number of examples", "Groups", "Paper"), lambda n: f"{n:,.0f}")
    title = "Images per class"
    return Table(
        "Table 1",
        title,
        context,
        display_frame(numbers, formats),
        numbers,
        synthetic_notes(datasets),
        headers=2,
    )


def table2(
    predictions: pd.DataFrame,
    good: Good,
    context: str,
    *,
    keep: float = 1.0,
    binary: str = "collapsed",
    alpha: float = 0.005,
    estimate: str = POOLED,
    measures: pd.DataFrame | None = None,
) -> Table:
    """Return Table 2: recalls per class and feature set, with the data set's false-reject rates beside.

    The best of a row's recalls is bold only when it beats the second best by Wilcoxon's test over folds, p < alpha.
    `estimate` is pooled or mean. `measures` is `summary` of the same predictions, where already computed. Raises
    `ValueError` for predictions that cannot be counted, for a keep that they lack, and for another estimate.
    """
    part = at_keep(predictions, keep)
    cells = read_cells(part, good, binary, estimate, ("class_recall", "defect_recall"), measures)
    tests, bold = BoldTests(alpha), set[tuple[int, int]]()
    rows: list[dict[Any, Any]] = []
    ends: dict[Any, list[tuple[float, float]]] = {}
    metrics = ("class_recall", "defect_recall")
    folds = len({cell.scheme for cell in cells}) > 1
    for cell in cells:
        for label in cell.classes():
            row: dict[Any, Any] = {("Dataset", ""): cell.dataset}
            row |= {("Folds", ""): scheme_name(part, cell.dataset, cell.scheme)} if folds else {}
            row[("Class", "")] = label
            for metric in metrics:
                best = tests.best(cell, metric, label)
                for name in MAIN:
                    bold |= {(len(rows), len(row))} if name == best else set()
                    row[(TITLES[metric], FEATURE_SETS[name].title)] = cell.value(name, metric, label)
                    interval = cell.interval(name, metric, label)
                    ends.setdefault((TITLES[metric], FEATURE_SETS[name].title), []).append(interval)
            for name in MAIN:
                row[(TITLES["false_reject_rate"], FEATURE_SETS[name].title)] = cell.value(
                    name, "false_reject_rate", ALL
                )
            rows.append(row)
    numbers = wide_frame(rows)
    formats: dict[Any, Callable[[Any], str]] = dict.fromkeys(numbers.columns, "{:.2%}".format)
    formats |= {("Dataset", ""): display_name, ("Class", ""): str, ("Folds", ""): str}
    notes = notes_of(part, cells, tests, numbers)
    title = f"Recall of defective images by class and feature set, {ESTIMATES[estimate]}"
    numbers, frame = with_intervals(numbers, display_frame(numbers, formats), ends, ".1%")
    return Table("Table 2", title, context, frame, numbers, notes, frozenset(bold), headers=2 + folds)


def table3(
    predictions: pd.DataFrame,
    good: Good,
    context: str,
    *,
    binary: str = "collapsed",
    alpha: float = 0.005,
    estimate: str = POOLED,
    measures: pd.DataFrame | None = None,
) -> Table:
    """Return Table 3: defect recall, ROC AUC and false-reject rate per share of the defects kept and feature set.

    Bold, `estimate`, `measures` and what is raised: as in `table2`; compared are the feature sets at the same keep.
    """
    metrics = ("defect_recall", "weighted_auc", "false_reject_rate")
    keeps = sorted(set(predictions["keep"]))
    of_keep = {
        keep: read_cells(at_keep(predictions, keep), good, binary, estimate, metrics[:2], measures)
        for keep in keeps
    }
    by_place = {(cell.dataset, cell.scheme, keep): cell for keep in keeps for cell in of_keep[keep]}
    places = list(dict.fromkeys((dataset, scheme) for dataset, scheme, _ in by_place))
    tests, bold = BoldTests(alpha), set[tuple[int, int]]()
    rows: list[dict[Any, Any]] = []
    ends: dict[Any, list[tuple[float, float]]] = {}
    folds = len({scheme for _, scheme in places}) > 1
    for dataset, scheme in places:
        here = {
            keep: by_place[(dataset, scheme, keep)] for keep in keeps if (dataset, scheme, keep) in by_place
        }
        best = {
            (metric, keep): tests.best(cell, metric, ALL)
            for metric in metrics[:2]
            for keep, cell in here.items()
        }
        for name in MAIN:
            row: dict[Any, Any] = {("Dataset", ""): dataset}
            row |= {("Folds", ""): scheme_name(predictions, dataset, scheme)} if folds else {}
            row[("Features", "")] = FEATURE_SETS[name].title
            for metric in metrics:
                for keep in keeps:
                    bold |= {(len(rows), len(row))} if best.get((metric, keep)) == name else set()
                    value = here[keep].value(name, metric, ALL) if keep in here else float("nan")
                    row[(binary_title(metric), f"{100 * keep:g}%")] = value
                    if metric == "defect_recall":
                        interval = here[keep].interval(name, metric, ALL) if keep in here else (value, value)
                        ends.setdefault((binary_title(metric), f"{100 * keep:g}%"), []).append(interval)
            rows.append(row)
    numbers = wide_frame(rows)
    formats: dict[Any, Callable[[Any], str]] = dict.fromkeys(numbers.columns, "{:.4f}".format)
    formats |= {("Dataset", ""): display_name, ("Features", ""): str, ("Folds", ""): str}
    notes = notes_of(predictions, list(by_place.values()), tests, numbers)
    title = f"Results by share of the training defects kept, {ESTIMATES[estimate]}"
    numbers, frame = with_intervals(numbers, display_frame(numbers, formats), ends, ".3f")
    return Table("Table 3", title, context, frame, numbers, notes, frozenset(bold), headers=2 + folds)
