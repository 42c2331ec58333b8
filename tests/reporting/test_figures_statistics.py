"""Curves, folds and differences hold the measures that they are given, with their intervals."""

import pandas as pd
import pytest

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.label_efficiency import label_efficiency
from lib.evaluation.metrics import summary
from lib.evaluation.significance import compare
from lib.reporting import figures_statistics, style
from tests.evaluation.made_up import by_fold, study
from tests.reporting.conftest import ODD

SKILL = {"image": 1.0, "map": 0.5, "image_map": 2.0}
pytestmark = pytest.mark.usefixtures("figures")


def test_degradation_draws_a_panel_each_on_one_scale_with_its_band():
    rows = [(k, s, 0.5 + k / 10, 0.4, 0.8, c) for k in (0.5, 1.0) for s in style.PALETTE for c in ODD]
    columns = ["keep", "features", "value", "low", "high", "metric"]
    figure = figures_statistics.degradation(pd.DataFrame(rows, columns=columns), measure="defect recall")
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in drawn] == [style.escape_mathtext(name) for name in ODD]
    assert len(figure.legends) == 1
    for axes in drawn:
        (extent,) = {tuple(band.get_datalim(axes.transData).intervaly) for band in axes.collections}
        assert extent == (0.4, 0.8)
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert set(lines) == {FEATURE_SETS[name].title for name in style.PALETTE}
        assert lines["Anomaly map"].get_ydata().tolist() == [0.55, 0.6]
        assert axes.get_xlabel() and axes.get_ylim() == (0, 1.02)
    assert figure.axes[0].get_ylabel() == "defect recall"
    assert figure.get_label() == figures_statistics.BANDS


def test_learning_curves_draw_a_panel_per_data_set_with_the_house_colours():
    frame = study({"image": 1.0, "image_map": 2.0, "image_map_all": 2.0}, n=90, keep=(0.5, 1.0))
    both = pd.concat([frame, frame.assign(dataset="$odd_name")])
    figure = figures_statistics.learning_curves(label_efficiency(both, "good", seed=0, n=20))
    assert [axes.get_title() for axes in figure.axes] == ["toy", style.escape_mathtext("$odd_name")]
    assert {line.get_color() for line in figure.axes[0].get_lines()} == {
        style.PALETTE["image"],
        style.PALETTE["image_map"],
    }
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Image", "Image + map"]
    one = figures_statistics.learning_curves(label_efficiency(frame, "good", seed=0, n=20), style.HALF)
    assert (one.get_figwidth(), one.axes[0].get_title()) == (style.HALF, "")


def test_folds_are_dots_and_their_mean_a_diamond():
    five = summary(study(SKILL, n=150), "good")
    measures = five[five["fold"] != "4"]
    figure = figures_statistics.fold_dots(measures)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == [FEATURE_SETS[name].title for name in SKILL]
    for axes, metric in zip(figure.axes, figures_statistics.MEASURES, strict=True):
        values = measures[measures["metric"] == metric].set_index(["features", "fold"])["value"]
        drawn = sorted(round(x, 9) for dots in axes.collections for x, _ in dots.get_offsets())
        assert drawn == sorted(values.drop("pooled", level="fold").round(9))
        assert not axes.patches, "no box of so few folds"
    assert figures_statistics.fold_dots(five).axes[0].patches


def test_all_differences_are_drawn_with_their_intervals():
    frame = study({"image": 0.5, "map": 0.5, "image_map": 3.0}, n=150)
    both = pd.concat([frame, frame.assign(dataset="$odd_name")])
    compared = compare(both, {"toy": "good", "$odd_name": "good"}, seed=0, n=100)
    figure = figures_statistics.forest(compared)
    axes = figure.axes[0]
    known = compared.query("`class` == '(all)' and metric == 'binary_auc' and identical < 1")
    lines = [tuple(line.get_xdata()) for line in axes.get_lines() if len(line.get_xdata()) == 2]
    assert set(zip(known["low"], known["high"], strict=True)) <= set(lines)
    points = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert len(points) == len(known) == 4  # image and map are the same here: not drawn
    for point, one in zip(points, known.to_dict("records"), strict=True):
        assert point.get_xdata()[0] == one["difference"]
        clear = one["low"] > 0 or one["high"] < 0
        assert point.get_mfc() == (point.get_color() if clear else "white")
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels == ["against image:", "Image + map", "against anomaly map:", "Image + map"]
    assert {round(point.get_ydata()[0]) for point in points} == {1, 3}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["toy", r"\$odd_name"]
    one_fold = by_fold({"image": (3,), "image_map": (0,)})
    assert len(figures_statistics.forest(compare(one_fold, "good", seed=0, n=20)).axes) == 2
