"""The command `--inspect`: all that is wrong is told before anything runs; then a whole inspection by a small study."""

import base64
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.artifacts import Store
from lib.batch.finished_study import DEFAULT_RECALL, export_request, inspection_request, results_folder
from lib.batch.notebooks import snapshot
from lib.cli import parser, plan
from lib.config import Study, UsageError
from lib.reporting.index_page import _notebooks
from lib.synthetic.products import render
from tests.whole import run_all


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    Image.new("RGB", (32, 32), (90, 90, 90)).save(folder / "a.png")
    return folder


def pretend(study, name, dataset, *, data="", predictions=True):
    """Write what the command looks for in a data set of a finished study."""
    store = Store(study / name)
    given = {"DATASET": dataset, "PRESET": "smoke", "DATA_DIR": str(data), "OVERRIDES": {"folds": 3},
             "OUTPUT_DIR": "moved/since", "SCHEDULER": ""}  # fmt: skip
    store.make("notebooks/04_classification.ipynb", {"parameters": given}, lambda path: path.write_text("x") and None)
    store.make("index.parquet", {}, lambda path: path.write_text("x") and None)
    if predictions:
        store.make("predictions/classification.parquet", {}, lambda path: path.write_text("x") and None)
    record = {"command": ["--dataset", "deco_cap", "--study", "it's"], "settings": {}}
    (study / "study.json").write_text(json.dumps(record))


def asked(tmp_path, pictures, *more):
    options = ["--inspect", str(pictures), "--study", "line", "--output", str(tmp_path / "out"), *more]
    return inspection_request(parser().parse_args(options), parser().parse_args([]))


def refused(tmp_path, pictures, *more):
    with pytest.raises(UsageError) as told:
        asked(tmp_path, pictures, *more)
    return str(told.value)


def test_a_finished_study_is_asked_as_it_was_run(tmp_path, pictures):
    pretend(tmp_path / "out" / "line", "deco_cap-synthetic", "deco_cap")
    run, home, parameters = asked(tmp_path, pictures, "--recall", "99.5", "--features", "image_map")
    assert run.study.folds == 3
    assert home == tmp_path / "out" / "line" / "deco_cap-synthetic" / "inspection" / "new"
    assert parameters["RECALL"] == 99.5
    assert parameters["FEATURES"] == "image_map"
    assert parameters["INSPECT_DIR"] == str(pictures)
    assert parameters["OUTPUT_DIR"] == str(tmp_path / "out" / "line"), "where the study lies now"
    assert asked(tmp_path, pictures)[2]["RECALL"] == DEFAULT_RECALL


def test_several_data_sets_ask_which_and_it_may_be_named_either_way(tmp_path, pictures):
    study = tmp_path / "out" / "line"
    pretend(study, "deco_cap-synthetic", "deco_cap")
    pretend(study, "plates", "plates", data=tmp_path)
    told = refused(tmp_path, pictures)
    assert "deco_cap-synthetic, plates: choose one with --dataset" in told
    for name, run in (("deco_cap", "deco_cap-synthetic"), ("deco_cap-synthetic", "deco_cap-synthetic"),
                      ("plates", "plates")):  # fmt: skip
        assert asked(tmp_path, pictures, "--dataset", name)[0].name == run
    pretend(study, "deco_cap", "deco_cap", data=tmp_path)
    assert asked(tmp_path, pictures, "--dataset", "deco_cap")[0].name == "deco_cap", "its own name goes first"
    shutil.rmtree(study / "deco_cap")
    assert "name one of deco_cap-synthetic, plates" in refused(tmp_path, pictures, "--dataset", "shaft")
    assert "name one of" in refused(tmp_path, pictures, "--dataset", "plates", "deco_cap")


def test_a_study_that_is_not_there_not_finished_or_damaged_is_refused_with_the_command_to_run(tmp_path, pictures):
    study = tmp_path / "out" / "line"
    assert "no such study" in refused(tmp_path, pictures)
    study.mkdir(parents=True)
    assert "not finished; first run python run_all.py --study line" in refused(tmp_path, pictures)
    pretend(study, "deco_cap-synthetic", "deco_cap", predictions=False)
    told = refused(tmp_path, pictures)
    assert "classification.parquet: no readable manifest" in told
    assert """first run python run_all.py --dataset deco_cap --study 'it'"'"'s'""" in told
    pretend(study, "deco_cap-synthetic", "deco_cap", data=tmp_path / "gone")
    assert "labelled images are no longer there" in refused(tmp_path, pictures)


@pytest.mark.parametrize("recall", ["0", "-5", "100.1", "nan", "inf", "1"])
def test_a_recall_out_of_range_is_refused(tmp_path, pictures, recall):
    pretend(tmp_path / "out" / "line", "deco_cap-synthetic", "deco_cap")
    assert "a percentage above 1, at most 100" in refused(tmp_path, pictures, "--recall", recall)


def test_all_faults_are_told_at_once(tmp_path):
    told = refused(tmp_path, tmp_path / "none", "--recall", "0.99", "--features", "image_mpa", "--set", "folds=4",
                   "--from", "04", "--dry-run")  # fmt: skip
    for part in ("none: no such folder", "did you mean 99?", "did you mean 'image_map'", "--set: this takes",
                 "--from: this takes", "--dry-run: this takes", "no such study"):  # fmt: skip
        assert part in told


def test_pictures_within_the_study_or_around_it_are_refused(tmp_path, pictures):
    study = tmp_path / "out" / "line"
    pretend(study, "deco_cap-synthetic", "deco_cap")
    (study / "new").mkdir()
    assert "move the images" in refused(tmp_path, study / "new")
    assert "move the images" in refused(tmp_path, tmp_path)


def test_a_folder_without_a_usable_picture_is_refused_with_every_fault(tmp_path):
    pretend(tmp_path / "out" / "line", "deco_cap-synthetic", "deco_cap")
    folder = tmp_path / "bad"
    folder.mkdir()
    assert "no usable image" in refused(tmp_path, folder)
    (folder / "a.png").write_text("x")
    (folder / "b.jpg").write_bytes(b"")
    told = refused(tmp_path, folder)
    assert "a.png" in told
    assert "b.jpg" in told


def test_recall_and_features_are_for_an_inspection_only(tmp_path):
    with pytest.raises(UsageError, match="--recall: for an inspection or export only"):
        plan(parser().parse_args(["--recall", "99", "--preset", "smoke", "--output", str(tmp_path)]))


def test_another_folder_of_the_same_name_gets_results_of_its_own(tmp_path, pictures):
    pretend(tmp_path / "out" / "line", "deco_cap-synthetic", "deco_cap")
    finished, home, parameters = asked(tmp_path, pictures)
    record = {"parameters": parameters}
    Store(home).make("notebooks/07_inspection.ipynb", record, lambda path: path.write_text("x") and None)
    assert results_folder(finished, pictures) == home
    other = results_folder(finished, tmp_path / "elsewhere" / "new")
    assert other.parent == home.parent
    assert re.fullmatch("new-[0-9a-f]{6}", other.name)


def test_an_inspection_makes_no_notebook_of_the_study_stale(tmp_path):
    store = Store(tmp_path)
    fitted = (
        "production_model/image_map.safetensors",
        "maps/final-0.npy",
        "patchcore/final-0-inner-1.safetensors",
        "unseen.csv",
    )
    results = ("inspection/new/verdicts.csv", "inspection/new/notebooks/07_inspection.ipynb")
    for name in ("maps/grouped-0.npy", *fitted, *results):
        store.make(name, {}, lambda path: path.write_text("x") and None)
    assert set(snapshot(tmp_path)) == {"maps/grouped-0.npy"}
    assert set(snapshot(tmp_path, inspecting=True)) == {"maps/grouped-0.npy", *fitted}


def test_a_study_means_the_same_on_a_machine_with_a_gpu_and_on_one_without(tmp_path, monkeypatch):
    options = ("--preset", "standard", "--set", "folds=4", "--output", str(tmp_path))
    known = {}
    for there in (True, False):
        monkeypatch.setattr("lib.config.cuda_available", lambda there=there: there)
        known[there] = plan(parser().parse_args(options))
    assert known[True].study.image_size == 256 != known[False].study.image_size
    for there, work in known.items():
        monkeypatch.setattr("lib.config.cuda_available", lambda there=there: not there)
        assert Study.of("standard", work.overrides) == work.study


def test_an_export_takes_no_option_that_would_do_nothing(tmp_path):
    pretend(tmp_path / "out" / "line", "deco_cap-synthetic", "deco_cap")
    options = ["--export", str(tmp_path / "a.onnx"), "--study", "line", "--output", str(tmp_path / "out"), "--force"]
    with pytest.raises(UsageError, match="--force: this takes finished studies as they are"):
        export_request(parser().parse_args(options), parser().parse_args([]))


def test_the_index_page_links_a_data_sets_inspections(tmp_path):
    for name in ("plates/notebooks/00_dataset.html", "plates/inspection/a b/notebooks/07_inspection.html"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    links = _notebooks(tmp_path, "plates")
    assert [link["text"] for link in links] == ["00 dataset", "inspection of a b"]
    assert links[1]["href"] == "plates/inspection/a%20b/notebooks/07_inspection.html"


def test_new_pictures_are_judged_and_the_page_says_on_what(standin, tmp_path):
    study = standin[0]
    folder = tmp_path / "ü it's <b>new</b> {x}"
    (folder / "deep").mkdir(parents=True)
    for number, label in enumerate(("good", "marks", "flowlines")):
        picture, _ = render("deco_cap", label, 900, 64, 744)
        Image.fromarray(picture).save(folder / "deep" / f"{number} $x$.png")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "black.png")
    known = next((study / "deco_cap-synthetic" / "synthetic" / "marks").glob("*.png"))
    shutil.copy(known, folder / "known.png")
    (folder / "broken.png").write_bytes(known.read_bytes()[:200])
    shutil.copy(known, os.fsencode(folder) + b"/\xff.png")
    before = snapshot(study / "deco_cap-synthetic")
    command = ("--inspect", folder, "--preset", "smoke", "--output", study.parent, "--recall", "99")
    done = run_all(*command)
    home = study / "deco_cap-synthetic" / "inspection" / folder.name
    found = pd.read_csv(home / "verdicts.csv", keep_default_na=False).set_index("file")
    assert set(found.index) == {"deep/0 $x$.png", "deep/1 $x$.png", "deep/2 $x$.png", "black.png", "known.png",
                                "broken.png", "\\udcff.png"}  # fmt: skip
    assert found.loc["black.png", "reason"] == "out of distribution"
    assert found.loc["known.png", "seen_in_training"] == f"marks/{known.name}"
    assert set(found.index[found["verdict"] == "refused"]) == {"broken.png", "\\udcff.png"}
    assert "2 refused" in done.stdout
    page = (home / "notebooks" / "07_inspection.html").read_text()
    for part in ("cannot be guaranteed", "demo data", "random-init", "16 defective images and 8 good images",
                 "../../../../index.html", "labelled image marks"):  # fmt: skip
        assert part in page, part
    assert "<b>new" not in page
    assert {p.suffix for p in (home / "figures").glob("see-first.*")} == {".png"}
    after = snapshot(study / "deco_cap-synthetic")
    assert {name: after[name] for name in before} == before, "nothing of the study is changed"
    assert "proven, nothing to do" in run_all(*command).stdout
    assert run_all("--verify", "--preset", "smoke", "--output", study.parent).returncode == 0


def report(study, target, *more):
    return run_all("--single-file", target, "--study", study.name, "--output", study.parent, *more, check=False)


@pytest.mark.parametrize(("fault", "said"), [
    (["r.txt"], "name a file.html"), (["no/such/r.html"], "in a folder that is there"),
    (["r.html", "--study", "none"], "no such study"), (["r.html", "--seed", "1"], "unrecognized"),
    (["r.html", "--force"], "--force"), (["r.html", "--set", "folds=3"], "--set"),
])  # fmt: skip
def test_a_report_of_no_finished_study_is_refused(standin, tmp_path, fault, said):
    path, *more = fault
    done = report(standin[0], tmp_path / path, *more)
    assert done.returncode == 2 and said in done.stderr
    assert not list(tmp_path.iterdir())


def test_no_pictures_is_for_reports_only():
    with pytest.raises(UsageError, match="--no-pictures: for a report only"):
        plan(parser().parse_args(["--no-pictures"]))


def test_a_report_is_one_file_that_needs_no_other_and_may_show_no_product(standin, tmp_path):
    study = standin[0]
    whole, bare = tmp_path / "whole.html", tmp_path / "bare.html"
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    assert report(study, whole).returncode == 0
    assert report(study, bare, "--no-pictures").returncode == 0
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before, "the study is only read"
    texts = {path: path.read_text(encoding="utf-8") for path in (whole, bare)}
    for text in texts.values():
        assert set(re.findall(r' href="(.)', text)) == {"#"}
        assert set(re.findall(r' src="(.{11})', text)) == {"data:image/"}
        for number in ("00 dataset", "04 classification", "06 statistics"):
            assert number in text
        assert str(study.parent) not in text, "no folder of this machine is named"
        assert text.count("<h1") == 1
    assert "data:image/jpeg" in texts[whole] and "data:image/jpeg" not in texts[bare]
    for name in ("samples", "image-and-map", "simulation", "gallery"):
        png = study / "deco_cap-synthetic" / "figures" / f"{name}.png"
        inside = base64.b64encode(png.read_bytes()).decode()
        assert inside in texts[whole] and inside not in texts[bare], name
    curve = (study / "deco_cap-synthetic" / "figures" / "curve.png").read_bytes()
    assert base64.b64encode(curve).decode() in texts[bare], "figures of numbers stay"
