"""Executed notebooks as HTML pages that hold all they need: nothing is fetched from elsewhere, no script runs."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

NOTEBOOKS = (
    *("00_dataset", "01_draem_training", "02_anomaly_maps", "03_features"),
    *("04_classification", "05_imbalance_study", "06_statistics"),
)
TEMPLATES = Path(__file__).parent / "templates"


def notebook_html(path: Path, name: str, where: str, *, embed: bool = True) -> str:
    """Return an executed notebook as one HTML page; `where` is the data set (or study) in its title.

    Of `NOTEBOOKS`, the last one is in the study's own folder, the others in the data set's; any other notebook is below
    the data set's, in `inspection/NAME/`. Without `embed` images are linked where their files are there.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import TagRemovePreprocessor
    from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor

    notebook = nbformat.read(path, as_version=4)
    for output in (one for cell in notebook.cells for one in cell.get("outputs", []) if "metadata" in one):
        file = output.metadata.get("file")
        kinds = [kind for kind in ("png", "svg") if file and (path.parent / f"{file}.{kind}").is_file()]
        output.metadata["files"] = {kind: f"{file}.{kind}" for kind in kinds}
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    title = re.search(r"^# (.+)$", texts[0], re.MULTILINE) if texts else None
    parts = [heading for text in texts for heading in re.findall(r"^## (.+)$", text, re.MULTILINE)]
    parameters = notebook.metadata.get("papermill", {}).get("parameters", {})
    links = _links(name)
    here = next(number for number, link in enumerate(links) if link["here"])
    page = {
        "title": f"{title[1] if title else name} · {where}",
        "where": where,
        "embed": embed,
        "css": (TEMPLATES / "page.css").read_text(encoding="utf-8"),
        "links": links,
        "before": links[here - 1],
        "after": links[(here + 1) % len(links)],
        "contents": [(part, quote(part.replace(" ", "-"), safe="?/:@!$&'()*+,;=")) for part in parts],
        "parameters": [(key, json.dumps(value, ensure_ascii=False)) for key, value in parameters.items()],
    }
    removed = TagRemovePreprocessor(remove_cell_tags=["remove-cell"], enabled=True)
    look = {"extra_template_basedirs": [str(TEMPLATES)], "template_name": "study", "anchor_link_text": "#"}
    exporter = HTMLExporter(**look, preprocessors=[removed, CoalesceStreamsPreprocessor])
    rendered, _ = exporter.from_notebook_node(notebook, resources={"page": page})
    return str(rendered)


def _links(name: str) -> list[dict[str, Any]]:
    """Return links to the study's index and the notebooks of the same data set (or study), in order."""
    up = "../" if name == NOTEBOOKS[-1] else "../../" if name in NOTEBOOKS else "../../../../"
    pages = {"Index": f"{up}index.html"}
    if name != NOTEBOOKS[-1]:
        folder = "" if name in NOTEBOOKS else "../../../notebooks/"
        pages |= {other: f"{folder}{other}.html" for other in NOTEBOOKS[:-1]}
    last = NOTEBOOKS[-1] if name in NOTEBOOKS else name
    pages[last] = f"{up}notebooks/{last}.html" if last != name else f"{name}.html"
    return [{"href": to, "text": page.replace("_", " "), "here": page == name} for page, to in pages.items()]


def render(template: str, **values: Any) -> str:
    """Return one of the templates filled with values, each escaped but where the template marks it as safe."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
