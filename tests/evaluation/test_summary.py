"""The computed sentences say what the figures say."""

import numpy as np
import pandas as pd

from lib.evaluation.summary import answer, leak, losses


def predictions(skill, folds=5, keep=(1.0,), scheme="stratified", seed=0, per_fold=40):
    """Make predictions whose probability of the truth grows with `skill[features]`."""
    rng = np.random.default_rng(seed)
    rows = []
    for share in keep:
        for fold in range(folds):
            for k in range(per_fold):
                label = ("good", "dent", "scratch")[k % 3]
                noise = rng.normal(size=3)
                for features, strength in skill.items():
                    logits = noise + strength * share * np.array(
                        [label == c for c in ("good", "dent", "scratch")]
                    )
                    p = np.exp(logits) / np.exp(logits).sum()
                    rows.append(
                        {"dataset": "d", "scheme": scheme, "fold": fold, "id": f"{fold}-{k}", "group": None,
                         "label": label,
                         "predicted": ("good", "dent", "scratch")[int(p.argmax())], "features": features,
                         "task": "multiclass", "keep": share, "repeat": 0,
                         "p:good": p[0], "p:dent": p[1], "p:scratch": p[2]}
                    )  # fmt: skip
    return pd.DataFrame(rows)


def test_a_real_gain_over_ten_folds_is_called_more_than_chance():
    found = predictions({"image": 1.0, "map": 1.0, "image_map": 3.0}, folds=10)
    text = " ".join(answer("d", found, "good", 0.005))
    assert "changes the AUC by +" in text
    assert "more than chance" in text


def test_too_few_folds_are_said_to_prove_nothing():
    found = predictions({"image": 1.0, "map": 1.0, "image_map": 3.0}, folds=3)
    assert "none was possible" in " ".join(answer("d", found, "good", 0.005))


def test_identical_feature_sets_make_no_difference():
    found = predictions({"image": 1.0, "map": 1.0, "image_map": 1.0}, folds=10)
    text = " ".join(answer("d", found, "good", 0.005))
    assert "does not change the AUC" in text
    assert "p = 1" in text
    assert "more than chance" not in text


def test_without_maps_nothing_is_compared():
    assert "nothing to compare" in " ".join(answer("d", predictions({"image": 1.0}), "good", 0.005))


def test_losses_have_the_right_sign():
    found = predictions({"image": 3.0, "image_map": 3.0}, keep=(0.25, 1.0))
    text = " ".join(losses("d", found, "good"))
    assert "25%" in text
    assert "AUC -0." in text
    assert "only the whole set" in " ".join(losses("d", predictions({"image": 1.0}), "good"))


def test_the_leak_table_holds_both_schemes_or_nothing():
    grouped, leaking = (
        predictions({"image": 0.5}, scheme="grouped"),
        predictions({"image": 4.0}, scheme="stratified"),
    )
    table = leak(pd.concat([grouped, leaking]), {"d": "good"}).set_index("folds")["weighted_auc"]
    assert table["stratified (leaking)"] > table["grouped"] + 0.1
    assert leak(grouped, {"d": "good"}).empty
