"""Curves and differences hold the measures that they are given, with their intervals."""

import numpy as np
import pandas as pd
import pytest

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.label_efficiency import label_efficiency
from lib.evaluation.metrics import summary
from lib.evaluation.operating_points import operating_numbers
from lib.evaluation.significance import compare
from lib.reporting import figures_statistics, style
from tests.evaluation.made_up import by_fold, study
from tests.reporting.conftest import ODD

TITLE = lambda name: FEATURE_SETS[name].title  # noqa: E731
SKILL = {"image": 1.0, "map": 0.5, "image_map": 2.0}
pytestmark = pytest.mark.usefixtures("figures")


def test_degradation_draws_a_panel_each_with_its_band():
    rows = [(k, s, 0.5 + k / 10, 0.4, 0.8, c) for k in (0.5, 1.0) for s in style.LINES for c in ODD]
    columns = ["keep", "features", "value", "low", "high", "class"]
    figure = figures_statistics.degradation(pd.DataFrame(rows, columns=columns), measure="defect recall")
    assert [axes.get_title() for axes in figure.axes[:3]] == [style.escape_mathtext(name) for name in ODD]
    assert len(figure.legends) == 1
    for axes in figure.axes:
        (extent,) = {tuple(band.get_datalim(axes.transData).intervaly) for band in axes.collections}
        assert extent == (0.4, 0.8)
        drawn = {line.get_label(): line for line in axes.get_lines()}
        assert {TITLE(name) for name in style.LINES} <= set(drawn)
        line = drawn["Anomaly map"]
        assert line.get_ydata().tolist() == [0.55, 0.6]
        assert axes.get_xlabel()
    assert figure.axes[0].get_ylabel() == "defect recall"
    assert figure.get_label() == figures_statistics.BANDS


def test_panels_above_others_keep_their_numbers():
    rows = [(k, "image", 0.5, c) for k in (0.5, 1.0) for c in "abcde"]
    frame = pd.DataFrame(rows, columns=["keep", "features", "value", "class"])
    axes = figures_statistics.degradation(frame, measure="defect recall").axes[:5]
    assert all(any(tick.label1.get_visible() for tick in one.xaxis.get_major_ticks()) for one in axes)
    assert [bool(one.get_xlabel()) for one in axes] == [False, False, True, True, True]
    assert [bool(one.get_ylabel()) for one in axes] == [True, False, False, True, False]


def test_operating_points_are_marked_with_what_they_were_to_reach():
    frame, known = study(SKILL, n=300), study(SKILL, n=300, calibrated=True)
    points = operating_numbers(frame, known, "good", required=(0.9, 0.95))
    figure = figures_statistics.recall_against_false_rejects(frame, "good", points)
    chosen = points[(points["method"] == "training scores") & (points["class"] == "(all)")]
    for axes in figure.axes[:2]:
        hollow = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
        drawn = {point for line in hollow for point in zip(*line.get_data(), strict=True)}
        assert drawn == set(zip(chosen["false_rejects"], chosen["recall"], strict=True))
        assert len(drawn) == 6
        stems = [tuple(segment[:, 1]) for lines in axes.collections for segment in lines.get_segments()]
        assert set(stems) == set(zip(chosen["recall"], chosen["required"], strict=True))
    assert "required of it, 90, 95 %" in figure.get_label()
    bare = figures_statistics.recall_against_false_rejects(frame, "good", points.head(0))
    assert "hollow" not in bare.get_label()


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


def test_all_differences_are_drawn_with_their_intervals():
    frame = study({"image": 0.5, "map": 0.5, "image_map": 3.0}, n=150)
    both = pd.concat([frame, frame.assign(dataset="$odd_name")])
    compared = compare(both, {"toy": "good", "$odd_name": "good"}, seed=0, n=100)
    figure = figures_statistics.differences(compared)
    assert len(figure.axes) == 4 and figure.axes[2].get_title(loc="left") == style.escape_mathtext(
        "$odd_name"
    )
    known = compared.query(
        "dataset == 'toy' and `class` == '(all)' and metric == 'binary_auc' and identical < 1"
    )
    lines = [tuple(line.get_xdata()) for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2]
    assert set(zip(known["low"], known["high"], strict=True)) <= set(lines)
    points = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 1]
    assert len(points) == len(known) == 2  # image and map are the same here: not tested
    for point, one in zip(points, known.to_dict("records"), strict=True):
        assert point.get_xdata()[0] == one["difference"]
        assert point.get_mfc() == ("0.1" if one["low"] > 0 or one["high"] < 0 else "white")
    assert figure.axes[0].get_yticklabels()[0].get_text() == "Image + map \u2212 Image"
    one_fold = by_fold({"image": (3,), "image_map": (0,)})
    assert len(figures_statistics.differences(compare(one_fold, "good", seed=0, n=20)).axes) == 2


def test_the_curve_at_5_percent_is_the_tables_figure():
    frame = study(SKILL, n=75)  # five good images in each fold
    figure = figures_statistics.recall_against_false_rejects(frame, "good", pd.DataFrame(columns=POINTS))
    table = summary(frame, "good").query("metric == 'recall_at_5' and fold == 'all folds'")
    known = table.set_index("features")["value"]
    lines = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) > 2]
    drawn = {line.get_label(): np.interp(0.05, *line.get_data()) for line in lines}
    assert drawn == pytest.approx({TITLE(name): known[name] for name in SKILL})


POINTS = ["method", "class", "caught", "features", "false_rejects", "recall", "required"]
