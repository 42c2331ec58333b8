"""Each image gets the map of one model that did not see it, and maps lie in [0, 1]."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lib.anomaly_maps.cross_fitting import IMAGES_AT_ONCE, choose_models, predict_maps
from lib.datasets.splits import TEST_ROW


def test_a_training_image_gets_the_other_halfs_model_and_test_images_share_both():
    halves = np.arange(300) % 3 - 1
    chosen, tested = choose_models(halves, 7), halves == TEST_ROW
    assert (chosen[~tested] == 1 - halves[~tested]).all()
    assert 0.3 < chosen[tested].mean() < 0.7
    assert (choose_models(halves, 7) == chosen).all()
    assert (choose_models(halves, 8) != chosen)[tested].any()


def test_an_image_gets_the_map_of_its_model_which_sees_no_other():
    count = IMAGES_AT_ONCE + 5  # two readings
    images = np.zeros((count, 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(count) % 251
    chosen = np.arange(count) % 5 % 2
    shown = [[], []]

    def model(number):
        def maps(pictures):
            shown[number] += pictures[:, 0, 0, 0].tolist()
            return pictures[..., 0] / 256 / (number + 1)  # the first model's maps are twice the second's

        return SimpleNamespace(maps=maps)

    out = predict_maps([model(0), model(1)], images, chosen, np.empty((count, 4, 4), np.float16))
    assert np.allclose(out, images[..., 0] / 256 / (chosen + 1)[:, None, None], atol=1e-3)
    assert shown == [images[chosen == number, 0, 0, 0].tolist() for number in (0, 1)]


def test_maps_do_not_tell_good_test_images_from_good_training_images():
    """Of models that are alike: by a mean of both, the AUROC of the maxima would be 0.08."""
    halves = np.repeat([0, 1, TEST_ROW], 200)
    maps = np.random.default_rng(0).gamma(1.0, 0.05, (2, len(halves), 16, 16)).clip(0, 1)
    fitted = [SimpleNamespace(maps=lambda rows, own=own: own[rows]) for own in maps]
    rows, out = np.arange(len(halves)), np.empty((len(halves), 16, 16), np.float16)
    highest = predict_maps(fitted, rows, choose_models(halves, 1), out).max(axis=(1, 2))
    assert roc_auc_score(halves == TEST_ROW, highest) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.1])
def test_maps_outside_the_unit_interval_are_refused(value):
    images, out = np.zeros((3, 4, 4)), np.empty((3, 4, 4), np.float16)
    images[1, 0, 0] = value
    same = SimpleNamespace(maps=lambda images: images)
    for chosen in ([0, 0, 0], [0, 1, 1]):
        with pytest.raises(ValueError, match="images 0 to 2"):
            predict_maps([same, same], images, np.array(chosen), out)
