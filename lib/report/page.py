"""Pages for readers: an executed notebook as HTML, and the study's index page; nothing is fetched from elsewhere."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import pandas as pd
from jinja2 import Environment, FileSystemLoader
from nbconvert import HTMLExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor
from traitlets.config import Config

from lib.store import write_text

TEMPLATES = Path(__file__).parent / "templates"
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


def notebook_html(path: Path, name: str, where: str, series: Sequence[str]) -> str:
    """Return an executed notebook as one HTML page; `where` is the data set (or study) in its title.

    `series` names all notebooks in order; the last one stands in the study's own folder.
    """
    notebook = nbformat.read(path, as_version=4)
    heading = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)
    exporter = HTMLExporter(
        config=Config({"TagRemovePreprocessor": {"remove_cell_tags": ["remove-cell"], "enabled": True}}),
        extra_template_basedirs=[str(TEMPLATES)],
        template_name="study",
        anchor_link_text="",
        preprocessors=[TagRemovePreprocessor, CoalesceStreamsPreprocessor],
    )
    resources = {
        "study_title": f"{heading.group(1) if heading else name} · {where}",
        "study_css": (TEMPLATES / "page.css").read_text(encoding="utf-8"),
        "study_links": _links(name, series),
    }
    html, _ = exporter.from_notebook_node(notebook, resources=resources)
    return str(html)


def _links(name: str, series: Sequence[str]) -> list[dict[str, Any]]:
    """Link the study's index and the notebooks of the same folder."""
    of_study = name == series[-1]
    up = "../" if of_study else "../../"
    here = [name] if of_study else list(series[:-1])
    links = [{"href": up + "index.html", "text": "Index", "here": False}]
    links += [{"href": f"{item}.html", "text": item.replace("_", " "), "here": item == name} for item in here]
    if not of_study:
        text = series[-1].replace("_", " ")
        links.append({"href": f"{up}notebooks/{series[-1]}.html", "text": text, "here": False})
    return links


def render_index(
    study_dir: Path,
    *,
    title: str,
    badges: Sequence[str],
    datasets: Sequence[Mapping[str, Any]],
    tables: Sequence[Mapping[str, Any]],
    figures: Sequence[Mapping[str, Any]],
    settings: pd.DataFrame,
    times: pd.DataFrame,
    command: str,
) -> Path:
    """Write `index.html` of a study from plain values (everything is escaped here) and return its path."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    page = environment.get_template("index.html.j2").render(
        title=title,
        css=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
        badges=badges,
        datasets=datasets,
        tables=tables,
        figures=figures,
        settings=settings.to_html(border=0, index_names=False, classes="wide-text"),
        times=times.to_html(border=0),
        versions=versions().to_html(border=0),
        command=command,
        statistics="notebooks/06_statistics.html",
        finished=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(study_dir / "index.html", page)
    return study_dir / "index.html"


def figure_entry(study_dir: Path, path: Path, alt: str) -> dict[str, str]:
    """Return a figure's links relative to the study's folder, and its alternative text."""
    href = quote(path.relative_to(study_dir).as_posix())
    return {"href": href, "svg": href.removesuffix("png") + "svg", "alt": alt}
