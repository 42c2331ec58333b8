"""The study's answer in a few computed sentences: for the index page, and at the end of notebooks 04 and 05."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.config import Study
from lib.evaluation.metrics import FPR_LIMIT, RANKINGS, RECALL_AT_5_FPR, TITLES, at_keep, percent, summary
from lib.evaluation.recommendation import RULE, recommended
from lib.evaluation.results import StudyResults, overall
from lib.evaluation.significance import METHOD, Comparison, compare

AUC = RANKINGS[0]  # good against defective
HELPS = ("the map helps", "the map harms")
# what training everything anew was seen to move, by preset and map source: docs/statistics.md
RETRAINING = {
    (
        "quick",
        "draem",
    ): "In ten trainings of the drawn deco cap, DRAEM from scratch, the AUC of image + map less "
    "the image had a standard deviation of 0.008, that of the map less the image 0.067.",
}


def headlines(results: StudyResults) -> pd.DataFrame:
    """Return the study's answer in a few sentences per data set: columns dataset, answer."""
    names = dict.fromkeys(results.mine["dataset"])
    rows = [(name, " ".join(_headline(results.of(name), name))) for name in names]
    return pd.DataFrame(rows, columns=["dataset", "answer"])


def describe_recalls(dataset: str, measures: pd.DataFrame, compared: pd.DataFrame, alpha: float) -> list[str]:
    """Return whether the map adds to the image in one data set, and what each feature set finds.

    `measures` is `summary` at all defects, `compared` is `compare` of the same predictions.
    """
    gaps = [Comparison.find(compared, metric, METHOD, "image", alpha) for metric in RANKINGS]
    sentences = [f"{dataset}, over all test folds: {describe_thresholds(measures)}."]
    if gaps[0] is None:
        return [*sentences, "Without maps there is nothing to compare."]
    return [*(describe_gain(gap) for gap in gaps if gap), *sentences]


def describe_thresholds(measures: pd.DataFrame) -> str:
    """Return what each of image, map and both finds and falsely rejects at the classifiers' own thresholds."""
    return "; ".join(
        f"{FEATURE_SETS[str(name)].phrase}, {percent(row['defect_recall'])} of the defects with "
        f"{percent(row['false_reject_rate'])} false rejects"
        for name, row in overall(measures).iterrows()
    )


def describe_gain(gap: Comparison, a: str = METHOD, b: str = "image") -> str:
    """Return a measure of two feature sets side by side, and what their difference shows."""
    first, second = FEATURE_SETS[a].phrase, FEATURE_SETS[b].phrase
    words = HELPS if (a, b) == (METHOD, "image") else ("better", "worse")
    return describe_difference(gap, first, second, *words)


def describe_difference(gap: Comparison, a: str, b: str, better: str = "better", worse: str = "worse") -> str:
    """Return the same for any two ways to predict, named in words."""
    if gap.identical == 1:
        return f"{TITLES[gap.metric]}: {a} against {b} is {gap.verdict()} ({gap.value(gap.value_a)} with either)."
    values = f"{gap.value(gap.value_a)} with {a}, {gap.value(gap.value_b)} with {b}"
    return f"{TITLES[gap.metric]}: {values} ({gap.span()}): {gap.verdict(better, worse)}."


def describe_retraining(gap: Comparison, study: Study) -> str:
    """Return how far training everything again would move a difference, as far as that is known."""
    if gap.repeats > 1:
        return (
            f"Everything{' but the given DRAEM' * bool(study.draem_checkpoint)} was trained {gap.repeats} times. From "
            f"one training to the next the difference has a standard deviation of {gap.value(gap.retraining)}, which "
            "the intervals include."
        )
    text = (
        "Everything was trained once, so retraining noise is not measured; intervals allow for it by the spread of the "
        "folds. To measure the noise, and narrow the intervals: --set repeats=3."
    )
    if gap.identical < 1:
        text += f" A difference below about {gap.value((gap.high - gap.low) / 2)} cannot be shown here."
    return f"{text} {RETRAINING.get((study.preset, study.map_source), '')}".strip()


def describe_limit(results: StudyResults, dataset: str) -> str:
    """Return how many good images the false-reject rate of a recall stands for."""
    rows = results.primary.drop_duplicates("id")
    good = (rows["label"] == results.good[dataset]).sum() / rows["fold"].nunique()
    rate = percent(FPR_LIMIT, 0)
    return f"{rate} false rejects are {FPR_LIMIT * good:.1f} of the {good:.0f} good images of a test fold."


def describe_choice(results: StudyResults) -> str:
    """Return which method is recommended, by which rule, and what it gives on the test folds."""
    table = results.recommended
    chosen = recommended(table)
    if not chosen:
        return "No method is recommended: no training images were scored out of fold."
    row = table[table["features"] == chosen].to_dict("records")[0]
    return (
        f"Recommended: {FEATURE_SETS[chosen].phrase}, by the rule: {RULE} ({percent(row['training'])}). Where each "
        f"fold chooses by this rule on its own training images, its test images give {percent(row['nested'])}."
    )


def describe_losses(dataset: str, found: pd.DataFrame, good: str, binary: str = "collapsed") -> list[str]:
    """Return how much each feature set loses from all defects to the smallest share kept."""
    least = found["keep"].min()
    if least == 1.0:
        return [f"{dataset}: only the whole set of defects was studied."]
    few, whole = (overall(summary(at_keep(found, keep), good, binary)) for keep in (least, 1.0))
    sentences = [f"{dataset}, with {percent(least, 0)} of the defective training images instead of all:"]
    for name, lost in (few - whole).iterrows():
        sentences.append(
            f"{FEATURE_SETS[str(name)].title}: {TITLES[AUC]} {lost[AUC]:+z.3f}, {TITLES[RECALL_AT_5_FPR].lower()} "
            f"{100 * lost[RECALL_AT_5_FPR]:+z.1f} points; at its own threshold, defect recall "
            f"{100 * lost['defect_recall']:+z.1f} and false rejects {100 * lost['false_reject_rate']:+z.1f} points."
        )
    return [sentence.replace("-", "−") if "points" in sentence else sentence for sentence in sentences]


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
    if at_limit := results.comparison(RECALL_AT_5_FPR, METHOD, "image"):
        yield describe_gain(at_limit)
        yield describe_limit(results, dataset)
    if alone := results.comparison(AUC, "map", "image"):
        yield describe_gain(alone, "map")
    # held against the same network without selection, where it was run
    beside = "image_map_all" if "image_map_all" in set(results.primary["features"]) else METHOD
    if guide := results.comparison(AUC, "guided_all", beside):
        yield describe_gain(guide, "guided_all", beside)
    if naming := results.comparison("weighted_auc", METHOD, "image"):
        yield describe_gain(naming)
    yield from _with_few(results)
    yield describe_retraining(gap, results.study)
    yield describe_choice(results)


def _with_few(results: StudyResults) -> Iterator[str]:
    mine, study = results.mine, results.study
    least, both = mine["keep"].min(), mine["features"].isin((METHOD, "image"))
    how: Any = {"seed": study.seed, "binary": study.binary, "n": results.n, "pairs": [(METHOD, "image")]}
    table = compare(mine[both & (mine["keep"] == least)], results.good, metrics=[AUC], **how)
    few = Comparison.find(table, AUC, METHOD, "image", study.alpha) if least < 1 else None
    if few is None:
        yield "The share of defects kept was not varied, so what each loses when they are scarce is not known."
        return
    whole = overall(results.measures)[AUC]
    yield (
        f"With {percent(least, 0)} of the training defects the AUC goes from {whole['image']:.3f} to "
        f"{few.value_b:.3f} with the image, and from {whole[METHOD]:.3f} to {few.value_a:.3f} with both."
    )
    span = "" if few.identical == 1 else f" is {few.span()}"
    yield f"There the difference{span}: {few.verdict(*HELPS)}."
