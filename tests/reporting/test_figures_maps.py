"""Images, maps and outlines belong together; the gallery holds the surest errors of each kind."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.reporting import figures_maps, style
from lib.reporting.figures_maps import KINDS, Thumbnail, gallery, hits_and_misses, overlay
from tests.evaluation.made_up import rows
from tests.reporting.conftest import ODD

LONG = (*ODD[:2], ODD[2] * 4)
pytestmark = pytest.mark.usefixtures("figures")


def test_masks_are_outlined_where_there_are_any():
    stack, mask = np.zeros((2, 16, 16, 3), np.uint8), np.arange(256).reshape(16, 16) < 64
    masks = {"good": [None, None], "bad": [mask, np.zeros_like(mask)]}
    figure = figures_maps.samples({"good": stack, "bad": stack}, masks)
    assert [len(axes.collections) for axes in figure.axes] == [0, 0, 1, 0]


def test_maps_share_one_scale_and_stand_below_their_images():
    maps = np.linspace(0, 1, 20)[:, None, None] * np.ones((1, 8, 8))
    photos = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    both = {"DRAEM": maps, "PatchCore": maps[::-1]}
    figure = figures_maps.image_and_map(photos, both, [str(k) for k in range(20)], [None] * 20)
    above, below, lowest = (
        [axes for band in range(3) for axes in figure.axes[21 * band + 7 * row :][:7] if axes.get_images()]
        for row in range(3)
    )
    assert {axes.get_images()[0].get_clim() for axes in (*below, *lowest)} == {(0, 1)}
    for k, axes in enumerate(lowest):
        assert axes.get_images()[0].get_array()[0, 0] == pytest.approx(maps[19 - k, 0, 0])
    assert [axes.get_ylabel() for axes in (below[0], lowest[0])] == list(both)
    for k, (one, other) in enumerate(zip(above, below, strict=True)):
        assert one.get_images()[0].get_array()[0, 0, 0] == k
        assert other.get_images()[0].get_array()[0, 0] == pytest.approx(maps[k, 0, 0])
        assert one.get_position().x0 == pytest.approx(other.get_position().x0, abs=1e-6)
        assert 0 < one.get_position().y0 - other.get_position().y1 < 0.05
    assert len({round(axes.get_position().x0, 4) for axes in above}) <= figures_maps.WIDEST


def predicted(pairs, sure, features="image", classes=("good", "a", "b")):
    frame = rows([p[0] for p in pairs], [p[1] for p in pairs], features=features, classes=classes)
    for k, (_, said) in enumerate(pairs):
        frame.loc[k, [f"p:{name}" for name in classes]] = (1 - sure[k]) / 2
        frame.loc[k, f"p:{said}"] = sure[k]
    return frame


PAIRS = [("a", "good"), ("a", "good"), ("a", "good"), ("b", "good"), ("good", "b"), ("a", "b"), ("b", "b")]
SURE = [0.9, 0.99, 0.95, 0.6, 0.7, 0.8, 0.85]


def test_the_surest_of_each_kind_come_first_the_classes_in_turn():
    frame = predicted(PAIRS, SURE)
    more = pd.concat([frame, frame.assign(repeat=1), frame.assign(task="binary")])  # which do not count
    chosen = hits_and_misses(more, "good", 3)
    of_kind = {kind: chosen[chosen["kind"] == kind] for kind in KINDS}
    missed = of_kind["missed"]
    assert missed["id"].tolist() == ["0001", "0003", "0002"]  # b's surest before a's second
    assert missed["probability"].tolist() == [0.99, 0.6, 0.95]
    assert missed[["found", "among"]].drop_duplicates().to_numpy().tolist() == [[4, 6]]
    assert of_kind["rejected"][["id", "found", "among"]].to_numpy().tolist() == [["0004", 1, 1]]
    assert of_kind["confused"][["id", "predicted"]].to_numpy().tolist() == [["0005", "b"]]
    assert of_kind["hit"][["id", "found", "among"]].to_numpy().tolist() == [["0006", 1, 7]]


def thumbnails(ids, side=24):
    mask = np.zeros((side, side), bool)
    mask[4:9, 4:9] = True
    found = {}
    for k, name in enumerate(sorted(set(ids))):
        image = np.full((side, side, 3), 10 * k, np.uint8)
        found[name] = Thumbnail(image, np.full((8, 8), 0.1 * k), mask if k else None)
    return found


def test_each_image_is_under_its_title_with_its_outline():
    frame = pd.concat([predicted(PAIRS, SURE), predicted(PAIRS, SURE, "image_map")], ignore_index=True)
    chosen = hits_and_misses(frame, "good")
    images = thumbnails(chosen["id"])
    figure = gallery(chosen, images)
    drawn = [axes for axes in figure.axes if axes.get_images()]
    assert len(drawn) == len(chosen) == 14
    titles = {axes.get_title(): axes for axes in drawn}
    axes = titles["b\n→ good\n0.60 · fold 0"]
    expected = overlay(images["0003"].image, images["0003"].anomaly_map)
    assert np.array_equal(axes.get_images()[0].get_array(), expected)
    assert len(axes.collections) == 1
    assert not titles["a\n→ good\n0.90 · fold 0"].collections  # id 0000 has no mask
    headings = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "Image · missed defects: 4 of 6" in headings
    assert "Image + map · false rejects: 1 of 1" in headings


def test_no_errors_at_all_are_said_and_odd_names_shown():
    pairs = [(name, name) for name in LONG]
    chosen = hits_and_misses(predicted(pairs, [0.9, 0.8, 0.7], classes=LONG), "good")
    assert set(chosen["kind"]) == {"hit"}
    figure = gallery(chosen, thumbnails(chosen["id"]))
    headings = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert headings == [
        "Image · missed defects: none",
        "Image · false rejects: none",
        "Image · wrong defect class: none",
        "Image · surest hits: 3 of 3",
    ]
    titles = "".join(axes.get_title() for axes in figure.axes)
    assert style.escape_mathtext(ODD[1]) in titles
    assert style.escape_mathtext(LONG[2], 16) in titles


def test_the_map_colours_the_image_by_its_height_only():
    image = np.full((10, 10, 3), (30, 60, 90), np.uint8)
    half = np.zeros((5, 5))
    half[:, 3:] = 1.0
    drawn = overlay(image, half)
    assert (drawn[:, 0] == 60).all()  # grey where the map is 0
    assert (drawn[:, -1] == np.round(255 * np.array(plt.colormaps["inferno"](1.0)[:3]))).all()
