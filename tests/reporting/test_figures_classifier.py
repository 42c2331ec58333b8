"""Figures of classification hold the counts, recalls, probabilities and columns that they are given."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve

from lib.reporting import figures_classifier, style
from tests.evaluation.made_up import study
from tests.reporting.conftest import ODD

SKILL = {"image": 1.0, "map": 0.5, "image_map": 2.0}
pytestmark = pytest.mark.usefixtures("figures")


def test_counts_in_the_confusion_matrix(predictions):
    figure = figures_classifier.confusions(predictions, ODD)
    written = [int(text.get_text()) for text in figure.axes[0].texts]
    image = predictions[predictions["features"] == "image"]
    counts = pd.crosstab(image["label"], image["predicted"]).loc[list(ODD), list(ODD)]
    assert written == counts.to_numpy().ravel().tolist()
    assert len(figure.axes) == 3
    twice = pd.concat([predictions, predictions.assign(repeat=1)])  # trained twice: no image counts double
    again = figures_classifier.confusions(twice, ODD)
    assert [int(text.get_text()) for text in again.axes[0].texts] == written
    many = [f"class {k}" for k in range(12)]
    tall = figures_classifier.confusions(predictions.replace(dict(zip(ODD, many, strict=False))), many)
    assert tall.get_figheight() > 2 * tall.get_figwidth()  # below each other


def test_reliability_has_scikit_learns_bins_and_exact_intervals():
    rng = np.random.default_rng(0)
    scores = rng.random(400)
    defective = rng.random(400) < scores**2
    bins = figures_classifier.reliability_bins(scores, defective)
    share, mean = calibration_curve(defective, scores, n_bins=10, strategy="quantile")
    np.testing.assert_allclose(bins["share"], share)
    np.testing.assert_allclose(bins["score"], mean)
    assert ((bins["low"] < bins["share"]) & (bins["share"] < bins["high"]))[1:9].all()
    assert len(figures_classifier.reliability_bins(np.zeros(9), np.arange(9) < 3)) == 1


def test_reliability_shows_the_brier_score_and_the_bins_of_the_first_repeat():
    frame = study(SKILL, n=150)
    other = frame.assign(repeat=1, label="good")
    figure = figures_classifier.reliability(pd.concat([frame, other]), "good")
    for axes, name in zip(figure.axes, SKILL, strict=False):
        part = frame[frame["features"] == name]
        scores, defective = 1 - part["p:good"].to_numpy(), (part["label"] != "good").to_numpy()
        assert f"{np.mean((scores - defective) ** 2):.3f}" in axes.get_title()
        bins = figures_classifier.reliability_bins(scores, defective)
        (line,) = [one for one in axes.get_lines() if one.get_marker() == style.MARKERS[name]]
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), bins["share"])
    assert sum(bar.get_height() for bar in figure.axes[3].patches) == 150
    assert "66.7 %, has Brier score 0.222" in figure.get_label()


def diagnostics(**changed):
    information = {
        "image": ([0.5, 0.4, 0.3], []),
        "map": ([], [0.35, 0.2, 0.1]),
        "image_map": ([0.5, 0.4], [0.35]),
    }
    rows = [
        {"split": f"stratified-{fold}", "task": "multiclass", "keep": 1.0, "features": name, "k": 3,
         "k_image": len(image), "k_map": len(of_map), "mi_image": image, "mi_map": of_map} | changed
        for fold in range(2) for name, (image, of_map) in information.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_selected_columns_are_counted_and_weighed_by_source():
    figure = figures_classifier.selected_sources(diagnostics())
    left, right = figure.axes
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in left.containers}
    assert heights == {"image": [2, 2], "map": [1, 1]}
    assert [bar.get_y() for bar in left.containers[1]] == [2, 2]
    medians = [(line.get_xdata().mean().round(1), line.get_ydata()[0]) for line in right.get_lines()
               if line.get_color() == "white"]  # fmt: skip
    assert sorted(medians) == [(-0.2, 0.4), (0.2, 0.2), (0.8, 0.4), (1.2, 0.2)]  # image and map of each fold
    entry = [segment[0, 1] for lines in right.collections for segment in lines.get_segments()]
    assert entry == [0.35, 0.35]
    assert [text.get_text() for text in left.get_xticklabels()] == ["0", "1"]
    sentence = "Of 3 selected columns in a fit, from the map come 1 (33 %)."
    assert figures_classifier.describe_selected(diagnostics()) == sentence
    none = figures_classifier.describe_selected(diagnostics(k_map=0))
    assert none.endswith("and there image + map is the image alone.")
    kept = figures_classifier.selected_sources(diagnostics(), by="keep")
    assert [text.get_text() for text in kept.axes[0].get_xticklabels()] == ["100 %"]


def test_without_selection_the_figure_says_that_nothing_was_scored():
    figure = figures_classifier.selected_sources(diagnostics(mi_image=[], mi_map=[]))
    assert "nothing was scored" in figure.axes[1].texts[0].get_text()
    image = diagnostics().query("features == 'image'")
    assert not figures_classifier.selected_sources(image).axes[0].patches
