"""The result of each notebook in one computed sentence, with the state and the words of its pill."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from lib.anomaly_maps.localization_metrics import OVERALL
from lib.classification.feature_sets import FEATURE_SETS
from lib.config import Study
from lib.evaluation.bootstrap import quantile_ends
from lib.evaluation.checks import FEW_GOOD, FEW_OF_A_CLASS
from lib.evaluation.metrics import RANKINGS, Answers, count, measured, percent
from lib.evaluation.operating_points import CONFORMAL, TRAINING, describe_defects, point_of

State = Literal["good", "warn", "bad", "none"]
EXTRA, GUIDE = "What does the map add as an extra picture?", "What does the map add as a guide?"
# a network and a logistic regression, without and with the map; and all evidence together
METHODS = ("image", "image_map", "image_logistic", "guided_logistic", "combined")
CHANCE, USEFUL = 0.5, 0.7  # image AUROC of maps
CONSTANT = 0.1  # share of features that never vary, above which they say little
REVIEWS = 0.1  # share of new images left to a person, above which most of the work stays


class Headline(NamedTuple):
    """A result: its state, one or a few words for it, and the sentence."""

    state: State
    pill: str
    sentence: str


def _first(*cases: tuple[Any, State, str, str]) -> Headline:
    """Return the headline of the first case that holds."""
    return next(Headline(*case[1:]) for case in cases if case[0])


def dataset_headline(pictures: pd.DataFrame, folds: int) -> Headline:
    """Return whether there are enough images of an index (label, group; attribute good) for so many folds."""
    good, counts = str(pictures.attrs["good"]), pictures["label"].value_counts()
    fine, defects = int(counts.get(good, 0)), counts.drop(good, errors="ignore")
    if defects.empty or not fine:
        return Headline("bad", "One class", "Both good and defective images are needed; one kind is missing.")
    rarest, n = str(defects.index[-1]), int(defects.iloc[-1])
    return _first(
        (n < folds, "bad", "Too few", f"Class {rarest} has {count(n, 'image')}, and there are {folds} folds."),
        (n < FEW_OF_A_CLASS, "warn", "Few defects", f"Recalls of class {rarest} are uncertain: {count(n, 'image')}."),
        (fine < FEW_GOOD, "warn", "Few good images", f"False rejects are uncertain: {count(fine, 'good image')}."),
        (pictures["group"].isna().all(), "warn", "Objects unknown",
         "There are enough images of each class, but which of them show the same object is unknown."),
        (True, "good", "Enough images", f"Every defect class has at least {count(n, 'image')}, the good class {fine}."),
    )  # fmt: skip


def source_headline(source: str, defective: np.ndarray | None = None, scores: np.ndarray | None = None) -> Headline:
    """Return how well a trained map source separates the test images of one fold: defective (n,), scores (n,).

    Without scores the source needed no training. The interval is a bootstrap of the images.
    """
    if defective is None or scores is None:
        return Headline("none", "No training", f"{source} is not trained: it stores features of good images.")
    truth = np.where(defective, "bad", "good")
    answers = Answers(truth, truth, {"good": 1 - np.asarray(scores, float)})
    draws = np.random.default_rng(0).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), 2000).T
    (area,), sampled = (measured(RANKINGS[0], answers, "good", weights=one) for one in (None, draws))
    low, high = quantile_ends(sampled)
    found = f"image AUROC {area:.2f} (95 % CI {low:.2f} to {high:.2f})"
    return _first(
        (np.isnan(area), "none", "Not measured", "The first test fold lacks good or defective images."),
        (low > CHANCE, "good", "Better than chance", f"{source} finds defects in unseen images: {found}, first fold."),
        (high < CHANCE, "bad", "Worse than chance", f"{source} is worse than chance in the first fold: {found}."),
        (True, "warn", "No better than chance", f"{source} is not measurably better than chance: {found}."),
    )  # fmt: skip


def maps_headline(quality: pd.DataFrame) -> Headline:
    """Return which defects the maps find best and worst; `quality` as `map_quality` gives it."""
    if quality.empty:
        return Headline("none", "No maps", "This study has no anomaly maps.")
    areas = quality["image_auroc"].drop(OVERALL).sort_values()
    worst, best, low, high = areas.index[0], areas.index[-1], areas.iloc[0], areas.iloc[-1]
    said = f"best (image AUROC {high:.2f}) and class {worst} worst ({low:.2f})"
    said = f"The maps find class {best} {said if len(areas) > 1 else f'with an image AUROC of {high:.2f}'}."
    return _first(
        (low <= CHANCE, "bad", "Maps miss a class", said),
        (low < USEFUL, "warn", "Maps are weak", said),
        (True, "good", "Maps work", said),
    )


def features_headline(spread: Mapping[str, np.ndarray], untrained: bool = False) -> Headline:
    """Return how many features never vary: `spread` has their standard deviations by source (image, map)."""
    if untrained:
        return Headline("bad", "Random weights", "The backbone is not trained, so its features mean little.")
    still = {name: float(np.mean(values < 1e-6)) for name, values in spread.items() if len(values)}
    if not still:
        return Headline("none", "No features", "This study has no features.")
    listed = " and ".join(f"{percent(share)} of the {name} features" for name, share in still.items())
    return _first(
        (not any(still.values()), "good", "Features vary", f"Every feature of {' and '.join(still)} varies."),
        (max(still.values()) > CONSTANT, "warn", "Many never vary", f"{listed} never vary."),
        (True, "good", "Features vary", f"Only {listed} never vary."),
    )


def classification_headline(points: pd.DataFrame, chosen: str, study: Study) -> Headline:
    """Return whether the feature set `chosen` is usable: what the study's target recall costs.

    `points` are `operating_numbers` of one data set.
    """
    point, bound = (point_of(points, chosen, study.target_recall, one) for one in (TRAINING, CONFORMAL))
    if not point:
        why = "No training images were scored, so no threshold could be set."
        return Headline("none", "Cannot tell", why)
    rejects, low, high = (share(point, "false_rejects"), point["false_rejects_low"], point["false_rejects_high"])
    usable, limit = (f"{100 * one:g} %" for one in (study.usable_rejects, study.presort_rejects))
    target = f"{100 * study.target_recall:g} % recall"
    why = f"For {target}, {rejects} of the good products are rejected."
    return _first(
        (point["n_good"] < study.least_good, "none", "Cannot tell: too few images",
         f"Good {study.verdict_per}s: {point['n_good']:.0f}; needed: {study.least_good}."),
        (np.isnan(bound["caught"]), "none", "Cannot tell: too few defects", describe_defects(bound)),
        (point["recall_high"] < study.target_recall, "bad", "Not usable: misses defects",
         f"Threshold for {target}: recall {share(point, 'recall')}, false rejects {rejects}."),
        (high <= study.usable_rejects, "good", f"Usable: below {usable} rejected", why),
        (high <= study.presort_rejects, "good", f"Pre-sorting: below {limit} rejected", why),
        (low > study.presort_rejects, "bad", f"Not usable: above {limit} rejected", why),
        (True, "none", f"Cannot tell: {100 * low:.0f} to {percent(high, 0)}, limit {limit}", why),
    )  # fmt: skip


def share(point: Mapping[Any, Any], name: str) -> str:
    """Return a share of an operating point, in whole percents below a hundred images, and its interval."""
    digits = int(point["n_good" if name == "false_rejects" else "n_defects"] >= 100)
    value, low, high = (percent(point[f"{name}{end}"], digits) for end in ("", "_low", "_high"))
    return f"{value} ({low.removesuffix(' %')} to {high})"


def imbalance_headline(needs: pd.DataFrame) -> Headline:
    """Return which feature set needs the fewest labelled defects for the image's recall (`LabelEfficiency.needs`)."""
    there = needs[needs["reference"] == needs["reference"].max()].dropna(subset="labels")
    there = there[there["features"].isin(METHODS)]
    if there.empty:
        return Headline("none", "Not varied", "The number of labelled defects was not varied.")
    fewest = there[there["labels"] == there["labels"].min()]  # several, where the fewest studied are enough
    best = fewest.sort_values("high", kind="stable").to_dict("records")[0]
    whole, fewer = f"{best['reference']:.0f}", " or fewer" * bool(best["labels"] <= best["least"])
    names = " and ".join(FEATURE_SETS[name].title for name in fewest["features"])
    need = f"{names} need{'s' * (len(fewest) == 1)} {best['labels']:.0f}{fewer}"
    sentence = f"{need} labelled defects to match the image with {whole}."
    return _first(
        (np.isinf(best["labels"]), "warn", "Image is best", f"No method matches the image with {whole} defects."),
        (best["high"] < best["reference"], "good", "Fewer labels", sentence),
        (True, "warn", "Not certain", sentence),
    )  # fmt: skip


def statistics_headline(said: pd.DataFrame) -> Headline:
    """Return on how many data sets the map helps; `said` are `findings`."""
    if said.empty:
        return Headline("none", "Nothing run", "No data set was studied.")
    helped, n = said[said["state"] == "good"], said["dataset"].nunique()
    extra, guide = (set(helped.loc[helped["question"] == question, "dataset"]) for question in (EXTRA, GUIDE))
    helps = f"Data sets where the map helps: {len(extra)} as an extra picture, {len(guide)} as a guide."
    return _first(
        (extra | guide, "good", f"Helps on {len(extra | guide)} of {n}", helps),
        (True, "warn", "No measurable gain", f"The map measurably helps on none of {count(n, 'data set')}."),
    )


def inspection_headline(counts: Mapping[str, int]) -> Headline:
    """Return how many new images a person must review, from the number of images that pass, reject and review have."""
    n, reviewed = sum(counts.get(name, 0) for name in ("pass", "reject", "review")), counts.get("review", 0)
    sentence = f"{reviewed} of {count(n, 'new image')} must be reviewed by a person."
    return _first(
        (not n, "none", "No images", "No image could be judged."),
        (not reviewed, "good", "No review", f"The model decided on all: {count(n, 'image')}, none for review."),
        (True, "good" if reviewed <= REVIEWS * n else "warn", f"{reviewed} to review", sentence),
    )  # fmt: skip
