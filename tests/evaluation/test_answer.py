"""The sentences of the index page say what the predictions say."""

import pandas as pd

from lib.config import Study
from lib.evaluation.answer import headlines
from lib.evaluation.results import compute_results
from tests.evaluation.made_up import study

NONE = pd.DataFrame()


def answer(skill, keep=(0.25, 1.0), n=300):
    found = study(skill, n=n, folds=5, keep=keep)
    table = headlines(compute_results(found, {"toy": "good"}, Study.of("quick"), NONE, NONE, NONE, n=100))
    assert table["dataset"].tolist() == ["toy"]
    return table["answer"].iloc[0]


def test_a_map_that_helps_with_all_and_with_few_defects():
    told = answer({"image": 0.5, "map": 0.3, "image_map": 3.0})
    assert told.count("the map helps (+") == 2
    assert "With only 25% of the defects" in told


def test_a_map_that_harms_and_one_that_changes_nothing():
    assert "the map harms (-" in answer({"image": 3.0, "map": 0.3, "image_map": 0.5})
    told = answer({"image": 1.0, "image_map": 1.0})
    assert "nothing beyond chance (+0.000, 95 % interval +0.000 to +0.000)" in told
    assert "map alone" not in told


def test_what_was_not_asked_is_said():
    assert "not varied" in answer({"image": 1.0, "image_map": 1.0}, keep=(1.0,))
    assert "not asked" in answer({"image": 1.0})


def test_two_sentences_in_all():
    told = answer({"image": 1.0, "map": 1.0, "image_map": 1.0})
    assert told.count(". ") == 1


def test_the_map_as_a_guide_is_held_against_the_same_network_without_selection():
    told = answer({"image": 0.5, "image_map": 0.5, "image_map_all": 0.5, "guided_all": 3.0})
    assert "better than image and map without selection" in told
    assert told.count(". ") == 2
    assert "worse than image and map together" in answer({"image": 0.5, "image_map": 3.0, "guided_all": 0.5})
    same = answer({"image": 0.5, "image_map": 0.5, "image_map_all": 2.0, "guided_all": 2.0})
    assert "not told apart from image and map without selection" in same
