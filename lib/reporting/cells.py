"""What Tables 2 and 3 share: the measures of one data set, the tests behind bold figures, and the notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lib.classification.feature_sets import MAIN
from lib.classification.operating_threshold import clopper_pearson
from lib.evaluation.metrics import (
    ALL,
    FPR_LIMIT,
    MEAN,
    POOLED,
    RECALL_AT_5_FPR,
    Good,
    check_predictions,
    summary,
)
from lib.evaluation.published_results import display_name, is_synthetic
from lib.evaluation.significance import (
    Wilcoxon,
    by_measure,
    paired_folds,
    smallest_attainable_p,
    wilcoxon_paired,
)
from lib.reporting.table import MISSING

TITLES = {
    "class_recall": "Correct defect class recall",
    "defect_recall": "Defect recall",
    "false_reject_rate": "False reject rate",
    "weighted_auc": "ROC AUC (Multiclass)",
    "binary_auc": "ROC AUC (Good or defective)",
    RECALL_AT_5_FPR: f"Defect recall at {FPR_LIMIT:.0%} false rejects",
}
SHARES = ("class_recall", "defect_recall", "false_reject_rate")  # of images, so with exact intervals
INTERVAL = ", 95 % interval"
IN_BRACKETS = (
    "In brackets: Clopper-Pearson 95 % intervals, which take images as independent (too narrow where objects "
    "repeat)."
)
ESTIMATES = {POOLED: "pooled over all test folds", MEAN: "the mean of the folds' values"}


@dataclass(frozen=True)
class Cell:
    """The measures of one data set, scheme and keep; `missing` says which classes some fold's AUC had to leave out."""

    dataset: str
    scheme: str
    known: pd.Series
    counts: pd.Series
    estimate: str
    missing: tuple[str, ...]

    def value(self, features: str, metric: str, label: str) -> float:
        """Return one measure, NaN where it was not taken."""
        return float(self.known.get((features, metric, label, self.estimate), float("nan")))

    def interval(self, features: str, metric: str, label: str) -> tuple[float, float]:
        """Return the Clopper-Pearson 95 % interval of a pooled share of images, NaN for anything else."""
        value = self.value(features, metric, label)
        if metric not in SHARES or self.estimate != POOLED or pd.isna(value):
            return float("nan"), float("nan")
        n = int(self.counts[(features, metric, label, POOLED)])
        return clopper_pearson(round(value * n), n)

    def classes(self) -> list[str]:
        """Return the defect classes, sorted."""
        labels = set(
            self.known.index[self.known.index.get_level_values("metric") == "defect_recall"].unique("class")
        )
        return sorted(labels - {ALL})

    def folds(self) -> int:
        """Return the number of test folds."""
        return len(set(self.known.index.unique("fold")) - {POOLED, MEAN})


@dataclass
class BoldTests:
    """Decides what is bold, and keeps the tests for the notes."""

    alpha: float
    done: list[tuple[Cell, Wilcoxon]] = field(default_factory=list)

    def best(self, cell: Cell, metric: str, label: str) -> str | None:
        """Return the feature set to set bold, or None.

        It is ahead of the second best, and Wilcoxon's signed-rank test over the folds says so with p < alpha.
        """
        values = {name: cell.value(name, metric, label) for name in MAIN}
        ranked = sorted((name for name in values if pd.notna(values[name])), key=lambda name: -values[name])
        if len(ranked) < 2:
            return None
        folds = paired_folds(cell.known, ranked[0], ranked[1], metric, label)
        test = wilcoxon_paired(folds["a"].to_numpy(), folds["b"].to_numpy())
        self.done.append((cell, test))
        ahead = values[ranked[0]] > values[ranked[1]] and (folds["a"] - folds["b"]).mean() > 0
        return ranked[0] if ahead and test.p < self.alpha else None


def read_cells(
    part: pd.DataFrame,
    good: Good,
    binary: str,
    estimate: str,
    metrics: Sequence[str],
    measures: pd.DataFrame | None,
) -> list[Cell]:
    """Return the measures (computed where `measures` is None) of predictions at one keep, by data set and scheme."""
    if estimate not in ESTIMATES:
        raise ValueError(f"estimate is {estimate!r}: expected one of {list(ESTIMATES)}")
    check_predictions(part, good)
    if measures is None:
        measures = summary(part, good, binary, metrics)
    here = measures[measures["keep"] == part["keep"].iloc[0]]
    groups = [group for _, group in here.groupby(["dataset", "scheme"], sort=False)]
    return [
        Cell(
            group["dataset"].iloc[0],
            group["scheme"].iloc[0],
            by_measure(group),
            by_measure(group, "n"),
            estimate,
            _left_out(group),
        )
        for group in groups
    ]


def with_intervals(
    numbers: pd.DataFrame, frame: pd.DataFrame, ends: Mapping[Any, Sequence[tuple[float, float]]], form: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both forms of a table with intervals: `ends` gives low and high of each row, by column (over, under).

    The raw numbers get columns of their own, the shown texts get brackets; what has no interval (NaN) stays as it is.
    """
    numbers, frame = numbers.copy(), frame.copy()
    for (over, under), pairs in ends.items():
        if any(pd.notna(low) for low, _ in pairs):
            for place, end in enumerate(("low", "high")):
                numbers[(over + INTERVAL, f"{under} {end}")] = [pair[place] for pair in pairs]
            frame[(over, under)] = [
                shown if pd.isna(low) else f"{shown} ({low:{form}}–{high:{form}})"
                for shown, (low, high) in zip(frame[(over, under)], pairs, strict=True)
            ]
    return numbers, frame


def wide_frame(rows: list[dict[Any, Any]]) -> pd.DataFrame:
    """Return rows keyed by (heading, column) as a table with those columns."""
    values = [list(row.values()) for row in rows]
    return pd.DataFrame(values, columns=pd.MultiIndex.from_tuples(list(rows[0])))


def binary_title(metric: str) -> str:
    """Return the metric's heading in Table 3."""
    return "Defect recall (Binary)" if metric == "defect_recall" else TITLES[metric]


def scheme_name(predictions: pd.DataFrame, dataset: str, scheme: str) -> str:
    """Return the scheme's name; stratified folds of a data set that knows its groups are said to leak."""
    return f"{scheme} (leaks)" if _leaks(predictions, dataset, scheme) else scheme


def synthetic_notes(datasets: Sequence[str]) -> tuple[str, ...]:
    """Return the note that stand-ins need, if there are any."""
    drawn = [display_name(name) for name in datasets if is_synthetic(name)]
    note = "drawn images with the classes of the paper's product, not the paper's data; no replication of its figures."
    return (f"{', '.join(drawn)}: {note}",) if drawn else ()


def notes_of(
    predictions: pd.DataFrame, cells: Sequence[Cell], tests: BoldTests, numbers: pd.DataFrame
) -> tuple[str, ...]:
    """Return a table's notes: the rule for bold and what was out of its reach, folds, leaks, gaps and stand-ins."""
    alpha = tests.alpha
    notes = [
        "Read a recall with its false-reject rate: a lower threshold buys one with the other.",
        f"Bold: the best, where Wilcoxon's signed-rank test over the folds (two-sided, exact) gives p < {alpha:g} "
        "against the second best; false-reject rates are never bold.",
        *dict.fromkeys(_reach(cell, alpha) for cell in cells),
    ]
    if any(cell.estimate == POOLED for cell in cells):
        notes.insert(1, IN_BRACKETS)
    able = [test for cell, test in tests.done if smallest_attainable_p(cell.folds()) < alpha]
    tied = sum(test.smallest_p >= alpha for test in able)
    if tied:
        notes.append(
            f"In {tied} of {len(able)} comparisons too many folds tie (or lack the class) for p < {alpha:g} to be "
            "within reach."
        )
    leaking = [cell for cell in cells if _leaks(predictions, cell.dataset, cell.scheme)]
    for name in dict.fromkeys(display_name(cell.dataset) for cell in leaking):
        notes.append(f"{name}: stratified folds leak, images of one object stand in training and test.")
    gaps = dict.fromkeys(f"{display_name(cell.dataset)}: {gap}" for cell in cells for gap in cell.missing)
    if gaps and any(column[0] == TITLES["weighted_auc"] for column in numbers.columns):
        notes.append(f"Classes without a test image have no weight in that fold's AUC: {'; '.join(gaps)}.")
    if numbers.isna().any(axis=None):
        notes.append(f"{MISSING}: not measured.")
    return (*notes, *synthetic_notes(list(dict.fromkeys(cell.dataset for cell in cells))))


def _reach(cell: Cell, alpha: float) -> str:
    folds = cell.folds()
    smallest = smallest_attainable_p(folds)
    reach = (
        "" if smallest < alpha else f", above {alpha:g}: significance is out of reach and nothing can be bold"
    )
    return f"{display_name(cell.dataset)}: {folds} {cell.scheme} folds, smallest p in reach {smallest:.2g}{reach}."


def _leaks(predictions: pd.DataFrame, dataset: str, scheme: str) -> bool:
    groups = predictions.loc[predictions["dataset"] == dataset, "group"]
    return scheme == "stratified" and bool(groups.notna().any())


def _left_out(group: pd.DataFrame) -> tuple[str, ...]:
    rows = group[(group["metric"] == "weighted_auc") & (group["fold"] != MEAN) & group["missing"].map(bool)]
    places = zip(rows["missing"], rows["fold"], strict=True)
    return tuple(dict.fromkeys(f"{name} (fold {fold})" for names, fold in places for name in names))
