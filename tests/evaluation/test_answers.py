"""The sentences of the index page and of notebooks 04 and 05 say what the predictions say."""

import pandas as pd
import pytest

from lib.config import Study
from lib.evaluation import answers
from lib.evaluation.answers import describe_losses, describe_recalls, describe_unlearned, headlines
from lib.evaluation.metrics import summary
from lib.evaluation.results import compute_results, leak
from lib.evaluation.significance import compare
from tests.evaluation.made_up import study

NONE = pd.DataFrame()


def headline(skill, keep=(1.0,), folds=10):
    found = study(skill, n=300, folds=folds, keep=keep)
    table = headlines(compute_results(found, {"toy": "good"}, Study.of("quick"), NONE, NONE, n=100))
    assert table["dataset"].tolist() == ["toy"]
    return table["answer"].iloc[0]


def test_a_map_that_helps_by_the_rule_with_all_and_with_few_defects():
    text = headline({"image": 0.5, "map": 0.3, "image_map": 3.0}, keep=(0.25, 1.0))
    assert text.startswith("AUC, good against defective: 0.")  # the factory's question first
    assert text.count("the map helps by the stated rule (p = 0.00195, below 0.005)") == 4
    places = [
        text.index(one) for one in ("good against defective", "at 5 % false rejects", "naming the class")
    ]
    assert places == sorted(places)
    assert "With 25 % of the training defects the AUC goes from 0." in text
    assert "5 % false rejects are 0.5 of the 10 good images of a test fold." in text
    assert "the map harms by the stated rule" in headline({"image": 3.0, "image_map": 0.5})
    assert "Everything was trained once, so retraining noise is not measured" in text


def test_the_noise_of_retraining_is_given_where_it_was_measured(monkeypatch):
    skill = {"image": 0.5, "image_map": 3.0}
    found = pd.concat([study(skill, n=300, seed=7 * one).assign(repeat=one) for one in range(3)])
    found["label"] = study(skill, n=300)["label"].to_list() * 3
    table = headlines(compute_results(found, {"toy": "good"}, Study.of("quick"), NONE, NONE, n=50))
    text = table["answer"].iloc[0]
    assert (
        "Everything was trained 3 times. From one training to the next the difference has a standard" in text
    )
    assert "not measured" not in text
    assert "In ten trainings of the drawn deco cap, DRAEM from scratch" in headline(skill)
    monkeypatch.delitem(answers.RETRAINING, ("quick", "draem"))
    assert "ten trainings" not in headline(skill) and "--set repeats=3. A difference below" in headline(skill)


def test_the_recommended_method_is_named_with_its_rule():
    skill = {"image": 0.5, "image_map": 3.0}
    known = study(skill, n=300, calibrated=True)
    results = compute_results(study(skill, n=300), {"toy": "good"}, Study.of("quick"), known, NONE, n=50)
    text = headlines(results)["answer"].iloc[0]
    assert "Recommended: image + map, by the rule: the highest defect recall at 5 % false" in text
    assert "No method is recommended" in headline(skill)


def test_a_gain_that_the_rule_cannot_confirm_and_no_difference():
    text = headline({"image": 0.5, "image_map": 3.0}, folds=3)
    assert (
        "the map helps: the interval excludes zero, though the stated rule cannot be met with 3 folds (p = 0.25)"
        in text
    )
    text = headline({"image": 1.0, "image_map": 1.0})
    assert "not tested, as both make the same predictions" in text and "+0.000" not in text
    assert "no measurable difference" in headline({"image": 1.0, "image_map": 1.001})
    few = headline({"image": 1.0, "image_map": 1.0}, keep=(0.25, 1.0))
    assert "There the difference: not tested" in few and "cannot be shown here" not in few


def test_what_was_not_asked_is_said():
    assert "not varied" in headline({"image": 1.0, "image_map": 1.0})
    assert "not asked" in headline({"image": 1.0})


def test_the_map_as_a_guide_is_held_against_the_same_network_without_selection():
    text = headline({"image": 0.5, "image_map": 0.5, "image_map_all": 0.5, "guided_all": 3.0})
    assert "with image and map without selection (" in text and ": better by the stated rule" in text
    text = headline({"image": 0.5, "image_map": 3.0, "guided_all": 0.5})
    assert "with image + map-guided, 0." in text and ": worse by the stated rule" in text


@pytest.mark.parametrize(
    ("both", "folds", "shown"),
    [
        (3.0, 10, "the map helps by the stated rule (p = 0.00195, below 0.005)"),
        (3.0, 3, "the interval excludes zero, though the stated rule cannot be met with 3 folds"),
    ],
)
def test_whether_the_map_adds_to_the_image(both, folds, shown):
    found = study({"image": 1.0, "image_map": both}, n=300, folds=folds)
    compared = compare(found, "good", seed=1, n=100)
    added, _, _, last = describe_recalls("toy", summary(found, "good"), compared, 0.005)
    assert "the image, " in last and "; image + map, " in last
    assert shown in added
    same = study({"image": 1.0, "image_map": 1.0}, n=300)
    added, *rest = describe_recalls("toy", summary(same, "good"), compare(same, "good", seed=1, n=9), 0.005)
    assert "not tested, as both make the same predictions" in added and "rule" not in " ".join(rest)


def test_without_maps_nothing_is_compared():
    found = study({"image": 1.0})
    compared = compare(found, "good", seed=1, n=9)
    first, rest = describe_recalls("toy", summary(found, "good"), compared, 0.005)
    assert "together" not in first and "nothing to compare" in rest


def test_losses_have_the_right_sign():
    found = study({"image": 3.0, "image_map": 3.0}, keep=(0.25, 1.0))
    text = describe_losses("toy", found, "good")
    assert "25 %" in text[0] and len(text) == 3 and "AUC, good against defective −0." in text[1]
    assert "only the whole set" in describe_losses("toy", study({"image": 1.0}), "good")[0]


def test_the_leak_table_holds_both_schemes_or_nothing():
    grouped, leaking = study({"image": 0.5}, scheme="grouped"), study({"image": 4.0})
    table = leak(pd.concat([grouped, leaking]), {"toy": "good"}).set_index("folds")["weighted_auc"]
    assert table["stratified (leaking)"] > table["grouped"] + 0.1
    assert leak(grouped, {"toy": "good"}).empty


def test_a_class_held_out_at_once_is_named_by_its_folds():
    known = study({"image": 1.0, "map": 1.0}, calibrated=True)
    assert (
        describe_unlearned(known)
        == describe_unlearned(NONE)
        == ["Every inner fold had every class to learn."]
    )
    known.loc[(known["label"] == "a") & (known["fold"] == 3), "inner"] = 1
    (said,) = describe_unlearned(known)
    assert said.endswith("too low: stratified fold 3: a.")
