"""Our Tables 2 and 3 beside the paper's figures for the same cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.evaluation.published_results import display_name, product_of, table2_paper, table3_paper
from lib.reporting.cells import TITLES, binary_title, synthetic_notes, wide_frame
from lib.reporting.table import Table, display_frame

_REJECTS = "Our false rejects"


def table2_beside_paper(table: Table) -> Table | None:
    """Return Table 2's recalls beside the paper's and the difference; None where the paper has no such data set."""
    printed = table2_paper().set_index(["dataset", "class", "metric", "features"])["value"]
    rows = []
    for row in table.numbers.to_dict("records"):
        dataset, label = row[("Dataset", "")], row[("Class", "")]
        for metric in ("class_recall", "defect_recall"):
            beside: dict[Any, Any] = _where(row, "Class") | {("Measure", ""): TITLES[metric]}
            for name in MAIN:
                ours = row[(TITLES[metric], FEATURE_SETS[name].title)]
                theirs = printed.get((product_of(dataset), label, metric, name))
                rejects = row[(TITLES["false_reject_rate"], FEATURE_SETS[name].title)]
                beside |= _beside(FEATURE_SETS[name].title, ours, theirs, rejects)
            rows.append(beside)
    return _beside_table("Table 2 beside the paper's", table, rows, "{:.2%}".format, _points)


def table3_beside_paper(table: Table) -> Table | None:
    """Return Table 3's values beside the paper's and the difference; None where the paper has no such data set."""
    printed = table3_paper().set_index(["dataset", "features", "metric", "keep"])["value"]
    feature_of = {one.title: one.key for one in FEATURE_SETS.values()}
    columns: list[Any] = list(table.numbers.columns)
    rows = []
    for row in table.numbers.to_dict("records"):
        dataset, features = row[("Dataset", "")], feature_of[row[("Features", "")]]
        for metric in ("defect_recall", "weighted_auc"):
            beside: dict[Any, Any] = _where(row, "Features") | {("Measure", ""): binary_title(metric)}
            for keep in [under for over, under in columns if over == binary_title(metric)]:
                theirs = printed.get((product_of(dataset), features, metric, float(keep.rstrip("%")) / 100))
                rejects = row[(TITLES["false_reject_rate"], keep)]
                beside |= _beside(keep, row[(binary_title(metric), keep)], theirs, rejects)
            rows.append(beside)
    return _beside_table("Table 3 beside the paper's", table, rows, "{:.4f}".format, "{:+z.4f}".format)


def _beside(over: str, ours: float, theirs: float | None, rejects: float) -> dict[Any, float]:
    paper = float("nan") if theirs is None else float(theirs)
    values = {"Ours": ours, "Paper": paper, "Difference": ours - paper, _REJECTS: rejects}
    return {(over, name): value for name, value in values.items()}


def _points(share: float) -> str:
    return f"{100 * share:+z.2f} pp"


def _where(row: Mapping[Any, Any], last: str) -> dict[Any, Any]:
    return {(name, ""): row[(name, "")] for name in ("Dataset", "Folds", last) if (name, "") in row}


def _beside_table(
    name: str,
    table: Table,
    rows: list[dict[Any, Any]],
    form: Callable[[Any], str],
    change: Callable[[Any], str],
) -> Table | None:
    known = [row for row in rows if product_of(row[("Dataset", "")])]
    if not known:
        return None
    numbers = wide_frame(known)
    headers = [column for column in numbers.columns if not column[1]]
    formats: dict[Any, Callable[[Any], str]] = dict.fromkeys(numbers.columns, form)
    formats |= {column: change for column in numbers.columns if column[1] == "Difference"}
    formats |= dict.fromkeys(headers, str) | {("Dataset", ""): display_name}
    datasets = list(dict.fromkeys(numbers[("Dataset", "")]))
    notes = (
        "Difference is ours minus the paper's; the paper gives no false-reject rates, so only ours stand here.",
        *synthetic_notes(datasets),
    )
    frame = display_frame(numbers, formats)
    return Table(name, table.title, table.caption, frame, numbers, notes, headers=len(headers))
