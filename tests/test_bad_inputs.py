"""Bad input is refused before anything starts, with its name and a way out; odd input that is sound is taken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import run_all
from lib.artifacts import Store
from lib.datasets.errors import printable
from tests.bad_inputs import (
    BAD_FILES,
    CASES,
    COMMANDS,
    NAMED_COMMANDS,
    carry_out,
    command_line,
    draw,
    draw_bad_files,
    draw_parts,
)

WHOLE = {"index.parquet", "folds.parquet"}  # what reading the images may leave, if they were sound


def check_refusal(folder, status, said, told):
    """Check that the command failed with these words, and left nothing that counts as made."""
    assert status == 2 and "Traceback" not in said
    for part in told:
        assert part in said
    for output in folder.rglob("smoke"):
        store = Store(output)
        assert {name.rpartition("/")[2] for name in store.names()} <= WHOLE
        assert not any(store.verify().values())
    left = [path.name for path in folder.rglob("*")]
    assert not {"notebooks", "study.json", ".writable", "harm"} & set(left)
    assert not [name for name in left if ".partial" in name]


@pytest.mark.parametrize("options", [*COMMANDS, *NAMED_COMMANDS])
def test_a_wrong_command_is_refused(options, tmp_path, monkeypatch):
    draw_parts(tmp_path / "parts")
    arguments = command_line(tmp_path, options, named=options in NAMED_COMMANDS)
    told = (COMMANDS | NAMED_COMMANDS)[options]
    check_refusal(tmp_path, *carry_out(arguments, monkeypatch), told)


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused(case, tmp_path, monkeypatch):
    draw_parts(tmp_path / "parts")
    prepare, named, told = CASES[case]
    arguments = command_line(tmp_path, prepare(tmp_path, monkeypatch), named)
    check_refusal(tmp_path, *carry_out(arguments, monkeypatch), told)


def test_bad_files_are_refused_together_by_name_or_left_out_and_listed(tmp_path, monkeypatch):
    draw_bad_files(draw_parts(tmp_path / "parts"), monkeypatch)
    status, said = carry_out(command_line(tmp_path, None), monkeypatch)
    check_refusal(tmp_path, status, said, [f"{len(BAD_FILES)} issues", "--skip-bad leaves these files out"])
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    for file, (_, issue, remedy) in BAD_FILES.items():
        assert issue in lines[file] and remedy in lines[file]

    table = taken(tmp_path, "--skip-bad")
    listed = {row["file"]: row["issue"] for row in table.attrs["skipped"]}
    assert listed.keys() == BAD_FILES.keys()
    assert all(issue in listed[file] for file, (_, issue, _) in BAD_FILES.items())
    assert len(table) == 16 and not {*table["id"], *table["mask"].dropna()} & set(BAD_FILES)


def taken(folder, *options, data=None):
    """Carry out a command that must be accepted; return the index of its data set."""
    data = data or folder / "parts"
    with pytest.MonkeyPatch.context() as patch:
        status, said = carry_out(command_line(folder, ["--data", data, *options]), patch)
    table = pd.read_parquet(folder / "out" / "smoke" / data.name / "index.parquet")
    note = table.attrs["note"]
    assert (status, said) == (0, f"{printable(data.name)}: {printable(note)}\n" if note else "")
    return table


ODD = ("it's", 'say "x"', "{x} {0} {}", "line\nbreak", "tab\t", "Gehäuse 壳", "%s $HOME `id`", "-x", "n" * 200)


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_names(name, tmp_path):
    data = draw_parts(tmp_path / name)
    (data / "dent").rename(data / f"d {name}")
    draw(data / "good" / f"{name}.png")
    table = taken(tmp_path, data=data)
    assert f"good/{name}.png" in set(table["id"])
    assert set(table["label"]) == {"good", "crack", f"d {name}"}


def test_every_colour_mode_and_spelling_that_the_rule_names(tmp_path):
    folder = draw_parts(tmp_path / "parts") / "good"
    rng = np.random.default_rng(0)
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA"):
        rgb = Image.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8))
        rgb.convert(mode).save(folder / f"mode-{mode}.PNG")
    deep = np.arange(120, dtype=np.uint16).reshape(10, 12) * 500
    Image.fromarray(deep).save(folder / "deep.TIFF")
    upright = Image.Exif()
    upright[0x0112] = 6  # a quarter turn
    rgb.resize((40, 20)).save(folder / "turned.JPG", exif=upright)
    draw(folder / "deeper/still/1.bmp")
    for clutter in (".hidden.png", "Thumbs.db", ".DS_Store"):
        (folder / clutter).write_bytes(b"no image")
    table = taken(tmp_path).set_index("id")
    assert len(table) == 18 + 6 + 3
    assert tuple(table.loc["good/turned.JPG", ["width", "height"]]) == (20, 40)
    assert table.loc["good/deeper/still/1.bmp", "label"] == "good"


def test_empty_and_missing_masks_are_noted_not_refused(tmp_path):
    masks = draw_parts(tmp_path / "parts") / "ground_truth"
    draw(masks / "crack/0.png", 255)
    draw(masks / "crack/1_mask.png", 0)
    table = taken(tmp_path)
    assert table["mask"].notna().sum() == 2
    assert "empty masks of defective images: ground_truth/crack/1_mask.png" in table.attrs["note"]
    assert "defective images without a mask: 6 (crack/2.png" in table.attrs["note"]


def test_a_data_folder_that_is_a_link(tmp_path):
    draw_parts(tmp_path / "elsewhere")
    (tmp_path / "parts").symlink_to(tmp_path / "elsewhere")
    assert len(taken(tmp_path, data=tmp_path / "elsewhere")) == 18
    assert len(taken(tmp_path, "--study", "smoke", data=tmp_path / "elsewhere")) == 18


def test_options_at_their_edge(tmp_path):
    draw_parts(tmp_path / "parts")
    options = ("--jobs", "0", "--set", "keep=0.001,1", "--group-regex", r"\d", "--set", "folds=4")
    table = taken(tmp_path, *options)  # a class keeps one image at least; without a group the whole match counts
    assert set(table["group"]) == set("0123456789")


def test_too_few_images_to_fit_on_can_still_be_looked_at(tmp_path):
    for number in range(2):
        for label in ("good", "crack"):
            draw(tmp_path / "parts" / label / f"{number}.png")
    assert len(taken(tmp_path, "--only", "00")) == 4


def test_what_was_refused_is_taken_once_mended(tmp_path):
    draw_parts(tmp_path / "parts")
    for number in range(60):
        (tmp_path / f"parts/good/empty-{number}.png").write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        status, said = carry_out(command_line(tmp_path, None), patch)
    listed = tmp_path / "out/smoke/parts/faults.csv"
    assert status == 2 and str(listed) in said
    assert len(pd.read_csv(listed)) == 60
    for bad in (tmp_path / "parts/good").glob("empty-*"):
        bad.unlink()
    assert len(taken(tmp_path)) == 18 and not listed.exists()


def test_a_study_that_is_half_done_needs_only_the_rest_of_the_disk(tmp_path):
    draw_parts(tmp_path / "parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=400_000))
        assert carry_out(command_line(tmp_path, None), patch)[0] == 2
        store = tmp_path / "out/smoke/parts"
        (store / "maps").mkdir()
        (store / "maps/grouped-0.npy").write_bytes(bytes(3_000_000))
        assert carry_out(command_line(tmp_path, None), patch)[0] == 0


def test_all_sources_are_reported_at_once(tmp_path):
    data = draw_parts(tmp_path / "parts")
    (data / "good/x.png").write_bytes(b"")
    (tmp_path / "w.pth").write_bytes(b"no weights")
    shutil.copytree(data / "dent", tmp_path / "textures/a")
    (tmp_path / "textures/a/x.png").write_bytes(b"no image")
    options = ["--weights", tmp_path / "w.pth", "--textures", tmp_path / "textures"]
    with pytest.MonkeyPatch.context() as patch:
        status, said = carry_out(command_line(tmp_path, options), patch)
    assert status == 2
    for part in ("w.pth: damaged", "a/x.png", "good/x.png"):
        assert part in said


def test_what_is_notable_of_the_images_is_printed_before_anything_starts(tmp_path):
    data = draw_parts(tmp_path / "parts")
    (data / "scratch").mkdir()
    for options in ((), ("--dry-run",)):
        with pytest.MonkeyPatch.context() as patch:
            status, said = carry_out([*command_line(tmp_path, None), *options], patch)
        assert status == 0 and said.startswith("parts: folders without images are no classes: scratch\n")


def test_several_products_of_one_folder_are_data_sets(tmp_path):
    for product in ("bottle", "cable"):
        draw_parts(tmp_path / "parts" / product / "test")
    with pytest.MonkeyPatch.context() as patch:
        assert carry_out(command_line(tmp_path, "--dataset bottle cable"), patch)[0] == 0
    for product in ("bottle", "cable"):
        index = pd.read_parquet(tmp_path / "out/smoke" / product / "index.parquet")
        assert len(index) == 18 and index["id"].str.startswith("test/").all()


def test_a_closed_pipe_is_a_quiet_end():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, Path(run_all.__file__), "--list"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert done.stderr == b"" and done.returncode == 141
