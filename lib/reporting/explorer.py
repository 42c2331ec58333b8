"""The explorer of a study in JupyterLab: browse images and their maps, move the threshold, compare feature sets.

What is shown comes from stored predictions and maps. Text from the data goes into pages escaped, as text.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from lib.classification.feature_sets import MAIN
from lib.pipeline.classification import predictions
from lib.pipeline.dataset import index
from lib.pipeline.run import Run
from lib.reporting.closeup import THUMBNAIL, Pictures, overlay, panel, probability_bars
from lib.reporting.display import caption
from lib.reporting.style import NAMES
from lib.reporting.thresholds import (
    ORDERS,
    VERDICTS,
    changes,
    chosen,
    count,
    most_disputed,
    scored_images,
    verdicts,
)

PER_PAGE = 12  # images
LISTED = 8  # images that a moved threshold changes, by name
ANY, CHANGED = "any", "changed by the threshold"
LOGITS = np.arange(-46, 47) / 5  # thresholds lie denser towards 0 and 1, where most scores are
LEVELS = tuple(
    float(f"{p:.2g}") if p <= 0.5 else round(1 - float(f"{1 - p:.2g}"), 6) for p in 1 / (1 + np.exp(-LOGITS))
)


def state(run: Run) -> str:
    """Say whether the predictions to explore are there, and what makes them where they are not."""
    where, given = f"{run.name} in {run.study_dir}", f" --data {run.data_dir}" if run.data_dir else ""
    if run.store.digest_or_none("predictions/classification.parquet"):
        return f"{where}: predictions are there."
    return (
        f"{where}: no predictions yet. The next cell makes them and what they rest on, as notebooks 00 to 04 do; "
        f"python run_all.py --dataset {run.dataset}{given} --preset {run.study.preset} makes the whole study."
    )


def controls(explorer: Explorer) -> None:
    """Display the explorer's controls; where no kernel runs, a sentence says so."""
    bundle = explorer.widget._repr_mimebundle_()
    told = "The controls need a running kernel: make lab, then Run All Cells."
    display({**bundle, "text/plain": told}, raw=True)


class Explorer:
    """The controls and what they show; `widget` goes into the notebook's output."""

    def __init__(self, run: Run) -> None:
        found, _ = predictions(run, "classification")
        table = index(run)
        self.good, self.classes = str(table.attrs["good"]), [str(name) for name in table.attrs["classes"]]
        self.images = scored_images(found, self.good, run.study.binary)
        self.pictures = Pictures.of(run, str(found["scheme"].iloc[0]))
        self.note = caption(run)
        self.shown: list[str] = []
        self.thumbnails: dict[str, str] = {}  # those shown so far
        self.selected = ""
        self._controls()
        self._outputs()
        self.widget = self._layout()
        self.refresh()

    def panel(self, name: str = "") -> Figure:
        """Draw one image as a figure: the named one, or the one on which the feature sets differ most."""
        figure = panel(self.pictures, self.images, name or most_disputed(self.images), self.note)
        plt.close(figure)  # else the notebook shows it a second time
        return figure

    @property
    def threshold(self) -> float | None:
        """The threshold on 1 - p(good), or None while the classifiers themselves decide."""
        return self.level.value if self.decides.value else None

    @property
    def table(self) -> pd.DataFrame:
        """The images with the scores of the chosen feature set."""
        return self.images[self.images["features"] == self.features.value]

    def _controls(self) -> None:
        sets = [name for name in MAIN if name in set(self.images["features"])]
        wide, row = {"description_width": "9em"}, {"width": "max-content"}
        self.features = widgets.ToggleButtons(
            options=[(NAMES[name], name) for name in sets],
            value=sets[-1],
            description="Feature set",
            style=wide | {"button_width": "13em"},
            layout=row,
        )
        self.decides = widgets.ToggleButtons(
            options=[("the classifier's likeliest class", False), ("a threshold on 1 - p(good)", True)],
            value=False, description="What decides", style=wide | {"button_width": "16em"}, layout=row,
        )  # fmt: skip
        self.level = widgets.SelectionSlider(
            options=[(f"{level:g}", level) for level in LEVELS], value=0.5, description="Threshold", style=wide,
            layout={"width": "48em"},
        )  # fmt: skip
        self.opacity = widgets.FloatSlider(
            value=0.5,
            min=0,
            max=1,
            step=0.05,
            description="Map's opacity",
            style=wide,
            readout_format=".2f",
        )
        self.folds = sorted(set(self.images["fold"]))
        self.label = _dropdown("Class", [ANY, *self.classes])
        self.fold = _dropdown("Test fold", [ANY, *map(str, self.folds)])
        self.verdict = _dropdown("Verdict", [ANY, *VERDICTS, CHANGED])
        self.order = _dropdown("Order", ORDERS)
        self.back, self.forth = (
            widgets.Button(description=text, layout={"width": "7em"}) for text in ("‹ before", "next ›")
        )
        self.page = 0
        self.level.observe(self._moved, "value")
        for control in (self.features, self.decides, self.label, self.fold, self.verdict, self.order):
            control.observe(lambda _: self.refresh(), "value")
        self.opacity.observe(lambda _: self._show_picture(), "value")
        self.back.on_click(lambda _: self.refresh(self.page - 1))
        self.forth.on_click(lambda _: self.refresh(self.page + 1))

    def _outputs(self) -> None:
        self.numbers, self.affected, self.where, self.picture, self.bars, self.about = (
            widgets.HTML() for _ in range(6)
        )
        self.numbers.add_class("explorer-numbers")
        self.affected.add_class("explorer-affected")
        self.cells = [widgets.HTML() for _ in range(PER_PAGE)]
        self.picks = [widgets.Button(layout={"width": f"{THUMBNAIL + 48}px"}) for _ in range(PER_PAGE)]
        for place, button in enumerate(self.picks):
            button.on_click(self._picker(place))

    def _layout(self) -> widgets.Widget:
        thumbnails = [
            widgets.VBox(pair, layout={"align_items": "center"})
            for pair in zip(self.cells, self.picks, strict=True)
        ]
        wrap = {"flex_flow": "row wrap"}
        return widgets.VBox(
            [
                self.features, self.decides, self.level, self.numbers, self.affected,
                widgets.HBox([self.label, self.fold, self.verdict, self.order], layout=wrap),
                widgets.HBox([self.back, self.forth, self.where]),
                widgets.HBox(thumbnails, layout=wrap),
                self.about, self.opacity,
                widgets.HBox([self.picture, self.bars], layout=wrap),
            ]
        )  # fmt: skip

    def _picker(self, place: int) -> Callable[[Any], None]:
        return lambda _: self.select(self.shown[place])

    def _moved(self, _: Any) -> None:
        """A moved threshold is one that is meant to decide."""
        if self.decides.value:
            self.refresh()
        else:
            self.decides.value = True

    def refresh(self, page: int = 0) -> None:
        """Bring numbers, list and thumbnails in line with the controls."""
        table, threshold = self.table, self.threshold
        found, changed = verdicts(table, self.good, threshold), changes(table, self.good, threshold)
        self.numbers.value = f"<b>{html.escape(str(count(found)))}</b>"
        self.affected.value = _listed(table["id"].to_numpy(), changed)
        wanted = [np.ones(len(table), bool), *(found == name for name in VERDICTS), changed != ""]
        rows = chosen(
            table.assign(verdict=found),
            wanted[self.verdict.value],
            label=[None, *self.classes][self.label.value],
            fold=[None, *self.folds][self.fold.value],
            order=ORDERS[self.order.value],
            threshold=threshold,
        )
        pages = max(1, -(-len(rows) // PER_PAGE))
        self.page = min(max(page, 0), pages - 1)
        self.back.disabled, self.forth.disabled = self.page == 0, self.page == pages - 1
        self.where.value = f"page {self.page + 1} of {pages}, {len(rows)} of {len(table)} images"
        self._show_page(rows.iloc[self.page * PER_PAGE : (self.page + 1) * PER_PAGE])

    def select(self, name: str) -> None:
        """Show one image large, with its map, its mask and the probabilities of every feature set."""
        self._mark(name)
        if name == self.selected:
            return
        self.selected = name
        rows = self.images[self.images["id"] == name]
        first = rows.iloc[0]
        self.closeup = self.pictures.closeup(name, int(first["fold"]))
        figure, axes = plt.subplots(figsize=(4.7, 1 + 0.42 * len(self.classes)), layout="constrained")
        probability_bars(axes, rows, self.classes)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=76)
        plt.close(figure)
        told = "; ".join(f"{NAMES[row['features']]} {row['score']:.3g}" for _, row in rows.iterrows())
        self.bars.value = _picture(buffer.getvalue(), f"Probabilities that the feature sets give to {name}")
        about = f"true class {first['label']}, tested in fold {first['fold']}, scores: {told}"
        self.about.value = f"<b>{html.escape(name)}</b> {html.escape(about)}"
        self._show_picture()

    def _mark(self, name: str) -> None:
        for place, button in enumerate(self.picks):
            button.button_style = "info" if self.shown[place : place + 1] == [name] else ""

    def _show_page(self, rows: pd.DataFrame) -> None:
        self.shown = rows["id"].tolist()
        shown = [row for _, row in rows.iterrows()]
        for place, (cell, button) in enumerate(zip(self.cells, self.picks, strict=True)):
            cell.layout.display = button.layout.display = None if place < len(shown) else "none"
        for cell, button, row in zip(self.cells, self.picks, shown, strict=False):
            cell.value = self._thumbnail(row["id"])
            button.description, button.tooltip = f"{row['score']:.2f} {row['verdict']}", row["id"]
        if self.shown:
            self.select(self.selected if self.selected in self.shown else self.shown[0])

    def _thumbnail(self, name: str) -> str:
        if name not in self.thumbnails:
            self.thumbnails[name] = _picture(_png(self.pictures.thumbnail(name)), name)
        return self.thumbnails[name]

    def _show_picture(self) -> None:
        if self.selected:
            mixed = [overlay(*self.closeup, opacity) for opacity in (0, self.opacity.value)]
            alt = f"{self.selected}, and with its anomaly map over it"
            self.picture.value = _picture(_png(np.concatenate(mixed, axis=1)), alt)


def _dropdown(name: str, options: Sequence[str]) -> widgets.Dropdown:
    """Return a choice whose value is the place among the options, whatever they are called."""
    pairs = [(text, place) for place, text in enumerate(options)]
    return widgets.Dropdown(
        options=pairs,
        value=0,
        description=name,
        style={"description_width": "4.5em"},
        layout={"width": "17em"},
    )


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", compress_level=1)
    return buffer.getvalue()


def _picture(png: bytes, alt: str) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'


def _listed(names: np.ndarray, changed: np.ndarray) -> str:
    """Return which images the threshold judges otherwise than the classifier, as HTML."""
    lines = []
    for kind in dict.fromkeys(kind for kind in changed if kind):
        found = names[changed == kind]
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        lines.append(f"{len(found)} {kind}: {', '.join(found[:LISTED])}{more}")
    return "<br>".join(map(html.escape, lines)) or "The threshold changes nothing."
