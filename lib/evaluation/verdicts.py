"""One card per data set: usable or not, does the map help, what a recall costs, the weakest class, what next."""

import math

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.by_class import changed, class_recalls
from lib.evaluation.checks import method_of
from lib.evaluation.headlines import classification_headline, share
from lib.evaluation.metrics import RECALL_AT_5_FPR, binary_predictions, count, percent, where
from lib.evaluation.objects import per_verdict
from lib.evaluation.operating_points import CONFORMAL, TRAINING, point_of, rejected
from lib.evaluation.results import StudyResults
from lib.evaluation.significance import AS_GUIDE, AS_PICTURE

HIGH = 0.99  # a recall that lines ask for
RULE = (
    "False rejects are those of the recommended method, at the threshold set on training images for {target} recall. "
    "Usable: certainly below {usable}. Pre-sorting: certainly below {presort}. Not usable: certainly above {presort}, "
    "or the recall was certainly missed. Cannot tell: anything else, under {least}, or too few defects."
)


def verdicts(results: StudyResults, checked: pd.DataFrame) -> pd.DataFrame:
    """Return a card per data set, all texts, for the index page.

    dataset, images, state, pill, why; features, method: the recommended one; guide, picture: does the map help;
    changes: by the guide, image by image; cost of the target recall, more: that of a `higher` one; weakest class; next,
    command: what to do; failed: how many checks; rule of the verdict. `checked` is `checks` of the same results.
    """
    rows = []
    for dataset, mine in results.each():
        study, method, name = mine.study, method_of(mine), mine.good[dataset]
        target = study.target_recall
        higher = next((one for one in study.recalls if one > target and one >= HIGH), target)
        mine_checks = where(checked, {"dataset": dataset})
        first = mine_checks[mine_checks["action"] != ""][:1]
        failed = f"{len(where(mine_checks, {'state': 'bad'}))} of {len(mine_checks)}"
        row = (
            *(dataset, _images(mine, name)),
            *classification_headline(mine.points, method, study),
            *(method, FEATURE_SETS[method].title, _helps(mine, AS_GUIDE), _helps(mine, AS_PICTURE)),
            *(describe_changes(mine, dataset), f"{100 * target:g} %", describe_cost(mine, target)),
            *(f"{100 * higher:g} %", describe_cost(mine, higher), _weakest(mine, name, method)),
            *(" ".join(first["action"]), " ".join(first["options"]), failed, rule(mine)),
        )
        rows.append(row)
    columns = "dataset images state pill why features method guide picture changes target cost higher more"
    return pd.DataFrame(rows, columns=[*columns.split(), "weakest", "next", "command", "failed", "rule"])


def rule(results: StudyResults) -> str:
    """Return the rule behind the verdicts, with this study's thresholds."""
    study = results.study
    shares = {"target": study.target_recall, "usable": study.usable_rejects, "presort": study.presort_rejects}
    texts = {name: f"{100 * share:g} %" for name, share in shares.items()}
    return RULE.format(**texts, least=count(study.least_good, f"good {study.verdict_per}"))


def describe_cost(results: StudyResults, required: float) -> str:
    """Return what share of the good products the data set's method rejects for a recall, and the image alone."""
    method = method_of(results)
    point, bound = (point_of(results.points, method, required, one) for one in (TRAINING, CONFORMAL))
    if not point:
        return "Not known: no threshold could be set."
    if point["recall_high"] < required:
        return f"Missed: found {share(point, 'recall')}, with {share(point, 'false_rejects')} false rejects."
    if pd.isna(bound["caught"]):
        needed = bound["n_needed"]
        needs = "no number is enough" if math.isinf(needed) else f"{needed:.0f} needed"
        return f"Cannot be guaranteed: {bound['n_calibration']:.0f} defects in training, {needs}."
    there = set(results.points["features"])  # the same classifier on the image alone, where there is one
    linear = FEATURE_SETS[method].model != "network" and "image_logistic" in there
    without = "image_logistic" if linear else "image"
    alone, beside = point_of(results.points, without, required), ""
    if method != without and alone and not alone["recall_high"] < required:
        beside = f" Image alone: {percent(alone['false_rejects'], 0)}."
    caught = percent(point["recall"], 0)
    return f"Rejects {share(point, 'false_rejects')} of good products, catches {caught}.{beside}"


def describe_changes(results: StudyResults, dataset: str) -> str:
    """Return how many images or objects the guide corrects / breaks, at the thresholds for the target recall."""
    good, binary = results.good[dataset], results.study.binary
    unit = results.study.verdict_per
    primary, known = (per_verdict(one, good, unit) for one in (results.primary, results.calibration))
    rows = binary_predictions(primary, binary)
    if not set(AS_GUIDE) <= set(rows["features"]):
        return "not run"
    reject = rejected(rows, known, good, results.study.target_recall, binary)
    gained, lost, saved, broken = changed(rows, reject, good, *AS_GUIDE).round().astype(int)
    return f"{gained + saved} / {lost + broken}"


def _helps(results: StudyResults, pair: tuple[str, str]) -> str:
    """Return whether the first of two feature sets, which has the map, finds more at 5 % false rejects."""
    gap = results.comparison(RECALL_AT_5_FPR, *pair)
    if gap is None:
        return "not run."
    if gap.identical == 1:
        return "not tested: same predictions."
    word = {1: "yes", -1: "no, it harms", 0: "no measurable difference"}[gap.side]
    return f"{word} ({gap.span().replace(', 95 % CI', ';')})."


def _images(results: StudyResults, good_class: str) -> str:
    labels = results.primary.drop_duplicates("id")["label"]
    good = int((labels == good_class).sum())
    objects = per_verdict(results.primary, results.good, results.study.verdict_per)["id"].nunique()
    per = f"; verdict of {count(objects, 'object')}" if results.study.verdict_per == "object" else ""
    kinds = count(labels.nunique() - (good > 0), "class")
    return f"{good:,} good, {len(labels) - good:,} defective ({kinds}){per}"


def _weakest(results: StudyResults, good: str, method: str) -> str:
    rows = binary_predictions(results.primary, results.study.binary)
    found = class_recalls(rows, good, [method], seed=results.study.seed).dropna(subset="value")
    for name, value, low, high in found[["class", "value", "low", "high"]].itertuples(index=False):
        ends = f"{100 * low:.0f} to {percent(high, 0)}"
        return f"{name}: {percent(value, 0)} found at 5 % false rejects ({ends})."
    return "Not known: no class could be measured."
