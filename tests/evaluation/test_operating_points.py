"""Thresholds chosen on training scores or by the conformal bound, counted on the test folds, and their tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lib.evaluation.metrics import ALL
from lib.evaluation.operating_points import CONFORMAL, TRAINING, describe_unlearned, design_effect, operating_numbers
from tests.evaluation.made_up import scored, study


def line(points: pd.DataFrame, method: str, label: str = ALL, **where: object) -> pd.Series:
    found = points[(points["method"] == method) & (points["class"] == label)]
    for name, value in where.items():
        found = found[found[name] == value]
    assert len(found) == 1
    return found.iloc[0]


def two_folds() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Calibration says 0.4 in fold 0 and 0.8 in fold 1 for a recall of 0.75; what they do on test is counted below."""
    test = [
        scored({"good": [0.1, 0.39, 0.41, 0.9], "a": [0.3, 0.5]}),
        scored({"good": [0.1, 0.5, 0.7, 0.85], "a": [0.79, 0.81, 0.9, 0.95]}),
    ]
    known = [scored({"good": [0.0], "a": [0.2, 0.4, 0.6, 0.9]}), scored({"good": [0.9], "a": [0.7, 0.8, 0.85, 0.9]})]
    for fold, frame in enumerate(test):
        frame["fold"], frame["id"] = fold, f"{fold}-" + frame["id"]
    return pd.concat(test), pd.concat([frame.assign(fold=fold, inner=0) for fold, frame in enumerate(known)])


def test_one_threshold_per_fold_chosen_on_its_training_scores_and_counted_on_its_test_images():
    test, known = two_folds()
    points = operating_numbers(test, known, "good", required=(0.75,), prevalence=0.02)
    found = line(points, TRAINING)
    assert (found["threshold_low"], found["threshold_high"]) == (0.4, pytest.approx(0.8))
    assert found[["caught", "n_defects", "rejected", "n_good"]].tolist() == [4, 6, 3, 8]
    assert found["recall"] == pytest.approx(4 / 6)
    assert found["escapes"] == pytest.approx(1e6 * 0.02 * 2 / 6)
    assert found["escapes_low"] < found["escapes"] < found["escapes_high"] <= 20_000


def test_test_scores_choose_no_threshold():
    test, known = two_folds()
    moved = test.assign(**{"p:good": test["p:good"] * 0.5})
    before, after = (operating_numbers(frame, known, "good", required=(0.75,)) for frame in (test, moved))
    assert line(before, TRAINING)["threshold_high"] == line(after, TRAINING)["threshold_high"]
    assert line(before, TRAINING)["rejected"] < line(after, TRAINING)["rejected"]


def test_a_refused_bound_says_how_many_defects_it_needs():
    test, known = two_folds()
    points = operating_numbers(test, known, "good", required=(0.75, 0.95))
    refused = line(points, CONFORMAL, required=0.95)
    assert np.isnan(refused["caught"]) and (refused["n_calibration"], refused["n_needed"]) == (4, 19)
    granted = line(points, CONFORMAL, required=0.75)
    assert granted["threshold_low"] == pytest.approx(0.2)  # the least of four


def test_each_class_has_a_threshold_of_its_own():
    known = scored({"good": [0.1], "a": [0.8, 0.9], "b": [0.2, 0.3]}).assign(inner=0)
    test = scored({"good": [0.1, 0.25, 0.5, 0.85], "a": [0.95], "b": [0.15]})
    points = operating_numbers(test, known, "good", required=(1.0,))
    rejected = {label: line(points, TRAINING, label)["false_rejects"] for label in ("a", "b", ALL)}
    assert rejected == {"a": 0.25, "b": 0.75, ALL: 0.75}
    assert line(points, TRAINING, "b")["recall"] == 0


def test_a_class_missing_from_a_folds_training_images_has_no_point():
    test, known = two_folds()
    known = known[(known["fold"] == 1) | (known["label"] == "good")]
    points = operating_numbers(test, known, "good", required=(0.75,))
    assert np.isnan(line(points, TRAINING)["caught"])
    assert line(points, TRAINING)["n_calibration"] == 0


def test_a_feature_set_without_scores_of_training_images_has_no_points():
    test, known = two_folds()
    both = pd.concat([test, test.assign(features="stats")])
    assert set(operating_numbers(both, known, "good", required=(0.75,))["features"]) == {"image"}
    assert operating_numbers(test, known.iloc[:0], "good", required=(0.75,)).empty


def test_repeats_are_averaged_and_do_not_multiply_images():
    test, known = two_folds()
    other = test.assign(repeat=1, **{"p:good": 1.0 - (test["label"] == "a") * 0.99})
    both = pd.concat([known, known.assign(repeat=1)])
    points = operating_numbers(pd.concat([test, other]), both, "good", required=(0.75,))
    found = line(points, TRAINING)
    assert found["n_defects"] == 6 and found["n_good"] == 8
    assert (found["caught"], found["rejected"]) == (5, 2)  # of 4 and 6, of 3 and 0 (rounded half to even)


def test_a_class_held_out_at_once_is_named_by_its_folds():
    known = study({"image": 1.0, "map": 1.0}, calibrated=True)
    assert describe_unlearned(known) == describe_unlearned(pd.DataFrame()) == []
    known.loc[(known["label"] == "a") & (known["fold"] == 3), "inner"] = 1
    (said,) = describe_unlearned(known)
    assert said.startswith("In stratified fold 3, class a was scored without any image of it")


def test_an_interval_counts_objects_and_trainings_not_pictures_of_them():
    hit, one = np.arange(60) % 3 == 0, np.zeros(60, int)
    assert design_effect(hit, np.arange(60), one, one) == pytest.approx(1)
    four = [np.repeat(values, 4) for values in (hit, np.arange(60), one, one)]  # four pictures of each say no more
    assert design_effect(*four) == pytest.approx(4, rel=0.05)
    assert design_effect(np.ones(240, bool), *four[1:]) == 4, "nothing varies: as many as there are objects"
    nothing = np.zeros(8, int)
    assert design_effect(np.ones(8, bool), nothing, nothing, nothing) == 8
    alike = np.tile(hit, 3), np.tile(np.arange(60), 3), np.tile(one, 3), np.repeat(np.arange(3), 60)
    assert design_effect(*alike) == pytest.approx(1), "three equal trainings"
    assert design_effect(alike[0] & (alike[3] != 2), *alike[1:]) > 3, "the third finds nothing"
    empty = np.zeros(0, int)
    assert design_effect(np.zeros(0, bool), empty, empty, empty) == 1


def test_with_one_training_an_interval_is_as_wide_as_the_spread_of_the_folds():
    fold, one = np.repeat([0, 1, 2], 20), np.zeros(60, int)
    even = np.tile(np.arange(20) < 10, 3)
    assert design_effect(even, np.arange(60), fold, one) == pytest.approx(1)
    uneven = np.concatenate([np.arange(20) < k for k in (2, 10, 18)])
    assert design_effect(uneven, np.arange(60), fold, one) > 5


def test_where_objects_are_known_intervals_are_wider_and_a_bound_needs_as_many_objects():
    found, known = study({"image": 1.0}, n=240), study({"image": 1.0}, n=240, calibrated=True)
    number, scores = found["id"].astype(int), ["p:good", "p:a", "p:b"]
    four = "g" + (number // 12 * 3 + number % 3).astype(str)  # pictures of each object, which score alike
    found[scores] = found.groupby(four)[scores].transform("first")
    group = dict(zip(found["id"], four, strict=True))
    alone, together = (
        operating_numbers(*frames, "good", required=(0.9, 0.98))
        for frames in ((found, known), [one.assign(group=one["id"].map(group)) for one in (found, known)])
    )
    a, b = line(alone, TRAINING, required=0.9), line(together, TRAINING, required=0.9)
    assert a["false_rejects"] == b["false_rejects"] and b["n_good"] == 80
    assert b["false_rejects_high"] > a["false_rejects_high"] and b["false_rejects_low"] < a["false_rejects_low"]
    assert a["n_calibration"] == 128 and b["n_calibration"] == 40
    assert line(alone, CONFORMAL, required=0.98)["caught"] > 0
    assert np.isnan(line(together, CONFORMAL, required=0.98)["caught"]), "49 objects are needed"
