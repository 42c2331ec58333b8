"""What a study says in the end: computed sentences and tables over all data sets."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.evaluation.metrics import ALL, POOLED, summary
from lib.evaluation.significance import by_measure, paired_folds, wilcoxon_paired


def pooled(found: pd.DataFrame, good: str, binary: str) -> pd.DataFrame:
    """Return the pooled measures at all defects: rows feature sets, columns metrics."""
    values = summary(found[found["keep"] == 1.0], good, binary)
    values = values[(values["fold"] == POOLED) & (values["class"] == ALL)]
    return values.pivot_table("value", "features", "metric").reindex(MAIN).dropna(how="all")


def answer(name: str, found: pd.DataFrame, good: str, alpha: float, binary: str = "collapsed") -> list[str]:
    """Answer the study's question for one data set and one scheme of folds in a few sentences."""
    table = pooled(found, good, binary)
    recalls = "; ".join(
        f"{FEATURE_SETS[str(features)].phrase} {row['defect_recall']:.1%} of the defects "
        f"at {row['false_reject_rate']:.1%} false rejects (AUC {row['weighted_auc']:.3f})"
        for features, row in table.iterrows()
    )
    sentences = [f"{name}, found over all test folds: {recalls}."]
    if not {"image", "image_map"} <= set(table.index):
        return [*sentences, "Without maps there is nothing to compare."]
    values = by_measure(summary(found[found["keep"] == 1.0], good, binary))
    folds = paired_folds(values, "image_map", "image", "weighted_auc", ALL)
    test = wilcoxon_paired(folds.iloc[:, 0].to_numpy(), folds.iloc[:, 1].to_numpy())
    gain = float(table["weighted_auc"]["image_map"] - table["weighted_auc"]["image"])
    change = f"changes the AUC by {gain:+.3f}" if abs(gain) >= 0.0005 else "does not change the AUC"
    if test.p < alpha:
        verdict = f"below {alpha:g}: more than chance"
    elif test.smallest_p >= alpha:
        verdict = (
            f"no proof, and none was possible: {test.n_nonzero} folds that differ cannot give less than "
            f"p = {test.smallest_p:.3g}"
        )
    else:
        verdict = f"not below {alpha:g}: no proof"
    sentences.append(
        f"Adding the map to the image {change} (Wilcoxon over {test.n} folds: p = {test.p:.3g}, {verdict})."
    )
    return sentences


def losses(name: str, found: pd.DataFrame, good: str, binary: str = "collapsed") -> list[str]:
    """Say how much each feature set loses from all defects to the smallest share kept."""
    values = summary(found, good, binary)
    values = values[(values["fold"] == POOLED) & (values["class"] == ALL)]
    least = values["keep"].min()
    if least == 1.0:
        return [f"{name}: only the whole set of defects was studied."]
    sentences = [f"{name}, with {least:.0%} of the defective training images instead of all:"]
    for features in MAIN:
        part = values[values["features"] == features].set_index(["metric", "keep"])["value"]
        if part.empty:
            continue
        recall, rejects, auc = (
            part[metric, least] - part[metric, 1.0]
            for metric in ("defect_recall", "false_reject_rate", "weighted_auc")
        )
        sentences.append(
            f"{FEATURE_SETS[features].phrase}: defect recall {100 * recall:+.1f} points, "
            f"false rejects {100 * rejects:+.1f} points, AUC {auc:+.3f}."
        )
    return sentences


def leak(found: pd.DataFrame, good: Mapping[str, str], binary: str = "collapsed") -> pd.DataFrame:
    """Return grouped beside stratified measures, pooled, of the data sets that have both."""
    both = found[found["keep"] == 1.0].groupby("dataset").filter(lambda part: part["scheme"].nunique() > 1)
    rows = []
    for (dataset, scheme), part in both.groupby(["dataset", "scheme"]):
        table = pooled(part, good[str(dataset)], binary)
        table.insert(0, "folds", f"{scheme}" + (" (leaking)" if scheme == "stratified" else ""))
        table.insert(0, "dataset", str(dataset))
        rows.append(table.reset_index())
    columns = [
        "dataset",
        "folds",
        "features",
        "weighted_auc",
        "binary_auc",
        "defect_recall",
        "false_reject_rate",
    ]
    if not rows:
        return pd.DataFrame(columns=columns)
    return pd.concat(rows, ignore_index=True).reindex(columns=columns)
