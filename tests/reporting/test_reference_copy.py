"""The copy of a study for readers: complete, small, without the machine's paths; and as new as the notebooks."""

import html
import io
import json
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image, ImageColor
from PIL.PngImagePlugin import PngInfo

from lib.artifacts import file_sha256
from lib.reporting.html_pages import NOTEBOOKS
from lib.reporting.style import LINES
from tests.reference_copy import HOME, copy_study, fewer_colours, shows_products, without_paths

ROOT = Path(__file__).parents[2]
MACHINE = re.compile(r"(?<![\w./-])/(?:home|root|tmp|work|usr|mnt|private|Users)/")
COPIES = sorted(path.parent for path in HOME.glob("*/made.json"))


@pytest.fixture(scope="module")
def copies(standin, tmp_path_factory):
    """The copy of a study with photographs, and the one without."""
    folder = tmp_path_factory.mktemp("copies")
    for photographs in (True, False):
        page = copy_study(standin[0], folder / str(photographs), photographs=photographs)
        assert page == folder / str(photographs) / "index.html"
    return folder / "True", folder / "False"


def broken_links(folder):
    """Return the links and images of all pages that lead to no file."""
    found = []
    for page in folder.rglob("*.html"):
        for target in re.findall(r'(?:href|src)="([^"]*)"', page.read_text()):
            plain = unquote(html.unescape(target)).split("#")[0]
            if plain and not plain.startswith(("data:", "https:")) and not (page.parent / plain).is_file():
                found.append(f"{page.name}: {plain}")
    return found


def test_a_copy_holds_all_that_readers_need(standin, copies):
    study, (copy, _) = standin[0], copies
    folder = copy / "deco_cap-synthetic"
    for name in NOTEBOOKS[:-1]:
        assert (folder / "notebooks" / f"{name}.html").is_file()
        cells = json.loads((folder / "notebooks" / f"{name}.ipynb").read_text())["cells"]
        kinds = [set(one.get("data", {})) for cell in cells for one in cell.get("outputs", [])]
        assert any("text/html" in one or "image/png" in one for one in kinds)
        assert not any({"text/plain", "text/html"} <= one for one in kinds)
    for place in ("figures", "tables"):
        files = {path.name for path in (study / place).iterdir() if path.suffix != ".svg"}
        assert {path.name for path in (copy / place).iterdir()} == files
    assert not list(copy.rglob("*.parquet"))
    made = json.loads((copy / "made.json").read_text())
    assert "--preset smoke" in made["command"]
    source = ROOT / "notebooks" / "04_classification.ipynb"
    assert made["notebooks"]["04_classification"] == file_sha256(source)


def test_every_link_of_a_copy_resolves(copies):
    assert [broken_links(copy) for copy in copies] == [[], []]


def test_without_photographs_the_data_s_images_stay_at_home(standin, copies):
    names = {path.stem for path in copies[1].rglob("*.png")}
    shown = {path.stem for path in standin[0].rglob("figures/*.png") if shows_products(path)}
    assert "curve" in names and {"samples", "gallery"} <= shown
    assert not names & shown
    assert not list(copies[1].rglob("*.ipynb"))
    assert "data:image/jpeg" in (copies[0] / "index.html").read_text()
    pages = list(copies[1].rglob("*.html"))
    assert {*NOTEBOOKS, "index"} <= {page.stem for page in pages}
    assert not [page for page in pages if "data:image" in page.read_text()]


def test_paths_of_the_machine_become_names(standin, copies):
    """The study's folder is in a temporary one, whose path is in the executed notebooks."""
    name = Path("deco_cap-synthetic") / "notebooks" / "03_features"
    assert str(standin[0]) in (standin[0] / name).with_suffix(".ipynb").read_text()
    assert str(standin[0]) not in "".join(path.read_text() for path in copies[0].rglob("*.ipynb"))
    assert "DIR/smoke" in (copies[0] / name).with_suffix(".html").read_text()


def test_an_unfinished_study_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="not finished"):
        copy_study(tmp_path / "s", tmp_path / "copy")


def test_an_image_gets_smaller_and_keeps_its_texts():
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    texts, buffer = PngInfo(), io.BytesIO()
    texts.add_itxt("Description", "what it shows")
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=texts)
    small = fewer_colours(buffer.getvalue())
    assert len(small) < 0.6 * len(buffer.getvalue())
    opened = Image.open(io.BytesIO(small))
    assert opened.info["Description"] == "what it shows"
    assert np.abs(np.asarray(opened.convert("RGB")).astype(int) - pixels).mean() < 40


def test_the_colours_of_feature_sets_stay_as_they_are():
    colours = [ImageColor.getrgb(colour) for colour in LINES.values()]
    pixels = np.random.default_rng(0).integers(200, 255, (60, 80, 3), dtype=np.uint8)
    for place, colour in enumerate(colours):  # a line with its paler edges
        pixels[10 * place + 5], pixels[10 * place + 6] = colour, np.add(colour, 255) // 2
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    with Image.open(io.BytesIO(fewer_colours(buffer.getvalue()))) as small:
        assert small.mode == "P" and len(small.getcolors(256)) <= 256
        found = np.asarray(small.convert("RGB"))
    assert [tuple(found[10 * place + 5, 40]) for place in range(len(colours))] == colours


def test_commands_name_files_without_the_way_to_them():
    command = ["--weights", "imagenet", "--data", "../secret/place/tiles", "--set", "folds=5"]
    assert without_paths(command) == ["--weights", "imagenet", "--data", "DIR/tiles", "--set", "folds=5"]


@pytest.mark.skipif(not COPIES, reason="outputs/reference holds nothing yet (make reference)")
def test_the_reference_is_as_new_as_the_notebooks():
    made = json.loads((HOME / "demo" / "made.json").read_text())["notebooks"]
    behind = [n for n in NOTEBOOKS if made.get(n) != file_sha256(ROOT / "notebooks" / f"{n}.ipynb")]
    assert not behind, f"outputs/reference shows older versions of {', '.join(behind)}: run `make reference`"


@pytest.mark.skipif(not COPIES, reason="outputs/reference holds nothing yet (make reference)")
def test_the_reference_is_small_and_names_no_machine():
    size = sum(path.stat().st_size for path in HOME.rglob("*") if path.is_file())
    assert size < 15e6, f"{size / 1e6:.1f} MB"
    texts = [path for path in HOME.rglob("*") if path.suffix in (".html", ".ipynb", ".json", ".csv", ".md")]
    assert not [path for path in texts if MACHINE.search(path.read_text())]
    assert broken_links(HOME) == []
