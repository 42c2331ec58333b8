"""A finished study's report as one HTML file to hand on: index page and notebooks, everything embedded."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from lib.artifacts import write_text
from lib.evaluation.published_results import display_name
from lib.pipeline.run import Run
from lib.reporting.html_pages import NOTEBOOKS, notebook_html
from lib.reporting.index_page import index_html

_MAIN = re.compile(r'<main id="main">(.*)</main>', re.DOTALL)
_HEADING = re.compile(r"(</?h)([1-6])(?=[ >])")
_LINKING = re.compile(r'(<[a-z]+\b[^<>]*?) (?:href|id)="[^"]*"')  # what links pages, and what is linked


def write_single_file(runs: Sequence[Run], home: Path, command: str, target: Path, *, pictures: bool = True) -> None:
    """Write the report of the study in `home` to `target`, without `pictures` none of the products' photographs."""
    pages = list(_pages(runs, home, pictures))
    page = index_html(runs, home, command, pictures=pictures, pages=pages)
    write_text(target, without_paths(page, runs))


def without_paths(text: str, runs: Sequence[Run]) -> str:
    """Return a text in which the folders and files of this machine that a study names are named without the way."""
    home = Path(runs[0].study_dir)
    told = [home, home.parent, *(one for run in runs for one in (*vars(run.study).values(), run.data_dir))]
    named = set(map(str, told))
    for path in sorted((one for one in named if Path(one).is_absolute()), key=len, reverse=True):
        text = text.replace(path, f"DIR/{Path(path).name}")
    return text


def _pages(runs: Sequence[Run], home: Path, pictures: bool) -> Iterator[dict[str, str]]:
    """Yield title and content of each executed notebook, its links and anchors taken out."""
    places = [(run.name, name) for run in runs for name in NOTEBOOKS[:-1]]
    for dataset, name in [*places, ("", NOTEBOOKS[-1])]:
        path = home / dataset / "notebooks" / f"{name}.ipynb"
        found = _MAIN.search(notebook_html(path, name, dataset or home.name, pictures=pictures))
        assert found, "the template has a main part"
        title = " · ".join(filter(None, [name.replace("_", " "), display_name(dataset)]))
        text = _HEADING.sub(lambda tag: f"{tag[1]}{min(int(tag[2]) + 3, 6)}", found[1])
        while text != (text := _LINKING.sub(r"\1", text)):
            pass
        text = text.replace("<a>SVG</a>", "")
        yield {"title": title, "html": text}
