"""Can a study be trusted? Fifteen checks of each data set, computed, each with why it matters and what to do."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

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
FEW_OF_A_CLASS, FEW_GOOD = 30, 100  # images
SUSPECT = 0.02  # share of images that all methods decide against their label
PROPOSED = "groups-proposed.csv"  # beside the index: known groups joined with near-duplicates, for --groups
FEW_ALIKE = 0.01  # share of images that may have a near-duplicate where none should be
_ADVICE = Path(__file__).with_name("advice.csv")  # the most useful first


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


def checks(results: StudyResults, facts: Mapping[str, Facts]) -> pd.DataFrame:
    """Return every check of every data set: check, dataset, state, pill, result, why, action, options."""
    rows, study = [], results.study
    folds = max(10, _folds_needed(study.alpha))  # the paper's ten at least
    nothing_to_gain = {
        "finds": study.map_source == "patchcore",
        "alike": study.map_method != "in_sample" or study.draem_checkpoint,
        "objects": study.cv == "stratified",
    }
    advice = pd.read_csv(_ADVICE, keep_default_na=False).to_dict("records")
    for dataset, mine in results.each():
        for one in advice:
            state, result = CHECKS[one["id"]](mine, mine.good[dataset], facts[dataset])
            does = state in ("bad", "warn") and not nothing_to_gain.get(one["id"])
            asked = [one[text].format(folds=folds) if does else "" for text in ("action", "options")]
            name = one["check"].format(good=FEW_GOOD, of_a_class=FEW_OF_A_CLASS)
            rows.append((name, dataset, state, PILLS[state], result, one["why"], *asked))
    columns = ["check", "dataset", "state", "pill", "result", "why", "action", "options"]
    return pd.DataFrame(rows, columns=columns)


def method_of(results: StudyResults) -> str:
    """Return the feature set that a verdict is about: the recommended one, else image + map, else what is there."""
    there = dict.fromkeys(results.primary["features"])
    return recommended(results.recommended) or (METHOD if METHOD in there else next(iter(there)))


def _objects(results: StudyResults, good: str, facts: Facts) -> tuple[str, str]:
    found, several = facts.data.describe_alike(), facts.data.many_alike
    if results.mine["group"].isna().all():
        return "bad" if several else "warn", f"Not known: no groups were given. {found}"
    if set(results.mine["scheme"]) == {"grouped"}:
        return "warn" if several else "good", f"Folds keep the images of one object together. {found}"
    return "bad", f"Images of one object stand in training and test. {found}"


def _shortcuts(results: StudyResults, good: str, facts: Facts) -> tuple[str, str]:
    return "warn" if facts.data.told or facts.data.variants else "good", facts.data.describe_shortcuts()


def _rarest(results: StudyResults, good: str, _: Facts) -> tuple[str, str]:
    counts = results.primary.drop_duplicates("id")["label"].value_counts()
    state = "good" if counts.iloc[-1] >= FEW_OF_A_CLASS else "warn" if counts.iloc[-1] >= 10 else "bad"
    return state, f"Rarest class: {counts.index[-1]}, n = {counts.iloc[-1]}."


def _good(results: StudyResults, good: str, _: Facts) -> tuple[str, str]:
    unit = results.study.verdict_per
    images = per_verdict(results.primary, results.good, unit).drop_duplicates("id")
    n = int((images["label"] == good).sum())
    state = "good" if n >= FEW_GOOD else "warn" if n >= results.study.least_good else "bad"
    limit = m.FPR_LIMIT * n / images["fold"].nunique()
    return state, f"Good {unit}s: {n}. A rate of {m.percent(m.FPR_LIMIT, 0)} is {limit:.1f} per test fold."


def _folds(results: StudyResults, good: str, _: Facts) -> tuple[str, str]:
    n, alpha = results.primary["fold"].nunique(), results.study.alpha
    if smallest_attainable_p(n) < alpha:
        return "good", f"With {n} folds a p-value below {alpha:g} is possible."
    return "bad", f"Folds: {n}. A p-value below {alpha:g} needs {_folds_needed(alpha)}."


def _folds_needed(alpha: float) -> int:
    return math.floor(1 - math.log2(alpha)) + 1  # of a signed-rank test


def _finds(results: StudyResults, good: str, facts: Facts) -> tuple[str, str]:
    if facts.scores.empty:
        return "none", "Not run: this study has no anomaly maps."
    seed = results.study.seed
    area = Paired(facts.scores, ["map"], good).samples(m.RANKINGS[0], seed, 400)["map"]
    low, high = area.interval(seed)
    below = ", ".join(label for label, value in facts.auroc.items() if value < 0.5)
    found = f"Image AUROC {area.values[0]:.2f} (95 % CI {low:.2f} to {high:.2f})."
    state = "good" if low > 0.5 else "bad" if high < 0.5 else "warn"
    return state, found + (f" Below chance for: {below}." if below else "")


def _alike(results: StudyResults, good: str, facts: Facts) -> tuple[str, str]:
    if math.isnan(facts.unseen):
        return "none", "Not run: there are no maps of good training and test images."
    away = abs(facts.unseen - 0.5)
    state = "good" if away <= 0.1 else "warn" if away <= 0.2 else "bad"
    return state, f"AUROC of good test against good training images: {facts.unseen:.2f} (0.5: no difference)."


def _selected(results: StudyResults, good: str, facts: Facts) -> tuple[str, str]:
    used, n = sum(k > 0 for k in facts.from_map), len(facts.from_map)
    if not n:
        return "none", "Not run: image and map were not combined."
    if not used:
        return "bad", "No map feature was selected in any fold: image + map is the image alone."
    return "good" if used == n else "warn", f"Map features were selected in {used} of {m.count(n, 'fit')}."


def _probabilities(results: StudyResults, good: str, _: Facts) -> tuple[str, str]:
    rows = m.binary_predictions(results.primary, results.study.binary)
    rows = rows[rows["features"] == method_of(results)]
    bad = (rows["label"] != good).to_numpy()
    score, constant = np.mean((m.defect_scores(rows, good) - bad) ** 2), bad.mean() * (1 - bad.mean())
    guess = f"Brier score {score:.3f}; a constant guess has {constant:.3f}."
    return "good" if score < constant else "bad", guess


def _carry_over(results: StudyResults, good: str, _: Facts) -> tuple[str, str]:
    points = points_of(results.points, features=method_of(results))
    if points.empty:
        return "none", "Not run: no training image was scored out of fold."
    missed = int((points["recall_high"] < points["required"]).sum())
    return "bad" if missed else "good", f"Thresholds that missed their recall: {missed} of {len(points)}."


def _enough(results: StudyResults, good: str, _: Facts) -> tuple[str, str]:
    bound = point_of(results.points, method_of(results), results.study.target_recall, CONFORMAL)
    if not bound:
        return "none", "Not run: no training image was scored out of fold."
    return "bad" if bound["n_calibration"] < bound["n_needed"] else "good", describe_defects(bound)


def _pooled(results: StudyResults, good: str, _: Facts) -> tuple[str, str]:
    asked = {"metric": m.RECALL_AT_5_FPR, "class": m.ALL, "features": method_of(results)}
    known = m.where(results.measures, asked).set_index("fold")["value"].dropna()
    folds = known.drop(m.OVERALL, errors="ignore")
    pooled = folds.pop(m.POOLED) if m.POOLED in folds else float("nan")
    if folds.empty or math.isnan(pooled):
        return "none", "Not run: no fold has both good and defective images."
    inside = folds.min() <= pooled <= folds.max()
    where = "inside" if inside else "outside"
    told = f"Recall of pooled scores: {m.percent(pooled)}, {where} the range of the folds."
    return "good" if inside else "warn", told


def _retrained(results: StudyResults, good: str, _: Facts) -> tuple[str, str]:
    n = results.primary["repeat"].nunique()
    return "good" if n > 1 else "warn", f"Everything was trained {f'{n} times' if n > 1 else 'once'}."


def _labels(results: StudyResults, good: str, _: Facts) -> tuple[str, str]:
    rows = m.binary_predictions(results.primary, results.study.binary)
    wrong = ((rows["predicted"] == good) != (rows["label"] == good)).groupby(rows["id"]).all()
    n = int(wrong.sum())
    state = "good" if n <= SUSPECT * len(wrong) else "warn"
    return state, f"Every method disagrees with the label of {n} of {len(wrong)} images."


def _as_paper(results: StudyResults, good: str, facts: Facts) -> tuple[str, str]:
    if is_synthetic(results.primary["dataset"].iloc[0]):
        return "warn", "Demo data: the products are drawn, not photographed."
    if facts.as_paper:
        return "good", "Backbone and preset are the paper's."
    return "warn", f"Preset {results.study.preset}, backbone {results.study.backbone}."


CHECKS = {  # by their id in the table of advice
    one.__name__.removeprefix("_"): one
    for one in (
        *(_good, _enough, _rarest, _finds, _carry_over, _alike, _objects, _shortcuts, _labels, _retrained),
        *(_probabilities, _folds, _selected, _pooled, _as_paper),
    )
}
