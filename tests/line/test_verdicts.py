"""Verdicts of pictures with chosen scores, and of real files by a real line."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from lib.data.faults import DataError
from lib.line.columns import labelled_measures
from lib.line.fit import fitted_line, threshold_of
from lib.line.folder import read_folder
from lib.line.verdicts import LOOK, PASS, REJECT, decide, in_order, judge, tabulate
from lib.pipeline.pictures import data_root, index
from tests.line import made_up


def test_the_ends_of_the_threshold_decide_and_what_is_foreign_is_looked_at():
    scores = np.array([0.39, 0.4, 0.59, 0.6, 0.99, 0.0])
    verdicts, reasons = decide(scores, made_up.threshold(), [()] * 4 + [("too dark",)] * 2)
    assert verdicts == [PASS, LOOK, LOOK, REJECT, LOOK, LOOK]
    assert reasons == ["", "uncertain", "uncertain", "", "foreign", "foreign"]


def test_class_and_probability_follow_the_verdict():
    chances = [(0.7, 0.1, 0.2), (0.5, 0.2, 0.3), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8)]
    away = np.zeros((4, 4))
    away[3] = 50
    found = tabulate(
        made_up.line(), made_up.threshold(), made_up.folder("abcd"), made_up.measured(chances, away)
    )
    assert found["verdict"].tolist() == [PASS, LOOK, REJECT, LOOK]
    assert found["class"].tolist() == ["good", "hole", "dent", ""], "of the foreign one nothing is guessed"
    np.testing.assert_allclose(found["probability"], [0.7, 0.3, 0.8, np.nan], atol=1e-6)
    np.testing.assert_allclose(found[["p:good", "p:dent", "p:hole"]], chances, atol=1e-6)
    assert "limit" in found["details"][3]


def test_what_a_person_should_see_comes_first():
    chances = [(0.9, 0.05, 0.05), (0.55, 0.4, 0.05), (0.49, 0.5, 0.01), (0.2, 0.4, 0.4), (0.1, 0.4, 0.5),
               (0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.5, 0.25, 0.25)]  # fmt: skip
    away = np.zeros((8, 4))
    away[6], away[7] = 50, 60
    found = tabulate(
        made_up.line(), made_up.threshold(), made_up.folder("abcdefgh"), made_up.measured(chances, away)
    )
    assert "".join(in_order(found)["file"]) == "hgcbedfa"


def test_the_same_picture_twice_is_told():
    found = tabulate(made_up.line(), made_up.threshold(), made_up.folder("abc", pixels="xyx"),
                     made_up.measured([(0.8, 0.1, 0.1)] * 3))  # fmt: skip
    assert found["same_as"].tolist() == ["", "", "a"]


@pytest.fixture(scope="module")
def inspected(run, tmp_path_factory):
    """Judge a folder of good and bad files; returns folder, line and verdicts by file."""
    root, known = tmp_path_factory.mktemp("new") / "ü $x", data_root(run)
    (root / "deep" / "er").mkdir(parents=True)
    (root / "ground_truth").mkdir()
    rng = np.random.default_rng(5)

    def plate(name, level=128, spread=12, size=(40, 56)):
        picture = rng.normal(level, spread, (*size, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(root / name)

    for name in ("plain.png", "deep/er/new\nline.png", 'it\'s, "odd" <b>.png', "ground_truth/m.png"):
        plate(name)
    plate("dark.png", level=30)
    plate("flat.png", spread=0)
    plate("large.png", size=(400, 560))
    plate("long.png", size=(24, 100))
    shutil.copy(known / "dent" / "0-0.png", root / "again.png")
    Image.open(known / "dent" / "0-0.png").save(root / "as.bmp")
    (root / "text.png").write_text("no image")
    (root / "cut.png").write_bytes((root / "large.png").read_bytes()[:999])
    (root / "empty.jpg").write_bytes(b"")
    Image.new("CMYK", (40, 40)).save(root / "cmyk.tif")
    (root / "x.gif").write_bytes(b"GIF89a")
    shutil.copy(root / "plain.png", os.fsencode(root) + b"/bad\xff.png")
    line = fitted_line(run, "guided_all")
    folder = read_folder(root)
    return folder, line, judge(run, line, threshold_of(run, line, 0.9), folder).set_index("file")


def test_every_file_is_judged_or_refused_by_name(inspected):
    folder, _, found = inspected
    refused = found[found["verdict"] == "refused"]
    assert set(refused.index) == {"text.png", "cut.png", "empty.jpg", "cmyk.tif", "x.gif", "bad\\udcff.png"}
    assert "CMYK" in refused.loc["cmyk.tif", "reason"]
    assert "UTF-8" in refused.loc["bad\\udcff.png", "reason"]
    assert "truncated" in refused.loc["cut.png", "reason"]
    assert set(found.index) - set(refused.index) == {
        "plain.png", "deep/er/new\nline.png", "it's, \"odd\" <b>.png", "dark.png", "flat.png", "large.png", "long.png",
        "again.png", "as.bmp",
    }  # fmt: skip
    assert any("ground_truth" in note for note in folder.notes)


def test_each_kind_of_foreign_picture_is_flagged(inspected):
    _, _, found = inspected
    for name, why in (("dark.png", "brightness"), ("flat.png", "contrast"), ("large.png", "size"),
                      ("long.png", "width by height")):  # fmt: skip
        assert found.loc[name, "verdict"] == LOOK
        assert found.loc[name, "reason"] == "foreign"
        assert why in found.loc[name, "details"]
        assert found.loc[name, "class"] == ""
    assert found.loc["plain.png", "reason"] != "foreign"


def test_a_labelled_image_is_known_again_whatever_its_name_and_format(inspected):
    _, _, found = inspected
    assert (
        found.loc["again.png", "seen_in_training"]
        == found.loc["as.bmp", "seen_in_training"]
        == "dent/0-0.png"
    )
    assert found.loc["as.bmp", "same_as"] == "again.png"
    assert found.loc["again.png", "distance"] < 1e-3
    assert found.loc["again.png", "nearest"] == "dent/0-0.png"
    assert found.loc["plain.png", "seen_in_training"] == ""


def test_labelled_pictures_get_the_labelled_images_own_columns(run):
    """From their files, by the steps for new pictures, where no map is among the columns."""
    line = fitted_line(run, "image")
    again = judge(run, line, threshold_of(run, line, 0.9), read_folder(data_root(run))).set_index("file")
    own = line.scores(labelled_measures(run, line.sources).columns)
    np.testing.assert_allclose(again.loc[index(run)["id"], "score"], own, atol=1e-4)
    assert (again["seen_in_training"] == again.index).all()


def test_pictures_that_are_inspected_change_no_fit(run, inspected):
    before = {name: run.store.digest(name) for name in run.store.names()}
    line = fitted_line(run, "guided_all")
    assert {name: run.store.digest(name) for name in run.store.names()} == before
    np.testing.assert_array_equal(line.reference.embeddings, inspected[1].reference.embeddings)


def test_one_picture_is_judged_alike_alone_and_among_others(run, inspected, tmp_path):
    folder, line, found = inspected
    shutil.copy(folder.root / "plain.png", tmp_path / "plain.png")
    alone = judge(run, line, threshold_of(run, line, 0.9), read_folder(tmp_path)).set_index("file")
    assert alone.loc["plain.png", "score"] == pytest.approx(found.loc["plain.png", "score"], abs=1e-4)
    assert alone.loc["plain.png", "distance"] == pytest.approx(found.loc["plain.png", "distance"], abs=1e-4)


def test_a_folder_without_a_usable_picture_is_refused_with_every_fault(tmp_path):
    with pytest.raises(DataError, match="no usable picture"):
        read_folder(tmp_path)
    (tmp_path / "a.png").write_text("x")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError) as told:
        read_folder(tmp_path)
    assert {fault.file for fault in told.value.faults} == {str(tmp_path), "a.png", "b.png"}
