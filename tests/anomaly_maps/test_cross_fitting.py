"""Halves keep groups whole and share classes out; each image gets the map of a model that did not see it."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from lib.anomaly_maps.cross_fitting import (
    IMAGES_AT_ONCE,
    TEST_ROW,
    make_inner_folds,
    predict_cross_fitted_maps,
)
from lib.datasets.splits import FoldError

LABELS = np.repeat(["good", "dent", "hole"], [24, 8, 8])
GROUPS = np.array([f"plate {number // 2}" for number in range(len(LABELS))])
TEST = np.arange(len(LABELS)) % 10 < 2  # every fifth group


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["images", "groups"])
def test_training_images_are_dealt_evenly_and_test_images_not(groups):
    halves = make_inner_folds(LABELS, groups, TEST, "good", 1)
    assert (halves[TEST] == TEST_ROW).all()
    assert set(halves[~TEST]) == {0, 1}
    for name in np.unique(LABELS):
        dealt = np.bincount(halves[(name == LABELS) & ~TEST])
        assert abs(dealt[0] - dealt[1]) <= (0 if groups is None else 2), name


def test_a_group_stays_whole_and_without_groups_it_would_not():
    def torn(halves):
        return sum(len(set(halves[group == GROUPS])) > 1 for group in np.unique(GROUPS[~TEST]))

    assert torn(make_inner_folds(LABELS, GROUPS, TEST, "good", 1)) == 0
    assert torn(make_inner_folds(LABELS, None, TEST, "good", 1)) > 0


def test_the_seed_decides():
    first, again, other = (make_inner_folds(LABELS, None, TEST, "good", seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_class_of_one_lies_in_one_half_without_a_warning():
    labels = np.array(["good"] * 6 + ["dent"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        halves = make_inner_folds(labels, None, np.zeros(7, bool), "good", 0)
    assert halves[6] in (0, 1)


@pytest.mark.parametrize("groups", [None, np.array(["a", "a", "b", "b"])])
def test_halves_without_good_images_are_refused_with_a_way_out(groups):
    labels = np.array(["good", "good", "dent", "dent"])
    tested = np.zeros(4, bool) if groups is not None else np.array([False, True, False, False])
    with pytest.raises(FoldError, match=r"1 (image|group)\(s\), cannot be shared out .*map_fit=in_sample"):
        make_inner_folds(labels, groups, tested, "good", 0)


def test_an_image_gets_the_other_halfs_map_and_a_test_image_the_mean():
    count = IMAGES_AT_ONCE + 5  # two readings
    images = np.zeros((count, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(count) % 251
    halves = np.arange(count) % 3 - 1
    shown = [set(), set()]

    def model(half):
        def maps(pictures):
            shown[half] |= set(pictures[:, 0, 0, 0].tolist())
            return pictures[..., 0] / 256 / (half + 1)  # the first model's maps are twice the second's

        return SimpleNamespace(maps=maps)

    out = predict_cross_fitted_maps([model(0), model(1)], images, halves, np.empty((count, 4, 4), np.float16))
    expected = (
        images[..., 0] / 256 * np.array([0.75, 0.5, 1])[halves + 1][:, None, None]
    )  # mean, half 0, half 1
    assert np.allclose(out, expected, atol=1e-3)
    few = images[:9]
    shown[0].clear()
    predict_cross_fitted_maps([model(0), model(1)], few, halves[:9], np.empty((9, 4, 4), np.float16))
    assert shown[0] == set(few[halves[:9] != 0, 0, 0, 0].tolist())


def test_what_does_not_fit_together_is_refused():
    images, out = np.zeros((3, 4, 4, 3), np.uint8), np.empty((3, 4, 4), np.float16)
    two = [SimpleNamespace(maps=lambda pictures: pictures[..., 0])] * 2
    with pytest.raises(ValueError, match="3 images, 2 halves"):
        predict_cross_fitted_maps(two, images, np.zeros(2, int), out)
    with pytest.raises(ValueError, match="do not fit 2 models"):
        predict_cross_fitted_maps(two, images, np.array([0, 1, 2]), out)
    with pytest.raises(ValueError, match="do not fit 1 models"):
        predict_cross_fitted_maps(two[:1], images, np.zeros(3, int), out)
