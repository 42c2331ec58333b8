"""Figures of classification hold the counts, recalls, probabilities and features that they are given."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve

from lib.classification.feature_sets import FEATURE_SETS
from lib.reporting import figures_classifier, style
from tests.evaluation.made_up import rows, study
from tests.reporting.conftest import ODD

SKILL = {"image": 1.0, "image_map": 2.0, "guided_logistic": 0.5}
pytestmark = pytest.mark.usefixtures("figures")


def test_shares_and_counts_in_the_confusion_matrix(predictions):
    figure = figures_classifier.confusion(predictions, ODD)
    image = predictions[predictions["features"] == "image"]
    counts = pd.crosstab(image["label"], image["predicted"]).loc[list(ODD), list(ODD)].to_numpy()
    shares = counts / counts.sum(axis=1, keepdims=True)
    expected = [f"{100 * share:.0f} %\n({n})" for share, n in zip(shares.ravel(), counts.ravel(), strict=True)]
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == expected
    assert [axes.get_title() for axes in figure.axes if axes.axison] == [
        FEATURE_SETS[name].title for name in style.PALETTE
    ]
    twice = pd.concat([predictions, predictions.assign(repeat=1)])  # trained twice: no image counts double
    again = figures_classifier.confusion(twice, ODD, ("image",), style.HALF)
    assert [text.get_text() for text in again.axes[0].texts] == written and len(again.axes) == 1
    many = [f"class {k}" for k in range(12)]
    tall = figures_classifier.confusion(predictions.replace(dict(zip(ODD, many, strict=False))), many)
    assert tall.get_figheight() > 2 * tall.get_figwidth()  # below each other


def test_recalls_of_classes_are_dots_with_their_intervals():
    found = [(name, 9, features, 0.5 + k / 10, 0.4, 0.9) for k, name in enumerate(ODD[1:]) for features in SKILL]
    values = pd.DataFrame(found, columns=["class", "images", "features", "value", "low", "high"])
    (axes,) = figures_classifier.class_recalls(values, style.HALF).axes
    places = []
    for container, name in zip(axes.containers, ("image", "image_map", "guided_logistic"), strict=True):
        line, _, (bars,) = container
        assert line.get_color() == style.LINES[name]
        assert line.get_xdata().tolist() == [0.5, 0.6]
        assert [segment[:, 0].round(9).tolist() for segment in bars.get_segments()] == [[0.4, 0.9]] * 2
        places.append(line.get_ydata())
    assert (np.diff(places, axis=0) > 0.1).all(), "beside each other"
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == [f"{style.escape_mathtext(name)} (9)" for name in ODD[1:]]


def test_errors_are_counted_by_kind_the_worst_class_first():
    frame = rows(["a"] * 5 + ["b"] * 3 + ["good"] * 4, ["good"] * 12)
    frame[["p:good", "p:a", "p:b"]] = 0.2, 0.5, 0.3
    rejected = pd.Series([True] * 4 + [False] + [True, True, False] + [True] + [False] * 3)
    (axes,) = figures_classifier.error_pareto(frame, rejected, "good").axes
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert [text.get_text() for text in axes.get_yticklabels()][2] == "b (3)"
    assert list(widths) == ["missed", "wrong class", "false reject"]
    of_b = {kind: values[2] for kind, values in widths.items()}
    assert of_b == {"missed": 1, "wrong class": 2, "false reject": 0}
    assert sorted(widths["missed"]) == [0, 1, 1] and sorted(widths["false reject"]) == [0, 0, 1]
    twice = pd.concat([frame, frame.assign(repeat=1)], ignore_index=True)
    (again,) = figures_classifier.error_pareto(twice, pd.concat([rejected] * 2, ignore_index=True), "good").axes
    assert [bar.get_width() for bar in again.containers[0]] == widths["missed"]


def test_decisions_put_right_stand_right_and_those_put_wrong_left():
    labels = ["a"] * 6 + ["good"] * 6
    frame = pd.concat([rows(labels, labels, features=name) for name in ("image", "image_map")], ignore_index=True)
    image = [True, True, False, False, False, True, True, True, True, False, False, False]
    both = [True, True, True, True, False, False, False, False, True, True, False, False]
    figure = figures_classifier.fixed_and_broken(frame, pd.Series(image + both), "good")
    widths = [[bar.get_width() for bars in axes.containers for bar in bars] for axes in figure.axes]
    assert widths == [[2, -1], [2, -1]]  # two defects gained, one lost; two good products saved, one lost
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["Image + map\ninstead of image"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["2", "1"]


def test_reliability_has_scikit_learns_bins_and_exact_intervals():
    rng = np.random.default_rng(0)
    scores = rng.random(400)
    defective = rng.random(400) < scores**2
    bins = figures_classifier.reliability_bins(scores, defective)
    share, mean = calibration_curve(defective, scores, n_bins=5, strategy="quantile")
    np.testing.assert_allclose(bins["share"], share)
    np.testing.assert_allclose(bins["score"], mean)
    assert ((bins["low"] < bins["share"]) & (bins["share"] < bins["high"]))[1:4].all()
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
        (line,) = [one for one in axes.get_lines() if one.get_marker() == style.LOOKS[name][2]]
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), bins["share"])
    assert "66.7 %, has Brier score 0.222" in figure.get_label()


def diagnostics(**changed):
    rows = [
        {"split": f"stratified-{fold}", "task": task, "keep": 1.0, "features": name, "k": 3, "k_image": 2, "k_map": 1}
        | changed
        for fold in range(2) for name in ("image", "image_map") for task in ("multiclass", "binary")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_selected_features_are_counted_by_source():
    (axes,) = figures_classifier.selected_sources(diagnostics()).axes
    heights = {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}
    assert heights == {"Image": [2, 2], "Anomaly map": [1, 1]}
    assert [bar.get_y() for bar in axes.containers[1]] == [2, 2]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1"]
    sentence = figures_classifier.describe_selected(diagnostics())
    assert "3" in sentence and "1 (33 %)" in sentence
    kept = figures_classifier.selected_sources(diagnostics(), by="keep")
    assert [text.get_text() for text in kept.axes[0].get_xticklabels()] == ["100 %"]
    assert not figures_classifier.selected_sources(diagnostics().query("features == 'image'")).axes[0].patches
