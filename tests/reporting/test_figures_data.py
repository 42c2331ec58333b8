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
    figure = figures_data.embedding({"image": plane, "image_map": plane}, labels, ODD, "c")
    good, *_ = figure.axes[0].collections
    np.testing.assert_allclose(good.get_offsets(), points[::3])
    assert f"{shares[0]:.0%}" in figure.axes[0].get_xlabel()
    names = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert names == [style.escape_mathtext(name) for name in ODD]


def test_fold_sizes_stack_the_classes_counts():
    folds = pd.DataFrame({"scheme": ["grouped"] * 6, "id": list("abcdef"), "fold": [0, 0, 0, 1, 1, 1]})
    labels = pd.Series(["good", "good", ODD[1], "good", ODD[1], ODD[1]], index=list("abcdef"))
    figure = figures_data.fold_sizes(folds, labels, ODD, "c")
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in figure.axes[0].containers}
    odd, odder = map(style.escape_mathtext, ODD[1:])
    assert heights == {"good": [2, 1], odd: [1, 2], odder: [0, 0]}
    assert [bar.get_y() for bar in figure.axes[0].containers[1]] == [2, 1]


def test_half_trainings_are_drawn_apart():
    history = pd.DataFrame({"split": np.repeat(["s-0", "s-0-inner-0"], 20), "step": list(range(20)) * 2})
    history = history.assign(l2=np.repeat([1.0, 2.0], 20), ssim=1.0, focal=1.0)
    drawn = figures_data.loss_curves(history, "c").axes[0].get_lines()
    middle = {line.get_label(): line.get_ydata()[0] for line in drawn
              if not line.get_label().startswith("_")}  # fmt: skip
    assert middle == {"all good training images": 1.0, "half of them": 2.0}
