"""One method is recommended, by a rule that the test folds cannot move."""

import numpy as np
import pandas as pd
import pytest

from lib.evaluation.recommendation import recommend, recommended
from tests.evaluation.made_up import measure, study

SKILL = {"image": 1.0, "map": 0.5, "image_map": 2.0}


def test_the_choice_rests_on_training_images_alone():
    tested, known = study(SKILL, n=300), study(SKILL, n=300, calibrated=True)
    table = recommend(tested, known, "good").set_index("features")
    assert recommended(table.reset_index()) == "image_map" and table["recommended"].sum() == 1
    other = study({"image": 3.0, "map": 4.0, "image_map": 0.1}, n=300)
    turned = recommend(other, known, "good").set_index("features")
    pd.testing.assert_frame_equal(
        turned[["training", "folds", "recommended"]], table[["training", "folds", "recommended"]]
    )
    assert turned.loc["map", "recall"] > table.loc["map", "recall"]


def test_figures_by_hand():
    tested, known = study(SKILL, n=300), study(SKILL, n=300, calibrated=True)
    row = recommend(tested, known, "good").set_index("features").loc["image"]
    part = known[known["features"] == "image"]
    inside = [measure("recall_at_5", one, "good")[0] for _, one in part.groupby(["fold", "inner"])]
    outside = [
        measure("recall_at_5", one, "good")[0] for _, one in tested[tested["features"] == "image"].groupby("fold")
    ]
    assert (row["training"], row["recall"]) == pytest.approx((np.mean(inside), np.mean(outside)))


def test_each_fold_choosing_by_itself_gives_the_nested_figure():
    tested = study(SKILL, n=300)
    known = study(SKILL, n=300, calibrated=True)
    turned = study({"image": 3.0, "map": 0.5, "image_map": 0.1}, n=300, calibrated=True)
    mixed = pd.concat([known[known["fold"] < 2], turned[turned["fold"] >= 2]])
    table = recommend(tested, mixed, "good").set_index("features")
    assert table["folds"].to_dict() == {"image": 3, "map": 0, "image_map": 2}
    by_fold = {
        (fold, name): measure("recall_at_5", part, "good")[0]
        for (fold, name), part in tested.groupby(["fold", "features"])
    }
    chosen = [by_fold[fold, "image_map" if fold < 2 else "image"] for fold in range(5)]
    assert table["nested"].tolist() == pytest.approx([np.mean(chosen)] * 3)


def test_without_scores_of_training_images_nothing_is_recommended():
    table = recommend(study(SKILL), pd.DataFrame(), "good")
    assert recommended(table) == "" and table[["training", "nested"]].isna().all(axis=None)
    some = study({"image": 1.0}, n=300, calibrated=True)
    table = recommend(study(SKILL, n=300), some, "good").set_index("features")
    assert recommended(table.reset_index()) == "image" and np.isnan(table.loc["map", "training"])
