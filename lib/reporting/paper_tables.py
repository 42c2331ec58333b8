"""Tables 1, 2 and 3 of the paper, each recall with the false rejects of the same classifier, and the paper's beside."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.classification.operating_threshold import clopper_pearson
from lib.evaluation.metrics import ALL, OVERALL, POOLED, SHARES, TITLES, Good, at_keep, good_class, summary
from lib.evaluation.published_results import DISPLAY_NAMES, display_name, paper_table
from lib.evaluation.significance import fold_differences, format_p, smallest_attainable_p, wilcoxon
from lib.reporting.table import Table, Value, about

_RECALLS, _REJECTS, _LEAKS = ("class_recall", "defect_recall"), "false_reject_rate", " (leaks)"
Measured = tuple[dict[str, str], float, pd.DataFrame]  # first columns of a row, keep, measures


def table1(images: pd.DataFrame) -> Table:
    """Return Table 1, the images per class, with the paper's counts beside where it has the data set.

    Columns of `images`: dataset, id, label, and group where known; an image named several times counts once.
    """
    unique = images.drop_duplicates(["dataset", "id"])
    printed = paper_table(1).set_index(["dataset", "class"])["n"]
    beside = unique["dataset"].isin(DISPLAY_NAMES.keys()).any()  # not where it is synthetic
    grouped = "group" in unique and unique["group"].notna().any()
    rows: list[dict[str, Any]] = []
    sizes: Any = unique["dataset"].value_counts()
    for (dataset, label), part in unique.groupby(["dataset", "label"], observed=True):
        row: dict[str, Any] = {"Dataset": dataset, "Class": label}
        row |= {"Images": Value(len(part), ",.0f"), "Share": Value(len(part) / sizes[dataset], ".0%")}
        if grouped:
            row["Objects"] = Value(part["group"].nunique() or None, ",.0f")
        if beside:
            paper = float(printed.get((dataset, label), float("nan")))
            row |= {"Paper": Value(paper, ",.0f"), "Difference": Value(len(part) - paper, "+,.0f")}
        rows.append(row)
    return Table("Table 1", "Images per class", rows, headers=2)


def table2(predictions: pd.DataFrame, good: Good, *, binary: str, alpha: float) -> Table:
    """Return Table 2: recalls per class and feature set, and the data set's false-reject rates below.

    The best of a row's recalls is bold only when it beats the second best by Wilcoxon's test over folds, p < alpha.
    Raises `ValueError` for predictions that cannot be counted, and for those that lack models of all defects.
    """
    read, rows = [*_measured(at_keep(predictions, 1.0), good, binary, _RECALLS)], []
    for place, _, known in read:
        classes = sorted(set(known.index.unique("class")) - {ALL})
        wanted = [(metric, label, label) for metric in _RECALLS for label in classes]
        wanted += [("defect_recall", ALL, "all defects"), (_REJECTS, ALL, good_class(good, place["Dataset"]))]
        for metric, label, name in wanted:
            cells = _cells(known, metric, label, alpha)
            row = place | {"Measure": TITLES[metric], "Class": name}
            rows.append(row | {_title(features): cell for features, cell in cells.items()})
    return Table(rows=rows, headers=4, **_about("Table 2", read, alpha))


def table3(predictions: pd.DataFrame, good: Good, *, binary: str, alpha: float) -> Table:
    """Return Table 3: defect recall, ROC AUC and false-reject rate per share of the defects kept and feature set.

    Bold and what is raised: as in `table2`; compared are the feature sets at the same keep.
    """
    metrics = ("defect_recall", "weighted_auc", _REJECTS)
    read, rows = [*_measured(predictions, good, binary, metrics[:2])], []
    keeps = sorted({keep for _, keep, _ in read})
    for place in {tuple(place.items()): place for place, _, _ in read}.values():
        for metric in metrics:
            at = {keep: _cells(known, metric, ALL, alpha) for its, keep, known in read if its == place}
            for name in MAIN:
                row = place | {"Measure": TITLES[metric], "Features": _title(name)}
                rows.append(row | {_share(keep): at.get(keep, {}).get(name, Value(None)) for keep in keeps})
    return Table(rows=rows, headers=4, **_about("Table 3", read, alpha))


def _measured(found: pd.DataFrame, good: Good, binary: str, metrics: Sequence[str]) -> Iterator[Measured]:
    """Yield `summary` by features, metric, class and fold, of each data set and scheme, few defects first."""
    grouped = found.dropna(subset="group")["dataset"].unique()
    by_keep: Any = summary(found, good, binary, metrics).sort_values("keep", kind="stable")
    for (dataset, scheme, keep), rows in by_keep.groupby(["dataset", "scheme", "keep"], sort=False):
        leaks = _LEAKS * (scheme == "stratified" and dataset in grouped)
        known = rows.set_index(["features", "metric", "class", "fold"]).sort_index()
        yield {"Dataset": dataset, "Folds": scheme + leaks}, keep, known


def _cells(known: pd.DataFrame, metric: str, label: str, alpha: float) -> dict[str, Value]:
    """Return a measure by feature set, a share with its exact interval; the best bold as `table2` has it."""
    at = {name: (name, metric, label, OVERALL) for name in MAIN}
    there = {name: float(known["value"][key]) for name, key in at.items() if key in known.index}
    ranked, best = pd.Series(there, dtype=float).dropna().sort_values(ascending=False, kind="stable"), None
    if len(ranked) > 1 and metric != _REJECTS and ranked.iloc[0] != ranked.iloc[1]:
        first, second = map(str, ranked.index[:2])
        ahead = fold_differences(known["value"], first, second, metric, label)
        best = first if ahead.mean() > 0 and wilcoxon(ahead)["p"] < alpha else None
    cells = {}
    for name, key in at.items():
        value, interval = there.get(name, float("nan")), None
        if metric in SHARES and pd.notna(value):
            n = int(known["n"][key])
            interval = clopper_pearson(round(value * n), n)
        cells[name] = Value(value, ".3f" if "auc" in metric else ".1%", interval, ".0%", name == best)
    return cells


def _about(name: str, read: Sequence[Measured], alpha: float) -> dict[str, Any]:
    folds = []
    for place, _, known in read:
        n, scheme = (len(set(known.index.unique("fold")) - {OVERALL, POOLED}), place["Folds"].removesuffix(_LEAKS))
        of: dict[str, Any] = {"name": display_name(place["Dataset"]), "scheme": scheme, "folds": n}
        folds.append(of | {"smallest": smallest_attainable_p(n), "leaks": scheme != place["Folds"]})
    return about(name, read=folds, alpha=alpha, format_p=format_p)


def beside_paper(table: Table) -> Table | None:
    """Return the values of Table 2 or 3 beside the paper's; None where the paper has no such data set."""
    by_class = table.name == "Table 2"
    last, form = ("Class", ".2%") if by_class else ("Features", ".4f")
    ours = table.numbers.xs("", axis=1, level=1).set_index(["Dataset", "Measure", last]).to_dict("index")
    rows = []
    for cell in paper_table(2 if by_class else 3).to_dict("records"):
        name = _title(cell["features"])
        of, column = (cell["class"], name) if by_class else (name, _share(cell["keep"]))
        key = cell["dataset"], TITLES[cell["metric"]], of
        if column in ours.get(key, ()):
            value, theirs = ours[key][column], cell["value"]
            row = {"Dataset": key[0], "Measure": key[1], last: of, "Cell": column}
            row |= {"Ours": Value(value, form), "Paper": Value(theirs, form)}
            rows.append(row | {"Difference": Value(value - theirs, f"+z{form}")})
    note = f"Read recalls with our false rejects, in {table.name}; the paper gives none."
    return Table(f"{table.name} beside the paper's", table.title, rows, [note], headers=4) if rows else None


def _share(keep: float) -> str:
    return f"{100 * keep:g} %"


def _title(features: str) -> str:
    return FEATURE_SETS[features].title
