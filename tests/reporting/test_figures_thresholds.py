"""What is drawn over thresholds is what is counted at them, and the curve at 5 % is the tables' figure."""

import numpy as np
import pandas as pd
import pytest

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.metrics import defect_scores, summary
from lib.evaluation.operating_points import operating_numbers
from lib.reporting import figures_thresholds as drawn
from lib.reporting import style
from tests.evaluation.made_up import study

SKILL = {"image": 1.0, "image_logistic": 1.5, "guided_logistic": 2.0}
pytestmark = pytest.mark.usefixtures("figures")


@pytest.fixture(scope="module")
def frame():
    return study(SKILL, n=300)


@pytest.fixture(scope="module")
def points(frame):
    return operating_numbers(frame, study(SKILL, n=300, calibrated=True), "good", required=(0.9, 0.95))


def curves(axes):
    """Return the lines drawn for feature sets, by their keys."""
    names = {look: name for name, look in style.LINES.items()}
    return {names[line.get_color()]: line for line in axes.get_lines()
            if line.get_color() in names and len(line.get_xdata()) > 9}  # fmt: skip


def test_the_curve_at_5_percent_is_the_tables_figure_in_the_folds_range(frame, points):
    table = summary(frame, "good").query("metric == 'recall_at_5'").set_index(["features", "fold"])["value"]
    (axes,) = drawn.recall_curve(frame, "good", points).axes
    for name, line in curves(axes).items():
        assert np.interp(0.05, *line.get_data()) == pytest.approx(table[name, "all folds"])
        at_5 = drawn.mean_curve(frame[frame["features"] == name], "good").loc[0.05]
        of_folds = table[name].drop(["all folds", "pooled"])
        assert (at_5["low"], at_5["high"]) == pytest.approx((of_folds.min(), of_folds.max()))
    assert set(curves(axes)) == set(SKILL)
    assert axes.get_xlim() == (0, 0.2)


def test_thresholds_of_required_recalls_are_marked_and_those_outside_counted(frame, points):
    figure = drawn.recall_curve(frame, "good", points, style.HALF)
    chosen = points[(points["method"] == "training scores") & (points["class"] == "(all)")]
    lines = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == "None"]
    marked = {point for line in lines for point in zip(*line.get_data(), strict=True)}
    assert marked == set(zip(chosen["false_rejects"], chosen["recall"], strict=True)) and len(marked) == 6
    outside = int((chosen["false_rejects"] > 0.2).sum())
    assert outside and f"for 90, 95 % recall; {outside} of them lie beyond 20 %." in figure.get_label()
    assert "Markers" not in drawn.recall_curve(frame, "good", points.head(0)).get_label()
    assert figure.get_figwidth() == style.HALF


def test_a_fold_without_good_images_has_no_curve(frame):
    part = frame[frame["features"] == "image"]
    bare = part.assign(label=part["label"].where(part["fold"] > 0, part["label"].replace("good", "a")))
    whole = drawn.mean_curve(part[part["fold"] > 0], "good")
    pd.testing.assert_frame_equal(drawn.mean_curve(bare, "good"), whole)


def test_precision_is_that_of_the_line_not_of_the_test_images(frame):
    (axes,) = drawn.precision_recall(frame, "good", 0.02).axes
    for name, line in curves(axes).items():
        at_30 = drawn.mean_curve(frame[frame["features"] == name], "good")["mean"].loc[0.3]
        recall, precision = line.get_data()
        assert recall[-701] == at_30
        assert precision[-701] == pytest.approx(0.02 * at_30 / (0.02 * at_30 + 0.98 * 0.3))
        assert (recall[-1], precision[-1]) == pytest.approx((1, 0.02))  # all are rejected
        assert len(recall) == 1001 - 10, "one of 100 good images is the least that was measured"


def test_histograms_show_shares_and_the_thresholds(frame, points):
    figure = drawn.score_histograms(frame, "good", points, 0.95)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [FEATURE_SETS[name].title for name in SKILL]
    mine = points.query("method == 'training scores' and `class` == '(all)' and required == 0.95")
    for axes, (_, one) in zip(figure.axes, mine.set_index("features").loc[list(SKILL)].iterrows(), strict=False):
        bars = [bar.get_height() for bar in axes.containers[0]]
        assert sum(bars) == pytest.approx(1)
        (line,) = axes.get_lines()
        ends = one[["threshold_low", "threshold_high"]].to_numpy(float)
        assert line.get_xdata()[0] == pytest.approx(np.log(ends / (1 - ends)).mean())
    assert not drawn.score_histograms(frame, "good", points[:0], 0.95).axes[0].get_lines()


def test_the_sweep_is_counted_at_each_threshold(frame, points):
    mine = frame[frame["features"] == "image"]
    (axes,) = drawn.threshold_sweep(mine, "good", points, 0.95).axes
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines() if len(line.get_xdata()) > 2}
    scores, bad = defect_scores(mine, "good"), (mine["label"] != "good").to_numpy()
    right = (np.where(mine["p:a"] >= mine["p:b"], "a", "b") == mine["label"]).to_numpy()
    for place in (120, 140, 160):
        out = scores >= 1 / (1 + np.exp(-drawn.ODDS[place])) - 1e-12
        assert lines["defects caught"][place] == pytest.approx(out[bad].mean())
        assert lines["good products rejected"][place] == pytest.approx(out[~bad].mean())
        assert lines["defects caught and named correctly"][place] == pytest.approx((out & right)[bad].mean())
    two = mine.drop(columns=[name for name in mine if name.startswith("p:") and name != "p:good"])
    assert len(drawn.threshold_sweep(two.assign(**{"p:defective": 0.5}), "good", points, 0.95).legends[0].texts) == 2


def test_the_cheapest_threshold_is_marked(frame):
    (axes,) = drawn.cost_curve(frame, "good", price_ratio=20, prevalence=0.1).axes
    for name, line in curves(axes).items():
        mine = frame[frame["features"] == name]
        scores, bad = defect_scores(mine, "good"), (mine["label"] != "good").to_numpy()
        limits = 1 / (1 + np.exp(-drawn.ODDS)) - 1e-12
        costs = [2000 * (scores[bad] < limit).mean() + 900 * (scores[~bad] >= limit).mean() for limit in limits]
        np.testing.assert_allclose(line.get_ydata(), costs)
        marks = [one for one in axes.get_lines() if len(one.get_xdata()) == 1 and one.get_color() == line.get_color()]
        assert [one.get_ydata()[0] for one in marks] == pytest.approx([min(costs)])
