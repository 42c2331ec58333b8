"""Pages for readers: an executed notebook as HTML, and the study's index page; nothing is fetched from elsewhere."""

from __future__ import annotations

import base64
import html
import json
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbconvert import HTMLExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor
from traitlets.config import Config

TEMPLATES = Path(__file__).parent / "templates"
CONTENTS = "<!-- contents -->"  # the template's place for the list of headings
PACKAGES = (
    "torch",
    "torchvision",
    "scikit-learn",
    "scipy",
    "statsmodels",
    "pandas",
    "numpy",
    "seaborn",
    "papermill",
)


def versions() -> pd.DataFrame:
    """Return the versions of Python, the system and the packages that the figures depend on."""
    rows = [("Python", platform.python_version()), ("system", f"{platform.system()} {platform.machine()}")]
    rows += [(name, version(name)) for name in PACKAGES]
    return pd.DataFrame(rows, columns=["software", "version"]).set_index("software")


def notebook_html(path: Path, name: str, where: str, series: Sequence[str], *, embed: bool = True) -> str:
    """Return an executed notebook as one HTML page; `where` is the data set (or study) in its title.

    `series` names all notebooks in order; the last one stands in the study's own folder, and one that is none of them
    below the data set's, in `inspection/NAME/`. What the notebook ran with
    (papermill's record of it) stands at the page's top, code is folded, and no script runs on the page. Without
    `embed` pictures are linked where their files are there.
    """
    notebook = nbformat.read(path, as_version=4)
    heading = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)
    exporter = HTMLExporter(
        config=Config({"TagRemovePreprocessor": {"remove_cell_tags": ["remove-cell"], "enabled": True}}),
        extra_template_basedirs=[str(TEMPLATES)],
        template_name="study",
        anchor_link_text="#",
        preprocessors=[TagRemovePreprocessor, CoalesceStreamsPreprocessor],
    )
    for output in (one for cell in notebook.cells for one in cell.get("outputs", []) if "metadata" in one):
        file = output.metadata.get("file")
        kinds = [kind for kind in ("png", "svg") if file and (path.parent / f"{file}.{kind}").is_file()]
        output.metadata["files"] = {kind: f"{file}.{kind}" for kind in kinds}
    given = notebook.metadata.get("papermill", {}).get("parameters", {})
    page = {
        "title": f"{heading.group(1) if heading else name} · {where}",
        "where": where,
        "embed": embed,
        "css": (TEMPLATES / "page.css").read_text(encoding="utf-8"),
        "links": _links(name, series),
        "around": _around(name, series),
        "parameters": [(key, json.dumps(value, ensure_ascii=False)) for key, value in given.items()],
    }
    rendered, _ = exporter.from_notebook_node(notebook, resources={"page": page})
    return _with_contents(str(rendered))


def _with_contents(page: str) -> str:
    """Return the page with plain, unique heading anchors, and a list of its parts in the place for it."""
    taken: set[str] = set()
    parts: list[str] = []

    def anchored(match: re.Match[str]) -> str:
        level, old, text = match.groups()
        plain = re.sub(r"\W+", "-", unquote(html.unescape(old)).lower()).strip("-") or "part"
        anchor = next(name for n in count(1) if (name := plain if n == 1 else f"{plain}-{n}") not in taken)
        taken.add(anchor)
        if level == "2":
            parts.append(f'<li><a href="#{anchor}">{text}</a></li>')
        return f'<h{level} id="{anchor}">{text}<a class="anchor-link" href="#{anchor}"'

    page = re.sub(r'<h([1-6]) id="([^"]*)">(.*?)<a class="anchor-link" href="[^"]*"', anchored, page)
    return page.replace(CONTENTS, "".join(parts), 1)


def _links(name: str, series: Sequence[str]) -> list[dict[str, Any]]:
    """Link the study's index and the notebooks of the same folder, or of the data set that an inspection is by."""
    if name not in series:
        links = [{"href": "../../../../index.html", "text": "Index", "here": False}]
        links += [
            {"href": f"../../../notebooks/{item}.html", "text": item.replace("_", " "), "here": False}
            for item in series[:-1]
        ]
        return [*links, {"href": f"{name}.html", "text": name.replace("_", " "), "here": True}]
    of_study = name == series[-1]
    up = "../" if of_study else "../../"
    here = [name] if of_study else list(series[:-1])
    links = [{"href": up + "index.html", "text": "Index", "here": False}]
    links += [{"href": f"{item}.html", "text": item.replace("_", " "), "here": item == name} for item in here]
    if not of_study:
        text = series[-1].replace("_", " ")
        links.append({"href": f"{up}notebooks/{series[-1]}.html", "text": text, "here": False})
    return links


def _around(name: str, series: Sequence[str]) -> list[dict[str, str]]:
    """Link the notebook before and after, and the index where there is none."""
    links = _links(name, series)
    place = next(number for number, link in enumerate(links) if link["here"])
    before, after = links[place - 1], links[(place + 1) % len(links)]
    return [
        {"href": link["href"], "text": f"{arrow[0]}{link['text']}{arrow[1]}"}
        for link, arrow in ((before, ("← ", "")), (after, ("", " →")))
    ]


def accessible(table: str) -> str:
    """Return pandas' HTML of a frame with scopes on its header cells and no empty header cell."""
    head, body = table.split("</thead>", 1)
    head = head.replace("<th></th>", "<td></td>").replace("<th>", '<th scope="col">')
    return head + "</thead>" + re.sub(r"<th(?=[ >])", '<th scope="row"', body)


def embedded(picture: bytes, kind: str = "png") -> str:
    """Return a picture file's bytes as an address that holds the picture itself."""
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode()


def render_index(**parts: Any) -> str:
    """Return the study's index page from plain values; everything but the tables' own HTML is escaped here."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    return environment.get_template("index.html.j2").render(css=css, **parts)
