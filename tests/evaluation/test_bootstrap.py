"""The paired bootstrap: points, samples and intervals of measures, images drawn by group."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from lib.evaluation import bootstrap, metrics
from lib.evaluation.bootstrap import Paired, bands, quantile_ends
from lib.evaluation.metrics import ALL, OVERALL, RANKINGS, Answers, summary
from lib.evaluation.significance import bootstrap_difference, by_measure
from tests.evaluation.made_up import by_fold, measure, rows, study


def noisy(seed: int, strength: float, features: str, n: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    names = ("good", "a", "b")
    labels = np.array(names)[np.arange(n) % 3]
    scores = np.round(generator.random((n, 3)) + strength * (labels[:, None] == np.array(names)), 1) + 0.1
    scores /= scores.sum(axis=1, keepdims=True)
    frame = rows(labels, np.array(names)[scores.argmax(axis=1)], features=features, folds=np.arange(n) // 6 % 10)
    frame[["p:good", "p:a", "p:b"]] = scores
    return frame


def test_the_first_sample_is_the_measure_over_all_folds():
    frame = pd.concat([noisy(1, 0.2, "image"), noisy(2, 0.6, "image_map")])
    known, pair = by_measure(summary(frame, "good")), Paired(frame, ("image_map", "image"), "good")
    for metric, label in [("class_recall", "a"), ("defect_recall", ALL), *((one, ALL) for one in RANKINGS)]:
        for name, sampled in pair.samples(metric, 3, 50, label).items():
            assert sampled.values[0] == pytest.approx(known[name, metric, label, OVERALL])
            assert sampled.values[1:].min() < sampled.values[0] < sampled.values[1:].max()
            folds = [known[name, metric, label, str(fold)] for fold in range(10)]
            np.testing.assert_allclose(sampled.trained[:, 0], folds)
            assert sampled.values[0] == pytest.approx(sampled.weights @ sampled.trained[:, 0])


def test_bootstrapped_auc_equals_scikit_learns_with_weights():
    frame = noisy(4, 0.3, "image")
    draws = bootstrap._draws(len(frame), 5, seed=1)
    scores, truth = Answers.of(frame).probabilities, frame["label"].to_numpy(dtype=str)
    found = metrics.measured("weighted_auc", Answers.of(frame), "good", weights=draws)
    for area, weights in zip(found, draws.T, strict=True):
        parts = [
            (roc_auc_score(truth == c, scores[c], sample_weight=weights), weights[truth == c].sum()) for c in scores
        ]
        assert area == pytest.approx(np.average([p[0] for p in parts], weights=[p[1] for p in parts]))


def test_bootstrapped_recall_at_five_percent_equals_counting_in_the_drawn_images():
    frame = noisy(4, 0.3, "image", n=90)
    draws = bootstrap._draws(len(frame), 5, seed=1)
    found = metrics.measured("recall_at_5", Answers.of(frame), "good", weights=draws)
    for share, weights in zip(found, draws.T, strict=True):
        drawn = frame.loc[frame.index.repeat(weights.astype(int))]
        assert share == pytest.approx(measure("recall_at_5", drawn, "good")[0])
    assert len(set(found)) > 1


def test_schemes_of_folds_are_compared_each_by_its_own_folds():
    """The same images, dealt otherwise: a ranking is the mean over the folds that its networks were tested on."""
    frame = noisy(1, 0.3, "grouped")
    other = frame.assign(features="stratified", fold=frame["fold"].to_numpy()[::-1] // 2)
    both = Paired(pd.concat([frame, other]), ("grouped", "stratified"), "good").samples("binary_auc", 0, 9)
    for part in (frame, other):
        name = part["features"].iloc[0]
        alone = Paired(part, [name], "good").samples("binary_auc", 0, 9)[name]
        assert both[name].values.tolist() == alone.values.tolist()
        assert len(alone.trained) == part["fold"].nunique()


def test_groups_are_drawn_whole_and_widen_the_interval():
    misses = {"image": [8, 0, 8, 0, 8, 0, 8, 0, 8, 0], "image_map": [0] * 10}
    alone = by_fold(misses)
    grouped = alone.assign(group="g" + alone["fold"].astype(str))
    spans = []
    for frame in (alone, grouped):
        by = Paired(frame, ["image_map", "image"], "good").samples("defect_recall", 0, 500)
        gap = by["image_map"] - by["image"]
        assert gap.values[0] == pytest.approx(0.4)
        spans.append(np.ptp(quantile_ends(gap.values[1:])))
    assert spans[1] > 2 * spans[0]


def test_bootstrap_is_repeatable_and_differs_by_seed():
    frame = pd.concat([noisy(1, 0.2, "image"), noisy(2, 0.6, "image_map")])
    ends = [
        bootstrap_difference(frame, "weighted_auc", "image_map", "image", "good", seed=seed, n=60).low
        for seed in (1, 1, 2)
    ]
    assert ends[0] == ends[1] != ends[2]


def test_bootstrap_refuses_other_images():
    frame = by_fold({"image": [1, 1], "image_map": [0, 0]})
    with pytest.raises(ValueError, match="different images"):
        bootstrap_difference(frame.iloc[:-1], "defect_recall", "image_map", "image", "good", seed=0)


def test_bands_are_the_bootstraps_quantiles():
    frame = study({"image": 1.0, "map": 0.5, "image_map": 2.0}, n=120, keep=(0.5, 1.0))
    frame["group"] = frame["id"].str[:3]
    metrics = ("defect_recall", "weighted_auc", "binary_auc")
    found = bands(frame, "good", metrics, seed=3, n=200).set_index(["keep", "features", "metric"])
    pooled = summary(frame, "good")
    pooled = pooled[(pooled["fold"] == OVERALL) & (pooled["class"] == ALL)]
    pooled = pooled.set_index(["keep", "features", "metric"])
    assert len(found) == 2 * 3 * 3
    np.testing.assert_allclose(found["value"], pooled.loc[found.index, "value"], atol=1e-9)
    whole = Paired(frame[frame["keep"] == 1.0], ["map"], "good").samples("defect_recall", 3, 200)["map"]
    assert found.loc[(1.0, "map", "defect_recall"), ["low", "high"]].tolist() == pytest.approx(
        np.quantile(whole.values[1:], [0.025, 0.975])
    )
    single = bands(frame.assign(group=None), "good", ("defect_recall",), seed=3, n=200)
    assert not np.allclose(single["low"], found.xs("defect_recall", level="metric")["low"])
    alone = bands(frame[frame["features"] == "image"], "good", metrics, seed=0, n=9)
    assert set(alone["features"]) == {"image"}


def repeated(spread: float, repeats: int, seed: int = 5, n: int = 60) -> pd.DataFrame:
    """Return predictions of ten folds whose every training has a skill of its own, and of the same without the map."""
    generator, parts = np.random.default_rng(seed), []
    for repeat in range(repeats):
        skill = 1 + spread * generator.normal(size=10)
        for name in ("image", "image_map"):
            frame = noisy(1, 0, name, n).assign(repeat=repeat)
            own = skill[frame["fold"]] if name == "image_map" else np.ones(n)
            defect = 1 - frame["p:good"] + 0.2 * own * (frame["label"] != "good")
            parts.append(frame.assign(**{"p:good": 1 - defect}))
    return pd.concat(parts, ignore_index=True)


def span(frame: pd.DataFrame, metric: str = "binary_auc") -> float:
    found = bootstrap_difference(frame, metric, "image_map", "image", "good", seed=0, n=500)
    return found.high - found.low


def test_retraining_widens_the_interval_and_more_trainings_narrow_it_again():
    alike, apart = repeated(0, 2), repeated(3, 2)
    gap = bootstrap_difference(alike, "binary_auc", "image_map", "image", "good", seed=0)
    assert (gap.repeats, gap.retraining) == (2, 0)
    noise = bootstrap_difference(apart, "binary_auc", "image_map", "image", "good", seed=0).retraining
    assert noise > 0.01
    assert span(apart) > 1.2 * span(alike)
    assert span(repeated(3, 12)) < span(apart)


def test_trainings_add_the_variance_of_their_mean_and_what_so_few_do_not_show():
    trained = np.random.default_rng(0).normal(size=(40, 2))
    found = bootstrap.Sampled(np.zeros(20001), trained, np.full(40, 1 / 40))
    expected = np.sqrt((trained.var(axis=1, ddof=1) / 2).sum()) / 40
    for level in (0.95, 0.99):
        ends = quantile_ends(found.with_training(1, level)[1:], level=level)
        reach = stats.t.ppf((1 + level) / 2, 40) * expected
        assert ends == pytest.approx((-reach, reach), rel=0.08)
    assert found.retraining == pytest.approx(expected * np.sqrt(2))
    once = bootstrap.Sampled(np.zeros(50), trained[:, :1], np.full(40, 1 / 40))
    assert (once.with_training(1) == 0).all() and np.isnan(once.retraining)


def test_one_training_allows_for_retraining_by_the_spread_of_the_folds():
    by_hand = np.array([0.1, 0.3, 0.2, 0.4])[:, None]
    found = bootstrap.Sampled(np.full(50, 0.25), by_hand, np.full(4, 0.25))
    reach = stats.t.ppf(0.975, 3) * by_hand.std(ddof=1) / 2
    assert found.interval(0) == pytest.approx((0.25 - reach, 0.25 + reach))
    twice = bootstrap.Sampled(np.full(50, 0.25), np.hstack([by_hand, by_hand]), np.full(4, 0.25))
    assert twice.interval(0) == (0.25, 0.25)
    wide = bootstrap.Sampled(np.full(50, 0.9), np.array([[0.1], [1.7]]), np.full(2, 0.5))
    assert wide.interval(0) == (-1, 1)  # no difference lies beyond


def test_quantile_ends_leave_nan_out_and_may_be_infinite():
    values = np.r_[np.arange(100.0), np.nan, np.inf]
    assert quantile_ends(values[:-1]) == pytest.approx((2.475, 96.525))
    assert quantile_ends(np.r_[np.zeros(40), np.full(40, np.inf)], ("lower", "higher")) == (0, np.inf)
    assert np.isnan(quantile_ends(np.array([np.nan]))).all()
