"""Thresholds from training scores, the conformal bound and its refusals, and exact intervals of shares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lib.classification import operating_threshold
from lib.classification.operating_threshold import clopper_pearson


@pytest.mark.parametrize(("recall", "needed"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.995, 199), (2 / 3, 2)])
def test_the_bound_refuses_below_the_number_it_names_and_not_from_it_on(recall, needed):
    assert operating_threshold.defects_needed(recall) == needed
    scores = np.random.default_rng(0).permutation(needed) / needed
    assert np.isnan(operating_threshold.conformal_threshold(scores[1:], recall))
    assert operating_threshold.conformal_threshold(scores, recall) == 0  # the least of them


def test_a_recall_of_one_is_never_promised():
    assert np.isnan(operating_threshold.conformal_threshold(np.arange(10_000.0), 1.0))
    assert operating_threshold.defects_needed(1.0) == float("inf")


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.95])
def test_the_bound_covers_new_defects_as_often_as_it_says(recall):
    generator = np.random.default_rng(1)
    covered = [
        (generator.normal(size=1) >= operating_threshold.conformal_threshold(generator.normal(size=29), recall)).mean()
        for _ in range(4000)
    ]
    assert recall - 0.01 <= np.mean(covered) <= recall + 1 / 30 + 0.01


def test_the_training_threshold_is_the_highest_that_reaches_the_recall():
    scores = np.array([0.9, 0.1, 0.5, 0.7])
    found = [operating_threshold.empirical_threshold(scores, recall) for recall in (0.5, 0.75, 0.76, 1.0)]
    assert found == [0.7, 0.5, 0.1, 0.1]
    assert operating_threshold.empirical_threshold(np.arange(10.0), 0.9) == 1
    assert np.isnan(operating_threshold.empirical_threshold(np.array([]), 0.9))


def test_clopper_pearson():
    assert clopper_pearson(0, 198)[1] == pytest.approx(1 - 0.025 ** (1 / 198))
    assert clopper_pearson(0, 198)[0] == 0
    assert clopper_pearson(198, 198)[1] == 1
    low, high = clopper_pearson(8, 10)
    assert stats.binom.sf(7, 10, low) == pytest.approx(0.025)
    assert stats.binom.cdf(8, 10, high) == pytest.approx(0.025)
