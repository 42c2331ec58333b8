from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from lib.evaluation import metrics
from lib.evaluation.metrics import ALL, OVERALL, POOLED
from tests.evaluation.made_up import by_fold, measure, rows, scored

LABELS = ["good"] * 5 + ["a"] * 4 + ["b"] * 2
PREDICTED = ["good", "good", "good", "a", "b", "a", "a", "b", "good", "a", "good"]


def value(table: pd.DataFrame, metric: str, label: str = ALL, fold: str = OVERALL, column: str = "value"):
    found = table[(table["metric"] == metric) & (table["class"] == label) & (table["fold"] == fold)]
    assert len(found) == 1
    return found[column].iloc[0]


def test_recalls_and_false_rejects_by_hand():
    frame = rows(LABELS, PREDICTED)
    assert [measure("class_recall", frame, "good", name) for name in "ab"] == [(0.5, 4), (0.0, 2)]
    assert measure("defect_recall", frame, "good", "a") == (0.75, 4)  # b in place of a is still found
    assert measure("defect_recall", frame, "good", "b") == (0.5, 2)
    assert measure("defect_recall", frame, "good") == (pytest.approx(4 / 6), 6)
    assert measure("false_reject_rate", frame, "good") == (0.4, 5)


def test_summary_has_false_rejects_with_every_recall():
    table = metrics.summary(rows(LABELS, PREDICTED), "good", metrics=("class_recall",))
    assert value(table, "false_reject_rate") == 0.4
    assert value(table, "false_reject_rate", column="n") == 5
    assert value(table, "class_recall", "a") == 0.5
    assert set(table["metric"]) == {"class_recall", "false_reject_rate"}


def test_pooled_and_single_folds_count_images():
    labels, predicted = ["good", "a", "good", "a", "a", "a"], ["good", "good", "good", "a", "a", "a"]
    table = metrics.summary(rows(labels, predicted, folds=[0, 0, 1, 1, 1, 1], classes=("good", "a")), "good")
    assert value(table, "defect_recall") == 0.75
    assert value(table, "defect_recall", fold="0") == 0
    assert value(table, "defect_recall", fold="1", column="n") == 3


def test_class_absent_from_a_fold_gets_no_value_and_no_weight():
    frame = rows(["good", "a", "b", "good", "a"], ["good", "a", "b", "good", "good"], folds=[0, 0, 0, 1, 1])
    table = metrics.summary(frame, "good")
    assert np.isnan(value(table, "class_recall", "b", fold="1"))
    assert value(table, "class_recall", "b", fold="1", column="n") == 0
    assert value(table, "weighted_auc", fold="0") == 1 and value(table, "weighted_auc", fold="1") == 0.5
    assert value(table, "weighted_auc") == 0.75


@pytest.mark.parametrize("metric", metrics.RANKINGS)
def test_scores_of_two_folds_need_no_common_scale(metric):
    """Each fold has a network of its own: a shift of all its scores must not change what it ranks."""
    frame = scored({"good": [0.1, 0.2, 0.3, 0.4] * 2, "a": [0.25, 0.5, 0.6, 0.7] * 2})
    frame["fold"] = [0, 0, 0, 0, 1, 1, 1, 1] * 2
    shifted = frame.assign(**{"p:good": frame["p:good"] - 0.5 * (frame["fold"] == 1)})
    shifted["p:a"] = 1 - shifted["p:good"]
    plain, moved = metrics.summary(frame, "good"), metrics.summary(shifted, "good")
    assert value(plain, metric) == pytest.approx(value(moved, metric))
    assert value(plain, metric, fold=POOLED) > value(moved, metric, fold=POOLED) + 0.05


def test_weighted_auc_weighs_classes_by_their_share():
    frame = rows(["good", "good", "good", "a", "b"], ["good"] * 5)
    frame["p:good"] = [0.9, 0.8, 0.2, 0.5, 0.1]
    frame["p:a"] = [0.05, 0.1, 0.7, 0.4, 0.8]
    frame["p:b"] = [0.05, 0.1, 0.1, 0.1, 0.1]
    truth, areas = frame["label"], {}
    for name in ("good", "a", "b"):
        areas[name] = roc_auc_score(truth == name, frame[f"p:{name}"])
    assert areas == pytest.approx({"good": 5 / 6, "a": 0.5, "b": 0.625})
    assert measure("weighted_auc", frame, "good")[0] == pytest.approx((3 * 5 / 6 + 0.5 + 0.625) / 5)


def test_auc_of_a_single_class_is_undefined_and_other_data_sets_columns_do_not_count():
    frame = rows(["good", "a"], ["good", "a"]).assign(**{"p:elsewhere": np.nan})
    for metric in ("weighted_auc", "binary_auc", "recall_at_5"):
        assert measure(metric, frame, "good") == (1, 2)
        assert all(np.isnan(measure(metric, frame[one], "good")[0]) for one in (slice(1), slice(1, 2)))


def test_binary_auc_uses_one_minus_p_good():
    frame = rows(["good", "good", "a", "b"], ["good"] * 4)
    frame["p:good"] = [0.9, 0.4, 0.6, 0.1]
    assert measure("binary_auc", frame, "good") == (0.75, 4)


def test_collapsed_and_separate_decide_from_different_rows():
    multi = rows(["good", "a", "a"], ["good", "a", "good"], classes=("good", "a"))
    two = multi.assign(task="binary", predicted=["defective", "defective", "defective"])
    two["p:defective"] = 1 - two["p:good"]
    both = pd.concat([multi, two.drop(columns="p:a")], ignore_index=True)
    collapsed, separate = (metrics.summary(both, "good", kind) for kind in ("collapsed", "separate"))
    assert (value(collapsed, "defect_recall"), value(collapsed, "false_reject_rate")) == (0.5, 0)
    assert (value(separate, "defect_recall"), value(separate, "false_reject_rate")) == (1, 1)
    assert value(separate, "class_recall", "a") == 0.5


def test_repeats_are_averaged_and_do_not_multiply_images():
    first = by_fold({"image": [2, 0]})
    table = metrics.summary(pd.concat([first, by_fold({"image": [4, 0]}, repeat=1)]), "good")
    assert value(table, "defect_recall") == pytest.approx(0.85)
    assert value(table, "defect_recall", fold="0") == pytest.approx(0.7)
    assert value(table, "defect_recall", column="n") == 20
    assert value(table, "weighted_auc", column="n") == 40


def test_good_class_may_differ_by_data_set():
    other = rows(["free", "a"], ["free", "free"], classes=("free", "a"), dataset="tiles")
    table = metrics.summary(pd.concat([rows(LABELS, PREDICTED), other]), {"toy": "good", "tiles": "free"})
    assert value(table[table["dataset"] == "tiles"], "defect_recall") == 0


@pytest.mark.parametrize(
    ("change", "message"), [(lambda f: pd.concat([f, f.iloc[:1]]), "twice"), (lambda f: f.assign(label=ALL), "rename")]
)
def test_predictions_that_cannot_be_counted_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        metrics.summary(change(rows(LABELS, PREDICTED)), "good")


def test_recall_at_five_percent_by_hand():
    labels = ["good"] * 20 + ["a"] * 4
    frame = rows(labels, ["good"] * 24, classes=("good", "a"))
    frame["p:good"] = [0.1, 0.3, *[0.9] * 18, 0.05, 0.2, 0.25, 0.95]
    assert measure("recall_at_5", frame, "good")[0] == 0.75  # one of 20 goods may be rejected: the one at 0.1
    fewer = measure("recall_at_5", frame.drop(index=range(2, 12)), "good")[0]
    assert fewer == pytest.approx(0.25 + 0.5 * 0.5)  # half of one of 10: half way from one defect to three
    assert value(metrics.summary(frame, "good"), metrics.RECALL_AT_5_FPR) == 0.75
