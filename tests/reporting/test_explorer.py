"""Verdicts at a threshold counted by hand, and an explorer whose controls agree with them."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.config import Study
from lib.pipeline.run import Run
from lib.reporting import explorer as explorer_module
from lib.reporting.closeup import OUTLINE, overlay
from lib.reporting.explorer import LEVELS, PER_PAGE, Explorer, state
from lib.reporting.thresholds import (
    ACCEPTED,
    CHANGES,
    ESCAPE,
    FALSE_REJECT,
    HIT,
    ORDERS,
    VERDICTS,
    WRONG_CLASS,
    changes,
    chosen,
    count,
    most_disputed,
    scored_images,
    verdicts,
)
from tests.evaluation.made_up import rows

HOSTILE = "<img src=x onerror=alert(1)>"


def six_images(**columns):
    """Three good images, two of class a and one of b; p(good), p(a), p(b) by hand."""
    table = rows(["good"] * 3 + ["a", "a", "b"], ["good"] * 2 + ["a", "a", "good", "good"], **columns)
    table[["p:good", "p:a", "p:b"]] = [
        [0.9, 0.1, 0.0],  # accepted; score 0.1
        [0.4, 0.3, 0.3],  # score 0.6, and yet good is the likeliest class
        [0.2, 0.5, 0.3],  # false reject; score 0.8
        [0.1, 0.8, 0.1],  # hit; score 0.9
        [0.7, 0.1, 0.2],  # escape; score 0.3, b likelier than a
        [0.5, 0.1, 0.4],  # escape; score 0.5
    ]
    return table


@pytest.fixture(scope="module")
def table():
    return scored_images(six_images(), "good")


def test_the_classifiers_own_verdicts(table):
    found = verdicts(table, "good", None)
    assert found.tolist() == [ACCEPTED, ACCEPTED, FALSE_REJECT, HIT, ESCAPE, ESCAPE]
    assert str(count(found)) == (
        "Defect recall 0.333 (1 of 3, 1 of them by their right class), false rejects 0.333 (1 of 3)"
    )


def test_a_threshold_rejects_what_reaches_it(table):
    assert verdicts(table, "good", 0.5).tolist() == [ACCEPTED, FALSE_REJECT, FALSE_REJECT, HIT, ESCAPE, HIT]
    found = verdicts(table, "good", 0.3)
    assert found.tolist() == [ACCEPTED, FALSE_REJECT, FALSE_REJECT, HIT, WRONG_CLASS, HIT]
    counts = count(found)
    assert (counts.caught, counts.named, counts.defective, counts.rejected, counts.good) == (3, 2, 3, 2, 3)
    assert counts.recall == 1
    assert counts.false_rejects == pytest.approx(2 / 3)
    assert np.isnan(count(found[3:]).false_rejects), "no good image, no share of them"


def test_what_a_threshold_changes(table):
    rejected, accepted, caught, escapes = CHANGES
    assert changes(table, "good", 0.5).tolist() == ["", rejected, "", "", "", caught]
    assert changes(table, "good", 0.95).tolist() == ["", "", accepted, escapes, "", ""]
    assert not changes(table, "good", None).any()


def test_choosing_and_ordering(table):
    every = np.ones(len(table), bool)
    by = {
        order: chosen(table, every, order=order, threshold=0.55)["id"].astype(int).tolist()
        for order in ORDERS
    }
    assert by[ORDERS[0]] == [3, 2, 1, 5, 4, 0]
    assert by[ORDERS[1]] == [0, 4, 5, 1, 2, 3]
    assert by[ORDERS[2]] == [1, 5, 2, 4, 3, 0]  # 0.05, 0.05, 0.25, 0.25, 0.35, 0.45 away
    assert by[ORDERS[3]] == [0, 1, 2, 3, 4, 5]
    assert chosen(table, every, label="a")["id"].tolist() == ["0003", "0004"]
    assert chosen(table.assign(fold=[0, 1] * 3), every, fold=1, label="good")["id"].tolist() == ["0001"]
    with pytest.raises(ValueError, match="order is 'by name'"):
        chosen(table, every, order="by name")


def test_only_rows_to_believe_are_shown():
    one = six_images()
    mixed = pd.concat([one, one.assign(scheme="leaky"), one.assign(keep=0.5), one.assign(repeat=1),
                       one.assign(features="score")])  # fmt: skip
    pd.testing.assert_frame_equal(scored_images(mixed, "good"), scored_images(one, "good"))


def test_a_separate_model_decides_where_the_study_says_so():
    one = six_images()
    binary = one.assign(task="binary", predicted=["good"] * 5 + ["defective"], **{"p:good": 0.25})
    table = scored_images(pd.concat([one, binary]), "good", "separate")
    assert table["score"].tolist() == [0.75] * 6
    assert verdicts(table, "good", None).tolist() == [ACCEPTED] * 3 + [ESCAPE] * 2 + [HIT]


def test_the_most_disputed_image():
    other = six_images(features="map")
    other.loc[4, "p:good"] = 0.0  # score 1 instead of 0.3
    assert most_disputed(scored_images(pd.concat([six_images(), other]), "good")) == "0004"


def test_the_overlay_mixes_and_outlines():
    rgb, mask = np.full((9, 9, 3), 100, np.uint8), np.zeros((9, 9), bool)
    mask[4, 4] = True
    assert (overlay(rgb, np.ones((9, 9)), None, 0) == 100).all()
    dark, half = (overlay(rgb, np.zeros((9, 9)), None, share) for share in (1, 0.5))
    assert dark.max() < 10, "inferno begins at black"
    assert np.abs(half.astype(int) - 50).max() <= 5
    outlined = overlay(rgb, np.zeros((9, 9)), mask, 0)
    assert tuple(outlined[4, 5]) == OUTLINE
    assert (outlined[4, 4] == 100).all(), "the defect itself stays in sight"
    assert (outlined[0] == 100).all()


@pytest.fixture
def explorer(tmp_path, monkeypatch):
    """An explorer of 30 grey pictures in two folds, with made-up predictions, maps of the test folds and odd names."""
    labels = ["good"] * 14 + [HOSTILE] * 16
    names = [f"{place:02d} {label}" for place, label in enumerate(labels)]
    table = pd.DataFrame(
        {"id": names, "path": [f"{i}.png" for i in range(30)], "label": labels, "mask": None}
    )
    table.attrs = {"good": "good", "classes": ["good", HOSTILE], "root": str(tmp_path)}
    for place in range(30):
        Image.new("RGB", (40, 40), (place, place, place)).save(tmp_path / f"{place}.png")
    scores = np.linspace(0.02, 0.98, 30)
    parts = []
    for features in ("image", "map", "image_map"):
        part = rows(labels, np.where(scores < 0.5, "good", HOSTILE), features=features,
                    folds=[i % 2 for i in range(30)], classes=("good", HOSTILE))  # fmt: skip
        parts.append(part.assign(id=names, **{"p:good": 1 - scores, f"p:{HOSTILE}": scores}))
    read = []

    def maps(run, split):
        read.append(split)
        return np.full((30, 32, 32), int(split[-1]), np.float16)

    monkeypatch.setattr(explorer_module, "predictions", lambda run, stage: (pd.concat(parts), None))
    monkeypatch.setattr(explorer_module, "index", lambda run: table)
    monkeypatch.setattr("lib.reporting.closeup.index", lambda run: table)
    monkeypatch.setattr("lib.reporting.closeup.maps", maps)
    shown = Explorer(Run("toy", Study.of("smoke"), str(tmp_path / "study")))
    shown.maps_read = read
    return shown


def test_numbers_and_list_follow_the_slider(explorer):
    before = explorer.numbers.value
    assert "Defect recall 0.938 (15 of 16" in before, (
        "the first defect scores 0.483, the last good image 0.450"
    )
    assert "false rejects 0.000 (0 of 14)" in before
    explorer.level.value = LEVELS[60]
    assert explorer.threshold == LEVELS[60] == pytest.approx(0.943), "a moved threshold decides"
    assert "Defect recall 0.125 (2 of 16" in explorer.numbers.value, "0.947 and 0.980 reach it"
    assert "13 defective, now escapes" in explorer.affected.value
    explorer.verdict.value = 1 + len(VERDICTS)  # the last one: changed by the threshold
    assert "13 of 30 images" in explorer.where.value
    explorer.decides.value = False
    assert explorer.numbers.value == before


def test_browsing_by_class_fold_and_verdict(explorer):
    explorer.label.value, explorer.fold.value = 2, 1  # the defective ones of fold 0
    assert explorer.where.value == "page 1 of 1, 8 of 30 images"
    assert explorer.shown == [f"{place} {HOSTILE}" for place in range(28, 13, -2)]
    explorer.verdict.value = 1 + VERDICTS.index(ESCAPE)
    assert explorer.shown == [f"14 {HOSTILE}"]
    explorer.label.value, explorer.fold.value, explorer.verdict.value, explorer.order.value = 1, 2, 0, 1
    assert explorer.shown == [f"{place:02d} good" for place in range(1, 14, 2)]


def test_only_the_shown_page_is_read(explorer):
    assert len(explorer.thumbnails) == PER_PAGE
    explorer.forth.click()
    explorer.forth.click()
    assert explorer.where.value == "page 3 of 3, 30 of 30 images"
    assert explorer.forth.disabled and not explorer.back.disabled
    visible = [cell for cell in explorer.cells if cell.layout.display != "none"]
    assert len(visible) == len(explorer.shown) == 6


def test_the_map_is_that_of_the_fold_that_tests_the_image(explorer):
    for place in (0, 1):
        explorer.select(f"{place:02d} good")
        assert explorer.closeup[1].max() == place == explorer.closeup[1].min()
    assert sorted(set(explorer.maps_read)) == ["stratified-0", "stratified-1"]
    explorer.opacity.value = 1
    assert "data:image/png" in explorer.picture.value


def test_names_from_the_data_are_text(explorer):
    explorer.select(f"20 {HOSTILE}")
    explorer.level.value = LEVELS[-1]
    pages = [explorer.about, explorer.affected, explorer.bars, explorer.picture, *explorer.cells]
    tags = set().union(*(re.findall(r"<(\w+)", page.value) for page in pages))
    assert tags <= {"b", "br", "img"}
    assert not any("<img src=x" in page.value for page in pages)
    assert "&lt;img src=x" in explorer.about.value
    assert "&lt;img src=x" in explorer.affected.value


def test_the_panel_shows_every_feature_set(explorer):
    figure = explorer.panel()
    assert [text.get_text() for text in figure.axes[2].get_legend().get_texts()] == [
        "image", "anomaly map", "image + anomaly map",
    ]  # fmt: skip
    assert len(figure.axes[2].patches) == 6


def test_a_study_that_is_not_there_names_its_command(tmp_path):
    told = state(Run("shaft", Study.of("smoke"), str(tmp_path)))
    assert "no predictions yet" in told
    assert "run_all.py --dataset shaft --preset smoke" in told
    assert not list(tmp_path.iterdir())
