"""The study's answer in a few computed sentences: for the index page, and at the end of notebooks 04 and 05."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.metrics import at_keep, summary
from lib.evaluation.results import StudyResults, pooled_measures
from lib.evaluation.significance import HELPS, METHOD, Comparison, compare

AUC = "weighted_auc"


def headlines(results: StudyResults) -> pd.DataFrame:
    """Return the study's answer in two or three sentences per data set: columns dataset, answer."""
    names = dict.fromkeys(results.mine["dataset"])
    rows = [(name, " ".join(_headline(results.of(name), name))) for name in names]
    return pd.DataFrame(rows, columns=["dataset", "answer"])


def describe_recalls(dataset: str, measures: pd.DataFrame, versus: pd.DataFrame, alpha: float) -> list[str]:
    """Return what each feature set of one data set finds, and whether the map adds to the image.

    `measures` is `summary` at all defects, `versus` is `against_method` of the same predictions.
    """
    gap = Comparison.find(versus, AUC, METHOD, "image", alpha)
    sentences = [f"{dataset}, over all test folds: {describe_thresholds(measures)}."]
    if gap is None:
        return [*sentences, "Without maps there is nothing to compare."]
    return [*sentences, describe_gain(gap), f"For that, {gap.rule()}."]


def describe_thresholds(measures: pd.DataFrame) -> str:
    """Return what each of image, map and both finds and falsely rejects at the classifiers' own thresholds."""
    return "; ".join(
        f"{FEATURE_SETS[str(name)].phrase}, {row['defect_recall']:.1%} of the defects with "
        f"{row['false_reject_rate']:.1%} false rejects (AUC {row[AUC]:.3f})"
        for name, row in pooled_measures(measures).iterrows()
    )


def describe_gain(gap: Comparison) -> str:
    """Return the AUC of image + map beside the image's, and whether the map helps."""
    return (
        f"Image and map together have an AUC of {gap.value_a:.3f}, the image alone {gap.value_b:.3f} "
        f"({gap.span()}): {gap.verdict(*HELPS)}."
    )


def describe_losses(dataset: str, found: pd.DataFrame, good: str, binary: str = "collapsed") -> list[str]:
    """Return how much each feature set loses from all defects to the smallest share kept."""
    least = found["keep"].min()
    if least == 1.0:
        return [f"{dataset}: only the whole set of defects was studied."]
    few, whole = (pooled_measures(summary(at_keep(found, keep), good, binary)) for keep in (least, 1.0))
    sentences = [f"{dataset}, with {least:.0%} of the defective training images instead of all:"]
    for name, lost in (few - whole).iterrows():
        sentences.append(
            f"{FEATURE_SETS[str(name)].phrase}: defect recall {100 * lost['defect_recall']:+.1f} points, "
            f"false rejects {100 * lost['false_reject_rate']:+.1f} points, AUC {lost[AUC]:+.3f}."
        )
    return sentences


def describe_unlearned(calibration: pd.DataFrame) -> list[str]:
    """Return where the models of an inner fold had no image of a class: all that train there were held out at once."""
    keys = ["scheme", "fold", "repeat", "label"]
    spread = calibration.groupby(keys)["inner"].nunique() if len(calibration) else pd.Series(dtype=int)
    lone: dict[str, list[str]] = {}
    for scheme, fold, _, label in spread.index[spread < 2]:
        lone.setdefault(f"{scheme} fold {fold}", []).append(label)
    if not lone:
        return ["Every inner fold had every class to learn."]
    said = "; ".join(f"{place}: {', '.join(dict.fromkeys(labels))}" for place, labels in lone.items())
    return [
        f"Scored by models that had no image of the class to learn, so that thresholds may be too low: {said}."
    ]


def _headline(results: StudyResults, dataset: str) -> Iterator[str]:
    gap = results.comparison(AUC, METHOD, "image")
    if gap is None:
        yield "This study has no anomaly maps beside the images, so the question was not asked."
        return
    yield describe_gain(gap)
    if alone := results.comparison(AUC, "map", "image"):
        yield f"The map alone has {alone.value_a:.3f}."
    # held against the same network without selection, where it was run
    beside = "image_map_all" if "image_map_all" in set(results.primary["features"]) else METHOD
    if guide := _compare(results, results.primary, "guided_all", beside):
        yield (
            f"As a guide to where the image is looked at, the map gives an AUC of {guide.value_a:.3f}, "
            f"{FEATURE_SETS[beside].phrase} {guide.value_b:.3f} ({guide.span()}): {guide.verdict()}."
        )
    mine, least = results.mine, results.mine["keep"].min()
    few = _compare(results, mine[mine["keep"] == least], METHOD, "image") if least < 1 else None
    if few is None:
        yield "The share of defects kept was not varied, so what each loses when they are scarce is not known."
        return
    measures = summary(mine[mine["keep"] == 1.0], results.good[dataset], results.study.binary, (AUC,))
    whole = pooled_measures(measures)[AUC]
    yield (
        f"With only {least:.0%} of the defects to learn from, the AUC changes by {few.value_b - whole['image']:+z.3f} "
        f"with the image and by {few.value_a - whole[METHOD]:+z.3f} with both, and there the difference is "
        f"{few.span()}: {few.verdict(*HELPS)}."
    )


def _compare(results: StudyResults, rows: pd.DataFrame, a: str, b: str) -> Comparison | None:
    """Return the AUC of a against that of b in predictions of one data set at one keep; None where one is missing."""
    rows, study = rows[rows["features"].isin((a, b))], results.study
    settings: Any = {"seed": study.seed, "binary": study.binary, "n": results.n}
    table = compare(rows, results.good, pairs=[(a, b)], metrics=[AUC], **settings)
    return Comparison.find(table, AUC, a, b, study.alpha)
