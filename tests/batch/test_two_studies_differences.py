"""Two studies side by side: paired where folds are the same, else each by itself; sentences compared by their words."""

import math

import numpy as np
import pandas as pd
import pytest

from lib.batch.two_studies import image_folds, other_words, study_differences
from lib.evaluation.bootstrap import Paired
from lib.evaluation.metrics import RANKINGS
from lib.evaluation.significance import bootstrap_difference
from tests.evaluation.made_up import study

SETTINGS = ({"binary": "collapsed", "seed": 1}, {"binary": "collapsed", "seed": 1})
AUC = ("image", "binary_auc")


def test_a_study_beside_itself_is_not_tested():
    a = study({"image": 1.0, "map": 0.5})
    found = study_differences(a, a, "good", SETTINGS, paired=True)
    assert set(found) == {(name, metric) for name in ("image", "map") for metric in RANKINGS}
    for gap in found.values():
        assert (gap.difference, gap.low, gap.high) == (0, 0, 0)
        assert gap.verdict() == "not tested: both make the same predictions"


def test_a_difference_is_b_minus_a_of_what_both_have():
    weak, strong = study({"image": 0.5, "map": 1.0}), study({"image": 2.5, "image_map": 1.0})
    found = study_differences(weak, strong, "good", SETTINGS, paired=True)
    assert {name for name, _ in found} == {"image"}
    assert found[AUC].value_a > found[AUC].value_b, "value_a is b's"
    assert found[AUC].verdict("b", "a") == "b"
    back = study_differences(strong, weak, "good", SETTINGS, paired=True)[AUC]
    assert back.difference == pytest.approx(-found[AUC].difference)


def test_a_pair_is_what_two_feature_sets_of_one_study_are():
    both = study({"image": 1.0, "map": 1.3})
    a, b = (both[both["features"] == name].assign(features="image") for name in ("image", "map"))
    found = study_differences(a, b, "good", SETTINGS, paired=True)[AUC]
    alone = bootstrap_difference(both, "binary_auc", "map", "image", "good", 1)
    assert (found.difference, found.low, found.high) == (alone.difference, alone.low, alone.high)


def test_without_pairs_the_distances_to_the_ends_of_both_intervals_add_up_squared():
    a, b = study({"image": 1.0}), study({"image": 1.3}, folds=3)
    settings = ({"binary": "collapsed", "seed": 1}, {"binary": "collapsed", "seed": 2})
    gap = study_differences(a, b, "good", settings, paired=False)[AUC]
    (x, low_x, high_x), (y, low_y, high_y) = (
        (one.values[0], *np.clip(one.interval(seed), 0, 1))
        for part, seed in ((a, 1), (b, 2))
        for one in Paired(part, ["image"], "good").samples("binary_auc", seed, 2000).values()
    )
    assert gap.difference == pytest.approx(y - x)
    assert y - x - gap.low == pytest.approx(math.sqrt((y - low_y) ** 2 + (high_x - x) ** 2))
    assert gap.high - (y - x) == pytest.approx(math.sqrt((high_y - y) ** 2 + (x - low_x) ** 2))
    paired = study_differences(a, study({"image": 1.3}), "good", SETTINGS, paired=True)[AUC]
    assert gap.high - gap.low > paired.high - paired.low


def test_unpaired_intervals_stay_within_what_a_difference_can_be():
    a, b = study({"image": 0.0}, n=18, folds=2), study({"image": 3.0}, n=18, folds=3)
    for gap in study_differences(a, b, "good", SETTINGS, paired=False).values():
        assert -1 <= gap.low <= gap.difference <= gap.high <= 1


def test_repeats_that_one_study_lacks_are_no_obstacle_without_pairs():
    once = study({"image": 1.0})
    again = study({"image": 1.1}, seed=3, repeat=1)
    twice = [once, again]
    gap = study_differences(once, pd.concat(twice), "good", SETTINGS, paired=False)[AUC]
    assert gap.low < gap.difference < gap.high


def test_where_images_were_tested_does_not_depend_on_the_order_of_rows():
    a = study({"image": 1.0, "map": 0.5})
    assert image_folds(a).equals(image_folds(a.sample(frac=1, random_state=0)))
    assert not image_folds(a).equals(image_folds(a.assign(fold=0)))
    assert not image_folds(a).equals(image_folds(a.assign(group="one")))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("AUC: 0.912 with both, 0.900 with the image (+0.012, 95 % CI −0.001 to +0.025).",
         "AUC: 1 with both, 0.95 with the image (−0.012, 95 % CI −0.101 to 0.025)."),
        ("Missed (p = 0.031).", "Missed (p = < 0.0001)."),
        ("It takes 1,200 images of nan.", "It takes 12 images of 3.5."),
    ],
)  # fmt: skip
def test_numbers_make_no_other_words(a, b):
    assert list(other_words(a, b)) == []


def test_sentences_with_other_words_stand_side_by_side():
    a = "AUC: 0.9: the map helps. For 90 %: map. For 95 %: image. Recommended: image."
    b = "AUC: 0.8: no measurable difference. For 90 %: image. For 95 %: image. Recommended: image. One more."
    assert list(other_words(a, b)) == [
        ("AUC: 0.9: the map helps. For 90 %: map.", "AUC: 0.8: no measurable difference. For 90 %: image."),
        ("", "One more."),
    ]
    assert list(other_words("", "Only here.")) == [("", "Only here.")]
