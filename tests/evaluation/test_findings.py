"""Conclusions say what the evidence shows, and something else when it shows something else."""

from __future__ import annotations

import pandas as pd

from lib.config import Study
from lib.evaluation.findings import findings
from lib.evaluation.results import compute_results
from tests.evaluation.made_up import study

GOOD = {"toy": "good"}
NONE = pd.DataFrame()
CHOICE = "Which method is recommended?"
HELP, FOLDS, MAPS = "Does the map help?", "Which folds are to be believed?", "Which maps are to be believed?"
SOURCE, GUIDE = "Which map source serves better?", "Does the map do better as a guide?"
SIMPLER, COST = "Would something simpler do as well?", "What does a required recall cost?"
LABELS = "How many labelled defects does it take?"


def said(found, *, calibration=NONE, sources=NONE, **settings):
    results = compute_results(found, GOOD, Study.of("quick", settings), calibration, sources, n=200)
    table = findings(results)
    assert table["answer"].str.len().min() > 20
    return table.set_index("question")["answer"]


def test_a_map_that_helps_one_that_harms_and_one_that_does_nothing():
    helps = said(study({"image": 1.0, "map": 1.0, "image_map": 2.5}, n=300, folds=10))[HELP]
    assert "the map helps by the stated rule (p = 0.00195" in helps and "points" in helps
    harms = said(study({"image": 2.5, "map": 1.0, "image_map": 1.0}, n=300, folds=10))[HELP]
    assert "the map harms" in harms
    same = said(study({"image": 1.0, "map": 1.0, "image_map": 1.0}, n=300, folds=10))[HELP]
    assert same.count("not tested, as both make the same predictions") == 4 and "p =" not in same
    assert "cannot be" not in same
    few = said(study({"image": 1.0, "map": 1.0, "image_map": 2.5}, n=300, folds=3))[HELP]
    assert "the interval excludes zero, though the stated rule cannot be met with 3 folds (p = 0.25)" in few
    assert "no anomaly maps" in said(study({"image": 1.0}))[HELP]


def test_stand_ins_are_said_to_be_stand_ins():
    frame = study({"image": 1.0, "map": 1.0, "image_map": 1.0}, dataset="shaft-synthetic")
    results = compute_results(frame, {"shaft-synthetic": "good"}, Study.of("quick"), NONE, NONE, n=20)
    assert "nothing about the paper's products" in findings(results)["answer"].iloc[0]


def test_which_folds_to_believe():
    grouped = study({"image": 0.5, "image_map": 0.5}, n=300, scheme="grouped")
    leaking = study({"image": 3.0, "image_map": 3.0}, n=300, scheme="stratified")
    group = "g" + (grouped["id"].astype(int) // 3).astype(str)
    both = pd.concat([grouped.assign(group=group), leaking.assign(group=group.to_numpy())], ignore_index=True)
    assert "Stratified folds are too optimistic" in said(both)[FOLDS]
    same = both.assign(
        **{name: pd.concat([both[:600][name]] * 2).to_numpy() for name in ("p:good", "p:a", "p:b")}
    )
    assert "No leak is measurable" in said(same)[FOLDS]
    assert "cannot be compared" in said(grouped.assign(group=group))[FOLDS]
    assert "leak" in said(leaking.assign(group=group.to_numpy()))[FOLDS]
    assert "is not known here" in said(grouped)[FOLDS]
    shift = 0.3 * (grouped["fold"] % 2)  # networks of other scales: no leak
    moved = grouped.assign(
        **{"p:good": grouped["p:good"] - shift, "p:a": grouped["p:a"] + shift}, group=group
    )
    alike = grouped.assign(scheme="stratified", group=group)
    assert "No leak is measurable" in said(pd.concat([moved, alike], ignore_index=True))[FOLDS]


def test_what_made_the_maps_of_training_images_is_said():
    main = study({"image": 2.0, "map": 2.0, "image_map": 3.0}, n=300)
    assert "as written" in said(main)[MAPS] and "--compare" in said(main)[MAPS]
    for settings in ({"map_fit": "cross_fitted"}, {"map_source": "patchcore"}):
        answer = said(main, **settings)[MAPS]
        assert "are cross-fitted" in answer and "false rejects" not in answer


def test_a_baseline_that_wins_is_said_to_win_and_one_that_loses_to_lose():
    frame = study(
        {"image": 1.0, "map": 1.0, "image_map": 1.5, "score": 0.2, "image_map_logistic": 3.0}, n=300
    )
    text = said(frame)[SIMPLER]
    good = text.split(". ")[0]
    assert "As good as image + map" in good and "logistic regression on all features" in good
    assert "score" not in good and "better" in text and "worse" in text
    weak = said(study({"image": 1.0, "map": 1.0, "image_map": 3.0, "score": 0.2}, n=300))[SIMPLER]
    assert "No simpler set is shown to be as good" in weak
    alike = said(study({"image": 1.0, "image_map": 1.5, "image_map_all": 1.45}, n=60))[SIMPLER]
    assert "No simpler set is shown to be as good" in alike and "no measurable difference" in alike
    assert "No baselines were run" in said(study({"image": 1.0, "image_map": 1.5}))[SIMPLER]


def test_the_cost_of_a_recall_needs_calibration():
    skill = {"image": 1.0, "map": 1.0, "image_map": 2.0}
    text = said(study(skill, n=300), calibration=study(skill, n=300, calibrated=True))[COST]
    assert "For 90.0 % of the defects: cheapest on these test folds, image + map, " in text
    assert "% false rejects (observed recall 9" in text and "; the image, " in text
    assert (
        "A recall of 99.5 % cannot be guaranteed: that needs 199 defects in training; there are 160." in text
    )
    assert "no threshold could be chosen" in said(study(skill))[COST]


def test_thresholds_that_do_not_carry_over_are_said_not_to():
    skill = {"image": 2.0, "map": 2.0, "image_map": 2.0}
    easy = study(skill, n=300, calibrated=True)
    easy["p:good"] = easy["p:good"].where(easy["label"] == "good", easy["p:good"] * 0.2)
    assert "missed their recall" in said(study(skill, n=300), calibration=easy)[COST]


def test_labels():
    text = said(study({"image": 1.5, "map": 0.2, "image_map": 2.5}, n=600, keep=(0.25, 0.5, 1.0)))[LABELS]
    assert "With 320 labelled defects in training the image finds" in text
    assert "the anomaly map: not reached" in text
    assert "was not varied" in said(study({"image": 1.0, "image_map": 1.5}))[LABELS]


def test_a_guide_that_helps_is_said_to_help_and_one_that_was_not_made_is_missing():
    frame = study({"image": 1.0, "map": 1.0, "image_map": 1.0, "guided": 3.5, "guided_all": 1.0}, n=300)
    text = said(frame)[GUIDE]
    better, same = text.split(". Defect")
    assert ": better" in better and "% with map-guided" in better
    assert "not tested" in same
    assert "Not asked" in said(study({"image": 1.0, "map": 1.0, "image_map": 1.0}))[GUIDE]


def test_the_other_map_source_is_compared_set_by_set():
    main = study({"image": 1.0, "map": 1.0, "image_map": 1.0}, n=300)
    assert "PatchCore was not run" in said(main)[SOURCE]
    other = study({"map": 3.5, "image_map": 1.0, "image_two_maps": 3.5}, n=300)
    text = said(main, sources=other, compare_map_source=True)[SOURCE]
    the_map, both, together = text.split(". Defect")
    assert "by DRAEM" in the_map and "by PatchCore" in the_map and "better" in the_map
    assert "not tested" in both and "better" in together
    turned = said(main, sources=other, compare_map_source=True, map_source="patchcore")[SOURCE]
    assert "with maps by PatchCore" in turned
    guided = {"guided_logistic": 2.0}
    main = study({"image": 1.0, "map": 1.0, "image_map": 1.0, **guided}, n=300)
    other = study({"map": 1.0, "image_map": 1.0, **guided, "guided_two_maps": 3.5}, n=300)
    *_, last = said(main, sources=other, compare_map_source=True)[SOURCE].split(". Defect")
    assert "guided by both maps" in last and "better" in last


def test_the_map_sources_are_compared_by_the_two_class_model_where_that_decides():
    def both_tasks(skill, binary_skill):
        two = study(binary_skill, n=300)
        return pd.concat([study(skill, n=300), two.assign(task="binary")], ignore_index=True)

    alike = {"map": 1.0, "image_map": 1.0}
    main = both_tasks({"image": 1.0, **alike}, {"image": 1.0, **alike})
    other = both_tasks(alike, {"map": 3.5, "image_map": 1.0})
    asked = {"sources": other, "compare_map_source": True}
    assert "better" not in said(main, **asked)[SOURCE]
    assert said(main, **asked, binary="separate")[SOURCE].count("better") == 1


def test_the_choice_of_a_method_is_shown_with_what_others_would_have_given():
    skill = {"image": 1.0, "map": 1.0, "image_map": 2.0}
    text = said(study(skill, n=300), calibration=study(skill, n=300, calibrated=True))[CHOICE]
    assert "Recommended: image + map" in text and "the choice of 5 of 5 folds" in text
    assert "Highest of the others on the test folds, which must not choose: the" in text
    assert "a model that has seen them" in text
    assert "No method is recommended" in said(study(skill))[CHOICE]
