"""The conclusions of notebook 06: questions, each answered in one computed sentence with its evidence."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from lib.classification.feature_sets import BASELINES, FEATURE_SETS, GUIDED, MAIN
from lib.evaluation import metrics as m
from lib.evaluation.checks import method_of
from lib.evaluation.headlines import EXTRA, GUIDE, METHODS, classification_headline, imbalance_headline
from lib.evaluation.label_efficiency import describe_need
from lib.evaluation.recommendation import RULE, recommended
from lib.evaluation.results import StudyResults
from lib.evaluation.significance import AS_GUIDE, MARGIN, METHOD, STACKED, Comparison, bootstrap_difference, compare
from lib.evaluation.verdicts import describe_cost

Found = tuple[str, ...]  # state, pill, answer, and the sentences of its evidence
AUC = m.RANKINGS[0]  # good against defective
AT_5_REJECTS = "recall at 5 % false rejects"
PILLS = {1: ("good", "Helps"), -1: ("bad", "Harms"), 0: ("none", "No measurable difference")}


def findings(results: StudyResults) -> pd.DataFrame:
    """Return the conclusions: columns dataset, question, state, pill, answer (one sentence), evidence (sentences)."""
    rows = []
    for dataset, mine in results.each():
        for question, answer in QUESTIONS.items():
            if found := answer(mine, dataset):
                rows.append((dataset, question, *found[:3], " ".join(found[3:])))
    return pd.DataFrame(rows, columns=["dataset", "question", "state", "pill", "answer", "evidence"])


def _extra(results: StudyResults, dataset: str) -> Found:
    """Say what the map adds as the paper has it: beside the image, features of both selected together."""
    gap, evidence = results.comparison(m.RECALL_AT_5_FPR, METHOD, "image"), [*_measures(results)]
    if gap and gap.identical < 1:
        spread = f"the difference has a standard deviation of {100 * gap.retraining:.1f} points."
        once = "Everything was trained once; intervals allow for retraining by the spread of the folds."
        several = f"From one of {gap.repeats} trainings to the next {spread}"
        evidence += [gap.rule(), several if gap.repeats > 1 else once]
    return *_gain(gap, METHOD, "image"), *evidence


def _guide(results: StudyResults, dataset: str) -> Found:
    """Say what the map adds where it chooses the places at which the image is read."""
    pairs = (AS_GUIDE, ("guided_all", "image_map_all"), *((name, METHOD) for name in GUIDED))
    gaps = {pair: gap for pair in pairs if (gap := results.comparison(m.RECALL_AT_5_FPR, *pair))}
    return *_gain(gaps.get(AS_GUIDE), *AS_GUIDE), *_differences(gaps)


def _scarce(results: StudyResults, dataset: str) -> Found:
    """Say what the map adds as an extra picture with the fewest defects that were studied."""
    mine, study = results.mine, results.study
    least, both = mine["keep"].min(), mine[mine["features"].isin((METHOD, "image"))]
    if least == 1:
        return "none", "Not run", "The number of labelled defects was not varied."
    how: Any = {"seed": study.seed, "alpha": study.alpha, "binary": study.binary, "n": results.n}
    few = replace(results, compared=compare(m.at_keep(both, least), results.good, metrics=m.RANKINGS, **how))
    gap = few.comparison(m.RECALL_AT_5_FPR, METHOD, "image")
    return *_gain(gap, METHOD, "image", f"With {m.percent(least, 0)} of the defects, r"), *_measures(few)


def _recommended(results: StudyResults, dataset: str) -> Found:
    table = results.recommended
    if not (chosen := recommended(table)):
        return "none", "None", "No method is recommended: no training image was scored out of fold."
    row, folds = table[table["features"] == chosen].to_dict("records")[0], int(table["folds"].sum())
    state, pill = ("good", "Folds agree") if row["folds"] > folds / 2 else ("warn", "Folds disagree")
    gap = results.comparison(m.RECALL_AT_5_FPR, *STACKED)
    seen = "Training images have maps by a model that saw them, which may favour methods with the map."
    return (
        *(state, pill),
        f"{FEATURE_SETS[chosen].title}, also the choice of {row['folds']} of {m.count(folds, 'fold')}.",
        f"The rule: {RULE}.",
        f"Its recall at 5 % false rejects on training images is {m.percent(row['training'])}.",
        f"On test images it is {m.percent(row['recall'])}.",
        *[f"Where each fold chooses for itself, it is {m.percent(row['nested'])}."] * pd.notna(row["nested"]),
        *[seen] * (results.study.map_method == "in_sample"),
        *_differences({STACKED: gap} if gap and chosen == STACKED[0] else {}),
    )


def _cost(results: StudyResults, dataset: str) -> Found:
    answer = classification_headline(results.points, method_of(results), results.study)
    recalls = results.study.recalls if len(results.points) else ()
    return *answer, *(f"Required recall: {100 * one:g} %. {describe_cost(results, one)}" for one in recalls)


def _labels(results: StudyResults, dataset: str) -> Found:
    needs = results.label_efficiency.needs
    needs = needs[(needs["dataset"] == dataset) & needs["features"].isin(METHODS)]
    full = needs[needs["reference"] == needs["reference"].max()].to_dict("records")
    reached = [
        f"With {row['reference']:.0f} labelled defects the image reaches {m.percent(row['target'])} {AT_5_REJECTS}."
        for row in full[:1]
    ]
    listed = [f"Needed with {FEATURE_SETS[row['features']].phrase}: {describe_need(row)}." for row in full]
    return *imbalance_headline(needs), *reached, *listed


def _simpler(results: StudyResults, dataset: str) -> Found:
    gaps = {(name, METHOD): gap for name in BASELINES if (gap := results.comparison(AUC, name, METHOD))}
    if not gaps:
        return "none", "Not run", "No simpler method was run on the same images."
    within, corrected = f"image + map within {MARGIN:g} AUC", "corrected for all comparisons"
    found = "none", "Not shown", f"No simpler method is shown to match {within}, {corrected}."
    if good := {name: gap.difference for (name, _), gap in gaps.items() if gap.as_good}:
        best = FEATURE_SETS[max(good, key=lambda name: good[name])].title
        found = "warn", "Yes", f"{best} matches {within}, or is better, {corrected}."
    return *found, *_differences(gaps)


def _objects(results: StudyResults, dataset: str) -> Found:
    found, shared = m.at_keep(results.found, 1.0), "images of one object in both training and test"
    schemes = set(found["scheme"])
    if found["group"].isna().all():
        answer = "Which images show the same object is not known; if some do, all results are too good."
        return "none", "Unknown", answer, "Name the objects with --groups FILE."
    if schemes == {"grouped"}:
        return "good", "No", f"Grouped folds never have {shared}."
    if schemes == {"stratified"}:
        answer = f"The folds have {shared}, so all results may be too good."
        return "bad", "Likely", answer, "Use grouped folds: --set cv=auto."
    headline = ["good", "Not measurable"]
    headline += ["No leak from repeated objects is measurable, but only grouped folds exclude it."]
    how, evidence = (results.good[dataset], results.study.seed, results.n), []
    for name in MAIN:
        both = m.binary_predictions(found[found["features"] == name], results.study.binary)
        if set(both["scheme"]) == schemes:
            pair = both.assign(features=both["scheme"])
            gap = bootstrap_difference(pair, AUC, "stratified", "grouped", *how)
            phrase = FEATURE_SETS[name].phrase
            evidence.append(f"AUC of stratified less that of grouped folds, with {phrase}: {gap.span()}.")
            if gap.side > 0:
                optimistic = f"Stratified folds are too optimistic: they have {shared}."
                headline = ["warn", "In stratified folds", optimistic]
    return *headline, *evidence, "All other conclusions rest on grouped folds."


def _gain(gap: Comparison | None, a: str, b: str, where: str = "") -> Found:
    """Return what a gains over b in recall at 5 % false rejects; `where`, if not with all defects."""
    if gap is None:
        return "none", "Not run", "The study lacks the methods to compare."
    if gap.identical == 1:
        alike = f"{FEATURE_SETS[a].title} and {FEATURE_SETS[b].phrase} make the same predictions."
        return "none", "Not tested", alike
    changes = {1: "rises", -1: "falls", 0: "does not measurably change"}[gap.side]
    return *PILLS[gap.side], f"{where or 'R'}ecall at 5 % false rejects {changes} ({gap.span()})."


def _measures(results: StudyResults) -> Iterator[str]:
    """Yield what image + map and the image reach in every ranking, and what their difference shows."""
    for metric in m.RANKINGS:
        if gap := results.comparison(metric, METHOD, "image"):
            value, other = gap.value(gap.value_a), gap.value(gap.value_b)
            yield f"{m.TITLES[metric]}: {value} with image + map, {other} with the image."
            if gap.identical < 1:
                yield f"Difference: {gap.span()} ({gap.verdict()})."


def _differences(gaps: Mapping[tuple[str, str], Comparison]) -> Iterator[str]:
    """Yield what the differences of pairs of feature sets in one measure show."""
    yield from (f"Measure: {m.TITLES[gap.metric]}." for gap in list(gaps.values())[:1])
    for (a, b), gap in gaps.items():
        shown = f"{gap.span()} ({gap.verdict()})" if gap.identical < 1 else gap.verdict().replace(":", ",")
        yield f"{FEATURE_SETS[a].title} against {FEATURE_SETS[b].phrase}: {shown}."
    if gaps:
        yield "Intervals are not corrected for the number of comparisons."


QUESTIONS = {
    EXTRA: _extra,
    GUIDE: _guide,
    "Which method is recommended?": _recommended,
    "What does a required recall cost?": _cost,
    "How many labelled defects are needed?": _labels,
    "Does the map help when defects are scarce?": _scarce,
    "Would a simpler method do as well?": _simpler,
    "Do repeated objects make results too good?": _objects,
}
