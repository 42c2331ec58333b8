"""Recalls by class at 5 % false rejects, and what a feature set gains and loses image by image."""

import numpy as np
import pandas as pd

from lib.evaluation.by_class import CHANGES, changed, class_recalls, decided
from lib.evaluation.operating_points import rejected
from tests.evaluation.made_up import rows

LABELS = ["good"] * 20 + ["a"] * 4 + ["b"] * 4


def scored(scores, features="image", labels=LABELS, **columns):
    """Return predictions whose 1 - p(good) is what is given, in one fold."""
    frame = rows(labels, ["good"] * len(labels), features=features).assign(**columns)
    frame["p:good"] = 1 - np.asarray(scores, dtype=float)
    return frame


def test_a_class_is_measured_against_all_good_images():
    good = np.linspace(0.0, 0.5, 20)  # 5 % are one of twenty
    frame = scored([*good, 0.9, 0.9, 0.9, 0.9, 0.9, 0.49, 0.1, 0.1])
    found = class_recalls(frame, "good", ["image"], seed=1, n=50).set_index("class")
    assert found["value"].to_dict() == {"b": 0.5, "a": 1.0}  # 0.49 is above all good images but one
    assert list(found.index) == ["b", "a"], "the weakest first"
    assert found["images"].to_dict() == {"a": 4, "b": 4}
    assert (found["low"] <= found["value"]).all() and (found["value"] <= found["high"]).all()


def test_images_that_another_feature_set_decides_otherwise_are_counted():
    a, b = (frame.reset_index(drop=True) for frame in (scored(np.zeros(28), "x"), scored(np.zeros(28), "y")))
    both = pd.concat([a, b], ignore_index=True)
    reject = pd.Series(False, both.index)
    reject[[20, 21, 0]] = True  # x: two defects and a good one
    reject[[28 + 21, 28 + 22, 28 + 1, 28 + 2]] = True  # y: another two defects, two other good ones
    counts = changed(both, reject, "good", "x", "y")
    assert counts.to_dict() == dict(zip(CHANGES, (1, 1, 2, 1), strict=True))
    assert changed(both, reject, "good", "x", "x").sum() == 0


def test_an_image_is_rejected_at_its_folds_threshold_from_training_scores():
    tested = pd.concat(
        [scored([0.3, 0.6, 0.9], labels=["good", "a", "a"]).assign(fold=fold) for fold in (0, 1)], ignore_index=True
    )
    known = pd.concat(
        [scored(values, labels=["good", "a", "a"]).assign(fold=fold)
         for fold, values in ((0, [0.0, 0.2, 0.8]), (1, [0.0, 0.7, 0.8]))]
    )  # fmt: skip
    assert rejected(tested, known, "good", 1.0).tolist() == [True, True, True, False, False, True]
    assert not rejected(tested, known[:0], "good", 1.0).any(), "its own decision, where none were scored"
    assert not rejected(tested, known[known["fold"] == 0], "good", 1.0)[3:].any()
    leaking = known.assign(scheme="stratified", **{"p:good": 0.0})  # of the other folds, which test other images
    both = pd.concat([known.assign(scheme="grouped"), leaking])
    mine = rejected(tested.assign(scheme="grouped"), both, "good", 1.0)
    assert mine.tolist() == rejected(tested, known, "good", 1.0).tolist()


def test_a_threshold_leaves_good_or_the_likeliest_defect_class():
    frame = pd.DataFrame({"predicted": ["good", "good", "a", "a"], "p:good": [0.5, 0.4, 0.1, 0.0],
                          "p:a": [0.2, 0.3, 0.5, 0.6], "p:b": [0.3, 0.3, 0.4, np.nan]})  # fmt: skip
    out = pd.Series([True, False, False, True])
    assert decided(frame, out, "good")["predicted"].tolist() == ["b", "good", "good", "a"]
    assert decided(frame, out[:2], "good")["predicted"].tolist() == ["b", "good", "a", "a"], "of another model"
