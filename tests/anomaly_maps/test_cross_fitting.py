"""Halves keep groups whole and share classes out; each image gets the map of a model that did not see it."""

from types import SimpleNamespace

import numpy as np
import pytest

from lib.anomaly_maps.cross_fitting import (
    IMAGES_AT_ONCE,
    predict_cross_fitted_maps,
)


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
