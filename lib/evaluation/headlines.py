"""The result of each notebook in one computed sentence, with the state and the words of its pill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from lib.anomaly_maps.localization_metrics import OVERALL
from lib.classification.feature_sets import FEATURE_SETS
from lib.config import Study
from lib.evaluation.bootstrap import quantile_ends
from lib.evaluation.checks import FEW_GOOD, FEW_OF_A_CLASS
from lib.evaluation.metrics import ALL, RANKINGS, Answers, count, measured, percent
from lib.evaluation.operating_points import CONFORMAL, TRAINING

State = Literal["good", "warn", "bad", "none"]
EXTRA, GUIDE = "What does the map add as an extra picture?", "What does the map add as a guide?"
CHANCE, USEFUL = 0.5, 0.7  # image AUROC of maps
CONSTANT = 0.1  # share of features that never vary, above which they say little
REVIEWS = 0.1  # share of new images left to a person, above which most of the work stays


class Headline(NamedTuple):
    """A result: its state, one or a few words for it, and the sentence."""

    state: State
    pill: str
    sentence: str


def dataset_headline(pictures: pd.DataFrame, folds: int) -> Headline:
    """Return whether there are enough images of an index (label, group; attribute good) for so many folds."""
    good, counts = str(pictures.attrs["good"]), pictures["label"].value_counts()
    fine, defects = int(counts.get(good, 0)), counts.drop(good, errors="ignore")
    if defects.empty or not fine:
        return Headline("bad", "One class", "Both good and defective images are needed; one kind is missing.")
    rarest, n = str(defects.index[-1]), int(defects.iloc[-1])
    if n < folds:
        return Headline(
            "bad", "Too few", f"Class {rarest} ({n}) has fewer images than there are folds ({folds})."
        )
    if n < FEW_OF_A_CLASS:
        return Headline(
            "warn", "Few defects", f"Recalls of class {rarest} are uncertain: {count(n, 'image')}."
        )
    if fine < FEW_GOOD:
        return Headline(
            "warn", "Few good images", f"False rejects are uncertain: {count(fine, 'good image')}."
        )
    if pictures["group"].isna().all():
        sentence = "There are enough images of each class, but which of them show the same object is unknown."
        return Headline("warn", "Objects unknown", sentence)
    sentence = f"Every defect class has at least {count(n, 'image')}, the good class {fine}."
    return Headline("good", "Enough images", sentence)


def source_headline(
    source: str, defective: np.ndarray | None = None, scores: np.ndarray | None = None
) -> Headline:
    """Return how well a trained map source separates the test images of one fold: defective (n,), scores (n,).

    Without scores the source needed no training. The interval is a bootstrap of the images.
    """
    if defective is None or scores is None:
        return Headline(
            "none", "No training", f"{source} needs no training: it stores features of good images."
        )
    truth = np.where(defective, "bad", "good")
    answers = Answers(truth, truth, {"good": 1 - np.asarray(scores, float)})
    draws = np.random.default_rng(0).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), 2000).T
    (area,), sampled = (measured(RANKINGS[0], answers, "good", weights=one) for one in (None, draws))
    if np.isnan(area):
        return Headline("none", "Not measured", "The first test fold lacks good or defective images.")
    low, high = quantile_ends(sampled, ("linear", "linear"))
    found = f"image AUROC {area:.2f} (95 % CI {low:.2f} to {high:.2f})"
    if low > CHANCE:
        return Headline(
            "good", "Better than chance", f"{source} finds defects in unseen images: {found}, first fold."
        )
    if high < CHANCE:
        return Headline(
            "bad", "Worse than chance", f"{source} is worse than chance in the first fold: {found}."
        )
    return Headline(
        "warn", "No better than chance", f"{source} is not measurably better than chance: {found}."
    )


def maps_headline(quality: pd.DataFrame) -> Headline:
    """Return which defects the study's own maps find best and worst; `quality` as `map_quality` gives it."""
    if quality.empty:
        return Headline("none", "No maps", "This study has no anomaly maps.")
    areas = quality["image_auroc"].xs(quality.index[0][0]).drop(OVERALL).sort_values()
    low, high = areas.iloc[0], areas.iloc[-1]
    said = f"best (image AUROC {high:.2f}) and class {areas.index[0]} worst ({low:.2f})"
    if len(areas) == 1:
        said = f"with an image AUROC of {high:.2f}"
    sentence = f"The maps find class {areas.index[-1]} {said}."
    if low <= CHANCE:
        return Headline("bad", "Maps miss a class", sentence)
    return (
        Headline("good", "Maps work", sentence)
        if low >= USEFUL
        else Headline("warn", "Maps are weak", sentence)
    )


def features_headline(spread: Mapping[str, np.ndarray], untrained: bool = False) -> Headline:
    """Return how many features never vary: `spread` has their standard deviations by source (image, map)."""
    if untrained:
        return Headline("bad", "Random weights", "The backbone is not trained, so its features mean little.")
    still = {name: float(np.mean(values < 1e-6)) for name, values in spread.items() if len(values)}
    if not still:
        return Headline("none", "No features", "This study has no features.")
    if not any(still.values()):
        return Headline(
            "good", "Features vary", f"Every feature of {' and '.join(still)} varies between images."
        )
    listed = " and ".join(f"{percent(share)} of the {name} features" for name, share in still.items())
    if max(still.values()) > CONSTANT:
        return Headline("warn", "Many never vary", f"{listed} never vary.")
    return Headline("good", "Features vary", f"Only {listed} never vary.")


def classification_headline(points: pd.DataFrame, chosen: str, study: Study) -> Headline:
    """Return whether the feature set `chosen` is usable: what the study's target recall costs.

    `points` are `operating_numbers` of one data set.
    """
    target, of = study.target_recall, {}
    if len(points):
        asked = {"features": chosen, "required": target, "class": ALL}
        rows = points[(points[list(asked)] == pd.Series(asked)).all(axis=1)]
        of = {row["method"]: row for row in rows.to_dict("records")}
    if TRAINING not in of or np.isnan(of[TRAINING]["caught"]):
        return Headline(
            "none", "Cannot tell", "No training images were scored, so no threshold could be set."
        )
    point, bound = of[TRAINING], of[CONFORMAL]
    if point["n_good"] < study.least_good:
        sentence = f"Good images: {point['n_good']:.0f}; needed: {study.least_good}."
        return Headline("none", "Cannot tell: too few images", sentence)
    if np.isnan(bound["caught"]):
        needed = "no number is enough" if np.isinf(bound["n_needed"]) else f"needed: {bound['n_needed']:.0f}"
        sentence = f"Defects in a training fold: {bound['n_calibration']:.0f}; {needed}."
        return Headline("none", "Cannot tell: too few defects", sentence)
    if point["recall_high"] < target:
        sentence = (
            f"The threshold for {100 * target:g} % recall found {share(point, 'recall')} of the defects."
        )
        return Headline("bad", "Not usable: misses defects", sentence)
    sentence = (
        f"For {100 * target:g} % recall, {share(point, 'false_rejects')} of the good products are rejected."
    )
    low, high = point["false_rejects_low"], point["false_rejects_high"]
    if high <= study.usable_rejects:
        return Headline("good", "Usable: verify on a sample", sentence)
    if high <= study.presort_rejects:
        return Headline("good", "Usable for pre-sorting", sentence)
    if low > study.presort_rejects:
        return Headline("bad", "Not usable", sentence)
    return Headline("none", "Cannot tell: between the limits", sentence)


def share(point: Mapping[Any, Any], name: str) -> str:
    """Return a share of an operating point, in whole percents below a hundred images, and its interval."""
    digits = int(point["n_good" if name == "false_rejects" else "n_defects"] >= 100)
    value, low, high = (percent(point[f"{name}{end}"], digits) for end in ("", "_low", "_high"))
    return f"{value} ({low.removesuffix(' %')} to {high})"


def imbalance_headline(needs: pd.DataFrame) -> Headline:
    """Return which feature set needs the fewest labelled defects for the image's recall (`LabelEfficiency.needs`)."""
    there = needs[needs["reference"] == needs["reference"].max()].dropna(subset="labels")
    if there.empty:
        return Headline("none", "Not varied", "The number of labelled defects was not varied.")
    best = there.sort_values("labels", kind="stable").to_dict("records")[0]
    title, whole = FEATURE_SETS[best["features"]].title, f"{best['reference']:.0f}"
    if np.isinf(best["labels"]):
        return Headline(
            "warn", "Image is best", f"No other method reaches the image's recall with {whole} defects."
        )
    fewer = " or fewer" * bool(best["labels"] <= best["least"])
    sentence = f"{title} needs {best['labels']:.0f}{fewer} labelled defects to match the image with {whole}."
    if best["high"] < best["reference"]:
        return Headline("good", "Fewer labels", sentence)
    return Headline("warn", "Not certain", sentence)


def statistics_headline(said: pd.DataFrame) -> Headline:
    """Return on how many data sets the map helps; `said` are `findings`."""
    if said.empty:
        return Headline("none", "Nothing run", "No data set was studied.")
    helped, n = said[said["state"] == "good"], said["dataset"].nunique()
    extra, guide = (set(helped.loc[helped["question"] == question, "dataset"]) for question in (EXTRA, GUIDE))
    if not extra | guide:
        return Headline(
            "warn", "No measurable gain", f"The map measurably helps on none of {count(n, 'data set')}."
        )
    sentence = f"The map helps on {count(len(extra), 'data set')} as an extra picture and on {len(guide)} as a guide."
    return Headline("good", f"Helps on {len(extra | guide)} of {n}", sentence.replace(" 0 ", " no "))


def inspection_headline(counts: Mapping[str, int]) -> Headline:
    """Return how many new images a person must review, from the number of images that pass, reject and review have."""
    n, reviewed = sum(counts.get(name, 0) for name in ("pass", "reject", "review")), counts.get("review", 0)
    if not n:
        return Headline("none", "No images", "No image could be judged.")
    if not reviewed:
        return Headline(
            "good", "No review", f"The model decided on its own: {count(n, 'image')}, none for review."
        )
    sentence = f"{reviewed} of {count(n, 'new image')} must be reviewed by a person."
    return Headline("good" if reviewed <= REVIEWS * n else "warn", f"{reviewed} to review", sentence)
