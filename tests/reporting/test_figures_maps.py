"""Images, maps and outlines belong together; the gallery holds typical catches and the surest errors."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.reporting import figures_maps, style
from lib.reporting.figures_maps import KINDS, Thumbnail, examples, gallery, map_level, overlay
from tests.evaluation.made_up import rows
from tests.reporting.conftest import ODD

LONG = (*ODD[:2], ODD[2] * 4)
pytestmark = pytest.mark.usefixtures("figures")


def test_masks_are_outlined_where_there_are_any():
    stack, mask = np.zeros((2, 16, 16, 3), np.uint8), np.arange(256).reshape(16, 16) < 64
    masks = {"good": [None, None], "bad": [mask, np.zeros_like(mask)]}
    figure = figures_maps.samples({"good": stack, "bad": stack}, masks)
    assert [len(axes.collections) for axes in figure.axes] == [0, 0, 1, 0]


def test_maps_stand_below_their_images_on_the_scale_of_their_source():
    maps = np.linspace(0, 0.5, 20)[:, None, None] * np.ones((1, 8, 8))
    photos = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    figure = figures_maps.image_and_map(photos, maps, [str(k) for k in range(20)], [None] * 20, 0.1)
    above, below = (
        [axes for band in range(4) for axes in figure.axes[10 * band + 5 * row :][:5] if axes.get_images()]
        for row in range(2)
    )
    assert len(below) == 20
    for k, column in enumerate(zip(above, below, strict=True)):
        photo, one = (axes.get_images()[0].get_array() for axes in column)
        assert photo[0, 0, 0] == k
        assert np.array_equal(one, overlay(photos[k], maps[k], 0.1))
        places = [axes.get_position() for axes in column]
        assert places[0].x0 == pytest.approx(places[1].x0, abs=1e-6)
        assert 0 < places[0].y0 - places[1].y1 < 0.05
    assert len({round(axes.get_position().x0, 4) for axes in above}) <= figures_maps.WIDEST


def test_the_level_of_maps_is_that_of_good_test_images(monkeypatch):
    table = pd.DataFrame({"label": ["good", "good", "a", "good"]})
    table.attrs["good"] = "good"
    stacks = {"s-0": [0.1, 9, 9, 9], "s-1": [9, 0.3, 9, 0.2]}  # images of the training folds and defects are high
    monkeypatch.setattr(figures_maps, "index", lambda run: table)
    monkeypatch.setattr(figures_maps, "primary_splits", lambda run: list(stacks))
    tested = {"s-0": [True, False, False, False], "s-1": [False, True, True, True]}
    monkeypatch.setattr(figures_maps, "in_test_fold", lambda run, name: np.array(tested[name]))

    def maps(run, name):
        return np.array(stacks[name], np.float16)[:, None, None] * np.ones((1, 8, 8), np.float16)

    monkeypatch.setattr(figures_maps, "maps", maps)
    assert map_level(SimpleNamespace()) == pytest.approx(0.3, abs=1e-3)
    stacks["s-0"] = stacks["s-1"] = [0] * 4
    assert map_level(SimpleNamespace()) > 0


def predicted(labels, scores, classes=("good", "a", "b"), **columns):
    frame = rows(labels, [classes[0]] * len(labels), classes=classes, **columns)
    return frame.assign(**{f"p:{classes[0]}": 1 - np.array(scores)})


LABELS = ["a", "a", "a", "a", "b", "b", "good", "good", "good"]
SCORES = [0.3, 0.1, 0.9, 0.7, 0.2, 0.8, 0.95, 0.6, 0.1]


def test_the_surest_errors_come_first_the_classes_in_turn():
    frame = predicted(LABELS, SCORES)
    more = pd.concat([frame, frame.assign(repeat=1)], ignore_index=True)  # which does not count
    rejected = pd.Series(1 - more["p:good"] >= 0.5)
    chosen = examples(more, rejected, "good", 3)
    of_kind = {kind: chosen[chosen["kind"] == kind] for kind in KINDS}
    assert of_kind["missed"]["id"].tolist() == ["0001", "0004", "0000"]  # b's surest before a's second
    assert of_kind["missed"]["score"].tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert of_kind["rejected"]["id"].tolist() == ["0006", "0007"]
    assert of_kind["caught"]["id"].tolist() == ["0005", "0002", "0003"]  # nearest to the median of the class
    counted = chosen.groupby("kind")[["found", "among"]].first()
    assert counted.loc[list(KINDS)].to_numpy().tolist() == [[3, 6], [3, 6], [2, 3]]


def thumbnails(ids, side=24):
    mask = np.zeros((side, side), bool)
    mask[4:9, 4:9] = True
    found = {}
    for k, name in enumerate(sorted(set(ids))):
        image, heat = np.full((side, side, 3), 10 * k, np.uint8), np.zeros((8, 8))
        heat[2:5, 2:5] = 0.5
        found[name] = Thumbnail(image, heat if k else 0 * heat, mask if k else None)
    return found


def test_each_image_is_under_its_title_with_both_contours():
    frame = predicted(LABELS, SCORES)
    chosen = examples(frame, 1 - frame["p:good"] >= 0.5, "good", 3)
    images = thumbnails(frame["id"])
    figure = gallery(chosen, images, 0.25)
    drawn = {axes.get_title(): axes for axes in figure.axes if axes.get_images()}
    assert len(drawn) == len(chosen) == 8
    axes, one = drawn["b, 0.80"], images["0005"]
    assert np.array_equal(axes.get_images()[0].get_array(), overlay(one.image, one.anomaly_map, 0.25))
    assert [len(drawn[title].collections) for title in ("b, 0.80", "a, 0.30", "good, 0.95")] == [2, 0, 2]
    headings = [axes.get_ylabel() for axes in figure.axes if axes.get_ylabel()]
    assert headings == ["Caught\n3 of 6", "Missed\n3 of 6", "False reject\n2 of 3"]
    assert "exceeds 0.25," in figure.get_label()


def test_kinds_that_there_are_not_have_no_row_and_odd_names_are_shown():
    frame = predicted(LONG[1:], [0.9, 0.8], classes=LONG)
    chosen = examples(frame, pd.Series(True, frame.index), LONG[0])
    assert set(chosen["kind"]) == {"caught"}
    figure = gallery(chosen, thumbnails(chosen["id"]), 0.5)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [f"{style.escape_mathtext(name, 14)}, {score}" for name, score in
                      zip(LONG[1:], ("0.90", "0.80"), strict=True)] + [""]  # fmt: skip
    figure.canvas.draw()


def test_the_map_colours_the_image_by_its_height_only():
    image = np.full((10, 10, 3), (30, 60, 90), np.uint8)
    half = np.zeros((5, 5))
    half[:, 3:] = 0.4
    drawn = overlay(image, half, 0.2)
    assert (drawn[:, 0] == 60).all()  # grey where the map is 0
    assert (drawn[:, -1] == np.round(255 * np.array(plt.colormaps["inferno"](1.0)[:3]))).all()
    middle = overlay(image, np.full((5, 5), 0.2), 0.2)
    expected = (60 + 255 * np.array(plt.colormaps["inferno"](np.float32(0.5))[:3])) / 2
    np.testing.assert_allclose(middle[0, 0], expected, atol=0.6)
