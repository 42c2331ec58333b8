"""A finished study as a small copy for readers, under `outputs/reference/` (`--help` says how)."""

from __future__ import annotations

import argparse
import base64
import binascii
import io
import json
import os
import shlex
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lib.artifacts import Store, write_text
from lib.batch.notebooks import NOTEBOOKS
from lib.config import Study
from lib.pipeline.run import PROJECT, Run, open_run
from lib.reporting.html_pages import notebook_html, versions
from lib.reporting.index_page import write_index
from lib.synthetic.products import PRODUCTS

HOME = PROJECT / "outputs" / "reference"
PHOTOGRAPHS = (
    "samples",
    "simulation",
    "image-and-map",
    "hits-and-misses",
)  # figures that show the data's own pictures
PATHS = ("--data", "--weights", "--textures", "--draem-checkpoint", "--groups", "--output")


def copy_study(study_dir: Path, target: Path, *, data: str = "", photographs: bool = True) -> Path:
    """Copy what readers need of a finished study into `target`, anew, and return its index page.

    Tables, figures (PNG with fewer colours, linked by the pages), executed notebooks and pages. Without `photographs`
    the figures that show the data's own pictures are left out, and with them the notebooks; the index page keeps one
    small picture per class. Raises `FileNotFoundError` where the study is not finished.
    """
    record = json.loads((study_dir / "study.json").read_text(encoding="utf-8"))
    runs = runs_of(study_dir, record["settings"], data)
    if not (study_dir / "index.html").exists():
        raise FileNotFoundError(f"{study_dir}: not finished (no index.html); run run_all.py first")
    shutil.rmtree(target, ignore_errors=True)
    folders = [study_dir, *(run.store.root for run in runs)]
    for folder in folders:
        here = target / folder.relative_to(study_dir)
        for path in sorted((folder / "tables").glob("*")):
            if path.suffix in (".csv", ".md", ".html"):
                _copy(path, here / "tables" / path.name)
        for path in sorted((folder / "figures").glob("*.png")):
            if photographs or path.stem not in PHOTOGRAPHS:
                _write(here / "figures" / path.name, smaller(path.read_bytes()))
        for path in sorted((folder / "notebooks").glob("*.ipynb")) if photographs else ():
            if path.stem in NOTEBOOKS:
                notebook = portable(nbformat.read(path, as_version=4))
                nbformat.write(notebook, _made(here / "notebooks" / path.name))
                page = notebook_html(
                    here / "notebooks" / path.name, path.stem, folder.name, NOTEBOOKS, embed=False
                )
                write_text(here / "notebooks" / f"{path.stem}.html", page)
    command = "python run_all.py " + shlex.join(without_paths(record["command"]))
    homes = dict.fromkeys(NOTEBOOKS[:-1], runs[0].store) | {NOTEBOOKS[-1]: Store(study_dir)}
    records = {name: store.manifest(f"notebooks/{name}.ipynb") for name, store in homes.items()}
    sources = {name: record["inputs"]["source"] for name, record in records.items() if record}
    about: dict[str, Any] = {
        "command": command,
        "versions": versions()["version"].to_dict(),
        "notebooks": sources,
    }
    write_text(target / "made.json", json.dumps(about, indent=1) + "\n")
    index = write_index(runs, target, command, NOTEBOOKS, embed=False)
    settings = [value for value in record["settings"].values() if isinstance(value, str)]
    told = {
        path
        for path in (*settings, *(run.data_dir for run in runs), str(study_dir))
        if Path(path).is_absolute()
    }
    for file in target.rglob("*"):
        if file.suffix in (".html", ".ipynb", ".csv", ".md"):
            _without_ways(file, told)
    return index


def _without_ways(file: Path, paths: Collection[str]) -> None:
    """Name the `paths` in a text file without the way to them, as `without_paths` does in a command."""
    text = file.read_text(encoding="utf-8")
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, f"DIR/{Path(path).name}")
    write_text(file, text)


def runs_of(study_dir: Path, settings: dict[str, Any], data: str = "") -> list[Run]:
    """Return the runs of a study's data sets, from the settings that it wrote down."""
    base = Study.of(settings["preset"]).values([name for name in settings if name != "preset"])
    changed = {name: settings[name] for name, value in base.items() if settings[name] != value}
    folders = sorted(path.parent.name for path in study_dir.glob("*/index.parquet"))
    order = [f"{name}-synthetic" for name in PRODUCTS]
    folders.sort(key=lambda name: order.index(name) if name in order else len(order))
    names = [name.removesuffix("-synthetic") for name in folders]
    return [open_run(name, settings["preset"], data, str(study_dir), changed) for name in names]


def smaller(picture: bytes) -> bytes:
    """Return a PNG with 64 colours and the same texts; itself where it has a palette or that would be no smaller."""
    with Image.open(io.BytesIO(picture)) as opened:
        if opened.mode == "P":
            return picture
        told = {key: value for key, value in opened.info.items() if isinstance(value, str)}
        reduced = opened.convert("RGB").quantize(
            64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
    texts = PngInfo()
    for key, value in told.items():
        texts.add_itxt(str(key), str(value))
    buffer = io.BytesIO()
    reduced.save(buffer, "PNG", optimize=True, pnginfo=texts)
    return min(buffer.getvalue(), picture, key=len)


def portable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return an executed notebook with smaller pictures and without the paths and times of the machine it ran on.

    Tables and pictures go without their second rendering as plain text.
    """
    told = notebook.metadata.get("papermill", {})
    notebook.metadata["papermill"] = {"parameters": told.get("parameters", {})}
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if len(data) > 1:
                data.pop("text/plain", None)
            picture = data.get("image/png")
            if picture:
                data["image/png"] = base64.b64encode(smaller(binascii.a2b_base64(picture))).decode()
    return notebook


def without_paths(command: Sequence[str]) -> list[str]:
    """Return a command line whose folders and files are named without the way to them."""
    shown: list[str] = []
    for part in command:
        is_path = bool(shown) and shown[-1] in PATHS and ("/" in part or os.sep in part)
        shown.append(f"DIR/{Path(part).name}" if is_path else part)
    return shown


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write(path: Path, content: bytes) -> None:
    _made(path).write_bytes(content)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, _made(target))


def main() -> None:
    """Copy a finished study for readers."""
    reader = argparse.ArgumentParser(description="Copy a finished study, small, for readers.")
    reader.add_argument("study", type=Path, help="the study's folder")
    reader.add_argument("name", help="name of the copy below outputs/reference")
    reader.add_argument("--data", default="", help="where the study's pictures are, if they were not drawn")
    reader.add_argument(
        "--without-photographs", action="store_true", help="leave out figures of the data's pictures"
    )
    options = reader.parse_args()
    target = HOME / options.name
    page = copy_study(
        options.study.resolve(), target, data=options.data, photographs=not options.without_photographs
    )
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{page}: {size / 1e6:.1f} MB in all")


if __name__ == "__main__":
    main()
