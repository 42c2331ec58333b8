"""Figures: drawn for odd names and small counts, saved without dates, with their description."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.report import curves
from lib.report import figures as f
from lib.report.economy import label_economy
from lib.report.points import operating_numbers
from tests.report.made_up import study

ODD = ("good", "$x_1$ <b>", "d'é\"faut {x}")


@pytest.fixture(autouse=True)
def close():
    plt.switch_backend("agg")
    f.house_style()
    yield
    plt.close("all")


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    rows = []
    for features in f.PALETTE:
        for k in range(30):
            chances = rng.dirichlet(np.ones(3))
            rows.append({"features": features, "label": ODD[k % 3], "predicted": ODD[int(chances.argmax())]}
                        | {f"p:{name}": p for name, p in zip(ODD, chances, strict=True)})  # fmt: skip
    return pd.DataFrame(rows)


def test_a_figure_is_saved_twice_the_same_with_its_description(tmp_path, predictions):
    for name in ("a", "b"):
        f.save_figure(f.confusions(predictions, ODD, "caption $1"), tmp_path, name, "what it shows")
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert Image.open(tmp_path / "a.png").info["Description"] == "what it shows"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.svg", "b.png", "b.svg"]


def test_the_caption_stands_below_everything_else(predictions):
    figure = curves.recall_against_false_rejects(predictions, "good", "a caption")
    figure.canvas.draw()
    (text,) = [t for t in figure.texts if t.get_text() == "a caption"]
    label = figure.axes[0].xaxis.label.get_window_extent()
    assert text.get_window_extent().y1 <= label.y0


def test_the_caption_is_the_figures_label_as_it_was_given(predictions):
    long = "$x_1$ <b> & more · " * 20
    assert f.confusions(predictions, ODD, long).get_label() == long


def test_odd_names_are_shown_as_they_are(predictions):
    figure = f.confusions(predictions, ODD, "c")
    figure.canvas.draw()
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [f.plain(name) for name in ODD]
    assert f.plain("a$b") == r"a\$b"


def test_counts_in_the_confusion_matrix(predictions):
    figure = f.confusions(predictions, ODD, "c")
    written = sum(int(t.get_text()) for t in figure.axes[0].texts)
    assert written == 30
    assert len(figure.axes) == 3


def test_feature_sets_keep_their_colours(predictions):
    figure = curves.recall_against_false_rejects(predictions, "good", "c")
    lines = {line.get_label(): line.get_color() for line in figure.axes[0].get_lines()}
    for name, colour in f.PALETTE.items():
        assert lines[f.NAMES[name]] == colour


def test_masks_are_outlined_where_there_are_any():
    stack = np.zeros((2, 16, 16, 3), np.uint8)
    mask = np.zeros((16, 16), bool)
    mask[4:8, 4:8] = True
    figure = f.samples(
        {"good": stack, "bad": stack}, {"good": [None, None], "bad": [mask, ~mask & False]}, "c"
    )
    assert [len(axes.collections) for axes in figure.axes] == [0, 0, 1, 0]


def test_maps_share_one_scale():
    maps = np.stack([np.full((8, 8), 0.1), np.full((8, 8), 0.9)])
    figure = f.image_and_map(np.zeros((2, 8, 8, 3), np.uint8), maps, ["a", "b"], [None, None], "c")
    limits = {axes.get_images()[0].get_clim() for axes in figure.axes[2:4]}
    assert limits == {(0, 1)}


def test_degradation_draws_a_panel_each():
    rows = [(k, s, 0.5 + k / 10, c) for k in (0.5, 1.0) for s in f.PALETTE for c in ODD]
    figure = f.degradation(pd.DataFrame(rows, columns=["keep", "features", "value", "class"]), "c")
    assert [axes.get_title() for axes in figure.axes[:3]] == [f.plain(name) for name in ODD]
    assert len(figure.legends) == 1


def test_operating_points_are_marked_where_they_were_reached():
    skill = {"image": 1.0, "map": 0.5, "both": 2.0}
    frame, known = study(skill, n=300), study(skill, n=300, calibrated=True)
    points = operating_numbers(frame, known, "good", required=(0.9, 0.95))
    figure = curves.recall_against_false_rejects(frame, "good", "c", points)
    hollow = [line for line in figure.axes[0].get_lines() if line.get_markerfacecolor() == "white"]
    drawn = {point for line in hollow for point in zip(*line.get_data(), strict=True)}
    chosen = points[(points["method"] == "training scores") & (points["class"] == "(all)")]
    assert drawn == set(zip(chosen["false_rejects"], chosen["recall"], strict=True))
    assert len(drawn) == 6
    assert "hollow" in figure.axes[0].get_legend().get_title().get_text()
    bare = curves.recall_against_false_rejects(frame, "good", "c")
    assert "hollow" not in bare.axes[0].get_legend().get_title().get_text()


def test_learning_curves_draw_a_panel_per_data_set_with_the_house_colours():
    frame = study({"image": 1.0, "both": 2.0, "both_all": 2.0}, n=90, keep=(0.5, 1.0))
    both = pd.concat([frame, frame.assign(dataset="$odd_name")])
    figure = curves.learning_curves(label_economy(both, "good", seed=0, n=20), "c")
    assert [axes.get_title() for axes in figure.axes] == ["toy", f.plain("$odd_name")]
    assert {line.get_color() for line in figure.axes[0].get_lines()} == {
        f.PALETTE["image"],
        f.PALETTE["both"],
    }
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["image", "image + anomaly map"]
