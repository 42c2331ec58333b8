"""One page of conclusions per data set: questions, and answers computed from the evidence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from lib.classification.feature_sets import BASELINES, FEATURE_SETS, LINEAR_GUIDED, MAIN
from lib.evaluation.bootstrap import Interval, bootstrap_difference
from lib.evaluation.guides import describe_guided, describe_source_comparison
from lib.evaluation.label_efficiency import describe_need
from lib.evaluation.map_fit import AS_WRITTEN, READINGS, choose_map_fit
from lib.evaluation.metrics import ALL, FPR_LIMIT, POOLED, RECALL_AT_5_FPR
from lib.evaluation.operating_points import CONFORMAL, TRAINING
from lib.evaluation.published_results import is_synthetic
from lib.evaluation.results import StudyResults
from lib.evaluation.significance import format_p

HELP = "Does the map help?"
FOLDS = "Which folds are to be believed?"
MAPS = "Which maps are to be believed?"
SOURCE = "Which map source serves better?"
GUIDE = "Does the map do better as a guide?"
SIMPLER = "Would something simpler do as well?"
COST = "What does a required recall cost?"
LABELS = "How many labelled defects does it take?"


def findings(results: StudyResults) -> pd.DataFrame:
    """Return the conclusions: columns dataset, question, answer (sentences)."""
    rows = []
    for dataset in dict.fromkeys(results.mine["dataset"]):
        mine = results.mine[results.mine["dataset"] == dataset]
        scheme = str(mine["scheme"].iloc[0])
        answers = {
            HELP: _help(results, dataset),
            FOLDS: _folds(results, dataset),
            MAPS: _maps(results, dataset, scheme),
            SOURCE: describe_source_comparison(results, dataset),
            GUIDE: describe_guided(results, dataset),
            SIMPLER: _simpler(results, dataset),
            COST: _cost(results, dataset),
            LABELS: _labels(results, dataset),
        }
        rows += [(dataset, question, " ".join(answer)) for question, answer in answers.items()]
    return pd.DataFrame(rows, columns=["dataset", "question", "answer"])


def _help(results: StudyResults, dataset: str) -> Iterator[str]:
    table = results.compared[results.compared["dataset"] == dataset]
    area = _row(table, "weighted_auc", "image_map", "image")
    if area is None:
        yield "Not asked: this study has no anomaly maps beside the images."
        return
    if is_synthetic(dataset):
        yield "These are drawn stand-ins: what follows says nothing about the paper's products."
    alpha = results.study.alpha
    yield (
        f"Image and map together have an AUC of {area['value_a']:.3f}, the image alone {area['value_b']:.3f}: "
        "a difference "
        f"of {_signed(area['difference'])} (95 % interval {_span(area)})."
    )
    yield (
        f"Over {area['n']} folds Wilcoxon's test gives p = {format_p(area['p'])} (Holm "
        f"{format_p(area['p_holm'])}), the corrected "
        f"t-test p = {format_p(area['p_corrected'])}."
    )
    yield _verdict(area, alpha)
    part = results.basis[results.basis["dataset"] == dataset]
    good, binary = results.good[dataset], results.study.binary
    values = results.measures[results.measures["dataset"] == dataset]
    values = values[(values["fold"] == POOLED) & (values["class"] == ALL)]
    known = values.set_index(["features", "metric"])["value"]
    present = [name for name in MAIN if name in set(part["features"])]
    yield (
        "At the classifiers' own thresholds: "
        + "; ".join(
            f"{FEATURE_SETS[name].phrase}, {known[name, 'defect_recall']:.1%} of the defects with "
            f"{known[name, 'false_reject_rate']:.1%} false rejects"
            for name in present
        )
        + "."
    )
    deciding = part[part["task"] == ("multiclass" if binary == "collapsed" else "binary")]
    gain = bootstrap_difference(deciding, RECALL_AT_5_FPR, "image_map", "image", good, results.study.seed)
    yield (
        f"At the same {FPR_LIMIT:.0%} false rejects: {known['image_map', RECALL_AT_5_FPR]:.1%} with the map, "
        f"{known['image', RECALL_AT_5_FPR]:.1%} "
        f"without, {100 * gain.difference:+z.1f} points (95 % interval {100 * gain.low:+z.1f} to "
        f"{100 * gain.high:+z.1f})."
    )
    alone = _row(table, "weighted_auc", "map", "image")
    if alone is not None:
        yield (
            f"The map alone has an AUC of {alone['value_a']:.3f}, {_signed(alone['difference'])} against the image "
            f"(p = {format_p(alone['p'])})."
        )


def _verdict(row: pd.Series, alpha: float) -> str:
    clear = row["low"] > 0 or row["high"] < 0
    better = row["difference"] > 0
    if row["significant"]:
        holm = "also" if row["significant_holm"] else "not any more"
        return (
            f"By the stated rule (p < {alpha:g}) the map {'helps' if better else 'harms'}; {holm} when adjusted for "
            "all comparisons."
        )
    if row["in_reach"]:
        rule = f"The stated rule (p < {alpha:g}) is not met"
    else:
        rule = (
            f"The stated rule (p < {alpha:g}) could not be met: {row['n_nonzero']} folds that differ give "
            f"p = {format_p(row['smallest_p'])} at best"
        )
    if clear:
        side = "a gain" if better else "a loss"
        return (
            f"{rule}; the interval is clear of zero, which speaks for {side} without proving it by that rule."
        )
    return f"{rule}, and the interval holds zero: no difference is shown."


def _folds(results: StudyResults, dataset: str) -> Iterator[str]:
    found = results.found[(results.found["dataset"] == dataset) & (results.found["keep"] == 1.0)]
    schemes = set(found["scheme"])
    if found["group"].isna().all():
        yield (
            "Which images show the same object is not known here, so stratified folds are all there is. If some do, "
            "every figure flatters."
        )
        return
    if schemes != {"grouped", "stratified"}:
        only = ", ".join(sorted(schemes))
        warn = (
            " They leak: images of one object stand in training and test." if "grouped" not in schemes else ""
        )
        yield f"Only {only} folds were run, so the two cannot be compared.{warn}"
        return
    rows = found[found["task"] == "multiclass"]
    inflated = False
    for features in MAIN:
        both = rows[rows["features"] == features]
        if set(both["scheme"]) != schemes:
            continue
        pair = both.assign(features=both["scheme"], fold=0)
        gap = bootstrap_difference(
            pair, "weighted_auc", "stratified", "grouped", results.good[dataset], results.study.seed
        )
        inflated |= gap.low > 0
        yield (
            f"With {FEATURE_SETS[features].phrase} the AUC of stratified folds minus that of grouped folds is "
            f"{_signed(gap.difference)} (95 % interval {_span(gap)})."
        )
    if inflated:
        yield (
            "Stratified folds flatter: images of one object stand on both sides. Believe the grouped folds; "
            "all other "
            "conclusions here rest on them."
        )
    else:
        yield (
            "No flattery is shown, but grouped folds are right by construction: all other conclusions here "
            "rest on them."
        )


def _maps(results: StudyResults, dataset: str, scheme: str) -> Iterator[str]:
    study = results.study
    mine = {place[2]: gap for place, gap in results.excess.items() if place[:2] == (dataset, scheme)}
    if not mine and study.map_method == "patchcore":
        yield "The maps come from PatchCore models, always cross-fitted: no image was judged by a memory that holds it."
        return
    if not mine:
        yield (
            f"Maps of training images are {READINGS[study.map_fit]}; the other reading was not run "
            "(compare_map_fit), so what "
            "it would change is not known."
        )
        if study.map_fit == AS_WRITTEN:
            yield (
                "A map source that saw the training images may show them cleaner than others; read the false rejects "
                "with that in mind."
            )
        return
    for features, gap in mine.items():
        if features in MAIN or gap.trap:
            rejects = gap.rejects
            yield (
                f"With {FEATURE_SETS[features].phrase}, as written minus cross-fitted: false rejects "
                f"{100 * rejects.difference:+z.1f} points (95 % interval "
                f"{100 * rejects.low:+z.1f} to {100 * rejects.high:+z.1f}), AUC {gap.auc:+z.3f}."
            )
    map_method = choose_map_fit(results.excess, dataset, scheme, study.map_fit)
    if any(gap.trap for gap in mine.values()):
        yield (
            "So as written the classifier takes good images that the map source has not seen for defective, and ranks "
            "no better for it: the comparisons rest on the cross-fitted maps."
        )
    else:
        yield (
            "No feature set rejects more good images as written without ranking better, so the comparisons rest on the "
            f"study's own reading, {READINGS[map_method]}."
        )
    if map_method != study.map_fit:
        yield (
            "Tables 2 and 3, operating points and label economy are the study's own reading, "
            f"{READINGS[study.map_fit]}."
        )


def _simpler(results: StudyResults, dataset: str) -> Iterator[str]:
    table = results.versus[results.versus["dataset"] == dataset]
    areas = table[(table["metric"] == "weighted_auc") & table["a"].isin(BASELINES)]
    if areas.empty:
        yield "No baselines were run beside image and map together, so this stays open."
        return
    kinds = {
        "Better than image and map together": areas["low"] > 0,
        "Not told apart from them": (areas["low"] <= 0) & (areas["high"] >= 0),
        "Worse": areas["high"] < 0,
    }
    for kind, chosen in kinds.items():
        if chosen.any():
            listed = "; ".join(
                f"{FEATURE_SETS[row['a']].phrase} (AUC {row['value_a']:.3f}, {_signed(row['difference'])}, "
                f"interval {_span(row)}, p = {format_p(row['p'])}, {row['false_rejects_a']:.1%} false rejects)"
                for _, row in areas[chosen].iterrows()
            )
            yield f"{kind} (AUC {areas['value_b'].iloc[0]:.3f}): {listed}."
    as_well = areas[areas["high"] >= 0]
    if as_well.empty:
        yield "So nothing simpler that was tried does as well."
    else:
        best = as_well.sort_values("value_a").iloc[-1]
        at = table[(table["metric"] == RECALL_AT_5_FPR) & (table["a"] == best["a"])].iloc[0]
        yield (
            f"So yes, as far as the AUC shows: {FEATURE_SETS[best['a']].phrase}. At {FPR_LIMIT:.0%} false rejects the "
            f"defect recall is then {at['value_a']:.1%} against {at['value_b']:.1%}."
        )


def _cost(results: StudyResults, dataset: str) -> Iterator[str]:
    points = results.points[(results.points["dataset"] == dataset) & (results.points["class"] == ALL)]
    points = points[points["features"].isin((*MAIN, *LINEAR_GUIDED))]
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
            f"{FEATURE_SETS[row['features']].phrase} {row['false_rejects']:.1%} false rejects "
            f"(reached {row['recall']:.1%}, {row['escapes']:,.0f} escapes per million)"
            for row in rows.to_dict("records")
        )
        yield f"For {required:.1%} of the defects: {listed}."
    missed = chosen[chosen["recall_high"] < chosen["required"]]
    if len(missed):
        yield (
            f"In {len(missed)} of {len(chosen)} cases the test folds show a recall below the required one, "
            "its interval "
            "and all: such a threshold does not carry over."
        )
    bounds = points[points["method"] == CONFORMAL]
    refused = bounds[bounds["caught"].isna()]
    if len(refused):
        listed = ", ".join(
            f"{required:.1%} ({rows['n_calibration'].min():.0f} calibration defects, "
            + (
                "no number suffices"
                if np.isinf(rows["n_needed"].iloc[0])
                else f"{rows['n_needed'].iloc[0]:.0f} needed"
            )
            + ")"
            for required, rows in refused.groupby("required")
        )
        yield f"The conformal bound refuses for {listed}."
    elif len(bounds):
        yield "There are enough calibration defects for a conformal bound on every required recall."


def _labels(results: StudyResults, dataset: str) -> Iterator[str]:
    needs = results.economy.needs[results.economy.needs["dataset"] == dataset]
    if needs.empty:
        yield "The share of defects kept was not varied for the image and another feature set: no answer."
        return
    full = needs[needs["reference"] == needs["reference"].max()]
    full = full[full["features"].isin((*MAIN, *LINEAR_GUIDED))]
    count = full["reference"].iloc[0]
    yield (
        f"With {count:.0f} labelled defects in training the image finds {full['target'].iloc[0]:.1%} of the "
        "defects at "
        f"{FPR_LIMIT:.0%} false rejects."
    )
    for row in full.to_dict("records"):
        yield f"Labelled defects for the same with {FEATURE_SETS[row['features']].phrase}: {describe_need(row)}."


def _row(table: pd.DataFrame, metric: str, a: str, b: str) -> pd.Series | None:
    found = table[
        (table["metric"] == metric) & (table["class"] == ALL) & (table["a"] == a) & (table["b"] == b)
    ]
    return found.iloc[0] if len(found) else None


def _signed(value: float) -> str:
    return f"{value:+z.3f}"


def _span(row: pd.Series | Interval) -> str:
    low, high = (row.low, row.high) if isinstance(row, Interval) else (row["low"], row["high"])
    return f"{_signed(low)} to {_signed(high)}"
