"""Tables of numbers that were computed before: comparisons, operating points, and what a labelled defect buys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.label_efficiency import LabelEfficiency, describe_need
from lib.evaluation.metrics import ALL, OVERALL, POOLED, RECALL_AT_5_FPR, TITLES, percent
from lib.evaluation.operating_points import CONFORMAL, TRAINING
from lib.evaluation.significance import format_p
from lib.reporting.measures import EXACT
from lib.reporting.style import present
from lib.reporting.table import Table, Value

_THRESHOLDS = {
    TRAINING: "Threshold from training images, checked on the test folds",
    CONFORMAL: "Split-conformal bound, checked on the test folds",
}
_RECALL, _REJECTS = TITLES["defect_recall"], TITLES["false_reject_rate"]
_TRAINED = (
    "An image is rejected where 1 - p(good) reaches the fold's threshold. Training images are scored by models that "
    "did not see them (inner folds); nothing of a test fold is used to choose."
)
_BOUND = (
    "The conformal bound holds for new defects that are like the calibration defects. Images of one object are not "
    "independent, and the scored models are the inner folds', so here it is a guide, not a guarantee."
)


def comparison_table(compared: pd.DataFrame, alpha: float = 0.005, by_class: bool = False) -> Table | None:
    """Return `compare`'s rows for readers, over all defect classes or of single ones; None where there are none."""
    if compared.empty:
        return None
    part = compared[(compared["class"] != ALL) if by_class else (compared["class"] == ALL)]
    if part.empty:
        return None
    rows = [
        {
            "Dataset": row["dataset"],
            "Folds": row["scheme"],
            "Measure": TITLES[row["metric"]] + (f": {row['class']}" if by_class else ""),
            "Compared": f"{FEATURE_SETS[row['a']].title} against {FEATURE_SETS[row['b']].title}",
            "Values": f"{row['value_a']:.3f} / {row['value_b']:.3f}",
            "False rejects": f"{percent(row['false_rejects_a'])} / {percent(row['false_rejects_b'])}",
            "Difference (95 % CI)": f"{row['difference']:+z.3f} ({row['low']:+z.3f} to {row['high']:+z.3f})",
            "Between trainings (sd)": Value(row["retraining"], ".3f"),
            "Folds that differ": f"{row['n_nonzero']} of {row['n']}",
            "Smallest possible p": Value(row["smallest_p"], format_p),
            "p (Wilcoxon)": p_value(row, "p"),
            "p (Holm)": p_value(row, "p_holm"),
            "p (corrected t)": Value(row["p_corrected"], format_p),
            "Effect": f"{row['effect']:+z.2f}",
        }
        for row in part.to_dict("records")
    ]
    out_of_reach = int((~part["in_reach"].astype(bool)).sum())
    notes = [
        "Rankings (AUC, recall at 5 % false rejects) are the mean of the folds, each from its own scores; recalls "
        "at classifiers' own thresholds count the images of all folds.",
        "Intervals: paired bootstrap of test images, by group where groups are known, and of the trainings where there "
        "are repeats; with one training per fold they are at least as wide as the spread of the folds demands (t).",
        f"p (Wilcoxon): signed-rank test over the folds, two-sided, exact; bold below {alpha:g}. p (Holm): adjusted "
        "for all rankings compared, not for recalls at own thresholds. Not tested: both make the "
        "same predictions.",
        "p (corrected t): Nadeau and Bengio's resampled t-test, whose variance allows for training folds that share "
        "images; Wilcoxon's test does not allow for them.",
        "Effect: matched-pairs rank-biserial correlation, from -1 to 1 (every fold favours the first).",
    ]
    if out_of_reach:
        few = f"In {out_of_reach} of {len(part)} comparisons too few folds differ"
        notes.append(f"{few} for any p below {alpha:g}.")
    name = "Comparisons by class" if by_class else "Comparisons"
    title = "Differences between feature sets, with all defects" + (", single classes" if by_class else "")
    return Table(name, title, rows, notes, headers=4, numbers=part)


def p_value(row: Mapping[Any, Any], name: str) -> Value | str:
    """Return a p of a row of `compare` as a cell, bold where it is below the study's level."""
    bold = row.get("significant" if name == "p" else "significant_holm", False)
    return "not tested" if row.get("identical") == 1 else Value(row.get(name), format_p, bold=bold)


def folds_table(measures: pd.DataFrame) -> pd.DataFrame:
    """Return `summary`'s figures over all classes: over all folds, the folds' spread, and rankings of pooled scores.

    One row per dataset, scheme, keep, metric and features; columns overall, sd, least, most, folds, pooled.
    """
    keys = ["dataset", "scheme", "keep", "metric", "features"]
    part = measures[measures["class"] == ALL].set_index(keys)
    single = part[~part["fold"].isin([OVERALL, POOLED])].groupby(keys, sort=False)["value"]
    spread = single.agg(sd="std", least="min", most="max", folds="count")
    beside = {
        name: part[part["fold"] == fold]["value"] for name, fold in (("overall", OVERALL), ("pooled", POOLED))
    }
    return spread.assign(**beside).reset_index()[[*keys, "overall", *spread.columns, "pooled"]]


def operating_points(points: pd.DataFrame, prevalence: float = 0.01) -> Table:
    """Return what share of good images each feature set rejects, and what escapes, for each required defect recall."""
    rows, escapes = [], f"Escapes per million, {100 * prevalence:g} % defective"
    for row, (features, required), lines in _groups(points[points["class"] == ALL], "features", "required"):
        of_method = _by("method", lines)
        row |= {"Features": FEATURE_SETS[features].title, "Required defect recall": Value(required, ".1%")}
        for method, heading in _THRESHOLDS.items():
            found = of_method.get(method, {})
            row[heading, _RECALL] = _share(found, "recall")
            if found.get("recall_high", required) < required:
                row[heading, _RECALL] = f"missed: {row[heading, _RECALL]}"
            if method == CONFORMAL and found and pd.isna(found["caught"]):
                needed = f"{found['n_needed']:.0f}".replace("inf", "endlessly many")
                refused = f"no guarantee: {found['n_calibration']:.0f} calibration defects, {needed} needed"
                row[heading, _RECALL] = refused
            row[heading, _REJECTS] = _share(found, "false_rejects")
            if method == TRAINING:
                row[heading, escapes] = _share(found, "escapes", ",.0f")
        rows.append(row)
    notes = (
        *(_TRAINED, _BOUND),
        "Escapes: defective products that pass, per million products of which so many are defective.",
        f"{EXACT}.",
        "Missed: the recall on the test folds lies below the required one, its interval and all.",
    )
    title = "What a required defect recall costs"
    return Table("Operating points", title, rows, notes, headers=4, numbers=points)


def needs_table(economy: LabelEfficiency) -> Table | None:
    """Return how many labelled defects each feature set needs for the image's recall; None without the image."""
    if economy.needs.empty:
        return None
    rows = []
    for row, (reference,), lines in _groups(economy.needs, "reference"):
        of_features = _by("features", lines)
        row["Labelled defects", "Image has"] = Value(reference, ".0f")
        row[TITLES[RECALL_AT_5_FPR], "Image reaches"] = Value(lines["target"].iloc[0], ".1%")
        for name in present(economy.needs["features"], FEATURE_SETS):
            need = describe_need(of_features[name]) if name in of_features else Value(None)
            row["Labelled defects needed for the same", FEATURE_SETS[name].title] = need
        rows.append(row)
    notes = (
        "Read between the levels studied along straight lines, where the curve first reaches the recall. Not reached: "
        "not with all the defects there are. At most: the fewest labels studied already suffice.",
        "In brackets: 95 % bootstrap intervals, both feature sets on the same drawn test images.",
    )
    title = "Labelled defects needed for the recall that the image reaches, at the same false rejects"
    return Table("Label economy", title, rows, notes, headers=2, numbers=economy.needs)


def _groups(numbers: pd.DataFrame, *keys: str) -> Iterator[tuple[dict[Any, Any], list[Any], pd.DataFrame]]:
    """Yield per row of a table its first columns, the values of the keys, and the rows of the numbers behind it."""
    groups = numbers.groupby(["dataset", "scheme", *keys], sort=False, observed=True)
    for (dataset, scheme, *key), lines in groups:
        yield {"Dataset": dataset, "Folds": scheme}, key, lines


def _by(column: str, lines: pd.DataFrame) -> dict[Any, dict[Any, Any]]:
    return lines.set_index(column).to_dict("index")


def _share(found: Mapping[Any, Any], column: str, form: str = ".1%") -> Value:
    """Return a share with its interval; a dash where the threshold was not found, or refused."""
    ends = found.get(f"{column}_low"), found.get(f"{column}_high")
    return Value(found.get(column), form, ends, form)
