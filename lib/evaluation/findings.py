"""The conclusions of notebook 06: questions, and answers computed from a study's results."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lib.classification.feature_sets import (
    BASELINES,
    COMBINED_DETECTORS,
    FEATURE_SETS,
    GUIDED,
    LINEAR_GUIDED,
    MAIN,
)
from lib.config import map_method_title
from lib.evaluation.answers import describe_gain, describe_thresholds
from lib.evaluation.label_efficiency import describe_need
from lib.evaluation.map_fit import IN_SAMPLE, MAP_FIT_NAMES
from lib.evaluation.metrics import ALL, FPR_LIMIT, RECALL_AT_5_FPR, binary_predictions
from lib.evaluation.operating_points import CONFORMAL, TRAINING
from lib.evaluation.published_results import is_synthetic
from lib.evaluation.results import StudyResults
from lib.evaluation.significance import METHOD, Comparison, bootstrap_difference, format_p

AUC = "weighted_auc"
AT_RATE = f"at {FPR_LIMIT:.0%} false rejects"


def findings(results: StudyResults) -> pd.DataFrame:
    """Return the conclusions: columns dataset, question, answer (sentences)."""
    answers = {
        "Does the map help?": _help,
        "Which folds are to be believed?": _folds,
        "Which maps are to be believed?": _maps,
        "Which map source serves better?": _sources,
        "Does the map do better as a guide?": _guided,
        "Would something simpler do as well?": _simpler,
        "What does a required recall cost?": _cost,
        "How many labelled defects does it take?": _labels,
    }
    rows = [
        (dataset, question, " ".join(answer(results.of(dataset), dataset)))
        for dataset in dict.fromkeys(results.mine["dataset"])
        for question, answer in answers.items()
    ]
    return pd.DataFrame(rows, columns=["dataset", "question", "answer"])


def _help(results: StudyResults, dataset: str) -> Iterator[str]:
    area = results.comparison(AUC, METHOD, "image")
    if area is None:
        yield "Not asked: this study has no anomaly maps beside the images."
        return
    if is_synthetic(dataset):
        yield "These are drawn stand-ins: what follows says nothing about the paper's products."
    yield describe_gain(area)
    yield (
        f"Over {area.n} folds Wilcoxon's test gives p = {format_p(area.p)}, adjusted for all comparisons (Holm) "
        f"{format_p(area.p_holm)}, the corrected t-test p = {format_p(area.p_corrected)}; {area.rule()}."
    )
    yield f"At the classifiers' own thresholds: {describe_thresholds(results.measures)}."
    if gain := results.comparison(RECALL_AT_5_FPR, METHOD, "image"):
        yield (
            f"At the same {FPR_LIMIT:.0%} false rejects: {gain.value_a:.1%} with the map, {gain.value_b:.1%} without "
            f"({gain.span(points=True)})."
        )
    if alone := results.comparison(AUC, "map", "image"):
        yield (
            f"The map alone has an AUC of {alone.value_a:.3f} against the image's {alone.value_b:.3f} "
            f"({alone.span()}): {alone.verdict()}."
        )


def _folds(results: StudyResults, dataset: str) -> Iterator[str]:
    found = results.found[results.found["keep"] == 1.0]
    schemes = set(found["scheme"])
    if found["group"].isna().all():
        yield (
            "Which images show the same object is not known here, so stratified folds are all there is. If some do, "
            "every figure flatters."
        )
        return
    if schemes != {"grouped", "stratified"}:
        leaks = " They leak: images of one object stand in training and test."
        warning = "" if "grouped" in schemes else leaks
        yield f"Only {', '.join(sorted(schemes))} folds were run, so the two cannot be compared.{warning}"
        return
    inflated = False
    for name in MAIN:
        both = found[(found["task"] == "multiclass") & (found["features"] == name)]
        if set(both["scheme"]) == schemes:
            pair = both.assign(features=both["scheme"], fold=0)
            gap = _interval(results, pair, AUC, "stratified", "grouped", dataset)
            inflated |= gap.side > 0
            phrase = FEATURE_SETS[name].phrase
            yield f"With {phrase} the AUC of stratified folds minus that of grouped folds is {gap.span()}."
    if inflated:
        yield "Stratified folds flatter: images of one object stand on both sides. Believe the grouped folds;"
    else:
        yield "No flattery is shown, but grouped folds are right by construction:"
    yield "all other conclusions here rest on them."


def _maps(results: StudyResults, dataset: str) -> Iterator[str]:
    study = results.study
    mine = results.excess.get(dataset, {})
    if not mine and study.map_method == "patchcore":
        yield "The maps come from PatchCore models, always cross-fitted: no image was judged by a memory that holds it."
        return
    if not mine:
        yield (
            f"Maps of training images are {MAP_FIT_NAMES[study.map_fit]}; the other map fit was not run "
            "(compare_map_fit), so what it would change is not known."
        )
        if study.map_fit == IN_SAMPLE:
            yield (
                "A map source that saw the training images may show them cleaner than others; read the false rejects "
                "with that in mind."
            )
        return
    for name, gap in mine.items():
        if name in MAIN or gap.is_overfit:
            yield (
                f"With {FEATURE_SETS[name].phrase}, as written minus cross-fitted: false rejects "
                f"{gap.rejects.span(points=True)}, AUC {gap.auc:+z.3f}."
            )
    if any(gap.is_overfit for gap in mine.values()):
        yield (
            "So as written the classifier takes good images that the map source has not seen for defective, and ranks "
            "no better for it: the comparisons rest on the cross-fitted maps."
        )
        if study.map_fit == IN_SAMPLE:
            yield "Tables 2 and 3, operating points and label economy are the study's own map fit, as written."
    else:
        yield (
            "No feature set rejects more good images as written without ranking better, so the comparisons rest on the "
            f"study's own map fit, {MAP_FIT_NAMES[study.map_fit]}."
        )


def _sources(results: StudyResults, dataset: str) -> Iterator[str]:
    """Say which of the two map sources serves the classifiers better, and whether both do better than one."""
    study, other = results.study, results.sources
    mine, theirs = map_method_title(study.map_method), map_method_title(study.alternative_map_source)
    if other.empty:
        yield f"The maps are by {mine}; {theirs} was not run beside it (compare_map_source)."
        return
    rows = [results.mine[results.mine["keep"] == 1.0].assign(source=mine), other.assign(source=theirs)]
    deciding = binary_predictions(pd.concat(rows), study.binary)
    for a, b in [*((name, name) for name in ("map", "image_map", *GUIDED)), *COMBINED_DETECTORS.items()]:
        new = deciding[(deciding["features"] == a) & (deciding["source"] == theirs)]
        old = deciding[(deciding["features"] == b) & (deciding["source"] == mine)]
        if len(new) and len(old):
            pair = pd.concat([new, old]).assign(features=lambda t: t["source"])
            gap = _interval(results, pair, RECALL_AT_5_FPR, theirs, mine, dataset)
            if a == b:
                yield _at_rate(gap, f"{FEATURE_SETS[a].phrase} (maps by {theirs})", f"with maps by {mine}")
            else:
                yield _at_rate(gap, FEATURE_SETS[a].phrase, f"with {mine} alone in the same way")


def _guided(results: StudyResults, _: str) -> Iterator[str]:
    """Say what the image's own features where the map points gain against image and map as the paper combines them."""
    gaps = {name: gap for name in GUIDED if (gap := results.comparison(RECALL_AT_5_FPR, name, METHOD))}
    for name, gap in gaps.items():
        yield _at_rate(gap, FEATURE_SETS[name].phrase, "image and map as the paper combines them")
    if not gaps:
        yield "Not asked: no map-guided features were made (setting guided)."


def _at_rate(gap: Comparison, this: str, other: str) -> str:
    return (
        f"With {this}, {gap.value_a:.1%} of the defects {AT_RATE}; {other}, {gap.value_b:.1%} "
        f"({gap.span(points=True)}): {gap.verdict()}."
    )


def _simpler(results: StudyResults, dataset: str) -> Iterator[str]:
    gaps = {name: gap for name in BASELINES if (gap := results.comparison(AUC, name, METHOD))}
    if not gaps:
        yield "No baselines were run beside image and map together, so this stays open."
        return
    kinds = {1: "Better than image and map together", 0: "Not told apart from them", -1: "Worse"}
    for side, kind in kinds.items():
        listed = "; ".join(
            f"{FEATURE_SETS[name].phrase} (AUC {gap.value_a:.3f}, {gap.span()}, p = {format_p(gap.p)}, "
            f"{gap.false_rejects_a:.1%} false rejects)"
            for name, gap in gaps.items()
            if gap.side == side
        )
        if listed:
            yield f"{kind} (AUC {next(iter(gaps.values())).value_b:.3f}): {listed}."
    as_well = [name for name, gap in gaps.items() if gap.side >= 0]
    if not as_well:
        yield "So nothing simpler that was tried does as well."
        return
    best = max(as_well, key=lambda name: gaps[name].value_a)
    yield f"So yes, as far as the AUC shows: {FEATURE_SETS[best].phrase}."
    if at := results.comparison(RECALL_AT_5_FPR, best, METHOD):
        yield f"{AT_RATE.capitalize()} the defect recall is then {at.value_a:.1%} against {at.value_b:.1%}."


def _cost(results: StudyResults, dataset: str) -> Iterator[str]:
    points = results.points[results.points["features"].isin((*MAIN, *LINEAR_GUIDED))]
    points = points[points["class"] == ALL]
    chosen = points[(points["method"] == TRAINING) & points["caught"].notna()]
    if chosen.empty:
        yield (
            "No training images were scored out of fold, so no threshold could be chosen without the test folds; the "
            "figures in the table are optimistic."
        )
        return
    yield "Thresholds were chosen on training images and checked on the test folds."
    for required, rows in chosen.groupby("required"):
        listed = "; ".join(
            f"{FEATURE_SETS[row['features']].phrase} {row['false_rejects']:.1%} false rejects (reached "
            f"{row['recall']:.1%}, {row['escapes']:,.0f} escapes per million)"
            for row in rows.to_dict("records")
        )
        yield f"For {required:.1%} of the defects: {listed}."
    missed = chosen[chosen["recall_high"] < chosen["required"]]
    if len(missed):
        yield (
            f"In {len(missed)} of {len(chosen)} cases the test folds show a recall below the required one, its "
            "interval and all: such a threshold does not carry over."
        )
    bounds = points[points["method"] == CONFORMAL]
    refused = []
    for required, rows in bounds[bounds["caught"].isna()].groupby("required"):
        needed = rows["n_needed"].iloc[0]
        enough = "no number suffices" if np.isinf(needed) else f"{needed:.0f} needed"
        refused.append(f"{required:.1%} ({rows['n_calibration'].min():.0f} calibration defects, {enough})")
    if refused:
        yield f"The conformal bound refuses for {', '.join(refused)}."
    elif len(bounds):
        yield "There are enough calibration defects for a conformal bound on every required recall."


def _labels(results: StudyResults, dataset: str) -> Iterator[str]:
    needs = results.label_efficiency.needs
    needs = needs[needs["dataset"] == dataset]
    if needs.empty:
        yield "The share of defects kept was not varied for the image and another feature set: no answer."
        return
    full = needs[needs["reference"] == needs["reference"].max()]
    full = full[full["features"].isin((*MAIN, *LINEAR_GUIDED))]
    yield (
        f"With {full['reference'].iloc[0]:.0f} labelled defects in training the image finds "
        f"{full['target'].iloc[0]:.1%} of the defects {AT_RATE}."
    )
    for row in full.to_dict("records"):
        yield f"Labelled defects for the same with {FEATURE_SETS[row['features']].phrase}: {describe_need(row)}."


def _interval(
    results: StudyResults, rows: pd.DataFrame, metric: str, a: str, b: str, dataset: str
) -> Comparison:
    """Return a against b, by the interval alone: `features` of `rows` may name any two ways to predict the images."""
    good = results.good[dataset]
    return bootstrap_difference(rows, metric, a, b, good, results.study.seed, results.n)
