"""Lists and figure for who labels: the right images in order, no word of what is suspected; counts in words."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.artifacts import Store
from lib.inspection.active_learning import suggest_labels
from lib.inspection.threshold import OutOfFoldScores
from lib.reporting.figures_inspection import (
    SUSPECTED,
    TO_LABEL,
    count_decisions,
    flagged,
    forget_label_lists,
    label_sheet,
    labelled_verdicts,
    write_label_suggestions,
)
from tests.inspection import made_up

pytestmark = pytest.mark.usefixtures("figures")


@pytest.fixture
def verdicts():
    """Thirty decisions whose rows carry other labels than their place, as sorted ones do."""
    chances = np.random.default_rng(4).dirichlet(np.ones(3), 30)
    table = pd.DataFrame(chances, columns=["p:good", "p:scratch", "p:dent"], index=np.arange(30) + 100)
    table.insert(0, "file", ["$x_1$ <b>.png", *(f"line 3/é, {k}.png" for k in range(1, 30))])
    return table


@pytest.fixture
def chosen(verdicts):
    rng = np.random.default_rng(5)
    chances = verdicts.filter(regex="^p:").to_numpy()
    return suggest_labels(chances, rng.normal(size=(30, 5)), rng.normal(size=(4, 5)), 8)


@pytest.fixture
def sheet(chosen, verdicts):
    images = np.repeat(chosen["row"].to_numpy(np.uint8), 8 * 8 * 3).reshape(len(chosen), 8, 8, 3)
    return label_sheet(chosen, images, verdicts["file"].iloc[chosen["row"]].tolist())


def test_the_lists_name_the_chosen_files_in_order(chosen, verdicts, tmp_path):
    written = write_label_suggestions(chosen, verdicts, tmp_path / "new")
    listed, suspected = map(pd.read_csv, written)
    assert listed.columns.tolist() == ["rank", "file", "uncertainty", "distance", "reason"]
    assert suspected.columns.tolist() == ["rank", "file", "predicted", "probability"]
    of_chosen = verdicts.iloc[chosen["row"]]
    for table in (listed, suspected):
        assert table["rank"].tolist() == list(range(1, 9))
        assert table["file"].tolist() == of_chosen["file"].tolist()
    chances = of_chosen.filter(regex="^p:").to_numpy()
    assert suspected["predicted"].tolist() == [("good", "scratch", "dent")[k] for k in chances.argmax(axis=1)]
    np.testing.assert_allclose(suspected["probability"], chances.max(axis=1), atol=1e-4)


def test_who_labels_does_not_read_what_is_suspected(chosen, verdicts, sheet, tmp_path):
    listed, _ = write_label_suggestions(chosen, verdicts, tmp_path)
    texts = [text.get_text() for text in sheet.findobj(plt.Text)]
    for word in ("good", "scratch", "dent", "defect"):
        assert word not in listed.read_text(encoding="utf-8")
        assert not [text for text in texts if word in text]


def test_each_chosen_image_is_drawn_under_its_rank(chosen, sheet):
    drawn = [axes for axes in sheet.axes if axes.get_images()]
    assert [int(axes.get_images()[0].get_array().max()) for axes in drawn] == chosen["row"].tolist()
    assert [axes.get_title(loc="left").split()[0] for axes in drawn] == [str(rank) for rank in chosen.index]
    sheet.canvas.draw()  # odd names are drawn as they are


def test_lists_are_proven_and_those_of_before_are_removed(chosen, verdicts, tmp_path):
    written = write_label_suggestions(chosen, verdicts, tmp_path)
    assert Store(tmp_path).verify() == {TO_LABEL: "", SUSPECTED: ""}
    written[0].write_text("harmed", encoding="utf-8")
    assert Store(tmp_path).verify()[TO_LABEL]
    forget_label_lists(tmp_path)
    assert not list(tmp_path.iterdir())


def test_flagged_files_have_their_reasons_in_words():
    columns = ["file", "verdict", "reason", "details", "same_as", "seen_in_training"]
    rows = [("a.png", "pass", None, "", "", None), ("b.png", "review", "out of distribution", "too dark", "a.png", "7")]
    found = flagged(pd.DataFrame(rows, columns=columns))
    assert found["why"].to_dict() == {
        "b.png": "out of distribution; too dark; same image as a.png; labelled image 7 of the study"
    }


def test_masks_that_were_left_out_are_counted():
    table = pd.DataFrame({"verdict": ["pass"], "reason": [""], "seen_in_training": [""]})
    assert "Left out as masks: 2." in count_decisions(table, 2)
    assert "ground_truth" not in count_decisions(table)


def test_decisions_on_labelled_images_are_headed():
    known = OutOfFoldScores(np.array([0.1, 0.9]), np.array([False, True]), np.arange(2), False)
    shares = labelled_verdicts(known, made_up.threshold())
    assert shares.index.name == "labelled as" and shares.index.tolist() == ["good", "defective"]
