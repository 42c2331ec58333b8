"""The table of every comparison: tests over folds beside each other, effect, and the interval of the difference."""

from __future__ import annotations

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.metrics import ALL, MEAN, POOLED
from lib.evaluation.published_results import display_name
from lib.evaluation.significance import format_p
from lib.reporting.cells import TITLES, synthetic_notes
from lib.reporting.table import Table


def comparison_table(
    compared: pd.DataFrame,
    context: str = "",
    alpha: float = 0.005,
    name: str = "Comparisons",
    by_class: bool = False,
) -> Table:
    """Return `compare`'s rows for readers: over all defect classes, or those of single classes.

    The raw numbers are all of `compared`.
    """
    part = compared[(compared["class"] != ALL) if by_class else (compared["class"] == ALL)]
    columns = {
        "Dataset": part["dataset"].map(display_name),
        "Folds": part["scheme"],
        "Measure": part["metric"].map(TITLES) + (": " + part["class"] if by_class else ""),
        "Compared": [
            f"{FEATURE_SETS[a].title} against {FEATURE_SETS[b].title}"
            for a, b in zip(part["a"], part["b"], strict=True)
        ],
        "Values": _pair(part, "value", ".3f"),
        "False rejects": _pair(part, "false_rejects", ".1%"),
        "Difference (95 % interval)": [
            f"{row.difference:+z.3f} ({row.low:+z.3f} to {row.high:+z.3f})" for row in part.itertuples()
        ],
        "Folds that differ": [f"{row.n_nonzero} of {row.n}" for row in part.itertuples()],
        "Smallest p in reach": part["smallest_p"].map(format_p),
        "p (Wilcoxon)": part["p"].map(format_p),
        "p (Holm)": part["p_holm"].map(format_p),
        "p (corrected t)": part["p_corrected"].map(format_p),
        "Effect": part["effect"].map("{:+z.2f}".format),
    }
    frame = pd.DataFrame(columns).astype(str)
    bold = {(row, list(frame).index("p (Wilcoxon)")) for row, yes in enumerate(part["significant"]) if yes}
    bold |= {(row, list(frame).index("p (Holm)")) for row, yes in enumerate(part["significant_holm"]) if yes}
    out_of_reach = int((~part["in_reach"].astype(bool)).sum())
    notes = [
        "Values and differences are pooled over all test folds; the interval is a paired bootstrap of test images, "
        "drawn by group where groups are known.",
        f"p (Wilcoxon): signed-rank test over the folds, two-sided, exact; bold below {alpha:g}. p (Holm): adjusted "
        "for all tests of a data set, single classes among them.",
        "p (corrected t): Nadeau and Bengio's resampled t-test, whose variance allows for training folds that share "
        "images; Wilcoxon's test does not allow for them.",
        "Effect: matched-pairs rank-biserial correlation, from -1 to 1 (every fold favours the first).",
    ]
    if out_of_reach:
        notes.append(
            f"In {out_of_reach} of {len(part)} comparisons too few folds differ for any p below {alpha:g}: "
            "significance was out of reach."
        )
    notes += synthetic_notes(list(dict.fromkeys(part["dataset"])))
    title = "Differences between feature sets, with all defects" + (", single classes" if by_class else "")
    return Table(name, title, context, frame, compared, tuple(notes), frozenset(bold), headers=4)


def pooled_and_mean(measures: pd.DataFrame) -> pd.DataFrame:
    """Return `summary`'s figures over all classes, pooled over the test folds beside the mean and range of the folds.

    One row per dataset, scheme, keep, metric and features; columns pooled, mean, sd, least, most, folds.
    """
    keys = ["dataset", "scheme", "keep", "metric", "features"]
    part = measures[(measures["class"] == ALL) & (measures["metric"] != "aql")]
    single = part[~part["fold"].isin([POOLED, MEAN])].groupby(keys, sort=False)["value"]
    spread = single.agg(sd="std", least="min", most="max", folds="count")
    both = part[part["fold"].isin([POOLED, MEAN])].pivot(index=keys, columns="fold", values="value")
    return both[[POOLED, MEAN]].join(spread).reindex(spread.index).reset_index()


def _pair(part: pd.DataFrame, name: str, form: str) -> list[str]:
    values = zip(part[f"{name}_a"], part[f"{name}_b"], strict=True)
    return [f"{a:{form}} / {b:{form}}" for a, b in values]
