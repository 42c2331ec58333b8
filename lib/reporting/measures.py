"""The measures of one data set as tables use them: values with their intervals, by feature set and class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lib.classification.operating_threshold import clopper_pearson
from lib.evaluation import metrics as m
from lib.evaluation.metrics import ALL, OVERALL, SHARES, Good
from lib.evaluation.significance import by_measure
from lib.reporting.table import Value

EXACT_INTERVALS = (
    "In brackets: exact 95 % CI (Clopper-Pearson) for independent images, too narrow where objects repeat."
)


@dataclass(frozen=True)
class Measures:
    """The measures of one data set, scheme and keep over all test folds.

    known: values, counts: images behind them, by (features, metric, class, fold); leaks: images of one object stand in
    training and test folds.
    """

    dataset: str
    scheme: str
    keep: float
    known: pd.Series
    counts: pd.Series
    leaks: bool

    def place(self) -> dict[str, str]:
        """Return the first columns of a row: the data set, and its folds with the mark of those that leak."""
        return {"Dataset": self.dataset, "Folds": self.scheme + (" (leaks)" if self.leaks else "")}

    def value(self, features: str, metric: str, label: str = ALL) -> float:
        """Return one measure, NaN where it was not taken."""
        return float(self.known.get((features, metric, label, OVERALL), float("nan")))

    def cell(self, features: str, metric: str, label: str = ALL, **looks: Any) -> Value:
        """Return one measure as a cell that looks as `Value` has it; a share of images has an exact interval."""
        value, interval = self.value(features, metric, label), None
        if metric in SHARES and pd.notna(value):
            n = int(self.counts[(features, metric, label, OVERALL)])
            interval = clopper_pearson(round(value * n), n)
        return Value(value, interval=interval, **looks)


def read_measures(found: pd.DataFrame, good: Good, binary: str, metrics: Sequence[str]) -> list[Measures]:
    """Return the measures of predictions by data set, scheme and, from few defects to all, keep.

    Raises `ValueError` as `summary` does.
    """
    grouped, read = found.dropna(subset="group")["dataset"].unique(), []
    by_keep: Any = m.summary(found, good, binary, metrics).sort_values("keep", kind="stable")
    for (dataset, scheme, keep), rows in by_keep.groupby(["dataset", "scheme", "keep"], sort=False):
        leaks = scheme == "stratified" and dataset in grouped
        known, counts = by_measure(rows), by_measure(rows, "n")
        read.append(Measures(dataset, scheme, keep, known, counts, leaks))
    return read
