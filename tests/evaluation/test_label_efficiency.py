"""Learning curves and the labels that each feature set needs for the same recall at the same false rejects."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lib.evaluation import label_efficiency as economy
from lib.reporting.result_tables import needs_table
from tests.evaluation.made_up import measure, study

LABELS = np.array([10.0, 20.0, 40.0])


def needed(recalls, target):
    return economy.labels_for_recall(LABELS, np.array(recalls, float)[:, None], np.array([target]))[0]


def test_needed_labels_by_hand():
    assert needed([0.2, 0.4, 0.8], 0.4) == 20
    assert needed([0.2, 0.4, 0.8], 0.6) == pytest.approx(30)
    assert needed([0.2, 0.4, 0.8], 0.1) == 10
    assert np.isinf(needed([0.2, 0.4, 0.8], 0.81))
    assert needed([0.2, 0.6, 0.3], 0.4) == pytest.approx(15)  # where it first reaches it
    assert np.isnan(needed([0.2, 0.4, 0.8], np.nan))


def test_labels_are_the_kept_defects_of_a_training_fold():
    frame = study({"image": 1.0}, n=150, folds=5)
    assert economy.labels_kept(frame, "good", 1.0) == 80  # 100 defects, four fifths in training
    assert economy.labels_kept(frame, "good", 0.25) == 20
    few = frame[(frame["label"] == "good") | (frame["fold"] == 0)]
    assert economy.labels_kept(few, "good", 0.01) == pytest.approx(4 * 2 / 5)  # at least one of each class


def test_curves_hold_the_recall_over_all_folds_and_its_interval():
    frame = study({"image": 1.0, "image_map": 2.0}, n=300, keep=(0.25, 1.0))
    curves = economy.label_efficiency(frame, "good", seed=1, n=200).curves
    for row in curves.to_dict("records"):
        part = frame[(frame["features"] == row["features"]) & (frame["keep"] == row["keep"])]
        folds = [measure("recall_at_5", one, "good")[0] for _, one in part.groupby("fold")]
        assert row["recall"] == pytest.approx(np.mean(folds))
        assert row["low"] < row["high"]
    assert curves.groupby("keep")["labels"].first().to_dict() == {0.25: 40, 1.0: 160}


def test_a_better_feature_set_needs_fewer_labels_and_a_worse_one_never_gets_there():
    frame = study({"image": 1.5, "map": 0.3, "image_map": 2.5}, n=600, keep=(0.25, 0.5, 1.0))
    needs = economy.label_efficiency(frame, "good", seed=1, n=200).needs
    full = needs[needs["reference"] == needs["reference"].max()].set_index("features")
    assert full.loc["image_map", "labels"] < full.loc["image_map", "reference"]
    assert full.loc["image_map", "high"] < full.loc["image_map", "reference"]
    assert np.isinf(full.loc["map", "labels"])
    table = needs_table(economy.label_efficiency(frame, "good", seed=1, n=200))
    assert table is not None
    shown = table.frame.droplevel(1, axis=1).set_index("Features")["Labelled defects"]
    assert shown["Image"].startswith(f"{full['reference'].iloc[0]:.0f} for ")
    assert shown.index.tolist() == ["Image", "Image + map"], "the methods of figures"


def test_a_duplicate_needs_exactly_what_the_image_has():
    image = study({"image": 1.5}, n=300, keep=(0.25, 0.5, 1.0))
    found = economy.label_efficiency(
        pd.concat([image, image.assign(features="image_map")]), "good", seed=1, n=100
    ).needs
    assert (found["labels"] == found["reference"]).all()


def test_one_level_or_feature_sets_with_gaps_have_no_curve():
    alone = economy.label_efficiency(study({"image": 1.0, "image_map": 1.5}), "good", seed=1, n=20)
    assert alone.curves.empty and alone.needs.empty
    assert needs_table(alone) is None
    frame = pd.concat([study({"image": 1.0, "image_map": 2.0}, keep=(0.5, 1.0)), study({"image_map_all": 2.0})])
    found = economy.label_efficiency(frame, "good", seed=1, n=20)
    assert set(found.curves["features"]) == {"image", "image_map"}


def test_repeats_are_averaged():
    frame = study({"image": 1.0, "image_map": 1.5}, keep=(0.5, 1.0))
    other = study({"image": 1.0, "image_map": 1.5}, keep=(0.5, 1.0), seed=5, repeat=1)
    one, two, both = (
        economy.label_efficiency(part, "good", seed=1, n=20).curves["recall"]
        for part in (frame, other, pd.concat([frame, other]))
    )
    assert both.tolist() == pytest.approx(((one + two) / 2).tolist())
