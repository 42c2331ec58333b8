"""Each image gets the map of a model that did not see it, and maps lie in [0, 1]."""

from types import SimpleNamespace

import numpy as np
import pytest

from lib.anomaly_maps.cross_fitting import IMAGES_AT_ONCE, predict_maps


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

    out = predict_maps([model(0), model(1)], images, halves, np.empty((count, 4, 4), np.float16))
    expected = (
        images[..., 0] / 256 * np.array([0.75, 0.5, 1])[halves + 1][:, None, None]
    )  # mean, half 0, half 1
    assert np.allclose(out, expected, atol=1e-3)
    few = images[:9]
    shown[0].clear()
    predict_maps([model(0), model(1)], few, halves[:9], np.empty((9, 4, 4), np.float16))
    assert shown[0] == set(few[halves[:9] != 0, 0, 0, 0].tolist())


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.1])
def test_maps_outside_the_unit_interval_are_refused(value):
    images, out = np.zeros((3, 4, 4)), np.empty((3, 4, 4), np.float16)
    images[1, 0, 0] = value
    same = SimpleNamespace(maps=lambda images: images)
    with pytest.raises(ValueError, match="images 0 to 2"):
        predict_maps([same], images, None, out)
    with pytest.raises(ValueError, match="images 0 to 2"):
        predict_maps([same, same], images, np.array([0, 1, -1]), out)
