"""Figures of folds, DRAEM's training and features hold the numbers that they are given."""

import numpy as np
import pandas as pd
import pytest

from lib.reporting import figures_data, style
from tests.reporting.conftest import ODD

pytestmark = pytest.mark.usefixtures("figures")


def test_the_plane_is_fitted_on_training_images_and_names_the_variance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 5))
    features[:, 1] = features[:, 0]
    tested = np.arange(60) >= 40
    points, shares = plane = figures_data.plane(features, tested)
    spoiled = features.copy()
    spoiled[50:] = 1e3
    np.testing.assert_allclose(figures_data.plane(spoiled, tested)[0][:10], points[:10])
    assert points.shape == (20, 2)
    assert shares[0] == pytest.approx(0.4, abs=0.1)  # two of five columns vary as one
    labels = pd.Series([ODD[k % 3] for k in range(20)])
    figure = figures_data.embedding({"image": plane, "image_map": plane}, labels, ODD)
    dots = figure.axes[0].collections[0].get_offsets()
    good = (labels == ODD[0]).to_numpy()
    np.testing.assert_allclose(dots, np.concatenate([points[~good], points[good]]))  # in front: drawn last
    assert len({tuple(colour) for colour in figure.axes[0].collections[0].get_facecolors()}) == 3
    assert f"{100 * shares[0]:.0f} %" in figure.axes[0].get_xlabel()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [style.escape_mathtext(name) for name in ODD]


def test_classes_that_begin_alike_are_drawn_apart():
    classes = ("good", *(f"{'scratch on the housing ':23}{k}, {k}" for k in range(2)))
    labels = pd.Series([classes[k % 3] for k in range(6)])
    figure = figures_data.embedding({"image": (np.zeros((6, 2)), np.ones(2))}, labels, classes)
    dots = figure.axes[0].collections[0]
    assert len({tuple(colour) for colour in dots.get_facecolors()}) == 3
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["good", *["scratch on the housing …"] * 2]


def test_half_trainings_are_drawn_apart():
    history = pd.DataFrame({"split": np.repeat(["s-0", "s-0-inner-0"], 20), "step": list(range(20)) * 2})
    history = history.assign(l2=np.repeat([1.0, 2.0], 20), ssim=[*[1.0, 3.0] * 10, *[2.0] * 20], focal=1.0)
    figure = figures_data.loss_curves(history)
    assert [axes.get_title() for axes in figure.axes] == ["L2", "1 - SSIM", "focal"]
    drawn = [line.get_ydata()[0] for line in figure.axes[0].get_lines() if len(line.get_ydata())]
    assert drawn == [1.0, 2.0]
    waves = figure.axes[1].get_lines()[0].get_ydata()
    assert waves[0] == 1 and (waves[9:] == 2).all(), "smoothed, each training by itself"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[-2:] == ["all good training images", "half of the good training images"]
    assert not figures_data.loss_curves(history.head(20)).legends
