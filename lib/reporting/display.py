"""What notebooks use to show results: headline, figures and tables that are saved, folds, provenance."""

from __future__ import annotations

import base64
import dataclasses
import html
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pandas.api.types import is_float

from lib.anomaly_maps.detectors import detector
from lib.artifacts import write_text
from lib.config import Study, as_text
from lib.datasets.csv_text import csv_text
from lib.evaluation.published_results import display_name
from lib.pipeline.run import Run
from lib.reporting.html_pages import render
from lib.reporting.table import MISSING, Table, as_markdown, html_table

if TYPE_CHECKING:
    from IPython.display import HTML, Markdown
    from matplotlib.figure import Figure

_SHOWN = {"provenance": ""}  # of this notebook


def provenance(*runs: Run, through: int = 3) -> str:
    """Say what a page rests on: data sets, preset, folds, maps, textures, backbone; what runs share is said once.

    `through`: the last notebook whose results it has; textures come with 01, the backbone with 03, and not before.
    """
    parts = [list(_provenance(run, through)) for run in runs]
    shared = [part for part in parts[0] if all(part in other for other in parts)]
    own = (" · ".join(part for part in other if part not in shared) for other in parts)
    return " · ".join(filter(None, ["; ".join(filter(None, own)), *shared]))


def _provenance(run: Run, through: int) -> Iterator[str]:
    study, store = run.study, run.store
    kind = "synthetic product, not the paper's data" if run.synthetic else "real images"
    yield f"{run.name} ({kind})"
    yield f"preset {study.preset}" + ", reduced against the paper" * (study.preset != "paper")
    if study.tiles > 1:
        yield f"images seen in {study.tiles} x {study.tiles} tiles"
    if study.region:
        yield f"region {Path(study.region).name}"
    if study.verdict_per == "object":
        yield "verdicts per object"
    yield f"{study.folds} folds" + f", {study.repeats} repeats" * (study.repeats > 1)
    yield from detector(study.map_source).caption(study).split(" · ")
    if through >= 1 and study.map_source == "draem":
        fitted = [name for name in store.names() if name.startswith("draem/") and "history" not in name]
        textures = {one["summary"]["textures"] for one in map(store.manifest, fitted) if one}
        yield from (f"textures: {one}" for one in sorted(textures))
    features = store.manifest("features/image.npy")
    if features and (through >= 3 or detector(study.map_source).inputs == "patches"):
        network, weights = (features["summary"][key] for key in ("backbone", "backbone_sha256"))
        yield f"{network}, sha256 {weights[:12]}, {study.feature_size} px"


def show_provenance(*runs: Run, through: int = 3) -> None:
    """Display `provenance`, once in a notebook: its page says how it was made, figures saved afterwards hold it."""
    from IPython.display import display

    _SHOWN["provenance"] = told = provenance(*runs, through=through)
    display({"text/plain": told}, raw=True, metadata={"provenance": told})


def show_headline(headline: tuple[str, str, str]) -> HTML:
    """Return a page's result: state (good, warn, bad, none) and words of its pill, and a sentence."""
    state, pill, sentence = map(html.escape, headline)
    return _html(f'<p class="headline"><span class="pill {state}">{pill}</span> {sentence}</p>')


def fold(summary: str, *shown: Any) -> HTML:
    """Return tables, and sentences as text, that the reader unfolds, without what is None; nothing for nothing."""
    label = html.escape(summary)
    scrolled = f'<div class="table" tabindex="0" role="group" aria-label="{label}">'
    parts = "".join(
        f"<p>{html.escape(one)}</p>" if isinstance(one, str) else f"{scrolled}{one._repr_html_()}</div>"
        for one in shown
        if one is not None
    )
    return _html(f'<details class="more"><summary>{label}</summary>{parts}</details>' if parts else "")


def _html(text: str) -> HTML:
    from IPython.display import HTML

    return HTML(text)


def save_and_display(
    figure: Figure | None, folder: Path, name: str, alt: str, fold: str = "", shown: bool = True
) -> None:
    """Save the figure and display its PNG with alternative text, note and the files' place; None: remove old files.

    With `fold` a page shows it folded, under these words; what is not `shown` is for the study's index page.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display

    from lib.reporting.style import has_photographs, save_figure

    if figure is None:
        _remove(folder, f"{name}.png", f"{name}.svg")
        return
    save_figure(figure, folder, name, alt, **_SHOWN)
    plt.close(figure)
    if shown:
        width = round(100 * figure.get_figwidth())  # CSS pixels
        told = {"alt": alt, "caption": figure.get_label(), "file": f"../{folder.name}/{name}", "width": width}
        told |= ({"fold": fold} if fold else {}) | {"photographs": has_photographs(figure)}
        png = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
        display({"image/png": png, "text/plain": alt}, raw=True, metadata=told)


def save_table(table: Table | None, folder: Path, stem: str) -> Table | None:
    """Write a table as CSV (raw numbers) and HTML into `folder` and return it to display; None: remove old files."""
    if table is None:
        _remove(folder, f"{stem}.csv", f"{stem}.html")
    else:
        table.to_csv(folder / f"{stem}.csv")
        write_text(folder / f"{stem}.html", table.to_html())
    return table


def save_frame(frame: pd.DataFrame, folder: Path, stem: str) -> None:
    """Write a frame as CSV into `folder`; one without rows removes the old file."""
    if len(frame):
        write_text(folder / f"{stem}.csv", csv_text(frame, index=any(frame.index.names)))
    else:
        _remove(folder, f"{stem}.csv")


def _remove(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


def settings_table(study: Study) -> pd.DataFrame:
    """Return every setting with its value, the preset's value where it differs, and its meaning."""
    base, rows = Study.of(study.preset), []
    for item in dataclasses.fields(study):
        value, standard = getattr(study, item.name), getattr(base, item.name)
        changed = "" if value == standard else f"preset {study.preset}: {as_text(standard)}"
        rows.append((item.name, as_text(value), changed, item.metadata["help"]))
    return pd.DataFrame(rows, columns=["setting", "value", "changed from", "meaning"]).set_index("setting")


def table(frame: pd.DataFrame, digits: int = 3) -> HTML:
    """Return a table to display, everything in it escaped, numbers rounded to `digits`."""
    names = [name or "" for name in frame.index.names]
    flat = frame.reset_index(names=names, allow_duplicates=True)  # a class may be called as an index is
    texts = flat.map(lambda cell: f"{cell:.{digits}f}" if is_float(cell) else str(cell))
    texts = texts.where(flat.notna(), MISSING)
    wordy = frame.map(lambda cell: isinstance(cell, str) and " " in cell).any(axis=None)
    return _html(html_table(texts, frame.index.nlevels, look="wide-text" if wordy else "plain"))


def show_markdown(*sentences: str) -> Markdown:
    """Return computed sentences as a paragraph; what comes from the data is kept as text, not as markup."""
    from IPython.display import Markdown

    return Markdown(as_markdown(" ".join(sentences)))


def show_findings(said: pd.DataFrame) -> HTML:
    """Return `findings` as a table of questions and data sets, a pill and a sentence each; evidence is folded."""
    named = said.assign(dataset=said["dataset"].map(display_name))
    cells = {key: rows.to_dict("records")[0] for key, rows in named.groupby(["question", "dataset"])}
    axes = [list(dict.fromkeys(named[column])) for column in ("question", "dataset")]
    return _html(render("conclusions.html.j2", questions=axes[0], datasets=axes[1], cells=cells))
