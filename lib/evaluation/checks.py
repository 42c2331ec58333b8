"""Can a study be trusted? Fifteen checks of each data set, computed, each with why it matters and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from lib.config import Study
from lib.datasets.shortcuts import SYMPTOMS, Told
from lib.evaluation import metrics as m
from lib.evaluation.bootstrap import Paired
from lib.evaluation.objects import per_verdict
from lib.evaluation.operating_points import CONFORMAL, describe_defects, point_of, points_of
from lib.evaluation.published_results import is_synthetic
from lib.evaluation.recommendation import recommended
from lib.evaluation.results import StudyResults
from lib.evaluation.significance import METHOD, smallest_attainable_p

PILLS = {"good": "passed", "warn": "warning", "bad": "failed", "none": "unknown"}
OPEN = ("bad", "warn")  # states that ask for something to be done
FEW_OF_A_CLASS, FEW_GOOD = 30, 100  # images
SUSPECT = 0.02  # share of images that all methods decide against their label
PROPOSED = "groups-proposed.csv"  # beside the index: known groups joined with near-duplicates, for --groups
FEW_ALIKE = 0.01  # share of images that may have a near-duplicate where none should be


@dataclass(frozen=True)
class DataFacts:
    """What the images themselves say against a study: numbers of images, and facts of their files.

    alike: images that have a near-duplicate; across_classes, across_folds: images among them that have one in another
    class, in another test fold; told: facts that tell good from defective; variants: images of each variant of size
    and colour mode that only defects show.
    """

    images: int = 0
    alike: int = 0
    across_classes: int = 0
    across_folds: int = 0
    told: tuple[Told, ...] = ()
    variants: Mapping[str, int] = field(default_factory=dict)

    @property
    def many_alike(self) -> bool:
        """Whether near-duplicates are so many across classes or folds that they change figures."""
        return max(self.across_classes, self.across_folds) > FEW_ALIKE * self.images

    def describe_alike(self) -> str:
        """Say how many images have near-duplicates, and where."""
        if not self.alike:
            return "No near-duplicates were found."
        across = f"{self.across_folds} in another fold, {self.across_classes} in another class"
        return f"Images with near-duplicates: {self.alike}. Of these, {across}. Proposed groups: {PROPOSED}."

    def describe_shortcuts(self) -> str:
        """Say which facts of files tell good from defective, and which variants only defects show."""
        said = []
        for fact, *ends in self.told:
            auc = "AUC {:.2f} (95 % CI {:.2f} to {:.2f})".format(*ends)
            said.append(f"{fact[0].upper()}{fact[1:]} alone tells good from defective: {auc}.")
            said += ["It may be the defect itself."] * (fact in SYMPTOMS)
        said += [f"Only defects are {name}: {m.count(n, 'image')}." for name, n in self.variants.items()]
        return " ".join(said) or "No fact of the files tells good from defective."


@dataclass(frozen=True)
class Facts:
    """What the checks need beside predictions, of one data set.

    scores: the maps' image scores of test images, as predictions of a feature set `map` (no rows without maps); auroc:
    image AUROC of the map by defect class (may be empty); unseen: AUROC of good test images against good training
    images by that score (NaN without maps); from_map: features selected from the map, by fit of image + map; as_paper:
    backbone and preset are the paper's; data: what the images say.
    """

    scores: pd.DataFrame
    auroc: Mapping[str, float]
    unseen: float
    from_map: tuple[int, ...]
    as_paper: bool
    data: DataFacts = DataFacts()


class Check(NamedTuple):
    """One check: its name, how it is computed, why it matters, what to do, and with which options of the command."""

    name: str
    of: Callable[[StudyResults, str, Facts], tuple[str, str]]  # state and result
    why: str
    action: str
    options: str = ""
    applies: Callable[[Study], bool] = lambda study: True  # whether there is anything to gain by the action


def checks(results: StudyResults, facts: Mapping[str, Facts]) -> pd.DataFrame:
    """Return every check of every data set: check, dataset, state, pill, result, why, action, options."""
    rows = []
    for dataset, mine in results.each():
        for one in CHECKS:
            state, result = one.of(mine, dataset, facts[dataset])
            does, needed = state in OPEN and one.applies(mine.study), folds_needed(mine.study)
            asked = [text.format(folds=needed) if does else "" for text in (one.action, one.options)]
            rows.append((one.name, dataset, state, PILLS[state], result, one.why, *asked))
    columns = ["check", "dataset", "state", "pill", "result", "why", "action", "options"]
    return pd.DataFrame(rows, columns=columns)


def method_of(results: StudyResults) -> str:
    """Return the feature set that a verdict is about: the recommended one, else image + map, else what is there."""
    there = dict.fromkeys(results.primary["features"])
    return recommended(results.recommended) or (METHOD if METHOD in there else next(iter(there)))


def _objects(results: StudyResults, dataset: str, facts: Facts) -> tuple[str, str]:
    found = facts.data.describe_alike()
    if results.mine["group"].isna().all():
        return "bad" if facts.data.many_alike else "warn", f"Not known: no groups were given. {found}"
    if set(results.mine["scheme"]) == {"grouped"}:
        state = "warn" if facts.data.many_alike else "good"
        return state, f"Folds keep the images of one object together. {found}"
    return "bad", f"Images of one object stand in training and test. {found}"


def _shortcuts(results: StudyResults, dataset: str, facts: Facts) -> tuple[str, str]:
    return ("warn" if facts.data.told or facts.data.variants else "good"), facts.data.describe_shortcuts()


def _rarest(results: StudyResults, dataset: str, _: Facts) -> tuple[str, str]:
    counts = results.primary.drop_duplicates("id")["label"].value_counts()
    state = "good" if counts.iloc[-1] >= FEW_OF_A_CLASS else "warn" if counts.iloc[-1] >= 10 else "bad"
    return state, f"Rarest class: {counts.index[-1]}, n = {counts.iloc[-1]}."


def _good(results: StudyResults, dataset: str, _: Facts) -> tuple[str, str]:
    unit = results.study.verdict_per
    images = per_verdict(results.primary, results.good, unit).drop_duplicates("id")
    n = int((images["label"] == results.good[dataset]).sum())
    state = "good" if n >= FEW_GOOD else "warn" if n >= results.study.least_good else "bad"
    limit = m.FPR_LIMIT * n / images["fold"].nunique()
    return state, f"Good {unit}s: {n}. A rate of {m.percent(m.FPR_LIMIT, 0)} is {limit:.1f} per test fold."


def _folds(results: StudyResults, dataset: str, _: Facts) -> tuple[str, str]:
    n, alpha = results.primary["fold"].nunique(), results.study.alpha
    if smallest_attainable_p(n) < alpha:
        return "good", f"With {n} folds a p-value below {alpha:g} is possible."
    return "bad", f"Folds: {n}. A p-value below {alpha:g} needs {math.floor(1 - math.log2(alpha)) + 1}."


def folds_needed(study: Study) -> int:
    """Return with how many folds a signed-rank test can reach the study's level; the paper's ten at least."""
    return max(10, math.floor(1 - math.log2(study.alpha)) + 1)


def _finds(results: StudyResults, dataset: str, facts: Facts) -> tuple[str, str]:
    if facts.scores.empty:
        return "none", "Not run: this study has no anomaly maps."
    paired, seed = Paired(facts.scores, ["map"], results.good[dataset]), results.study.seed
    area = paired.samples(m.RANKINGS[0], seed, 400)["map"]
    low, high = area.interval(seed)
    state = "good" if low > 0.5 else "bad" if high < 0.5 else "warn"
    below = [label for label, value in facts.auroc.items() if value < 0.5]
    missed = f" Below chance for: {', '.join(below)}." if below else ""
    return state, f"Image AUROC {area.values[0]:.2f} (95 % CI {low:.2f} to {high:.2f}).{missed}"


def _alike(results: StudyResults, dataset: str, facts: Facts) -> tuple[str, str]:
    if math.isnan(facts.unseen):
        return "none", "Not run: there are no maps of good training and test images."
    state = "good" if abs(facts.unseen - 0.5) <= 0.1 else "warn" if abs(facts.unseen - 0.5) <= 0.2 else "bad"
    return state, f"AUROC of good test against good training images: {facts.unseen:.2f} (0.5: no difference)."


def _selected(results: StudyResults, dataset: str, facts: Facts) -> tuple[str, str]:
    used, n = sum(k > 0 for k in facts.from_map), len(facts.from_map)
    if not n:
        return "none", "Not run: image and map were not combined."
    if not used:
        return "bad", "No map feature was selected in any fold: image + map is the image alone."
    return "good" if used == n else "warn", f"Map features were selected in {used} of {m.count(n, 'fit')}."


def _probabilities(results: StudyResults, dataset: str, _: Facts) -> tuple[str, str]:
    rows = m.binary_predictions(results.primary, results.study.binary)
    rows, good = rows[rows["features"] == method_of(results)], results.good[dataset]
    bad = (rows["label"] != good).to_numpy()
    score, constant = np.mean((m.defect_scores(rows, good) - bad) ** 2), bad.mean() * (1 - bad.mean())
    state = "good" if score < constant else "bad"
    return state, f"Brier score {score:.3f}; a constant guess has {constant:.3f}."


def _carry_over(results: StudyResults, dataset: str, _: Facts) -> tuple[str, str]:
    points = points_of(results.points, features=method_of(results))
    if points.empty:
        return "none", "Not run: no training image was scored out of fold."
    missed = int((points["recall_high"] < points["required"]).sum())
    return "bad" if missed else "good", f"Thresholds that missed their recall: {missed} of {len(points)}."


def _enough(results: StudyResults, dataset: str, _: Facts) -> tuple[str, str]:
    bound = point_of(results.points, method_of(results), results.study.target_recall, CONFORMAL)
    if not bound:
        return "none", "Not run: no training image was scored out of fold."
    return "bad" if bound["n_calibration"] < bound["n_needed"] else "good", describe_defects(bound)


def _pooled(results: StudyResults, dataset: str, _: Facts) -> tuple[str, str]:
    asked = {"metric": m.RECALL_AT_5_FPR, "class": m.ALL, "features": method_of(results)}
    of = m.where(results.measures, asked)
    values = of.set_index("fold")["value"].drop(m.OVERALL, errors="ignore")
    pooled, folds = values.get(m.POOLED, float("nan")), values.drop(m.POOLED, errors="ignore").dropna()
    if folds.empty or math.isnan(pooled):
        return "none", "Not run: no fold has both good and defective images."
    if folds.min() <= pooled <= folds.max():
        return "good", f"Recall of pooled scores: {m.percent(pooled)}, inside the range of the folds."
    return "warn", f"Recall of pooled scores: {m.percent(pooled)}, outside the range of the folds."


def _retrained(results: StudyResults, dataset: str, _: Facts) -> tuple[str, str]:
    n = results.primary["repeat"].nunique()
    state, times = ("good", f"{n} times") if n > 1 else ("warn", "once")
    return state, f"Everything was trained {times}."


def _labels(results: StudyResults, dataset: str, _: Facts) -> tuple[str, str]:
    rows, good = m.binary_predictions(results.primary, results.study.binary), results.good[dataset]
    wrong = ((rows["predicted"] == good) != (rows["label"] == good)).groupby(rows["id"]).all()
    n = int(wrong.sum())
    state = "good" if n <= SUSPECT * len(wrong) else "warn"
    return state, f"Every method disagrees with the label of {n} of {len(wrong)} images."


def _as_paper(results: StudyResults, dataset: str, facts: Facts) -> tuple[str, str]:
    if is_synthetic(dataset):
        return "warn", "Demo data: the products are drawn, not photographed."
    if facts.as_paper:
        return "good", "Backbone and preset are the paper's."
    return "warn", f"Preset {results.study.preset}, backbone {results.study.backbone}."


CHECKS = (  # the most useful advice first
    Check(f"Good images ({FEW_GOOD} wanted)", _good,
        "With few good images, one image decides about false rejects.", "Collect more good images."),
    Check("Defects for the target recall", _enough,
        "With fewer defects the recall cannot be guaranteed.", "Label more defects."),
    Check(f"Rarest class ({FEW_OF_A_CLASS} wanted)", _rarest,
        "A class with few images has a wide interval.", "Collect more images of the rarest class."),
    Check("Maps against chance", _finds,
        "A map no better than chance cannot help.", "Try PatchCore maps.",
        "--set map_source=patchcore --study patchcore", lambda study: study.map_source != "patchcore"),
    Check("Recall of thresholds", _carry_over,
        "A threshold that misses its recall lets defects pass.", "Check thresholds on a new sample before use."),
    Check("Maps of training and test", _alike,
        "Otherwise a classifier learns that a clean map means good, and rejects good products.",
        "Try cross-fitted maps.", "--set map_fit=cross_fitted --study cross-fitted",
        lambda study: study.map_method == "in_sample" and not study.draem_checkpoint),
    Check("Images of one object", _objects,
        "If images of one object are in training and test, results are too good.",
        "Say which images show the same object.", "--groups FILE", lambda study: study.cv != "stratified"),
    Check("Shortcuts", _shortcuts,
        "A classifier can learn how files were made instead of the defects.",
        "Take good and defective images in the same way, and save them in the same way."),
    Check("Labels", _labels,
        "Images that all methods get wrong may have a wrong label.",
        "Look at the missed defects and false rejects in notebook 04."),
    Check("Retraining noise", _retrained,
        "Another training can give other numbers.", "Train everything three times.",
        "--set repeats=3 --study three-trainings"),
    Check("Probabilities against guessing", _probabilities,
        "Otherwise scores are a ranking only.", "Do not read scores as probabilities."),
    Check("Folds for the test", _folds,
        "With too few folds no difference can be significant.", "Use {folds} folds.",
        "--set folds={folds} --study {folds}-folds"),
    Check("Selection of map features", _selected,
        "Without them image + map says nothing about the map.", "Judge the map by the map-guided features instead."),
    Check("Pooled recall", _pooled,
        "Otherwise the folds' scores have different scales.", "Use the mean of the folds, as all tables do."),
    Check("Likeness to the paper", _as_paper,
        "Otherwise the numbers do not check the paper's.", "Use the paper's preset on its products.",
        "--preset paper --study paper"),
)  # fmt: skip
