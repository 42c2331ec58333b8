"""The sentences of the index page and of notebooks 04 and 05 say what the predictions say."""

import pandas as pd
import pytest

from lib.config import Study
from lib.evaluation.answers import describe_losses, describe_recalls, describe_unlearned, headlines
from lib.evaluation.metrics import summary
from lib.evaluation.results import compute_results, leak
from lib.evaluation.significance import against_method
from tests.evaluation.made_up import study

NONE = pd.DataFrame()


def headline(skill, keep=(1.0,), folds=10):
    found = study(skill, n=300, folds=folds, keep=keep)
    table = headlines(compute_results(found, {"toy": "good"}, Study.of("quick"), NONE, NONE, NONE, n=100))
    assert table["dataset"].tolist() == ["toy"]
    return table["answer"].iloc[0]


def test_a_map_that_helps_by_the_rule_with_all_and_with_few_defects():
    text = headline({"image": 0.5, "map": 0.3, "image_map": 3.0}, keep=(0.25, 1.0))
    assert text.count("the map helps by the stated rule (p = 0.00195, below 0.005)") == 2
    assert "With only 25% of the defects" in text and "The map alone has 0." in text
    assert "the map harms by the stated rule" in headline({"image": 3.0, "image_map": 0.5})


def test_a_gain_that_the_rule_cannot_confirm_and_no_difference():
    text = headline({"image": 0.5, "image_map": 3.0}, folds=3)
    assert "the map helps by the interval, which is clear of zero, not by the stated rule (p = 0.25)" in text
    text = headline({"image": 1.0, "image_map": 1.0})
    assert "(+0.000, 95 % interval +0.000 to +0.000): no difference is shown" in text
    assert "chance" not in text and "map alone" not in text


def test_what_was_not_asked_is_said():
    assert "not varied" in headline({"image": 1.0, "image_map": 1.0})
    assert "not asked" in headline({"image": 1.0})


def test_the_map_as_a_guide_is_held_against_the_same_network_without_selection():
    text = headline({"image": 0.5, "image_map": 0.5, "image_map_all": 0.5, "guided_all": 3.0})
    guide = text[text.index("As a guide") :]
    assert "image and map without selection" in guide and "a gain by the stated rule" in guide
    guide = headline({"image": 0.5, "image_map": 3.0, "guided_all": 0.5}).split("As a guide")[1]
    assert "image and map together" in guide and "a loss by the stated rule" in guide


@pytest.mark.parametrize(
    ("both", "folds", "shown", "rule"),
    [
        (3.0, 10, "the map helps by the stated rule (p = 0.00195, below 0.005)", "(p < 0.005) is met"),
        (3.0, 3, "by the interval", "could not be met: 3 folds that differ give p = 0.25 at best"),
        (
            1.0,
            10,
            "(+0.000, 95 % interval +0.000 to +0.000): no difference is shown",
            "could not be met: 0 folds",
        ),
    ],
)
def test_whether_the_map_adds_to_the_image(both, folds, shown, rule):
    found = study({"image": 1.0, "image_map": both}, n=300, folds=folds)
    versus = against_method(found, "good", seed=1, n=100)
    first, added, by_rule = describe_recalls("toy", summary(found, "good"), versus, 0.005)
    assert "the image, " in first and "; image and map together, " in first and "(AUC 0." in first
    assert shown in added and rule in by_rule


def test_without_maps_nothing_is_compared():
    found = study({"image": 1.0})
    versus = against_method(found, "good", seed=1, n=9)
    first, rest = describe_recalls("toy", summary(found, "good"), versus, 0.005)
    assert "together" not in first and "nothing to compare" in rest


def test_losses_have_the_right_sign():
    found = study({"image": 3.0, "image_map": 3.0}, keep=(0.25, 1.0))
    text = describe_losses("toy", found, "good")
    assert "25%" in text[0] and len(text) == 3 and "AUC -0." in text[1]
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
