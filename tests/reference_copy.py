"""A small copy of a finished study for readers, under `outputs/reference/` (for maintainers; `--help` says how)."""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageColor
from PIL.PngImagePlugin import PngInfo

from lib.artifacts import Store, write_text
from lib.pipeline.run import PROJECT, open_run
from lib.reporting.html_pages import NOTEBOOKS, notebook_html
from lib.reporting.index_page import index_html, versions
from lib.reporting.single_file import without_paths as named_without_way
from lib.reporting.style import LINES, OUTLINE
from lib.synthetic.products import PRODUCTS

if TYPE_CHECKING:
    from nbformat import NotebookNode

HOME = PROJECT / "outputs" / "reference"
WIDTH = 960  # pixels of a figure on a page
PATHS = ("--data", "--weights", "--textures", "--draem-checkpoint", "--groups", "--output")


def copy_study(study_dir: Path, target: Path, *, data: str = "", photographs: bool = True) -> Path:
    """Copy what readers need of a finished study into `target`, anew, and return its index page.

    Tables, figures (PNG with fewer colours, linked by the pages), executed notebooks and pages. Without `photographs`
    the figures with the data's own images are left out everywhere, and the notebooks, which hold them. Raises
    `FileNotFoundError` where the study is not finished.
    """
    if not (study_dir / "index.html").exists():
        raise FileNotFoundError(f"{study_dir}: not finished (no index.html); run run_all.py first")
    record = json.loads((study_dir / "study.json").read_text(encoding="utf-8"))
    preset = record["settings"].pop("preset")
    order = [f"{name}-synthetic" for name in PRODUCTS]
    names = [path.parent.name for path in study_dir.glob("*/index.parquet")]
    names.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
    plain = [name.removesuffix("-synthetic") for name in names]
    runs = [open_run(name, preset, data, str(study_dir), record["settings"]) for name in plain]
    shutil.rmtree(target, ignore_errors=True)
    for folder in (study_dir, *(study_dir / name for name in names)):
        _copy_folder(folder, target / folder.relative_to(study_dir), names, photographs)
    command = "python run_all.py " + shlex.join(without_paths(record["command"]))
    homes = dict.fromkeys(NOTEBOOKS[:-1], runs[0].store) | {NOTEBOOKS[-1]: Store(study_dir)}
    manifests = {name: home.manifest(f"notebooks/{name}.ipynb") for name, home in homes.items()}
    sources = {name: manifest["inputs"]["source"] for name, manifest in manifests.items() if manifest}
    made = {"command": command, "versions": versions()["version"].to_dict(), "notebooks": sources}
    write_text(target / "made.json", json.dumps(made, indent=1) + "\n")
    index = target / "index.html"
    write_text(index, index_html(runs, target, command, embed=False, pictures=photographs))
    for file in (path for path in target.rglob("*") if path.suffix in (".html", ".ipynb", ".csv", ".md")):
        write_text(file, named_without_way(file.read_text(encoding="utf-8"), runs))
    return index


def _copy_folder(source: Path, target: Path, names: Sequence[str], photographs: bool) -> None:
    """Copy tables, figures and notebooks of a study's or a data set's folder."""
    import nbformat

    for name in ("tables", "figures", "notebooks"):
        (target / name).mkdir(parents=True, exist_ok=True)
    for path in (source / "tables").glob("*"):
        if path.suffix in (".csv", ".html"):
            shutil.copyfile(path, target / "tables" / path.name)
    for path in (source / "figures").glob("*.png"):
        if photographs or not shows_products(path):
            (target / "figures" / path.name).write_bytes(fewer_colours(path.read_bytes()))
    for name in NOTEBOOKS:
        path, copy = source / "notebooks" / f"{name}.ipynb", target / "notebooks" / f"{name}.ipynb"
        if not path.exists():
            continue
        nbformat.write(portable(nbformat.read(path, as_version=4)), copy)
        page = notebook_html(copy, name, source.name, datasets=names, embed=False, pictures=photographs)
        write_text(copy.with_suffix(".html"), page)
        if not photographs:
            copy.unlink()


def shows_products(figure: Path) -> bool:
    """Return whether a figure of a study holds photographs, of which no SVG is saved."""
    return not figure.with_suffix(".svg").exists()


def fewer_colours(png: bytes) -> bytes:
    """Return a PNG as wide as on a page, with 256 colours and the same texts; itself where that would be no smaller.

    The colours of feature sets stay as they are.
    """
    texts, buffer = PngInfo(), io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        for key, value in image.info.items():
            if isinstance(value, str):
                texts.add_itxt(str(key), value)
        width = min(image.width, WIDTH)
        shown = image.convert("RGB").resize(
            (width, round(image.height * width / image.width)), Image.Resampling.LANCZOS
        )
        full = np.asarray(shown)
    ours = [ImageColor.getrgb(colour) for colour in sorted({*LINES.values(), OUTLINE})]
    few = 256 - len(ours)
    median = Image.fromarray(full).quantize(few, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    places, colours = (np.array(median), np.reshape([*(median.getpalette() or ())][: 3 * few], (-1, 3)).tolist())
    for colour in ours:
        places[(full == colour).all(axis=2)] = len(colours)
        colours.append(colour)
    reduced = Image.fromarray(places, "P")
    reduced.putpalette(np.ravel(colours).tolist())
    reduced.save(buffer, "PNG", optimize=True, pnginfo=texts)
    return min(buffer.getvalue(), png, key=len)


def portable(notebook: NotebookNode) -> NotebookNode:
    """Return an executed notebook with smaller images and without the paths and times of the machine it ran on.

    Tables and images go without their second rendering as plain text.
    """
    parameters = notebook.metadata.get("papermill", {}).get("parameters", {})
    notebook.metadata["papermill"] = {"parameters": parameters}
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if len(data) > 1:
                data.pop("text/plain", None)
            if "image/png" in data:
                small = fewer_colours(base64.b64decode(data["image/png"]))
                data["image/png"] = base64.b64encode(small).decode()
    return notebook


def without_paths(command: Sequence[str]) -> list[str]:
    """Return a command line whose folders and files are named without the way to them."""
    return [
        f"DIR/{Path(part).name}" if before in PATHS and ("/" in part or os.sep in part) else part
        for before, part in zip(["", *command], command, strict=False)
    ]


def main() -> None:
    """Copy a finished study for readers."""
    reader = argparse.ArgumentParser(description="Copy a finished study, small, for readers.")
    reader.add_argument("study", type=Path, help="the study's folder")
    reader.add_argument("name", help="name of the copy below outputs/reference")
    reader.add_argument("--data", default="", help="where the study's images are, if they were not drawn")
    about = "leave out figures of the data's images"
    reader.add_argument("--without-photographs", action="store_false", dest="photographs", help=about)
    given = reader.parse_args()
    print(copy_study(given.study.resolve(), HOME / given.name, data=given.data, photographs=given.photographs))


if __name__ == "__main__":
    main()
