"""Tables 1, 2 and 3 in the paper's layout with false rejects beside every recall, and the paper's figures beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.evaluation.metrics import ALL, OVERALL, POOLED, TITLES, Good, at_keep
from lib.evaluation.published_results import DISPLAY_NAMES, display_name, paper_table
from lib.evaluation.significance import fold_differences, format_p, smallest_attainable_p, wilcoxon
from lib.reporting.measures import BINARY_TITLES, EXACT_INTERVALS, Measures, read_measures
from lib.reporting.table import Table, Value

_REJECTS = TITLES["false_reject_rate"]


def table1(images: pd.DataFrame) -> Table:
    """Return Table 1, the images per class, with the paper's counts beside where it has the data set.

    Columns of `images`: dataset, id, label, and group where known; an image named several times counts once.
    """
    unique = images.drop_duplicates(["dataset", "id"])
    printed = paper_table(1).set_index(["dataset", "class"])["n"]
    beside = unique["dataset"].isin(DISPLAY_NAMES.keys()).any()  # not where it is synthetic
    grouped = "group" in unique and unique["group"].notna().any()
    rows = []
    for (dataset, label), part in unique.groupby(["dataset", "label"], observed=True):
        row: dict[str, Any] = {"Dataset": dataset, "Class": label}
        row["Number of examples"] = Value(len(part), ",.0f")
        if grouped:
            row["Groups"] = Value(part["group"].nunique() or None, ",.0f")
        if beside:
            paper = float(printed.get((dataset, label), float("nan")))
            row |= {"Paper": Value(paper, ",.0f"), "Difference": Value(len(part) - paper, "+,.0f")}
        rows.append(row)
    return Table("Table 1", "Images per class", rows, headers=2)


def table2(predictions: pd.DataFrame, good: Good, *, binary: str, alpha: float) -> Table:
    """Return Table 2: recalls per class and feature set, with the data set's false-reject rates beside.

    The best of a row's recalls is bold only when it beats the second best by Wilcoxon's test over folds, p < alpha.
    Raises `ValueError` for predictions that cannot be counted, and for those that lack models of all defects.
    """
    metrics = ("class_recall", "defect_recall")
    read = read_measures(at_keep(predictions, 1.0), good, binary, metrics)
    rows = []
    for data in read:
        for label in data.classes():
            row: dict[Any, Any] = data.place() | {"Class": label}
            for metric in metrics:
                best = _best(data, metric, label, alpha)
                for name in MAIN:
                    row[TITLES[metric], _title(name)] = data.cell(name, metric, label, bold=name == best)
            for name in MAIN:
                row[_REJECTS, _title(name)] = data.cell(name, "false_reject_rate", interval=None)
            rows.append(row)
    title = "Recall of defective images by class and feature set, over all test folds"
    return _with_folds("Table 2", title, rows, _notes(read, alpha))


def table3(predictions: pd.DataFrame, good: Good, *, binary: str, alpha: float) -> Table:
    """Return Table 3: defect recall, ROC AUC and false-reject rate per share of the defects kept and feature set.

    Bold and what is raised: as in `table2`; compared are the feature sets at the same keep.
    """
    metrics = ("defect_recall", "weighted_auc", "false_reject_rate")
    read = read_measures(predictions, good, binary, metrics[:2])
    keeps = sorted({data.keep for data in read})
    rows = []
    for place in dict.fromkeys((data.dataset, data.scheme) for data in read):
        at = {data.keep: data for data in read if (data.dataset, data.scheme) == place}
        best = {(m, keep): _best(data, m, ALL, alpha) for m in metrics[:2] for keep, data in at.items()}
        for name in MAIN:
            row: dict[Any, Any] = next(iter(at.values())).place() | {"Features": _title(name)}
            for metric in metrics:
                looks: dict[str, Any] = {"interval": None} if metric == "false_reject_rate" else {}
                for keep in keeps:
                    looks |= {"form": ".4f", "interval_form": ".3f", "bold": best.get((metric, keep)) == name}
                    cell = at[keep].cell(name, metric, **looks) if keep in at else Value(None)
                    row[BINARY_TITLES[metric], f"{100 * keep:g} %"] = cell
            rows.append(row)
    title = "Results by share of the training defects kept, over all test folds"
    return _with_folds("Table 3", title, rows, _notes(read, alpha))


def _best(data: Measures, metric: str, label: str, alpha: float) -> str | None:
    """Return the feature set that is ahead of the second best by Wilcoxon's test over folds, p < alpha, or None."""
    values = pd.Series({name: data.value(name, metric, label) for name in MAIN}).dropna()
    ranked = values.sort_values(ascending=False, kind="stable")
    if len(ranked) < 2 or ranked.iloc[0] == ranked.iloc[1]:
        return None
    first, second = map(str, ranked.index[:2])
    ahead = fold_differences(data.known, first, second, metric, label)
    return first if ahead.mean() > 0 and wilcoxon(ahead)["p"] < alpha else None


def _notes(read: Sequence[Measures], alpha: float) -> list[str]:
    """Return the notes of Tables 2 and 3: the rule for bold and what is out of its reach, leaks and gaps."""
    notes = [
        "Read a recall with its false-reject rate: a lower threshold buys one with the other. Recalls and rates count "
        "the images of all folds; an AUC is the mean of the folds', as scores of two networks share no scale.",
        EXACT_INTERVALS,
        f"Bold: the best, where Wilcoxon's signed-rank test over the folds (two-sided, exact) gives p < {alpha:g} "
        "against the second best; false-reject rates are never bold.",
    ]
    for data in read:
        name, folds = (
            display_name(data.dataset),
            len(set(data.known.index.unique("fold")) - {OVERALL, POOLED}),
        )
        smallest = smallest_attainable_p(folds)
        reach = f"{folds} {data.scheme} folds, smallest possible p {format_p(smallest)}"
        if smallest >= alpha:
            reach += f", above {alpha:g}: nothing can be bold"
        notes.append(f"{name}: {reach}.")
        if data.leaks:
            notes.append(f"{name}: stratified folds leak, images of one object stand in training and test.")
        if data.missing:
            gaps = "; ".join(data.missing)
            notes.append(f"{name}: classes without a test image have no weight in that fold's AUC: {gaps}.")
    return list(dict.fromkeys(notes))


def _with_folds(name: str, title: str, rows: Sequence[dict[Any, Any]], notes: Sequence[str]) -> Table:
    """Return the table, with a column for the scheme of folds only where there are several."""
    several = len({row["Folds"].removesuffix(" (leaks)") for row in rows}) > 1
    rows = rows if several else [{key: row[key] for key in row if key != "Folds"} for row in rows]
    return Table(name, title, rows, notes, headers=2 + several)


def table2_beside_paper(table: Table) -> Table | None:
    """Return Table 2's recalls beside the paper's and the difference; None where the paper has no such data set."""
    paper = paper_table(2).rename(columns={"class": "row", "features": "under"})
    paper = paper.assign(under=paper["under"].map(_title), over=paper["metric"].map(TITLES))
    return _beside_paper(table, paper, "Class", ".2%", lambda x: f"{100 * x:+z.2f} pp")


def table3_beside_paper(table: Table) -> Table | None:
    """Return Table 3's values beside the paper's and the difference; None where the paper has no such data set."""
    paper = paper_table(3).rename(columns={"features": "row", "keep": "under"})
    under = (100 * paper["under"]).map("{:.0f} %".format)
    paper = paper.assign(row=paper["row"].map(_title), under=under, over=paper["metric"].map(BINARY_TITLES))
    return _beside_paper(table, paper, "Features", ".4f", "{:+z.4f}".format)


def _beside_paper(
    table: Table, paper: pd.DataFrame, last: str, form: str, change: Callable[[float], str]
) -> Table | None:
    """Return a row per row of `table` and heading of the paper (columns dataset, row, over, under, value)."""
    printed = paper.set_index(["dataset", "row", "over", "under"])["value"].to_dict()
    ours, rows = table.numbers, []
    for at, product in enumerate(ours["Dataset", ""]):
        first = {key: ours[key, ""].iloc[at] for key in ("Dataset", "Folds", last) if (key, "") in ours}
        for title in paper["over"].unique() if product in DISPLAY_NAMES else ():
            row: dict[Any, Any] = first | {"Measure": title}
            for under, value in ours[title].iloc[at].items():
                theirs = printed.get((product, first[last], title, under), float("nan"))
                row[under, "Ours"] = Value(value, form)
                row[under, "Paper"] = Value(theirs, form)
                row[under, "Difference"] = Value(value - theirs, change)
                row[under, "Our false rejects"] = Value(ours[_REJECTS, under].iloc[at], form)
            rows.append(row)
    notes = [
        "Difference is ours minus the paper's; the paper gives no false-reject rates, so only ours stand here."
    ]
    name = f"{table.name} beside the paper's"
    return Table(name, table.title, rows, notes, headers=len(first) + 1) if rows else None


def _title(features: str) -> str:
    return FEATURE_SETS[features].title
