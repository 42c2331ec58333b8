"""Thresholds against hand counting; what cannot be promised is said."""

import numpy as np
import pytest

from lib.classification.operating_threshold import clopper_pearson, recall_at_rank
from lib.inspection.threshold import OutOfFoldScores, choose_threshold


def known(defects, goods, groups=None):
    scores = np.concatenate([defects, goods])
    bad = np.arange(len(scores)) < len(defects)
    numbers = np.arange(len(scores)) if groups is None else np.asarray(groups)
    return OutOfFoldScores(scores, bad, numbers, groups is not None)


def test_the_threshold_and_its_counts_by_hand():
    # 39 defects: floor(40 * 0.1) = 4, so the fourth smallest score; 3 defects lie below it
    found = choose_threshold(known(np.arange(1, 40) / 40, [0.05, 0.099, 0.1, 0.2, 0.9]), 0.9, seed=0)
    assert found.value == pytest.approx(4 / 40)
    assert found.promised
    assert found.needed == 9
    assert found.recall == pytest.approx(36 / 40)
    assert (found.n_defects, found.n_good, found.n_units) == (39, 5, 39)
    assert found.false_rejects == pytest.approx(3 / 5), "at the threshold a product is rejected"
    assert (found.false_rejects_low, found.false_rejects_high) == clopper_pearson(3, 5)
    assert 1 / 40 <= found.low <= found.value <= found.high <= 12 / 40
    assert "independent" in found.how


def test_99_percent_cannot_be_promised_from_30_defects():
    found = choose_threshold(known(np.linspace(0.3, 1, 30), np.linspace(0, 0.5, 50)), 0.99, seed=0)
    assert not found.promised
    assert found.needed == 99
    assert found.value == pytest.approx(0.3), "the lowest defect score"
    assert found.recall == pytest.approx(30 / 31)
    assert choose_threshold(known(np.linspace(0.3, 1, 99), [0.1]), 0.99, seed=0).promised
    assert not choose_threshold(known(np.linspace(0.3, 1, 500), [0.1]), 1.0, seed=0).promised


def test_images_of_few_objects_promise_less_than_as_many_objects():
    rng = np.random.default_rng(1)
    level = np.repeat(rng.uniform(0.2, 0.9, 12), 10)
    defects, goods = level + rng.uniform(0, 0.01, 120), rng.uniform(0, 0.5, 120)
    alone = choose_threshold(known(defects, goods), 0.95, seed=0)
    groups = np.concatenate([np.repeat(np.arange(12), 10), 12 + np.repeat(np.arange(12), 10)])
    grouped = choose_threshold(known(defects, goods, groups), 0.95, seed=0)
    assert grouped.value == alone.value
    assert alone.promised
    assert not grouped.promised, "19 objects with a defect are needed, 12 are there"
    assert grouped.n_units == 12
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)
    assert grouped.recall_low < alone.recall_low
    assert "groups" in grouped.how


def test_the_expected_recall_is_what_comes():
    rng = np.random.default_rng(2)
    reached, inside = [], 0
    for seed in range(60):
        found = choose_threshold(known(rng.beta(4, 2, 60), rng.beta(2, 4, 60)), 0.9, seed=seed)
        new = rng.beta(4, 2, 4000)
        reached.append((new >= found.value).mean())
        inside += found.recall_low <= reached[-1] <= found.recall_high
    assert np.mean(reached) == pytest.approx(found.recall, abs=0.015)
    assert np.mean(reached) >= 0.9 - 0.01
    assert inside >= 52, "95 % intervals"


def test_recall_at_a_rank_is_a_beta_law():
    assert recall_at_rank(1, 1)[0] == pytest.approx(1 / 2)
    mean, low, high = recall_at_rank(1, 30)
    assert mean == pytest.approx(30 / 31)
    assert low == pytest.approx(0.025 ** (1 / 30)), "no defect of thirty below: P(share < x) = x^30"
    assert high == pytest.approx(0.975 ** (1 / 30))


def test_the_same_seed_gives_the_same_interval():
    scores = known(np.random.default_rng(3).uniform(size=40), np.random.default_rng(4).uniform(size=40))
    assert choose_threshold(scores, 0.9, seed=1) == choose_threshold(scores, 0.9, seed=1)
