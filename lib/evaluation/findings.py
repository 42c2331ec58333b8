"""The conclusions of notebook 06: questions, and answers computed from a study's results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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
from lib.evaluation.answers import (
    AUC,
    describe_choice,
    describe_difference,
    describe_gain,
    describe_limit,
    describe_retraining,
    describe_thresholds,
)
from lib.evaluation.label_efficiency import describe_need
from lib.evaluation.metrics import ALL, FPR_LIMIT, RANKINGS, RECALL_AT_5_FPR, binary_predictions, percent
from lib.evaluation.operating_points import CONFORMAL, TRAINING
from lib.evaluation.published_results import is_synthetic
from lib.evaluation.recommendation import recommended
from lib.evaluation.results import StudyResults
from lib.evaluation.significance import MARGIN, METHOD, Comparison, bootstrap_difference, format_p

EXTRA, GUIDE = "Does the map help?", "What does the map add as a guide?"
UNCORRECTED = "These intervals are not corrected for how many there are."


def findings(results: StudyResults) -> pd.DataFrame:
    """Return the conclusions: columns dataset, question, answer (sentences)."""
    answers = {
        "Does the map help?": _help,
        "Which method is recommended?": _recommended,
        "Which folds are to be believed?": _folds,
        "Which maps are to be believed?": _maps,
        "Which map source serves better?": _sources,
        "Does the map do better as a guide?": _guided,
        "Would something simpler do as well?": _simpler,
        "What does a required recall cost?": _cost,
        "How many labelled defects does it take?": _labels,
    }
    rows = [
        (dataset, question, " ".join(answer(mine, dataset)))
        for dataset in dict.fromkeys(results.mine["dataset"])
        for mine in [results.of(dataset)]
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
    for metric in RANKINGS:
        if gap := results.comparison(metric, METHOD, "image"):
            yield describe_gain(gap)
    yield describe_limit(results, dataset)
    if alone := results.comparison(AUC, "map", "image"):
        yield describe_gain(alone, "map")
    yield f"At the classifiers' own thresholds: {describe_thresholds(results.measures)}."
    if area.identical < 1:
        yield (
            f"For the first figure, over {area.n} folds: Wilcoxon's test p = {format_p(area.p)}, adjusted for all "
            f"rankings compared (Holm) {format_p(area.p_holm)}; the corrected t-test p = {format_p(area.p_corrected)}."
        )
    yield describe_retraining(area, results.study)


def _recommended(results: StudyResults, dataset: str) -> Iterator[str]:
    table = results.recommended
    yield describe_choice(results)
    if not (chosen := recommended(table)):
        return
    row, folds = table[table["features"] == chosen].to_dict("records")[0], int(table["folds"].sum())
    yield f"It is the choice of {row['folds']} of {folds} folds. On all test folds it reaches {percent(row['recall'])}."
    if absent := [FEATURE_SETS[name].phrase for name in table.loc[table["training"].isna(), "features"]]:
        yield f"Not scored on training images, so not candidates: {'; '.join(absent)}."
    if results.study.map_method == "in_sample":
        yield "Maps of training images come from a model that has seen them, which may favour sets with the map here."
    others = table[table["features"] != chosen].nlargest(3, "recall")
    listed = "; ".join(
        f"{FEATURE_SETS[other['features']].phrase} {percent(other['recall'])}"
        for other in others.to_dict("records")
    )
    if listed:
        yield f"Highest of the others on the test folds, which must not choose: {listed}."


def _folds(results: StudyResults, dataset: str) -> Iterator[str]:
    found = results.found[results.found["keep"] == 1.0]
    schemes = set(found["scheme"])
    if found["group"].isna().all():
        yield (
            "Which images show the same object is not known here, so stratified folds are all there is. If some do, "
            "all results are too good. Name them with --groups FILE."
        )
        return
    if schemes != {"grouped", "stratified"}:
        leaks = " They leak: images of one object stand in training and test."
        warning = "" if "grouped" in schemes else leaks
        yield f"Only {', '.join(sorted(schemes))} folds were run, so the two cannot be compared.{warning}"
        return
    inflated = False
    for name in MAIN:
        both = binary_predictions(found[found["features"] == name], results.study.binary)
        if set(both["scheme"]) == schemes:
            pair = both.assign(features=both["scheme"])
            gap = _interval(results, pair, AUC, "stratified", "grouped", dataset)
            inflated |= gap.side > 0
            phrase = FEATURE_SETS[name].phrase
            yield f"With {phrase} the AUC of stratified folds minus that of grouped folds is {gap.span()}."
    if inflated:
        yield "Stratified folds are too optimistic: images of one object stand in training and test."
    else:
        yield "No leak is measurable, but only grouped folds exclude it."
    yield "All other conclusions here rest on the grouped folds."


def _maps(results: StudyResults, dataset: str) -> Iterator[str]:
    if (method := results.study.map_method) != "in_sample":
        yield f"Maps ({map_method_title(method)}) are cross-fitted: no image was judged by a model that had seen it."
        return
    yield "Maps of training images are as written: by a model that has seen the good ones among them."
    yield "It can show them cleaner than others: more false rejects."
    yield "To check, make a second study with --set map_fit=cross_fitted, and compare the two with --compare."


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
            one = FEATURE_SETS[a].phrase + (f" (maps by {theirs})" if a == b else "")
            yield describe_difference(
                gap, one, f"maps by {mine}" + (" alone in the same way" if a != b else "")
            )
    yield UNCORRECTED


def _guided(results: StudyResults, _: str) -> Iterator[str]:
    """Say what the image's own features where the map points gain against image + map."""
    gaps = {name: gap for name in GUIDED if (gap := results.comparison(RECALL_AT_5_FPR, name, METHOD))}
    for name, gap in gaps.items():
        yield describe_gain(gap, name, METHOD)
    yield UNCORRECTED if gaps else "Not asked: no map-guided features were made (setting guided)."


def _simpler(results: StudyResults, dataset: str) -> Iterator[str]:
    gaps = {name: gap for name in BASELINES if (gap := results.comparison(AUC, name, METHOD))}
    if not gaps:
        yield "No baselines were run beside image and map together, so this stays open."
        return
    good = [name for name, gap in gaps.items() if gap.as_good]
    same = results.compared[(results.compared["b"] == METHOD) & (results.compared["metric"] == AUC)]
    tried = f"the interval corrected for the {len(same)} sets compared"
    if good:
        listed = "; ".join(FEATURE_SETS[name].phrase for name in good)
        yield f"As good as image and map together, that is not worse by {MARGIN:g} AUC ({tried}): {listed}."
    else:
        yield f"No simpler set is shown to be as good as image and map together (margin {MARGIN:g} AUC, {tried})."
    for name, gap in gaps.items():
        yield describe_gain(gap, name, METHOD)
    yield UNCORRECTED


def _cost(results: StudyResults, dataset: str) -> Iterator[str]:
    if results.points.empty:
        yield "No training images were scored out of fold, so no threshold could be chosen without the test folds."
        return
    points = results.points[results.points["class"] == ALL]
    chosen = points[(points["method"] == TRAINING) & points["caught"].notna()]
    yield "Thresholds were chosen on training images and checked on the test folds."
    favourite = recommended(results.recommended)
    for required in sorted(set(chosen["required"])):
        rows = chosen[chosen["required"] == required]
        met = rows[rows["recall"] >= required]
        yield f"For {percent(required)} of the defects:"
        if met.empty:
            yield f"none of {len(rows)} methods reached it on the test folds."
            continue
        (cheapest,) = met.nsmallest(1, "false_rejects").to_dict("records")
        named: dict[str, Any] = {"cheapest on these test folds,": cheapest}
        for title, name in (("recommended,", favourite), ("", METHOD), (" ", "image")):
            same = rows[rows["features"] == name].to_dict("records")
            if same and name not in [one["features"] for one in named.values()]:
                named[title] = same[0]
        listed = [f"{title} {_point(one, required)}".strip() for title, one in named.items()]
        yield "; ".join(listed) + "."
    missed = chosen[chosen["recall_high"] < chosen["required"]]
    if len(missed):
        yield (
            f"{len(missed)} of {len(chosen)} thresholds missed their recall on the test images, even allowing for the "
            "95 % interval: marked in the table."
        )
    bounds = points[points["method"] == CONFORMAL]
    bounds = bounds[bounds["caught"].isna()]
    for required in sorted(set(bounds["required"])):
        rows = bounds[bounds["required"] == required]
        needed, there = rows["n_needed"].iloc[0], rows["n_calibration"].min()
        enough = "no number suffices" if np.isinf(needed) else f"that needs {needed:.0f} defects in training"
        yield f"A recall of {percent(required)} cannot be guaranteed: {enough}; there are {there:.0f}."


def _point(one: dict[str, Any], required: float) -> str:
    """Return a method's false rejects, and its recall on the test folds."""
    missed = ", which misses it" if one["recall_high"] < required else ""
    rejects = f"{FEATURE_SETS[one['features']].phrase}, {percent(one['false_rejects'])} false rejects"
    return f"{rejects} (observed recall {percent(one['recall'])}{missed})"


def _labels(results: StudyResults, dataset: str) -> Iterator[str]:
    needs = results.label_efficiency.needs
    needs = needs[needs["dataset"] == dataset]
    if needs.empty:
        yield "The share of defects kept was not varied for the image and another feature set: no answer."
        return
    full = needs[needs["reference"] == needs["reference"].max()]
    full = full[full["features"].isin((*MAIN, *LINEAR_GUIDED))]
    yield (
        f"With {full['reference'].iloc[0]:.0f} labelled defects in training the image finds, by its fitted curve, "
        f"{percent(full['target'].iloc[0])} of the defects at {percent(FPR_LIMIT, 0)} false rejects."
    )
    for row in full.to_dict("records"):
        yield f"Labelled defects for the same with {FEATURE_SETS[row['features']].phrase}: {describe_need(row)}."


def _interval(
    results: StudyResults, rows: pd.DataFrame, metric: str, a: str, b: str, dataset: str
) -> Comparison:
    """Return a against b, by the interval alone: `features` of `rows` may name any two ways to predict the images."""
    good = results.good[dataset]
    return bootstrap_difference(rows, metric, a, b, good, results.study.seed, results.n)
