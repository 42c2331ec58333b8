"""Conclusions say what the evidence shows, and something else when it shows something else."""

from __future__ import annotations

import pandas as pd
import pytest

from lib.config import Study
from lib.evaluation.findings import findings
from lib.evaluation.headlines import EXTRA, GUIDE
from lib.evaluation.results import compute_results, leak
from tests.evaluation.made_up import study

NONE = pd.DataFrame()
CHOICE, COST = "Which method is recommended?", "What does a required recall cost?"
LABELS, SCARCE = "How many labelled defects are needed?", "Does the map help when defects are scarce?"
SIMPLER, OBJECTS = "Would a simpler method do as well?", "Do repeated objects make results too good?"
ALONE = {"image": 1.0, "map": 1.0, "image_map": 1.0}


def said(found, *, calibration=NONE, **settings):
    results = compute_results(found, {"toy": "good"}, Study.of("quick", settings), calibration, n=200)
    table = findings(results)
    assert list(table) == ["dataset", "question", "state", "pill", "answer", "evidence"]
    return table.set_index("question")


def test_a_map_that_helps_one_that_harms_and_one_that_does_nothing():
    one = said(study({"image": 1.0, "map": 1.0, "image_map": 2.5}, n=300, folds=10)).loc[EXTRA]
    assert (one["state"], one["pill"]) == ("good", "Helps")
    assert "Recall at 5 % false rejects rises (+" in one["answer"] and "points, 95 % CI +" in one["answer"]
    assert "The stated rule, p < 0.005, is met: p = 0.00195." in one["evidence"]
    assert "AUC, good against defective: 0." in one["evidence"]
    one = said(study({"image": 2.5, "map": 1.0, "image_map": 1.0}, n=300, folds=10)).loc[EXTRA]
    assert (one["state"], one["pill"]) == ("bad", "Harms") and "falls (−" in one["answer"]
    one = said(study({"image": 1.0, "map": 1.0, "image_map": 1.001}, n=300)).loc[EXTRA]
    assert (one["state"], one["pill"]) == ("none", "No measurable difference") and "does not measurably" in one[
        "answer"
    ]


def test_what_was_not_tested_or_not_run_is_said():
    table = said(study(ALONE, n=300, folds=10))
    one = table.loc[EXTRA]
    assert one["pill"] == "Not tested" and "Image + map and image make the same predictions" in one["answer"]
    assert "rule" not in one["evidence"] and "+0" not in one["answer"]
    assert table.loc[GUIDE, "pill"] == table.loc[SCARCE, "pill"] == table.loc[SIMPLER, "pill"] == "Not run"
    assert said(study({"image": 1.0})).loc[EXTRA, "pill"] == "Not run"


def test_the_map_as_a_guide_is_compared_with_the_same_classifier_without_a_map():
    skill = {**ALONE, "image_map_all": 1.5, "guided_all": 3.0, "image_logistic": 2.0, "guided_logistic": 0.5}
    one = said(study(skill, n=300)).loc[GUIDE]
    assert one["state"] == "bad" and one["answer"].startswith("Recall at 5 % false rejects falls")
    assert "Image + map-guided, logistic against image, logistic: −" in one["evidence"]
    assert "Image + map-guided against image + map, all features: +" in one["evidence"], "the network's helps"


def test_the_noise_of_retraining_is_given_where_it_was_measured():
    skill = {"image": 0.5, "image_map": 3.0}
    found = pd.concat([study(skill, n=300, seed=7 * one).assign(repeat=one) for one in range(3)])
    found["label"] = study(skill, n=300)["label"].to_list() * 3
    text = said(found).loc[EXTRA, "evidence"]
    assert "From one of 3 trainings to the next the difference has a standard deviation" in text and "once" not in text
    assert "Everything was trained once" in said(study(skill, n=300)).loc[EXTRA, "evidence"]


def test_few_defects_are_judged_apart():
    found = study({"image": 1.0, "image_map": 1.001}, n=300, keep=(0.25, 1.0))
    few = study({"image": 0.5, "image_map": 4.0}, n=300)
    found.loc[found["keep"] == 0.25, list(few)] = few.assign(keep=0.25).to_numpy()
    table = said(found.infer_objects().astype({"p:good": float, "p:a": float, "p:b": float}))
    assert table.loc[EXTRA, "state"] == "none" and table.loc[SCARCE, "state"] == "good"
    assert table.loc[SCARCE, "answer"].startswith("With 25 % of the defects, recall at 5 % false rejects rises")


def test_repeated_objects():
    grouped = study({"image": 0.5, "image_map": 0.5}, n=300, scheme="grouped")
    leaking = study({"image": 3.0, "image_map": 3.0}, n=300, scheme="stratified")
    group = "g" + (grouped["id"].astype(int) // 3).astype(str)
    both = pd.concat([grouped.assign(group=group), leaking.assign(group=group.to_numpy())], ignore_index=True)
    assert "too optimistic" in said(both).loc[OBJECTS, "answer"]
    same = both.assign(**{name: pd.concat([both[:600][name]] * 2).to_numpy() for name in ("p:good", "p:a", "p:b")})
    assert "No leak" in said(same).loc[OBJECTS, "answer"]
    assert said(grouped.assign(group=group)).loc[OBJECTS, "state"] == "good"
    assert said(leaking.assign(group=group.to_numpy())).loc[OBJECTS, "state"] == "bad"
    assert said(grouped).loc[OBJECTS, ["state", "pill"]].tolist() == ["none", "Unknown"]
    shift = 0.3 * (grouped["fold"] % 2)  # networks of other scales: no leak
    moved = grouped.assign(**{"p:good": grouped["p:good"] - shift, "p:a": grouped["p:a"] + shift}, group=group)
    alike = grouped.assign(scheme="stratified", group=group)
    assert "No leak" in said(pd.concat([moved, alike], ignore_index=True)).loc[OBJECTS, "answer"]


def test_a_simple_method_that_does_as_well_is_named():
    one = said(study({"image": 1.0, "image_map": 1.5, "score": 0.2, "image_map_logistic": 3.0}, n=300)).loc[SIMPLER]
    assert one["pill"] == "Yes" and one["answer"].startswith("Image + map, logistic matches image + map")
    assert "(better)" in one["evidence"] and "(worse)" in one["evidence"]
    one = said(study({"image": 1.0, "image_map": 1.5, "image_map_all": 1.45}, n=60)).loc[SIMPLER]
    assert one["pill"] == "Not shown" and "(no measurable difference)" in one["evidence"]


@pytest.mark.parametrize(
    ("skill", "settings", "pill"),
    [
        (6.0, {}, "Usable: below 10 % rejected"),
        (2.0, {"usable_rejects": 0.1, "presort_rejects": 0.9}, "Pre-sorting: below 90 % rejected"),
        (0.5, {}, "Not usable: above 30 % rejected"),
        (6.0, {"least_good": 101}, "Cannot tell: too few images"),
        (6.0, {"target_recall": 0.999}, "Cannot tell: too few defects"),
    ],
)
def test_the_cost_of_a_recall(skill, settings, pill):
    skills = {"image": skill / 2, "image_map": skill}
    known = study(skills, n=300, calibrated=True)
    one = said(study(skills, n=300), calibration=known, **settings).loc[COST]
    assert one["pill"] == pill and "Required recall: 99.5 %. " in one["evidence"]


def test_a_threshold_that_misses_its_recall_and_none_at_all():
    skill = {"image": 2.0, "image_map": 2.0}
    easy = study(skill, n=300, calibrated=True)
    easy["p:good"] = easy["p:good"].where(easy["label"] == "good", easy["p:good"] * 0.2)
    assert said(study(skill, n=300), calibration=easy).loc[COST, "pill"] == "Not usable: misses defects"
    assert said(study(skill)).loc[COST, ["pill", "evidence"]].tolist() == ["Cannot tell", ""]


def test_labels():
    one = said(study({"image": 1.5, "map": 0.2, "image_map": 2.5}, n=600, keep=(0.25, 0.5, 1.0))).loc[LABELS]
    assert one["pill"] == "Fewer labels" and one["answer"].endswith("labelled defects to match the image with 320.")
    assert "Needed with image + map: " in one["evidence"]
    one = said(study({"image": 2.5, "image_map": 0.2}, n=600, keep=(0.25, 1.0))).loc[LABELS]
    assert one["pill"] == "Image is best"


def test_the_recommended_method_is_named_with_its_rule():
    skill = {"image": 1.0, "map": 1.0, "image_map": 2.0}
    one = said(study(skill, n=300), calibration=study(skill, n=300, calibrated=True)).loc[CHOICE]
    assert one["answer"] == "Image + map, also the choice of 5 of 5 folds." and one["state"] == "good"
    assert "The rule: the highest recall" in one["evidence"] and "a model that saw them" in one["evidence"]
    assert said(study(skill)).loc[CHOICE, "pill"] == "None"


def test_the_leak_table_holds_both_schemes_or_nothing():
    grouped, leaking = study({"image": 0.5}, scheme="grouped"), study({"image": 4.0})
    table = leak(pd.concat([grouped, leaking]), {"toy": "good"}).set_index("folds")["weighted_auc"]
    assert table["stratified (leaking)"] > table["grouped"] + 0.1
    assert leak(grouped, {"toy": "good"}).empty
