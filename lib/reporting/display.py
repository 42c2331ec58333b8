"""What notebooks use to show things: captions that say what was run, figures saved and displayed, tables."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from lib.artifacts import write_text
from lib.config import Study
from lib.evaluation.published_results import display_name
from lib.pipeline.run import Run
from lib.reporting.html_pages import accessible
from lib.reporting.names import maps_of
from lib.reporting.style import save_figure
from lib.reporting.table import Table


def caption(run: Run, through: int = 3) -> str:
    """Say what a figure or table rests on: data set, preset, folds, DRAEM, maps, textures, backbone.

    `through` is the number of the last notebook whose results it shows; textures come with 01, the backbone with 03,
    and are not named before, whether or not they are known by then.
    """
    study, store = run.study, run.store
    kind = "synthetic stand-in, not the paper's data" if run.synthetic else "real images"
    parts = [
        f"{run.name} ({kind})",
        f"preset {study.preset}" + ("" if study.preset == "paper" else ", reduced against the paper"),
        f"{study.folds} folds",
        *maps_of(study).split(" · "),
    ]
    drawn = [
        store.manifest(name) for name in store.names() if name.startswith("draem/") and "history" not in name
    ]
    if through >= 1:
        parts += sorted({f"textures: {m['summary']['textures']}" for m in drawn if m})
    features = store.manifest("features/image.npy")
    if through >= 3 and features:
        summary = features["summary"]
        parts.append(
            f"{summary['backbone']}, sha256 {summary['backbone_sha256'][:12]}, {study.feature_size} px"
        )
    return " · ".join(parts)


def save_and_display(figure: Figure, folder: Path, name: str, alt: str) -> None:
    """Save the figure as PNG and SVG and display the PNG with alternative text, caption and the files' place."""
    save_figure(figure, folder, name, alt)
    plt.close(figure)
    picture = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
    told = {"alt": alt, "caption": figure.get_label(), "file": f"../{folder.name}/{name}"}
    display({"image/png": picture, "text/plain": alt}, raw=True, metadata=told)


def save_table(table: Table, folder: Path, stem: str) -> Table:
    """Write a table as CSV (raw numbers), Markdown and HTML into `folder` and return it to display."""
    table.to_csv(folder / f"{stem}.csv")
    table.to_markdown(folder / f"{stem}.md")
    write_text(folder / f"{stem}.html", table.to_html())
    return table


def save_tables(tables: Mapping[str, Table | None], folder: Path, otherwise: str = "") -> None:
    """Write and display tables by their stem; for those that are None, remove old files and say `otherwise` once."""
    for stem, shown in tables.items():
        if shown is None:
            for suffix in (".csv", ".md", ".html"):
                (folder / (stem + suffix)).unlink(missing_ok=True)
        else:
            display(save_table(shown, folder, stem))
    if None in tables.values():
        display(show_markdown(otherwise))


def save_frame(frame: pd.DataFrame, folder: Path, stem: str, title: str, digits: int = 3) -> HTML:
    """Write a frame as CSV into `folder` and return it as a table to display."""
    write_text(folder / f"{stem}.csv", frame.to_csv(lineterminator="\n"))
    return table(frame, title, digits)


def describe_settings(study: Study) -> HTML:
    """Return what a study's preset and overrides come to: what differs from the preset, and every setting folded."""
    settings = study.describe()
    changed = settings[(settings["changed from"] != "") & (settings.index != "preset")]
    told = ", ".join(f"{name} = {value}" for name, value in changed["value"].items())
    shown = f"Preset {study.preset}" + (f", with {told}." if told else ", as it is.")
    every = table(settings, f"The resolved study: {len(settings)} settings").data
    folded = f'<details class="more"><summary>Every setting of this study</summary>{every}</details>'
    return HTML(f"<p>{html.escape(shown)}</p>{folded}")


def table(frame: pd.DataFrame, title: str = "", digits: int = 3) -> HTML:
    """Return a table to display, everything in it escaped, numbers rounded to `digits`."""
    wordy = any(frame[name].map(lambda cell: isinstance(cell, str) and " " in cell).any() for name in frame)
    shown = frame.to_html(
        border=0,
        float_format=lambda x: f"{x:.{digits}f}",
        na_rep="–",
        index_names=isinstance(frame.index, pd.MultiIndex),
        classes="wide-text" if wordy else None,
    )
    heading = f"<caption>{html.escape(title)}</caption>"
    first, rest = accessible(shown).split(">", 1)
    return HTML(f"{first}>{heading if title else ''}{rest}")


def show_markdown(*sentences: str) -> Markdown:
    """Return computed sentences as a paragraph; what comes from the data is shown as it is, not as markup."""
    return Markdown(escaped(" ".join(sentences)))


def escaped(text: str) -> str:
    """Return text so that Markdown, its HTML and its formulas show it as it is."""
    shown = html.escape(text, quote=False)
    for sign in "\\`*_{}[]#|$~":
        shown = shown.replace(sign, "\\" + sign)
    return shown


def caption_all(runs: Sequence[Run]) -> str:
    """Return the caption of what covers several data sets; what they share is said once."""
    parts = [caption(run).split(" · ") for run in runs]
    shared = [part for part in parts[0] if all(part in other for other in parts)]
    own = [" · ".join(part for part in other if part not in shared) for other in parts]
    return " · ".join(filter(None, ["; ".join(filter(None, own)), *shared]))


def show_findings(table: pd.DataFrame) -> Markdown:
    """Return `findings` as a page to display; what comes from the data is shown as it is, not as markup."""
    parts = []
    for dataset, rows in table.groupby("dataset", sort=False):
        parts.append(f"### {escaped(display_name(str(dataset)))}")
        parts += [
            f"**{escaped(row['question'])}** {escaped(row['answer'])}" for row in rows.to_dict("records")
        ]
    return Markdown("\n\n".join(parts))
