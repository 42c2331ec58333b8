"""The copy of a study for readers: complete, small, without the machine's paths; and as new as the notebooks."""

import html
import io
import json
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lib.artifacts import file_sha256
from lib.reporting.html_pages import NOTEBOOKS
from lib.reporting.reference_copy import HOME, copy_study, fewer_colours, without_paths

ROOT = Path(__file__).parents[2]
MACHINE = re.compile(r"(?<![\w./-])/(?:home|root|tmp|work|usr|mnt|private|Users)/")
COPIES = sorted(path.parent for path in HOME.glob("*/made.json"))


def machine_paths(folder):
    texts = [path for path in folder.rglob("*") if path.suffix in (".html", ".ipynb", ".json", ".csv", ".md")]
    assert texts
    return [
        f"{path}: {found.group()}" for path in texts for found in [MACHINE.search(path.read_text())] if found
    ]


def test_a_copy_holds_all_that_readers_need_and_no_path_of_the_machine(standin, tmp_path):
    study = standin[0]
    page = copy_study(study, tmp_path / "copy")
    assert page == tmp_path / "copy" / "index.html"
    folder = tmp_path / "copy" / "deco_cap-synthetic"
    for name in NOTEBOOKS[:-1]:
        assert (folder / "notebooks" / f"{name}.html").is_file()
        cells = json.loads((folder / "notebooks" / f"{name}.ipynb").read_text())["cells"]
        shown = [set(one.get("data", {})) for cell in cells for one in cell.get("outputs", [])]
        assert any("text/html" in kinds or "image/png" in kinds for kinds in shown)
        assert not any({"text/plain", "text/html"} <= kinds for kinds in shown)
    copied = {path.name for path in (folder / "figures").iterdir()}
    assert copied == {path.name for path in (study / folder.name / "figures").glob("*.png")}
    assert not list(tmp_path.rglob("*.parquet"))
    made = json.loads((tmp_path / "copy" / "made.json").read_text())
    assert "--preset smoke" in made["command"]
    assert made["notebooks"]["04_classification"] == file_sha256(
        ROOT / "notebooks" / "04_classification.ipynb"
    )


def broken_links(folder):
    """Return the links and pictures of all pages that lead to no file."""
    found = []
    for page in folder.rglob("*.html"):
        for target in re.findall(r'(?:href|src)="([^"]*)"', page.read_text()):
            plain = unquote(html.unescape(target)).split("#")[0]
            if plain and not plain.startswith(("data:", "https:")) and not (page.parent / plain).is_file():
                found.append(f"{page.name}: {plain}")
    return found


def test_every_link_of_a_copy_resolves(standin, tmp_path):
    for photographs in (True, False):
        copy_study(standin[0], tmp_path / "copy", photographs=photographs)
        assert broken_links(tmp_path / "copy") == []


def test_without_photographs_the_data_s_pictures_stay_at_home(standin, tmp_path):
    copy_study(standin[0], tmp_path / "copy", photographs=False)
    names = {path.stem for path in tmp_path.rglob("*.png")}
    assert "recalls" in names
    assert not names & {"samples", "simulation", "image-and-map", "hits-and-misses"}
    assert not list(tmp_path.rglob("*.ipynb"))
    index = (tmp_path / "copy" / "index.html").read_text()
    assert "00_dataset.html" not in index
    assert index.count("data:image/jpeg") == 6  # image and map of three classes


def test_paths_of_the_machine_become_names(standin, tmp_path):
    """The study's folder lies in a temporary one, whose path stands in the executed notebooks."""
    study = standin[0]
    executed = (study / "deco_cap-synthetic" / "notebooks" / "03_features.ipynb").read_text()
    assert str(study) in executed
    copy_study(study, tmp_path / "copy")
    assert str(study) not in "".join(p.read_text() for p in tmp_path.rglob("*.ipynb"))
    assert (
        "DIR/smoke"
        in (tmp_path / "copy" / "deco_cap-synthetic" / "notebooks" / "03_features.html").read_text()
    )


def test_an_unfinished_study_is_refused(standin, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.json").write_text((standin[0] / "study.json").read_text())
    with pytest.raises(FileNotFoundError, match="not finished"):
        copy_study(tmp_path / "s", tmp_path / "copy")


def test_a_picture_gets_smaller_and_keeps_its_texts():
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
    texts, buffer = PngInfo(), io.BytesIO()
    texts.add_itxt("Description", "what it shows")
    picture.save(buffer, "PNG", pnginfo=texts)
    small = fewer_colours(buffer.getvalue())
    assert len(small) < 0.6 * len(buffer.getvalue())
    opened = Image.open(io.BytesIO(small))
    assert opened.info["Description"] == "what it shows"
    assert np.abs(np.asarray(opened.convert("RGB")).astype(int) - np.asarray(picture)).mean() < 40


def test_commands_name_files_without_the_way_to_them():
    command = ["--weights", "embedded", "--data", "../secret/place/tiles", "--set", "folds=5"]
    assert without_paths(command) == ["--weights", "embedded", "--data", "DIR/tiles", "--set", "folds=5"]


@pytest.mark.skipif(not COPIES, reason="outputs/reference holds nothing yet (make reference)")
def test_the_reference_is_as_new_as_the_notebooks():
    made = json.loads((HOME / "standins" / "made.json").read_text())["notebooks"]
    behind = [n for n in NOTEBOOKS if made.get(n) != file_sha256(ROOT / "notebooks" / f"{n}.ipynb")]
    assert not behind, f"outputs/reference shows older versions of {', '.join(behind)}: run `make reference`"


@pytest.mark.skipif(not COPIES, reason="outputs/reference holds nothing yet (make reference)")
def test_the_reference_is_small_and_names_no_machine():
    size = sum(path.stat().st_size for path in HOME.rglob("*") if path.is_file())
    assert size < 15e6, f"{size / 1e6:.1f} MB"
    assert not machine_paths(HOME)
    assert broken_links(HOME) == []
