"""Executed notebooks as HTML pages that hold all they need: nothing is fetched from elsewhere, no script runs."""

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

NEXT = {  # the series, and why to read each after the one before
    "00_dataset": "what there is to learn from",
    "01_draem_training": "how a model learns what a good product looks like",
    "02_anomaly_maps": "whether the maps point at real defects",
    "03_features": "what the classifier sees of images and maps",
    "04_classification": "whether the map helps to find defects",
    "05_imbalance_study": "what happens with fewer labelled defects",
    "06_statistics": "whether the differences are real, over all data sets",
}
NOTEBOOKS = tuple(NEXT)
INDEX_TABLES = ("verdicts", "checks", "conclusions")  # by 06, which the index page is made of
TEMPLATES = Path(__file__).parent / "templates"
_SETUP = {"setup", "parameters", "injected-parameters"}


def notebook_html(
    path: Path, name: str, where: str, *, datasets: Sequence[str] = (), embed: bool = True, pictures: bool = True
) -> str:
    """Return an executed notebook as one HTML page; `where` is the folder of the data set (or study) it is about.

    Of `NOTEBOOKS`, the last one is in the study's own folder, the others in the data set's; any other notebook is below
    the data set's, in `inspection/NAME/`. `datasets`: folders of all the study's data sets, whose pages are linked.
    Without `embed` images are linked where their files are there; without `pictures` those of products are left out.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor

    from lib.evaluation.published_results import display_name

    notebook = nbformat.read(path, as_version=4)
    for cell in [] if pictures else [one for one in notebook.cells if one.cell_type == "code"]:
        cell.outputs = [one for one in cell.outputs if not one.get("metadata", {}).get("photographs")]
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    title = re.search(r"^# (.+)$", texts[0], re.MULTILINE) if texts else None
    over_all, listed = name == NOTEBOOKS[-1], name in NOTEBOOKS
    above = [one.name for one in path.absolute().parents][0 if over_all else 1 if listed else 3 :]
    dataset, study = "" if over_all else display_name(where if listed else above[0]), above[1]
    links = _links(name)
    here = next(number for number, link in enumerate(links) if link["here"])
    page = {
        "title": " · ".join(filter(None, [title[1] if title else name, dataset, f"study {study}"])),
        "dataset": dataset,
        "images": "" if listed else where,
        "study": study,
        "number": f"{NOTEBOOKS.index(name) + 1} of {len(NOTEBOOKS)}" if listed else "",
        "beside": _beside(name, where, {one: display_name(one) for one in datasets}),
        "embed": embed,
        "css": (TEMPLATES / "page.css").read_text(encoding="utf-8"),
        "links": links,
        "before": links[here - 1],
        "after": links[(here + 1) % len(links)],
        "provenance": _arrange(notebook, path.parent),
    }
    look = {"template_name": "study", "exclude_anchor_links": True}
    look |= {"extra_template_basedirs": [str(TEMPLATES)], "preprocessors": [CoalesceStreamsPreprocessor]}
    return str(HTMLExporter(**look).from_notebook_node(notebook, resources={"page": page})[0])


def _arrange(notebook: Any, folder: Path) -> str:
    """Make the set-up cells one at the end, name the files of figures, and return the provenance, taken out."""
    setup = [cell for cell in notebook.cells if _SETUP & {*cell.metadata.get("tags", [])}]
    told = ""
    for cell in notebook.cells:
        for output in [one for one in cell.get("outputs", []) if "metadata" in one]:
            if "provenance" in output.metadata:
                told = output.metadata["provenance"]
                cell.outputs.remove(output)
            file = output.metadata.get("file")
            kinds = [kind for kind in ("png", "svg") if file and (folder / f"{file}.{kind}").is_file()]
            output.metadata["files"] = {kind: f"{file}.{kind}" for kind in kinds}
    if setup:
        setup[0].source = "\n\n".join(cell.source for cell in setup)
        setup[0].outputs = [output for cell in setup for output in cell.outputs]
        setup[0].metadata["tags"] = ["setup"]
        notebook.cells = [cell for cell in notebook.cells if cell not in setup] + setup[:1]
    return told


def _links(name: str) -> list[dict[str, Any]]:
    """Return links to the study's index and the notebooks of the same data set (or study), in order."""
    *series, last = NOTEBOOKS
    up, folder = {True: ("../../", ""), False: ("../../../../", "../../../notebooks/")}[name in series]
    pages = {"Index": f"{up}index.html"} | {one: f"{folder}{one}.html" for one in series}
    pages |= {last: f"{up}notebooks/{last}.html"} if name in series else {name: f"{name}.html"}
    if name == last:
        pages = {"Index": "../index.html", last: f"{last}.html"}
    return [
        {"href": to, "text": page.replace("_", " "), "here": page == name, "why": NEXT.get(page, "")}
        for page, to in pages.items()
    ]


def _beside(name: str, where: str, titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return links to this page of the other data sets, or from the page over all of them to all pages of each."""
    if name == NOTEBOOKS[-1]:
        pages = {page[:2]: f"notebooks/{page}.html" for page in NOTEBOOKS[:-1]}
        return [
            {"name": title, "links": {short: f"../{quote(one)}/{page}" for short, page in pages.items()}}
            for one, title in titles.items()
        ]
    page = f"notebooks/{name}.html"
    others = {title: f"../../{quote(one)}/{page}" for one, title in titles.items() if one != where}
    return [{"name": "also", "links": others}] if others and name in NOTEBOOKS else []


def data_url(content: bytes, kind: str = "png") -> str:
    """Return the address of an image that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def embedded(save: Callable[..., Any], kind: str = "png", **options: Any) -> str:
    """Return the `data_url` of the image that `save` writes to a file, as Pillow's and matplotlib's do."""
    buffer = io.BytesIO()
    save(buffer, format=kind, **options)
    return data_url(buffer.getvalue(), kind)


def render(template: str, **values: Any) -> str:
    """Return one of the templates filled with values, each escaped but where the template marks it as safe."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
