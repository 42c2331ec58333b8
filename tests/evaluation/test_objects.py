"""An object is judged by its most suspicious image, and is defective where any of its images is."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lib.config import Study
from lib.evaluation.headlines import classification_headline
from lib.evaluation.objects import per_verdict
from lib.evaluation.operating_points import TRAINING, operating_numbers, point_of, rejected
from lib.inspection.new_images import per_object
from lib.inspection.threshold import OutOfFoldScores, choose_threshold
from lib.reporting.result_tables import costs_table
from tests.evaluation.made_up import rows


def pictures(scores, labels, groups, **columns):
    frame = rows(labels, ["good" if score < 0.5 else "a" for score in scores], **columns)
    return frame.assign(**{"p:good": 1 - np.array(scores), "group": groups})


SCORES = [0.1, 0.9, 0.3, 0.2, 0.6, 0.4]
LABELS = ["good", "good", "b", "a", "good", "good"]
GROUPS = ["one", "one", "two", "two", "three", None]


def test_the_highest_score_and_the_most_suspicious_defect_stand_for_the_object():
    found = per_verdict(pictures(SCORES, LABELS, GROUPS), "good", "object").set_index("id")
    assert found["p:good"].round(3).to_dict() == {"one": 0.1, "three": 0.4, "0005": 0.6, "two": 0.7}
    assert found["label"].to_dict() == {"one": "good", "three": "good", "0005": "good", "two": "b"}
    every = pictures(SCORES, LABELS, GROUPS)
    assert per_verdict(every, "good", "image") is every


def test_a_defective_object_may_be_caught_by_a_good_picture_of_it():
    found = per_verdict(pictures([0.9, 0.2], ["good", "a"], ["one", "one"]), "good", "object")
    assert (found["label"].tolist(), found["p:good"].round(3).tolist()) == (["a"], [0.1])


def test_folds_trainings_and_feature_sets_stay_apart():
    parts = [
        pictures(SCORES, LABELS, GROUPS, features=name).assign(repeat=repeat, fold=fold)
        for name in ("image", "image_map") for repeat in (0, 1) for fold in (0, 1)
    ]  # fmt: skip
    assert len(per_verdict(pd.concat(parts), "good", "object")) == 4 * len(parts)


def study_of_pairs():
    """Test and training images of 40 objects, two of each; every defect shows in one of the two."""
    scores = np.tile([0.1, 0.2] * 20 + [0.05, 0.9] * 20, 1)
    labels = ["good"] * 40 + ["good", "a"] * 20
    groups = [f"object {number // 2}" for number in range(80)]
    test = pictures(scores, labels, groups)
    return test, pictures(scores, labels, groups).assign(inner=0)


def test_operating_points_count_objects_and_so_does_the_verdict():
    test, known = (per_verdict(one, "good", "object") for one in study_of_pairs())
    points = operating_numbers(test, known, "good", required=(0.9,))
    point = point_of(points, "image", 0.9, TRAINING)
    assert (point["n_defects"], point["n_good"], point["caught"], point["rejected"]) == (20, 20, 20, 0)
    study = dataclasses.replace(Study.of("smoke"), verdict_per="object", least_good=21)
    assert classification_headline(points, "image", study).sentence == "Good objects: 20; needed: 21."
    images, _ = study_of_pairs()
    out = rejected(images, known, "good", 0.9)
    assert out.groupby(images["group"]).any().sum() == 20


def test_the_threshold_of_new_images_is_of_objects():
    scores, bad = np.array([0.1, 0.7, 0.2, 0.3, 0.9, 0.4]), np.array([0, 0, 1, 0, 1, 1], bool)
    known = OutOfFoldScores(scores, bad, np.array([5, 5, 7, 7, 9, 9]), True).per_object()
    assert known.scores.tolist() == [0.7, 0.3, 0.9] and known.defective.tolist() == [False, True, True]
    found = choose_threshold(known, 0.5, seed=0)
    assert (found.n_defects, found.n_good, found.n_units) == (2, 1, 2)


def test_a_new_object_gets_the_verdict_of_its_worst_image():
    verdicts = {"file": ["a1", "a2", "b1", "b2", "c", "d1", "d2"],
                "verdict": ["pass", "reject", "pass", "review", "pass", "review", "reject"],
                "reason": ["", "", "", "uncertain", "", "out of distribution", ""],
                "score": [0.1, 0.9, 0.2, 0.5, 0.1, 0.1, 0.8]}  # fmt: skip
    objects = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "d1": "d", "d2": "d"}
    found = per_object(pd.DataFrame(verdicts), objects).set_index("file")
    assert found["verdict"].tolist() == ["reject"] * 2 + ["review"] * 2 + ["pass"] + ["reject"] * 2
    assert found["reason"].tolist() == ["", "", "uncertain", "uncertain", "", "", ""]
    assert found["object"].tolist() == ["a", "a", "b", "b", "c", "d", "d"]


@pytest.mark.parametrize("unit", ["image", "object"])
def test_no_rows_stay_no_rows(unit):
    assert per_verdict(rows([], []), "good", unit).empty


def test_the_table_of_costs_says_of_how_many_objects_it_is():
    judged, known = (per_verdict(one, "good", "object") for one in study_of_pairs())
    points = operating_numbers(judged, known, "good", required=(0.9,))
    table = costs_table(points, unit="object")
    assert table.title.endswith("costs, of 40 objects")
    assert ("Good objects rejected to find", "90 %") in table.frame.columns
    assert costs_table(points).title.endswith("costs")
