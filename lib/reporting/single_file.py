"""A finished study's report as one HTML file to hand on: index page and notebooks, everything embedded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lib.artifacts import write_text
from lib.evaluation.published_results import display_name
from lib.pipeline.run import Run
from lib.reporting.html_pages import NOTEBOOKS, notebook_html
from lib.reporting.index_page import index_html

_MAIN = re.compile(r'<main id="main">(.*)</main>', re.DOTALL)
_LINKING = re.compile(r'(<[a-z]+\b[^<>]*?) (?:href|id)="[^"]*"')  # what links pages, and what is linked


def write_single_file(
    runs: Sequence[Run], home: Path, command: str, target: Path, *, pictures: bool = True
) -> None:
    """Write the report of the study in `home` to `target`, without `pictures` none of the products' photographs."""
    pages = list(_pages(runs, home, pictures))
    write_text(target, index_html(runs, home, command, pictures=pictures, pages=pages))


def _pages(runs: Sequence[Run], home: Path, pictures: bool) -> Iterator[dict[str, str]]:
    """Yield title and content of each executed notebook, its links and anchors taken out."""
    places = [(run.name, name) for run in runs for name in NOTEBOOKS[:-1]]
    for dataset, name in [*places, ("", NOTEBOOKS[-1])]:
        path = home / dataset / "notebooks" / f"{name}.ipynb"
        found = _MAIN.search(notebook_html(path, name, dataset or home.name, pictures=pictures))
        assert found, "the template has a main part"
        title = " · ".join(filter(None, [name.replace("_", " "), display_name(dataset)]))
        text = found[1]
        while text != (text := _LINKING.sub(r"\1", text)):
            pass
        yield {"title": title, "html": text}
