"""Results at a threshold counted by hand, and an explorer whose controls agree with them."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.config import Study
from lib.pipeline import dataset
from lib.pipeline.run import Run
from lib.reporting import explorer as explorer_module
from lib.reporting import figures_maps
from lib.reporting.explorer import (
    ACCEPTED,
    ANY,
    CHANGED,
    FALSE_REJECT,
    HIT,
    LEVELS,
    MISSED,
    ORDERS,
    OWN,
    PER_PAGE,
    WRONG_CLASS,
    Explorer,
    describe_results,
    results,
    scored_images,
    state,
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


def test_the_classifiers_own_results(table):
    found = results(table, "good", OWN)
    assert found.tolist() == [ACCEPTED, ACCEPTED, FALSE_REJECT, HIT, MISSED, MISSED]
    assert describe_results(found) == (
        "Defect recall 33.3 % (1 of 3, 1 of them by their right class), false rejects 33.3 % (1 of 3)"
    )


def test_a_threshold_rejects_what_reaches_it(table):
    assert results(table, "good", 0.5).tolist() == [ACCEPTED, FALSE_REJECT, FALSE_REJECT, HIT, MISSED, HIT]
    found = results(table, "good", 0.3)
    assert found.tolist() == [ACCEPTED, FALSE_REJECT, FALSE_REJECT, HIT, WRONG_CLASS, HIT]
    assert describe_results(found) == (
        "Defect recall 100.0 % (3 of 3, 2 of them by their right class), false rejects 66.7 % (2 of 3)"
    )
    assert describe_results(found[3:]).endswith("false rejects – (0 of 0)"), "no good image, no share of them"


def test_only_rows_that_conclusions_rest_on_are_used():
    one = six_images()
    mixed = pd.concat([one, one.assign(scheme="leaky"), one.assign(keep=0.5), one.assign(repeat=1),
                       one.assign(features="score")])  # fmt: skip
    pd.testing.assert_frame_equal(scored_images(mixed, "good"), scored_images(one, "good"))


def test_a_separate_model_decides_where_the_study_says_so():
    one = six_images()
    binary = one.assign(task="binary", predicted=["good"] * 5 + ["defective"], **{"p:good": 0.25})
    table = scored_images(pd.concat([one, binary]), "good", "separate")
    assert table["score"].tolist() == [0.75] * 6
    assert results(table, "good", OWN).tolist() == [ACCEPTED] * 3 + [MISSED] * 2 + [HIT]


@pytest.fixture
def explorer(tmp_path, monkeypatch, figures):
    """An explorer of 30 grey images in two folds, with made-up predictions, maps of the test folds and odd names."""
    labels = ["good"] * 14 + [HOSTILE] * 16
    names = [f"{place:02d} {label}" for place, label in enumerate(labels)]
    table = pd.DataFrame(
        {"id": names, "path": [f"{i}.png" for i in range(30)], "label": labels, "mask": None, "height": 8, "width": 8}
    )
    table.attrs = {"good": "good", "classes": ["good", HOSTILE], "root": str(tmp_path)}
    for place in range(30):
        Image.new("RGB", (40, 40), (place, place, place)).save(tmp_path / f"{place}.png")
    scores, of_fold = np.linspace(0.02, 0.98, 30), [i % 2 for i in range(30)]
    parts = []
    for features in ("image", "map", "image_map"):
        part = rows(labels, np.where(scores < 0.5, "good", HOSTILE), features=features,
                    folds=of_fold, classes=("good", HOSTILE))  # fmt: skip
        parts.append(part.assign(id=names, **{"p:good": 1 - scores, f"p:{HOSTILE}": scores}))
    layout = pd.DataFrame({"scheme": "stratified", "id": names, "fold": of_fold})
    monkeypatch.setattr(explorer_module, "predictions", lambda run, stage: (pd.concat(parts), None))
    monkeypatch.setattr(figures_maps, "folds", lambda run: layout)
    monkeypatch.setattr(figures_maps, "maps", lambda run, split: np.full((30, 32, 32), int(split[-1]), np.float16))
    monkeypatch.setattr(explorer_module, "map_level", lambda run: 0.5)
    for module in (explorer_module, figures_maps, dataset):
        monkeypatch.setattr(module, "index", lambda run: table)
    return Explorer(Run("toy", Study.of("smoke"), str(tmp_path / "study")))


def names_on_the_page(explorer):
    return list(explorer.image.options)


def test_numbers_and_images_follow_the_threshold(explorer):
    before = explorer.numbers.value
    assert "Defect recall 93.8 % (15 of 16" in before, "the first defect scores 0.483, the last good image 0.450"
    assert "false rejects 0.0 % (0 of 14)" in before
    explorer.threshold.value = LEVELS[60]
    assert LEVELS[60] == pytest.approx(0.943)
    assert "Defect recall 12.5 % (2 of 16" in explorer.numbers.value, "0.947 and 0.980 reach it"
    explorer.result.value = CHANGED
    assert explorer.where.value == "of 2, 13 of 30 images"
    assert explorer.chosen()["result"].unique() == [MISSED]
    explorer.threshold.value = OWN
    assert explorer.numbers.value == before


def test_browsing_by_class_fold_and_result(explorer):
    explorer.label.value, explorer.fold.value = HOSTILE, 0
    assert explorer.where.value == "of 1, 8 of 30 images"
    assert names_on_the_page(explorer) == [f"{place} {HOSTILE}" for place in range(28, 13, -2)]
    explorer.result.value = MISSED
    assert names_on_the_page(explorer) == [f"14 {HOSTILE}"]
    explorer.label.value, explorer.fold.value, explorer.result.value = "good", 1, ANY
    explorer.order.value = ORDERS[1]
    assert names_on_the_page(explorer) == [f"{place:02d} good" for place in range(1, 14, 2)]


def test_images_are_ordered_as_chosen(explorer):
    explorer.threshold.value = 0.5
    first = []
    for order in ORDERS:
        explorer.order.value = order
        first.append(int(names_on_the_page(explorer)[0][:2]))
    assert first == [29, 0, 14, 0]  # 0.483 is nearest to 0.5


def test_only_the_page_is_read_and_the_image_stays_selected(explorer):
    assert len(explorer.thumbnails) == PER_PAGE == explorer.sheet.value.count("<img")
    explorer.image.value = names_on_the_page(explorer)[3]
    explorer.features.value = "map"
    assert explorer.image.value.startswith("26")
    explorer.page.value = 3
    assert len(names_on_the_page(explorer)) == explorer.sheet.value.count("<img") == 6
    explorer.label.value = HOSTILE
    assert explorer.page.value == 2, "the last page of fewer images"


def test_the_closeup_has_the_map_of_the_fold_that_tests_the_image_and_every_feature_set(explorer):
    for place in (0, 1):
        left, middle, right = explorer.panel(f"{place:02d} good").axes
        image, under_map = (axes.get_images()[0].get_array() for axes in (left, middle))
        assert np.array_equal(image, under_map) == (place == 0), "the map of fold 0 is 0, that of fold 1 is 1"
        assert f"fold {place}" in middle.get_title()
        names = [text.get_text().split(",")[0] for text in right.get_legend().get_texts()]
        assert names == ["Image", "Anomaly map", "Image + map"]
        assert len(right.patches) == 6


def test_the_panel_of_no_name_is_where_the_feature_sets_differ_most(explorer):
    explorer.images.loc[(explorer.images["id"] == "07 good") & (explorer.images["features"] == "map"), "score"] = 1.0
    assert explorer.panel().axes[0].get_title().startswith("07 good")


def test_names_from_the_data_are_text(explorer):
    explorer.image.value = f"29 {HOSTILE}"
    pages = [explorer.closeup.value, explorer.sheet.value, explorer.numbers.value, explorer.where.value]
    tags = set().union(*(re.findall(r"<(\w+)", page) for page in pages))
    assert tags <= {"b", "br", "img", "figure", "figcaption"}
    assert not any("<img src=x" in page for page in pages)
    assert "&lt;img src=x" in explorer.closeup.value
    assert "&lt;img src=x" in explorer.sheet.value


def test_a_study_that_is_not_there_names_its_command(tmp_path):
    sentence = state(Run("shaft", Study.of("smoke"), str(tmp_path)))
    assert "no predictions yet" in sentence
    assert "run_all.py --dataset shaft --preset smoke" in sentence
    assert not list(tmp_path.iterdir())
