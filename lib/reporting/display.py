"""What notebooks use to show results: captions that say what was run, figures saved and displayed, tables."""

from __future__ import annotations

import base64
import dataclasses
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pandas.api.types import is_float

from lib.anomaly_maps.detectors import detector
from lib.artifacts import write_text
from lib.config import Study, as_text
from lib.evaluation.published_results import display_name
from lib.pipeline.run import Run
from lib.reporting.style import save_figure
from lib.reporting.table import MISSING, Table, as_markdown, html_table

if TYPE_CHECKING:
    from IPython.display import HTML, Markdown
    from matplotlib.figure import Figure


def caption(run: Run, through: int = 3) -> str:
    """Say what a figure or table rests on: data set, preset, folds, DRAEM, maps, textures, backbone.

    `through`: the last notebook whose results it has; textures come with 01, the backbone with 03, and not before.
    """
    study, store = run.study, run.store
    kind = "synthetic stand-in, not the paper's data" if run.synthetic else "real images"
    preset = f"preset {study.preset}" + ("" if study.preset == "paper" else ", reduced against the paper")
    maker = detector(study.map_source).caption(study)
    trained = f"{study.folds} folds" + (f", {study.repeats} repeats" if study.repeats > 1 else "")
    parts = [f"{run.name} ({kind})", preset, trained, *maker.split(" · ")]
    if through >= 1 and study.map_source == "draem":
        fitted = [name for name in store.names() if name.startswith("draem/") and "history" not in name]
        summaries = [manifest["summary"] for manifest in map(store.manifest, fitted) if manifest]
        parts += sorted({f"textures: {summary['textures']}" for summary in summaries})
    features = store.manifest("features/image.npy")
    if features and (through >= 3 or detector(study.map_source).inputs == "patches"):
        network, weights = (features["summary"][key] for key in ("backbone", "backbone_sha256"))
        parts.append(f"{network}, sha256 {weights[:12]}, {study.feature_size} px")
    return " · ".join(parts)


def caption_all(runs: Sequence[Run]) -> str:
    """Return the caption of what covers several data sets; what they share is said once."""
    parts = [caption(run).split(" · ") for run in runs]
    shared = [part for part in parts[0] if all(part in other for other in parts)]
    own = [" · ".join(part for part in other if part not in shared) for other in parts]
    return " · ".join(filter(None, ["; ".join(filter(None, own)), *shared]))


def save_and_display(figure: Figure | None, folder: Path, name: str, alt: str) -> None:
    """Save the figure, display its PNG with alternative text, caption and the files' place; None: remove old files."""
    import matplotlib.pyplot as plt
    from IPython.display import display

    if figure is None:
        for suffix in (".png", ".svg"):
            (folder / (name + suffix)).unlink(missing_ok=True)
        return
    save_figure(figure, folder, name, alt)
    plt.close(figure)
    png = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
    metadata = {"alt": alt, "caption": figure.get_label(), "file": f"../{folder.name}/{name}"}
    display({"image/png": png, "text/plain": alt}, raw=True, metadata=metadata)


def save_table(table: Table, folder: Path, stem: str) -> Table:
    """Write a table as CSV (raw numbers), Markdown and HTML into `folder` and return it to display."""
    table.to_csv(folder / f"{stem}.csv")
    write_text(folder / f"{stem}.md", table.markdown())
    write_text(folder / f"{stem}.html", table.to_html())
    return table


def save_tables(tables: Mapping[str, Table | None], folder: Path, otherwise: str = "") -> None:
    """Write and display tables by their stem; for those that are None, remove old files and say `otherwise` once."""
    from IPython.display import display

    for stem, one in tables.items():
        if one is not None:
            display(save_table(one, folder, stem))
        for suffix in (".csv", ".md", ".html") if one is None else ():
            (folder / (stem + suffix)).unlink(missing_ok=True)
    if None in tables.values():
        display(show_markdown(otherwise))


def save_frame(frame: pd.DataFrame, folder: Path, stem: str, title: str) -> HTML:
    """Write a frame as CSV into `folder` (one without rows removes the old file); return it as a table to display."""
    if len(frame):
        write_text(folder / f"{stem}.csv", frame.to_csv(lineterminator="\n"))
    else:
        (folder / f"{stem}.csv").unlink(missing_ok=True)
    return table(frame, title)


def describe_settings(study: Study) -> HTML:
    """Return what differs from the study's preset, and, folded, every setting."""
    from IPython.display import HTML

    settings = settings_table(study)
    changed = settings[(settings["changed from"] != "") & (settings.index != "preset")]
    overrides = ", ".join(f"{name} = {value}" for name, value in changed["value"].items())
    sentence = f"Preset {study.preset}, {f'with {overrides}' if overrides else 'as it is'}."
    every = table(settings, f"The resolved study: {len(settings)} settings").data
    folded = f'<details class="more"><summary>Every setting of this study</summary>{every}</details>'
    return HTML(f"<p>{html.escape(sentence)}</p>{folded}")


def settings_table(study: Study) -> pd.DataFrame:
    """Return every setting with its value, the preset's value where it differs, and its meaning."""
    base, rows = Study.of(study.preset), []
    for item in dataclasses.fields(study):
        value, standard = getattr(study, item.name), getattr(base, item.name)
        changed = "" if value == standard else f"preset {study.preset}: {as_text(standard)}"
        rows.append((item.name, as_text(value), changed, item.metadata["help"]))
    return pd.DataFrame(rows, columns=["setting", "value", "changed from", "meaning"]).set_index("setting")


def table(frame: pd.DataFrame, title: str = "", digits: int = 3) -> HTML:
    """Return a table to display, everything in it escaped, numbers rounded to `digits`."""
    from IPython.display import HTML

    names = [name or "" for name in frame.index.names]
    flat = frame.reset_index(names=names, allow_duplicates=True)  # a class may be called as an index is
    texts = flat.map(
        lambda cell: MISSING if pd.isna(cell) else f"{cell:.{digits}f}" if is_float(cell) else str(cell)
    )
    wordy = frame.map(lambda cell: isinstance(cell, str) and " " in cell).any(axis=None)
    return HTML(html_table(texts, frame.index.nlevels, title=title, look="wide-text" if wordy else "plain"))


def show_markdown(*sentences: str) -> Markdown:
    """Return computed sentences as a paragraph; what comes from the data is kept as text, not as markup."""
    from IPython.display import Markdown

    return Markdown(as_markdown(" ".join(sentences)))


def show_findings(table: pd.DataFrame) -> Markdown:
    """Return `findings` as a page to display; what comes from the data is kept as text, not as markup."""
    from IPython.display import Markdown

    parts = []
    for dataset, rows in table.groupby("dataset", sort=False):
        parts.append(f"### {as_markdown(display_name(str(dataset)))}")
        said = rows[["question", "answer"]].map(as_markdown)
        parts += ("**" + said["question"] + "** " + said["answer"]).tolist()
    return Markdown("\n\n".join(parts))
