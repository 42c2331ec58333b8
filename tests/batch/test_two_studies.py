"""The command `--compare`, on made-up finished studies: what it says, what it refuses, that it changes nothing."""

import json
import os
import shutil
from dataclasses import fields

import pandas as pd
import pytest

from lib.artifacts import MANIFEST, Store
from lib.batch.two_studies import SHORT, compare_studies, studies_to_compare
from lib.cli import parser
from lib.config import Study, UsageError
from lib.reporting.html_pages import NOTEBOOKS
from run_all import main
from tests.evaluation.made_up import study

LAST = f"notebooks/{NOTEBOOKS[-1]}.ipynb"
SKILL = {"image": 0.8, "map": 0.5, "image_map": 1.0}


def part(skill=SKILL, *, name="toy", said="The map helps (0.9).", images=None, folds=5, **settings):
    """Return a data set of a study; `images` changes the index."""
    return name, study(skill, keep=(0.5, 1.0), folds=folds, dataset=name), said, images, settings


def finish(folder, *parts):
    """Write a finished study, as far as it is compared."""
    artefacts, verdicts, conclusions = {}, [], []
    for name, predictions, said, images, settings in parts or [part()]:
        home = Store(folder / name)
        index = predictions.drop_duplicates("id")[["id", "label", "group"]].reset_index(drop=True)
        index["sha256"] = "digest of " + index["id"]
        index.attrs["good"] = "good"
        index = images(index) if images else index
        made = {"index.parquet": index, "predictions/imbalance.parquet": predictions}
        for file, table in made.items():
            home.make(file, {}, lambda path, table=table: table.to_parquet(path, index=False))
        values = Study.of("smoke", settings).values([item.name for item in fields(Study)])
        about = {"settings": values, "versions": {"torch": "2.0"}, "device": "cpu", "code": "0" * 64,
                 "made_with": {"numpy": {"2.1": 4, "2.0": 1}}}  # fmt: skip
        (home.root / "provenance.json").write_text(json.dumps(about))
        artefacts[f"/was/elsewhere/{name}"] = {file: home.digest(file) for file in made}
        verdicts.append({"dataset": name, **dict.fromkeys(SHORT, "In short 0.9.")})
        question = {"dataset": name, "question": "Does the map help?", "pill": "Yes", "answer": said}
        conclusions.append(question | {"evidence": "Recall: 0.8."})
    tables = folder / "tables"
    tables.mkdir(exist_ok=True)
    files = [tables / "verdicts.csv", tables / "conclusions.csv"]
    for file, rows in zip(files, (verdicts, conclusions), strict=True):
        pd.DataFrame(rows).to_csv(file, index=False)
    (folder / "study.json").write_text(json.dumps({"command": ["--study", folder.name], "settings": {}}))
    Store(folder).make(LAST, {}, lambda path: path.write_text("x") and {"files": files, "artefacts": artefacts})
    return folder


def asked(tmp_path, *more, pair=("a", "b")):
    options = ["--compare", *map(str, pair), "--output", str(tmp_path), *more]
    return studies_to_compare(parser().parse_args(options), parser().parse_args([]))


def refused(tmp_path, *more, pair=("a", "b")):
    with pytest.raises(UsageError) as told:
        asked(tmp_path, *more, pair=pair)
    return str(told.value)


def figures(tmp_path):
    return pd.read_csv(tmp_path / "a" / "tables" / "compared-with-b.csv")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_study_and_its_copy_agree_and_nothing_else_is_written(tmp_path, capsys):
    shutil.copytree(finish(tmp_path / "a"), tmp_path / "b")
    before = contents(tmp_path)
    assert main(["--compare", "a", str(tmp_path / "b"), "--output", str(tmp_path)]) == 0
    told, after = capsys.readouterr().out, contents(tmp_path)
    assert {path: after[path] for path in before} == before
    new = {path.relative_to(tmp_path).as_posix() for path in after.keys() - before.keys()}
    assert new == {"a/tables/compared-with-b.md", "a/tables/compared-with-b.csv"}
    assert "| nothing | – | – |" in told
    assert "The verdicts are the same" in told
    table = figures(tmp_path)
    assert len(table) == 9, "three feature sets in three measures, though there are two shares of defects kept"
    assert set(table["What is shown"]) == {"not tested: both make the same predictions"}
    assert set(table["Intervals"]) == {"paired"}


def test_what_differs_is_named_and_differences_are_paired_and_sentences_stand_side_by_side(tmp_path):
    finish(tmp_path / "a", part(said="Of 9 the map helps. Recommended: image."))
    b = finish(tmp_path / "b", part(SKILL | {"image": 3.0}, said="Of 8 the map helps. Recommended: both.", mlp=(4,)))
    about = json.loads((b / "toy" / "provenance.json").read_text())
    about |= {"versions": {"torch": "2.1", "timm": "1"}, "made_with": {"numpy": {"2.1": 9}}, "device": "H100"}
    (b / "toy" / "provenance.json").write_text(json.dumps(about))
    told = compare_studies(*asked(tmp_path))
    for row in ("settings: mlp | [16, 8] | [4]", "versions: torch | 2.0 | 2.1", "versions: timm | – | 1",
                "made with: numpy | 2.0, 2.1 | 2.1", "device | cpu | H100",
                "Does the map help? | Recommended: image. | Recommended: both."):  # fmt: skip
        assert f"| {row} |" in told
    assert "settings: folds" not in told
    assert "images in another" not in told
    table = figures(tmp_path).set_index(["Features", "Measure"])
    better = table.loc["Image", "AUC, good against defective"]
    assert better["What is shown"] == "B is better"
    assert better["B − A, 95 % CI: from"] > 0
    assert better["B"] - better["A"] == pytest.approx(better["B − A, 95 % CI: difference"])
    assert table.loc["Anomaly map", "What is shown"].str.startswith("not tested").all()
    assert set(table["Intervals"]) == {"paired"}


@pytest.mark.parametrize("other", [{"folds": 3}, {"seed": 5}])
def test_other_folds_or_another_seed_are_not_paired_and_it_says_so(tmp_path, other):
    finish(tmp_path / "a")
    finish(tmp_path / "b", part(**other))
    told = compare_studies(*asked(tmp_path))
    assert set(figures(tmp_path)["Intervals"]) == {"unpaired"}
    assert set(figures(tmp_path)["What is shown"]) == {"no measurable difference"}
    if "folds" in other:
        assert "| folds | 5 stratified | 3 stratified |" in told
        assert "| images in another fold | – | 114 of 150 |" in told


def relabelled(index):
    return index.assign(label=index["label"].where(index["id"] != "0003", "b"))


def other_content(index):
    return index.assign(sha256=index["sha256"].where(index["id"] != "0004", "another"))


def without(index):
    return index[6:]


def other_good(index):
    index.attrs["good"] = "a"
    return index


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (relabelled, "1 (0003)"),
        (other_content, "1 (0004)"),
        (without, "6 (0000, 0001, 0002, 3 more)"),
        (other_good, "100 (0000, 0001, 0003, 97 more)"),
    ],
)
def test_other_images_or_labels_are_refused_with_their_number_and_the_first(tmp_path, images, told):
    finish(tmp_path / "a", part(), part(name="own"))
    finish(tmp_path / "b", part(images=images), part(name="own"))
    assert f"toy: images that A and B do not both hold under one label: {told}; run both" in refused(tmp_path)
    assert list(asked(tmp_path, "--dataset", "own")[1][0]) == ["own"], "the way out"


def test_a_study_that_is_missing_not_finished_altered_or_of_an_earlier_version_is_refused(tmp_path):
    assert "a: no such study" in refused(tmp_path)
    a, b = finish(tmp_path / "a"), finish(tmp_path / "b")
    (b / (LAST + MANIFEST)).rename(tmp_path / "kept")
    told = refused(tmp_path)
    assert f"b: not finished: {LAST}: no readable manifest; first run python run_all.py --study b" in told
    (tmp_path / "kept").rename(b / (LAST + MANIFEST))
    Store(b / "toy").make("index.parquet", {"again": 1}, lambda path: path.write_text("x") and None)
    (a / "toy" / "provenance.json").write_text(json.dumps({"settings": {"patch_size": 3}}))
    told = refused(tmp_path)
    assert "index.parquet is not what its tables rest on; first run" in told
    assert "a: not finished, or of an earlier version: it has other settings; first run" in told
    (a / "toy" / "provenance.json").unlink()
    assert "earlier version" in refused(tmp_path)
    (b / "tables" / "verdicts.csv").write_text("dataset,pill\n")
    assert "verdicts.csv was made with it and is missing or altered" in refused(tmp_path)


def test_all_else_that_is_wrong_is_told_at_once(tmp_path, monkeypatch):
    finish(tmp_path / "a")
    finish(tmp_path / "b", part(name="own"))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert "one and the same study twice" in refused(tmp_path, pair=("a", "link"))
    monkeypatch.setattr(os, "access", lambda path, how: False)
    told = refused(tmp_path, "--set", "folds=3", "--inspect", "x", "--force")
    for issue in ("--set: this takes", "--inspect: this takes", "--force: this takes",
                  "tables: cannot be written", "no data set in common: A holds toy, B own"):  # fmt: skip
        assert issue in told
    assert "A holds none of shaft" in refused(tmp_path, "--dataset", "shaft")
    assert main(["--compare", "a", "b", "--output", str(tmp_path)]) == 2
