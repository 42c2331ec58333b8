"""The list and the sheet for who labels: the right pictures in the right order, and no word of what is suspected."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lib.artifacts import Store
from lib.inspection.active_learning import suggest_labels
from lib.reporting.style import save_figure, set_style
from lib.reporting.to_label import APART, LISTED, forget_label_lists, label_sheet, write_label_suggestions


@pytest.fixture
def scene():
    plt.switch_backend("agg")
    set_style()
    rng = np.random.default_rng(4)
    chances = rng.dirichlet(np.ones(3), 30)
    verdicts = pd.DataFrame(chances, columns=["p:good", "p:scratch", "p:dent"])
    verdicts.insert(0, "file", [f"line 3/é, {k}.png" for k in range(30)])
    verdicts.loc[0, "file"] = "$x_1$ <b>.png"
    verdicts.index = verdicts.index + 100  # sorted verdicts carry other labels than their place
    pictures = np.repeat(np.arange(30, dtype=np.uint8), 8 * 8 * 3).reshape(30, 8, 8, 3)
    yield suggest_labels(chances, rng.normal(size=(30, 5)), rng.normal(size=(4, 5)), 8), verdicts, pictures
    plt.close("all")


def test_the_lists_name_the_chosen_files_in_order(scene, tmp_path):
    chosen, verdicts, _ = scene
    listed, apart = (
        pd.read_csv(path) for path in write_label_suggestions(chosen, verdicts, tmp_path / "new")
    )
    assert listed.columns.tolist() == ["rank", "file", "uncertainty", "distance", "reason"]
    assert apart.columns.tolist() == ["rank", "file", "predicted", "probability"]
    assert listed["rank"].tolist() == apart["rank"].tolist() == list(range(1, 9))
    assert (
        listed["file"].tolist() == apart["file"].tolist() == [verdicts["file"].iloc[k] for k in chosen["row"]]
    )
    for place, row in enumerate(chosen["row"]):
        chances = verdicts.iloc[row][["p:good", "p:scratch", "p:dent"]].astype(float)
        assert apart["predicted"][place] == chances.idxmax().removeprefix("p:")
        assert apart["probability"][place] == pytest.approx(chances.max(), abs=1e-4)


def test_who_labels_is_not_told_what_is_suspected(scene, tmp_path):
    chosen, verdicts, pictures = scene
    listed, _ = write_label_suggestions(chosen, verdicts, tmp_path)
    figure = label_sheet(chosen, *of_chosen(chosen, verdicts, pictures), "made up")
    shown = [text.get_text() for text in figure.findobj(plt.Text)]
    for word in ("good", "scratch", "dent", "defect"):
        assert word not in listed.read_text(encoding="utf-8")
        assert not [text for text in shown if word in text]


def test_the_sheet_shows_each_chosen_picture_under_its_rank(scene, tmp_path):
    chosen, verdicts, pictures = scene
    figure = label_sheet(chosen, *of_chosen(chosen, verdicts, pictures), "made up")
    shown = [axes for axes in figure.axes if axes.get_images()]
    assert [int(axes.get_images()[0].get_array().max()) for axes in shown] == chosen["row"].tolist()
    assert [axes.get_title(loc="left").split()[0] for axes in shown] == [str(rank) for rank in chosen.index]
    save_figure(figure, tmp_path, "labels-next", "odd names are drawn as they are")


def of_chosen(chosen, verdicts, pictures):
    return pictures[chosen["row"]], verdicts["file"].iloc[chosen["row"]].tolist()


def test_one_picture_and_none(scene):
    chosen, verdicts, pictures = scene
    first = chosen.head(1)
    assert len(label_sheet(first, *of_chosen(first, verdicts, pictures), "").axes) == 1
    with pytest.raises(ValueError, match="nothing to label"):
        label_sheet(chosen.head(0), pictures[:0], [], "")


def test_lists_are_proven_and_those_of_before_are_removed(scene, tmp_path):
    chosen, verdicts, _ = scene
    written = write_label_suggestions(chosen, verdicts, tmp_path)
    assert Store(tmp_path).verify() == {LISTED: "", APART: ""}
    written[0].write_text("harmed", encoding="utf-8")
    assert Store(tmp_path).verify()[LISTED]
    forget_label_lists(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_does_not_belong_together_is_refused(scene, tmp_path):
    chosen, verdicts, pictures = scene
    shown, files = of_chosen(chosen, verdicts, pictures)
    with pytest.raises(ValueError, match="8 files and 7 pictures for 8 chosen"):
        label_sheet(chosen, shown[:7], files, "")
    with pytest.raises(ValueError, match="of 1 verdicts"):
        write_label_suggestions(chosen, verdicts.head(1), tmp_path)
    with pytest.raises(ValueError, match="p:<class>"):
        write_label_suggestions(chosen, verdicts[["file"]], tmp_path)
    assert not list(tmp_path.iterdir())
