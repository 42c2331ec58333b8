"""The verdict's rule at its limits, and what a card says of maps, costs, the weakest class and what to do."""

import numpy as np
import pandas as pd
import pytest

from lib.config import Study
from lib.evaluation.checks import Facts, checks
from lib.evaluation.results import compute_results
from lib.evaluation.verdicts import rule, verdicts
from tests.evaluation.made_up import rows, study

NONE = pd.DataFrame()
FACTS = Facts(NONE, {}, 0.5, (1,), as_paper=False)


def card(found, calibration=NONE, **settings):
    results = compute_results(found, {"toy": "good"}, Study.of("quick", settings), calibration, n=100)
    (one,) = verdicts(results, checks(results, {"toy": FACTS})).to_dict("records")
    return one


def separated(rejects, n_good=300, n_bad=150, missed=0):
    """Return predictions and calibration: `rejects` good images lie above the threshold, `missed` defects below."""

    def frame(lost):
        scores = np.r_[np.linspace(0, 0.4, n_good - rejects), np.full(rejects, 0.9),
                       np.full(lost, 0.1), np.linspace(0.6, 1, n_bad - lost)]  # fmt: skip
        labels = ["good"] * n_good + ["a"] * n_bad
        n = len(labels)
        table = rows(labels, np.where(scores > 0.5, "a", "good"), folds=np.arange(n) % 3, classes=("good", "a"))
        table["p:good"], table["p:a"] = 1 - scores, scores
        return table

    inner = frame(0)
    known = [inner[inner["fold"] != fold].assign(fold=fold, inner=inner["fold"]) for fold in range(3)]
    return frame(missed), pd.concat(known, ignore_index=True)


@pytest.mark.parametrize(
    ("rejects", "state", "pill"),
    [
        (10, "good", "Usable: below 10 % rejected"),
        (45, "good", "Pre-sorting: below 30 % rejected"),  # 15 %, at most 20
        (90, "none", "Cannot tell: 25 to 36 %, limit 30 %"),  # 30 %, 25 to 36
        (150, "bad", "Not usable: above 30 % rejected"),
    ],
)
def test_the_verdict_is_that_of_the_interval(rejects, state, pill):
    one = card(*separated(rejects))
    assert (one["state"], one["pill"]) == (state, pill)
    assert one["why"].startswith("For 90 % recall, ") and "of the good products are rejected" in one["why"]
    assert one["cost"].startswith(f"Rejects {rejects / 3:.1f} % (")


def test_a_recall_that_was_certainly_missed_is_not_usable():
    one = card(*separated(3, missed=40))
    assert (one["state"], one["pill"]) == ("bad", "Not usable: misses defects")
    assert one["cost"].startswith("Missed: found 65.3 %") and one["cost"].endswith("false rejects.")


def test_too_few_images_or_defects_decide_nothing():
    assert card(*separated(3, n_good=40))["pill"] == "Cannot tell: too few images"
    assert card(*separated(3, n_bad=12))["pill"] == "Cannot tell: too few defects"
    assert card(separated(3)[0])["why"] == "No training images were scored, so no threshold could be set."
    assert card(*separated(3, n_good=40), least_good=40)["state"] != "none"


def test_thresholds_of_the_verdict_are_settings():
    assert card(*separated(45), usable_rejects=0.25)["pill"] == "Usable: below 25 % rejected"
    assert card(*separated(150), presort_rejects=0.6)["pill"] == "Pre-sorting: below 60 % rejected"
    one = card(*separated(10), target_recall=0.95)
    assert one["target"] == "95 %" and "for 95 % recall" in one["rule"]
    results = compute_results(*([separated(1)[0], {"toy": "good"}]), Study.of("quick"), NONE, n=20)
    assert "certainly below 10 %" in rule(results) and "under 50 good images" in rule(results)


def test_a_cost_is_held_against_the_same_classifier_without_the_map():
    skill = {"image": 0.5, "image_logistic": 1.5, "guided_logistic": 3.0}
    one = card(study(skill, n=300), study(skill, n=300, calibrated=True))
    assert one["features"] == "guided_logistic" and "Image alone: " in one["cost"]
    logistic = card(study(skill | {"image": 3.0}, n=300), study(skill, n=300, calibrated=True))
    assert logistic["cost"] == one["cost"]


def test_a_high_recall_needs_enough_defects():
    one = card(*separated(10), required="0.9")
    assert one["higher"] == one["target"] == "90 %", "there is no higher one to show"
    assert (
        card(*separated(10))["more"] == "Rejects 3.3 % (1.6 to 6.0 %) of good products, catches 99 %."
    )  # 100 in training
    assert card(*separated(10, n_bad=90))["more"] == "Cannot be guaranteed: 60 defects in training, 99 needed."


def test_whether_the_map_helps_is_said_of_guide_and_picture():
    skill = {"image": 1.0, "map": 1.0, "image_map": 1.0, "image_logistic": 0.5, "guided_logistic": 3.0}
    one = card(study(skill, n=300))
    assert one["guide"].startswith("yes (+") and " points; +" in one["guide"]
    assert one["picture"] == "not tested: same predictions."
    turned = card(study(skill | {"image_logistic": 3.0, "guided_logistic": 0.5}, n=300))
    assert turned["guide"].startswith("no, it harms (−")
    near = card(study(skill | {"guided_logistic": 0.55}, n=60))
    assert near["guide"].startswith("no measurable difference (")
    assert card(study({"image": 1.0}))["guide"] == "not run."


def test_the_weakest_class_and_the_next_step():
    found = study({"image": 1.0, "image_map": 4.0}, n=900)
    weak = found["label"] == "b"
    found.loc[weak, "p:good"] = found.loc[weak, "p:good"].clip(0.9)
    one = card(found)
    assert one["weakest"].startswith("b: ") and "at 5 % false rejects" in one["weakest"]
    assert (one["next"], one["command"]) == ("Say which images show the same object.", "--groups FILE") or one["next"]
    assert one["images"] == "300 good, 600 defective (2 classes)"
