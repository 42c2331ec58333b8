from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from lib.classification.intervals import clopper_pearson
from lib.evaluation import bootstrap, metrics, significance
from lib.evaluation.metrics import ALL
from tests.evaluation.made_up import CLASSES, by_fold, rows, study


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
    result = significance.wilcoxon_paired(differences, np.zeros(len(differences)))
    assert result.p == pytest.approx(enumerated_p(differences))
    assert result.n == result.n_nonzero == len(differences)


def test_wilcoxon_drops_zeros_and_says_what_is_in_reach():
    result = significance.wilcoxon_paired(np.r_[np.arange(1, 9), 0, 0], np.zeros(10))
    assert (result.n, result.n_nonzero, result.statistic) == (10, 8, 0)
    assert result.p == result.smallest_p == 2 / 2**8


def test_wilcoxon_sees_ties_through_rounding_errors():
    a, b = np.array([0.9, 0.3, 0.8, 0.7]), np.array([0.8, 0.2, 0.7, 0.8])
    assert len(set(np.abs(a - b))) > 1
    assert significance.wilcoxon_paired(a, b) == significance.wilcoxon_paired([1, 1, 1, 0], [0, 0, 0, 1])


@pytest.mark.parametrize(("a", "n_nonzero"), [([0.5] * 10, 0), ([0.5] * 9 + [0.6], 1)])
def test_wilcoxon_without_differences_has_p_one(a, n_nonzero):
    result = significance.wilcoxon_paired(a, [0.5] * 10)
    assert (result.p, result.smallest_p, result.n_nonzero) == (1, 1, n_nonzero)


def test_wilcoxon_refuses_gaps_and_unequal_lengths():
    with pytest.raises(ValueError, match="missing"):
        significance.wilcoxon_paired([1, np.nan], [0, 0])
    with pytest.raises(ValueError, match="equal length"):
        significance.wilcoxon_paired([1, 2, 3], [0, 0])


def test_smallest_p():
    assert [round(significance.smallest_attainable_p(n), 5) for n in (10, 9, 8, 1, 0)] == [
        0.00195,
        0.00391,
        0.00781,
        1,
        1,
    ]


def test_holm_by_hand_leaves_gaps_alone():
    assert significance.holm([0.01, np.nan, 0.04, 0.03]) == pytest.approx(
        [0.03, np.nan, 0.06, 0.06], nan_ok=True
    )
    assert np.isnan(significance.holm([np.nan])).all()


def test_rank_biserial():
    assert significance.rank_biserial([1, 2, 3, 0], [0, 0, 0, 0]) == 1
    assert significance.rank_biserial([0, 0, 0], [1, 2, 3]) == -1
    assert significance.rank_biserial([1, 2, -3], [0, 0, 0]) == 0
    assert significance.rank_biserial([1, 1], [1, 1]) == 0


def test_nadeau_bengio_by_hand():
    result = significance.nadeau_bengio([3, 1, 2, 2], [0, 0, 0, 0], n_train=75, n_test=25)
    assert result.statistic == pytest.approx(2 / np.sqrt((1 / 4 + 1 / 3) * 2 / 3))
    assert result.p == pytest.approx(2 * stats.t.sf(result.statistic, 3))
    assert significance.nadeau_bengio([1, 1], [1, 1], 9, 1).p == 1
    assert significance.nadeau_bengio([2, 2], [1, 1], 9, 1).p == 0
    with pytest.raises(ValueError, match="two folds"):
        significance.nadeau_bengio([1], [0], 9, 1)


def test_clopper_pearson():
    assert clopper_pearson(0, 198, level=0.9)[1] == pytest.approx(1 - 0.05 ** (1 / 198))
    assert clopper_pearson(0, 198)[0] == 0
    assert clopper_pearson(198, 198)[1] == 1
    low, high = clopper_pearson(8, 10)
    assert stats.binom.sf(7, 10, low) == pytest.approx(0.025)
    assert stats.binom.cdf(8, 10, high) == pytest.approx(0.025)
    with pytest.raises(ValueError, match="3 in 2"):
        clopper_pearson(3, 2)


def noisy(seed: int, strength: float, features: str, n: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    names = ("good", "a", "b")
    labels = np.array(names)[np.arange(n) % 3]
    scores = np.round(generator.random((n, 3)) + strength * (labels[:, None] == np.array(names)), 1) + 0.1
    scores /= scores.sum(axis=1, keepdims=True)
    frame = rows(
        labels, np.array(names)[scores.argmax(axis=1)], features=features, folds=np.arange(n) // 6 % 10
    )
    frame[["p:good", "p:a", "p:b"]] = scores
    return frame


def test_bootstrap_point_is_the_pooled_difference():
    frame = pd.concat([noisy(1, 0.2, "image"), noisy(2, 0.6, "image_map")])
    known = significance.by_measure(metrics.summary(frame, "good"))
    for metric, label in [("class_recall", "a"), ("defect_recall", ALL), ("weighted_auc", ALL)]:
        found = bootstrap.bootstrap_difference(
            frame, metric, "image_map", "image", "good", seed=3, n=50, label=label
        )
        expected = known["image_map", metric, label, "pooled"] - known["image", metric, label, "pooled"]
        assert found.difference == pytest.approx(expected)
        assert found.low <= found.difference <= found.high


def test_bootstrapped_auc_equals_scikit_learns_with_weights():
    frame = noisy(4, 0.3, "image")
    draws = bootstrap._draws(len(frame), 5, seed=1)
    scores, truth = metrics.class_probabilities(frame), frame["label"].to_numpy(dtype=str)
    found = bootstrap._sampled_auc(scores, truth, np.arange(len(frame)), draws)
    for area, weights in zip(found, draws, strict=True):
        parts = [
            (roc_auc_score(truth == c, scores[c], sample_weight=weights), weights[truth == c].sum())
            for c in scores
        ]
        assert area == pytest.approx(np.average([p[0] for p in parts], weights=[p[1] for p in parts]))


def test_bootstrapped_recall_at_five_percent_equals_counting_in_the_drawn_images():
    frame = noisy(4, 0.3, "image", n=90)
    draws = bootstrap._draws(len(frame), 5, seed=1)
    defective = (frame["label"] != "good").to_numpy()
    score = metrics.defect_scores(frame, "good")
    found = bootstrap._sampled_recall_at(score, defective, np.arange(len(frame)), draws)
    for share, weights in zip(found, draws, strict=True):
        drawn = frame.loc[frame.index.repeat(weights.astype(int))]
        assert share == pytest.approx(metrics.recall_at_fpr(drawn, "good"))
    assert len(set(found)) > 1


def test_groups_are_drawn_whole_and_widen_the_interval():
    misses = {"image": [8, 0, 8, 0, 8, 0, 8, 0, 8, 0], "image_map": [0] * 10}
    alone = by_fold(misses)
    grouped = alone.assign(group="g" + alone["fold"].astype(str))
    spans = []
    for frame in (alone, grouped):
        found = bootstrap.bootstrap_difference(frame, "defect_recall", "image_map", "image", "good", seed=0)
        assert found.difference == pytest.approx(0.4)
        spans.append(found.high - found.low)
    assert spans[1] > 2 * spans[0]


def test_bootstrap_is_repeatable_and_differs_by_seed():
    frame = pd.concat([noisy(1, 0.2, "image"), noisy(2, 0.6, "image_map")])
    ends = [
        bootstrap.bootstrap_difference(
            frame, "weighted_auc", "image_map", "image", "good", seed=seed, n=60
        ).low
        for seed in (1, 1, 2)
    ]
    assert ends[0] == ends[1] != ends[2]


def test_bootstrap_refuses_other_images_and_unknown_metrics():
    frame = by_fold({"image": [1, 1], "image_map": [0, 0]})
    with pytest.raises(ValueError, match="different images"):
        bootstrap.bootstrap_difference(frame.iloc[:-1], "defect_recall", "image_map", "image", "good", seed=0)
    with pytest.raises(ValueError, match="f1"):
        bootstrap.bootstrap_difference(frame, "f1", "image_map", "image", "good", seed=0)
    with pytest.raises(ValueError, match="'map'"):
        bootstrap.bootstrap_difference(frame, "defect_recall", "map", "image", "good", seed=0)


def cell(table: pd.DataFrame, metric: str, a: str, b: str, label: str = ALL) -> pd.Series:
    found = table[
        (table["metric"] == metric) & (table["class"] == label) & (table["a"] == a) & (table["b"] == b)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_perfect_separation_reaches_the_smallest_p():
    table = significance.compare(
        by_fold({"image": [5] * 10, "image_map": [0] * 10}), "good", seed=0, n_bootstrap=50
    )
    found = cell(table, "defect_recall", "image_map", "image")
    assert found["p"] == found["smallest_p"] == 2 / 2**10
    assert found["significant"] and found["in_reach"] and not found["significant_holm"]
    assert (found["difference"], found["effect"], found["n"], found["n_nonzero"]) == (0.5, 1, 10, 10)
    assert found["low"] > 0.3
    assert found["p_holm"] == pytest.approx(
        4 * found["p"]
    )  # class recall, defect recall of a and of all, AUC
    assert {"false_rejects_a", "false_rejects_b"} <= set(table.columns)


def test_duplicated_feature_set_shows_no_difference():
    image = noisy(5, 0.4, "image")
    frame = pd.concat([image, image.assign(features="map")])
    table = significance.compare(frame, "good", seed=0, n_bootstrap=50)
    assert (table["difference"] == 0).all() and (table["p"] == 1).all() and (table["p_holm"] == 1).all()
    assert (table["low"] == 0).all() and (table["high"] == 0).all() and (table["n_nonzero"] == 0).all()
    assert (table["p_corrected"] == 1).all() and (table["effect"] == 0).all()


def test_corrected_t_in_the_table_counts_the_images_of_training_and_test_folds():
    frame = by_fold(
        {"image": [3, 1, 2, 4, 2], "image_map": [0, 1, 0, 0, 1]}
    )  # 20 images a fold, 10 of them defects
    found = cell(
        significance.compare(frame, "good", seed=0, n_bootstrap=10), "defect_recall", "image_map", "image"
    )
    gains = [0.3, 0.0, 0.2, 0.4, 0.1]
    assert found["p_corrected"] == pytest.approx(significance.nadeau_bengio(gains, [0] * 5, 80, 20).p)
    thin = significance.compare(frame.assign(keep=0.5), "good", seed=0, n_bootstrap=10)
    halved = cell(thin, "defect_recall", "image_map", "image")
    assert halved["p_corrected"] == pytest.approx(significance.nadeau_bengio(gains, [0] * 5, 60, 20).p)


def test_repeats_are_averaged_before_the_test():
    first = by_fold({"image": [5] * 10, "image_map": [0] * 10})
    second = by_fold({"image": [3] * 10, "image_map": [0] * 10}, repeat=1)
    found = cell(
        significance.compare(pd.concat([first, second]), "good", seed=0, n_bootstrap=20),
        "defect_recall",
        "image_map",
        "image",
    )
    assert (found["n"], found["p"]) == (10, 2 / 2**10)  # ten folds, not twenty
    assert found["mean_difference"] == pytest.approx(0.4)


def test_permuted_labels_have_an_auc_of_one_half_and_nothing_significant():
    frame = study({"image": 2.0, "map": 1.0, "image_map": 3.0}, n=900, folds=10)
    shuffled = np.random.default_rng(0).permutation(CLASSES_OF_900)
    frame["label"] = np.tile(shuffled, 3)
    table = significance.compare(frame, "good", seed=0, n_bootstrap=200)
    areas = table.loc[table["metric"] == "weighted_auc", ["value_a", "value_b"]].to_numpy()
    assert np.abs(areas - 0.5).max() < 0.04
    assert not table["significant"].any() and (table["p_holm"] > 0.05).all()
    whole = table[table["metric"] == "weighted_auc"]
    assert ((whole["low"] <= 0) & (whole["high"] >= 0)).all()


CLASSES_OF_900 = np.array(CLASSES)[np.arange(900) % 3]


def test_permuted_labels_are_not_significant():
    frame = pd.concat([noisy(6, 0.6, "image"), noisy(7, 0.6, "image_map")])
    shuffled = np.random.default_rng(0).permutation(frame["label"].to_numpy()[:60])
    table = significance.compare(
        frame.assign(label=np.r_[shuffled, shuffled]), "good", seed=0, n_bootstrap=50
    )
    assert not table["significant"].any()


def test_fold_without_the_class_leaves_the_test():
    frame = by_fold({"image": [3] * 10, "image_map": [0] * 10})
    frame.loc[frame["fold"].isin([0, 1]), "label"] = "good"
    found = cell(
        significance.compare(frame, "good", seed=0, n_bootstrap=20), "class_recall", "image_map", "image", "a"
    )
    assert (found["n"], found["n_nonzero"]) == (8, 8)
    assert not found["in_reach"]


def test_alpha_is_a_parameter_and_a_missing_feature_set_makes_no_pair():
    frame = by_fold({"image": [5, 5, 5, 5], "image_map": [0, 0, 0, 0]})
    assert not significance.compare(frame, "good", seed=0, n_bootstrap=10)["significant"].any()
    assert significance.compare(frame, "good", seed=0, n_bootstrap=10, alpha=0.2)["significant"].any()
    alone = significance.compare(frame[frame["features"] == "image"], "good", seed=0)
    assert alone.empty and {"class", "p_holm", "significant"} <= set(alone.columns)
