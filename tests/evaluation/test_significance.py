from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lib.evaluation import significance
from lib.evaluation.metrics import ALL
from lib.evaluation.significance import Comparison
from tests.evaluation.made_up import CLASSES, by_fold, study


def enumerated_p(differences):
    """Two-sided exact p by going through all signs."""
    ranks = stats.rankdata(np.abs(differences))
    signs = np.array(np.meshgrid(*[[0, 1]] * len(ranks))).reshape(len(ranks), -1)
    sums, seen = ranks @ signs, ranks[np.asarray(differences) > 0].sum()
    return min(1.0, 2 * min((sums <= seen + 1e-9).mean(), (sums >= seen - 1e-9).mean()))


@pytest.mark.parametrize(
    "differences", [[1, 2, 3, -4, 5, 6], [1, 1, 2, 2, -1, 3, 3, 3], [2, 2, 2, 2, 2, 2, 2, 2, 2, -2]]
)
def test_wilcoxon_is_exact_with_and_without_ties(differences):
    result = significance.wilcoxon(differences)
    assert result["p"] == pytest.approx(enumerated_p(differences))
    assert result["n"] == result["n_nonzero"] == len(differences)


def test_wilcoxon_drops_zeros_and_says_what_is_in_reach():
    result = significance.wilcoxon([*range(1, 9), 0, 0])
    assert (result["n"], result["n_nonzero"]) == (10, 8)
    assert result["p"] == result["smallest_p"] == 2 / 2**8


def test_wilcoxon_sees_ties_through_rounding_errors():
    a, b = np.array([0.9, 0.3, 0.8, 0.7]), np.array([0.8, 0.2, 0.7, 0.8])
    assert len(set(np.abs(a - b))) > 1
    assert significance.wilcoxon(a - b) == significance.wilcoxon([1, 1, 1, -1])


@pytest.mark.parametrize(("differences", "n_nonzero"), [([0] * 10, 0), ([0] * 9 + [0.1], 1)])
def test_wilcoxon_without_differences_has_p_one_and_without_pairs_none(differences, n_nonzero):
    result = significance.wilcoxon(differences)
    assert (result["p"], result["smallest_p"], result["n_nonzero"]) == (1, 1, n_nonzero)
    assert np.isnan(significance.wilcoxon([])["p"])


def test_holm_by_hand_leaves_gaps_alone():
    adjusted = significance.holm(pd.Series([0.01, np.nan, 0.04, 0.03]))
    assert adjusted.tolist() == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert significance.holm(pd.Series([np.nan])).isna().all()


@pytest.mark.parametrize(("a", "effect"), [([1, 2, 3, 0], 1), ([-1, -2, -3], -1), ([1, 2, -3], 0), ([0, 0], 0)])
def test_effect_is_the_rank_biserial_correlation(a, effect):
    assert significance.wilcoxon(a)["effect"] == effect


def test_nadeau_bengio_by_hand():
    p = significance.nadeau_bengio([3, 1, 2, 2], n_train=75, n_test=25)
    assert p == pytest.approx(2 * stats.t.sf(2 / np.sqrt((1 / 4 + 1 / 3) * 2 / 3), 3))
    assert significance.nadeau_bengio([0, 0], 9, 1) == 1
    assert significance.nadeau_bengio([1, 1], 9, 1) == 0
    assert np.isnan(significance.nadeau_bengio([1], 9, 1))


def cell(table: pd.DataFrame, metric: str, a: str, b: str, label: str = ALL) -> pd.Series:
    found = table[(table["metric"] == metric) & (table["class"] == label) & (table["a"] == a) & (table["b"] == b)]
    assert len(found) == 1
    return found.iloc[0]


def test_perfect_separation_reaches_the_smallest_p():
    table = significance.compare(by_fold({"image": [5] * 10, "image_map": [0] * 10}), "good", seed=0, n=50)
    found = cell(table, "defect_recall", "image_map", "image")
    assert found["p"] == found["smallest_p"] == 2 / 2**10
    assert found["significant"] and found["in_reach"]
    assert (found["difference"], found["effect"], found["n"], found["n_nonzero"]) == (0.5, 1, 10, 10)
    assert found["low"] > 0.3
    assert np.isnan(found["p_holm"])  # at the classifiers' own thresholds: not in the family
    auc = cell(table, "binary_auc", "image_map", "image")
    assert auc["p_holm"] == pytest.approx(3 * auc["p"])  # the three rankings
    assert {"false_rejects_a", "false_rejects_b"} <= set(table.columns)


def test_a_feature_set_that_predicts_the_same_is_not_tested():
    image = study({"image": 1.0}, n=60)
    frame = pd.concat([image, image.assign(features="map")])
    table = significance.compare(frame, "good", seed=0, n=50)
    assert (table["difference"] == 0).all() and (table["identical"] == 1).all()
    assert table[["p", "p_holm", "p_corrected"]].isna().all(axis=None) and not table["significant"].any()
    assert "not tested" in Comparison.find(table, "binary_auc", "map", "image", 0.005).verdict()
    other = image.assign(features="map", **{"p:good": image["p:good"] + 1e-9})
    table = significance.compare(pd.concat([image, other]), "good", seed=0, n=50)
    assert (table["identical"] == 0).all() and (table["p"] == 1).all()


def test_corrected_t_in_the_table_counts_the_images_of_training_and_test_folds():
    frame = by_fold({"image": [3, 1, 2, 4, 2], "image_map": [0, 1, 0, 0, 1]})  # 20 images a fold, 10 of them defects
    found = cell(significance.compare(frame, "good", seed=0, n=10), "defect_recall", "image_map", "image")
    gains = [0.3, 0.0, 0.2, 0.4, 0.1]
    assert found["p_corrected"] == pytest.approx(significance.nadeau_bengio(gains, 80, 20))
    thin = significance.compare(frame.assign(keep=0.5), "good", seed=0, n=10)
    halved = cell(thin, "defect_recall", "image_map", "image")
    assert halved["p_corrected"] == pytest.approx(significance.nadeau_bengio(gains, 60, 20))


def test_repeats_are_averaged_before_the_test():
    first = by_fold({"image": [5] * 10, "image_map": [0] * 10})
    second = by_fold({"image": [3] * 10, "image_map": [0] * 10}, repeat=1)
    found = cell(
        significance.compare(pd.concat([first, second]), "good", seed=0, n=20), "defect_recall", "image_map", "image"
    )
    assert (found["n"], found["p"]) == (10, 2 / 2**10)  # ten folds, not twenty
    assert found["difference"] == pytest.approx(0.4) and found["repeats"] == 2


def test_permuted_labels_have_an_auc_of_one_half_and_nothing_significant():
    frame = study({"image": 2.0, "map": 1.0, "image_map": 3.0}, n=900, folds=10)
    shuffled = np.random.default_rng(0).permutation(CLASSES_OF_900)
    frame["label"] = np.tile(shuffled, 3)
    table = significance.compare(frame, "good", seed=0, n=200)
    areas = table.loc[table["metric"].isin(["weighted_auc", "binary_auc"]), ["value_a", "value_b"]].to_numpy()
    assert np.abs(areas - 0.5).max() < 0.05
    assert not table["significant"].any() and (table["p_holm"].dropna() > 0.05).all()
    whole = table[table["metric"] == "weighted_auc"]
    assert ((whole["low"] <= 0) & (whole["high"] >= 0)).all()


CLASSES_OF_900 = np.array(CLASSES)[np.arange(900) % 3]


def test_fold_without_the_class_leaves_the_test():
    frame = by_fold({"image": [3] * 10, "image_map": [0] * 10})
    frame.loc[frame["fold"].isin([0, 1]), "label"] = "good"
    found = cell(significance.compare(frame, "good", seed=0, n=20), "class_recall", "image_map", "image", "a")
    assert (found["n"], found["n_nonzero"]) == (8, 8)
    assert not found["in_reach"]


@pytest.mark.parametrize(
    ("p", "low", "expected"),
    [
        (0.002, 0.1, "better"),
        (0.002, -0.1, "no measurable difference"),  # another training would not print the test's verdict
        (np.nan, 0.1, "better"),
        (np.nan, np.nan, "no measurable difference"),
    ],
)
def test_verdict(p, low, expected):
    gap = Comparison(0.2, low, 0.4, alpha=0.005, p=p, smallest_p=0.002)
    assert gap.verdict() == expected
    turned = replace(gap, difference=-0.2, low=-0.4, high=-low)
    assert turned.verdict() == expected.replace("better", "worse")
    assert replace(gap, identical=1.0).verdict() == "not tested: both make the same predictions"


def test_the_stated_rule_is_met_or_not_or_cannot_be():
    gap = Comparison(0.2, 0.1, 0.4, alpha=0.005, p=0.002, smallest_p=0.002, n=10)
    assert gap.rule() == "The stated rule, p < 0.005, is met: p = 0.002."
    assert replace(gap, p=0.01).rule() == "The stated rule, p < 0.005, is not met: p = 0.01."
    few = replace(gap, p=0.25, smallest_p=0.25, n=3).rule()
    assert few == "The stated rule, p < 0.005, cannot be met with 3 folds."


def test_a_comparison_in_words():
    gap = Comparison(0.2, -0.1, 0.4, alpha=0.005, p=0.25, smallest_p=0.25)
    assert gap.span() == "+0.200, 95 % CI −0.100 to +0.400"
    points = replace(gap, metric="recall_at_5", difference=-0.2, low=-0.4, high=0.1)
    assert points.span() == "−20.0 points, 95 % CI −40.0 to +10.0"
    assert (gap.value(0.2), points.value(0.2)) == ("0.200", "20.0 %")
    tiny = replace(gap, difference=-1e-5, low=-1e-6, high=1e-6).span()
    assert tiny == "+0.000, 95 % CI +0.000 to +0.000"


def test_a_comparison_is_found_as_it_was_made():
    table = significance.compare(by_fold({"image": [5] * 10, "image_map": [0] * 10}), "good", seed=0, n=50)
    gap = Comparison.find(table, "defect_recall", "image_map", "image", 0.005)
    assert (gap.difference, gap.value_a, gap.value_b, gap.side) == (0.5, 1.0, 0.5, 1)
    assert Comparison.find(table, "defect_recall", "image", "map", 0.005) is None


def test_as_good_needs_a_margin_and_pays_for_how_many_were_tried():
    assert Comparison(0.0, -0.01, 0.01, low_of_all=-0.019).as_good
    assert not Comparison(0.0, -0.01, 0.01, low_of_all=-0.021).as_good
    assert not Comparison(0.1, -0.3, 0.4).as_good  # no measurable difference is not as good
    skill = {"image": 1.0, "map": 1.1, "image_map": 1.2, "score": 1.25, "stats": 1.3, "guided": 1.0}
    table = significance.compare(study(skill, n=300), "good", seed=0, n=300)
    against = table[(table["b"] == "image_map") & (table["metric"] == "binary_auc")]
    assert len(against) == 3 and (against["low_of_all"] < against["low"]).all()
    alone = significance.compare(study({"image": 1.0, "image_map": 1.2}, n=300), "good", seed=0, n=300)
    assert np.allclose(alone["low_of_all"], alone["low"])


def test_alpha_is_a_parameter_and_a_missing_feature_set_makes_no_pair():
    frame = by_fold({"image": [5, 5, 5, 5], "image_map": [0, 0, 0, 0]})
    assert not significance.compare(frame, "good", seed=0, n=10)["significant"].any()
    assert significance.compare(frame, "good", seed=0, n=10, alpha=0.2)["significant"].any()
    alone = significance.compare(frame[frame["features"] == "image"], "good", seed=0)
    assert alone.empty and {"class", "p_holm", "significant"} <= set(alone.columns)
