"""The explorer of a study in JupyterLab: browse test images with their maps, move the threshold, see what it costs.

What is displayed comes from stored predictions and maps. Text from the data goes into pages escaped, as text.
"""

import html
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.evaluation.metrics import MISSING, binary_predictions, defect_scores, percent, where
from lib.pipeline.classification import predictions
from lib.pipeline.dataset import index
from lib.pipeline.run import Run
from lib.reporting.display import provenance
from lib.reporting.figures_maps import describe_overlays, draw_overlay, map_level, read_thumbnails
from lib.reporting.figures_thresholds import name_defects
from lib.reporting.html_pages import embedded
from lib.reporting.style import LINES, draw_image, escape_mathtext, finish, legend_above, panels, present

HIT, WRONG_CLASS, MISSED = "hit", "wrong class", "missed defect"  # of defective images
FALSE_REJECT, ACCEPTED = "false reject", "good, accepted"  # of good ones
RESULTS = (HIT, WRONG_CLASS, MISSED, FALSE_REJECT, ACCEPTED)
CHANGED = "changed by the threshold"
ANY = ""  # of a class, fold or result
ORDERS = ("highest score first", "lowest score first", "nearest to the threshold first", "as in the index")
OWN = -1.0  # instead of a threshold: the classifier's likeliest class decides
LOW = [float(f"{p:.2g}") for p in 1 / (1 + np.exp(np.arange(46, -1, -1) / 5))]
LEVELS = (*LOW, *(round(1 - p, 6) for p in LOW[-2::-1]))  # denser towards 0 and 1, where most scores are
PER_PAGE, THUMBNAIL, CLOSEUP = 12, 96, 256  # images; pixels


def state(run: Run) -> str:
    """Say whether the predictions to explore are there, and what makes them where they are not."""
    where, data = f"{run.name} in {run.study_dir}", f" --data {run.data_dir}" if run.data_dir else ""
    if run.store.digest_or_none("predictions/classification.parquet"):
        return f"{where}: predictions are there."
    return (
        f"{where}: no predictions yet. The next cell makes them, as notebooks 00 to 04 do. For the whole study: "
        f"python run_all.py --dataset {run.dataset}{data} --preset {run.study.preset}"
    )


def scored_images(predictions: pd.DataFrame, good: str, binary: str = "collapsed") -> pd.DataFrame:
    """Return one row per test image and main feature set: the first scheme, all defects kept, first repeat.

    Columns: fold, id, label, features, `p:` every class, `score` (1 - p(good) of the model that decides, in [0, 1]),
    `own` (whether the classifier itself calls the image defective), `named` (the likeliest defect class).
    """
    scheme, repeat = predictions["scheme"].iloc[0], predictions["repeat"].min()
    mine = where(predictions, {"scheme": scheme, "keep": 1.0, "repeat": repeat})
    mine = mine[mine["features"].isin(MAIN)]
    keys = ["features", "id"]
    deciding = binary_predictions(mine, binary)
    scores = deciding[keys].assign(score=defect_scores(deciding, good), own=deciding["predicted"] != good)
    rows = binary_predictions(mine).merge(scores, on=keys, validate="one_to_one")
    probabilities = rows.filter(regex="^p:").dropna(axis=1, how="all")
    about = rows[["fold", "id", "label", "features", "score", "own"]]
    return about.assign(named=name_defects(rows, good), **probabilities)


def results(table: pd.DataFrame, good: str, threshold: float) -> np.ndarray:
    """Return one of `RESULTS` for each row of `scored_images`.

    Rejected is what reaches the threshold, or (`OWN`) what the classifier itself calls defective.
    """
    out = table["own"].to_numpy(bool) if threshold == OWN else table["score"].to_numpy() >= threshold
    defective, named = (table["label"] != good).to_numpy(), (table["named"] == table["label"]).to_numpy()
    cases = [defective & out & named, defective & out, defective, out]
    return np.select(cases, RESULTS[:4], ACCEPTED).astype(object)


def describe_results(found: Iterable[str]) -> str:
    """Say how many defective images are caught (and named rightly), and how many good ones rejected."""
    n = Counter(found)
    caught, good = n[HIT] + n[WRONG_CLASS], n[FALSE_REJECT] + n[ACCEPTED]
    defective = caught + n[MISSED]
    return (
        f"Defect recall {percent(caught / defective) if defective else MISSING} ({caught} of {defective}, {n[HIT]} of "
        f"them by their right class), false rejects {percent(n[FALSE_REJECT] / good) if good else MISSING} "
        f"({n[FALSE_REJECT]} of {good})"
    )


class Explorer:
    """Controls and what they choose, computed anew with every change; `widget` goes into the notebook's output."""

    def __init__(self, run: Run) -> None:
        found, _ = predictions(run, "classification")
        about = index(run).attrs
        self.run, self.scheme, self.note = run, str(found["scheme"].iloc[0]), provenance(run)
        self.good, self.classes, self.level = (str(about["good"]), list(map(str, about["classes"])), map_level(run))
        self.images = scored_images(found, self.good, run.study.binary)
        self.thumbnails: dict[str, str] = {}  # those displayed so far
        sets, wide = present(self.images["features"]), {"description_width": "9em"}
        self.features = widgets.ToggleButtons(
            options=[(FEATURE_SETS[name].title, name) for name in sets], value=sets[-1], description="Feature set",
            style=wide | {"button_width": "13em"}, layout={"width": "max-content"},
        )  # fmt: skip
        self.threshold = widgets.SelectionSlider(
            options=[("the classifier's likeliest class", OWN), *((f"{level:g}", level) for level in LEVELS)],
            value=OWN, description="Threshold", style=wide, layout={"width": "56em"},
        )  # fmt: skip
        narrow: Any = {"layout": {"width": "17em"}}
        self.label, self.fold, self.result = (
            widgets.Dropdown(options=[("any", ANY), *((str(one), one) for one in of)], description=name, **narrow)
            for name, of in (("Class", self.classes), ("Test fold", sorted(set(self.images["fold"]))),
                             ("Result", [*RESULTS, CHANGED]))
        )  # fmt: skip
        self.order = widgets.Dropdown(options=ORDERS, description="Order", **narrow)
        self.page = widgets.BoundedIntText(value=1, min=1, max=1, description="Page", **narrow)
        self.image = widgets.Dropdown(description="Image", **narrow)
        self.numbers, self.where, self.sheet, self.closeup = (widgets.HTML() for _ in range(4))
        self.numbers.add_class("explorer-numbers")
        filters = (self.label, self.fold, self.result, self.order)
        for control in (self.features, self.threshold, *filters, self.page):
            control.observe(lambda _: self.refresh(), "value")
        self.image.observe(lambda _: self._show_closeup(), "value")
        self.widget = widgets.VBox(
            [
                self.features, self.threshold, self.numbers, widgets.HBox(filters, layout={"flex_flow": "row wrap"}),
                widgets.HBox([self.page, self.where]), self.sheet, self.image, self.closeup,
            ]
        )  # fmt: skip
        self.refresh()

    def chosen(self) -> pd.DataFrame:
        """Return the images that the controls choose, with their `result`, in the chosen order."""
        table, threshold = self.images[self.images["features"] == self.features.value], self.threshold.value
        table = table.assign(result=results(table, self.good, threshold))
        if self.result.value == CHANGED:
            table = table[table["result"] != results(table, self.good, OWN)]
        for column, control in (("label", self.label), ("fold", self.fold), ("result", self.result)):
            if control.value not in (ANY, CHANGED):
                table = table[table[column] == control.value]
        score = table["score"]
        away = (score - (0.5 if threshold == OWN else threshold)).abs()
        rank = dict(zip(ORDERS, (-score, score, away, score * 0), strict=True))[self.order.value]
        return table.loc[rank.sort_values(kind="stable").index]

    def refresh(self) -> None:
        """Bring numbers, thumbnails and the list of images in line with the controls."""
        table, rows = self.images[self.images["features"] == self.features.value], self.chosen()
        counts = describe_results(results(table, self.good, self.threshold.value))
        self.numbers.value = f"<b>{html.escape(counts)}</b>"
        self.page.max = max(1, -(-len(rows) // PER_PAGE))  # also brings the page itself within it
        self.where.value = f"of {self.page.max}, {len(rows)} of {len(table)} images"
        rows = rows.iloc[(self.page.value - 1) * PER_PAGE :][:PER_PAGE]
        if unread := set(rows["id"]) - set(self.thumbnails):
            for name, one in read_thumbnails(self.run, self.scheme, unread, THUMBNAIL).items():
                self.thumbnails[name] = _img(Image.fromarray(one.image).save, name, compress_level=1)
        self.sheet.value = "".join(
            f'<figure style="display: inline-block; width: 9em; margin: 2px; overflow-wrap: anywhere">'
            f"{self.thumbnails[name]}<figcaption>{score:.2f} {result}<br>{html.escape(name)}"
            "</figcaption></figure>"
            for name, score, result in rows[["id", "score", "result"]].itertuples(index=False)
        )
        names, selected = list(rows["id"]), self.image.value
        if names != list(self.image.options):
            self.image.options = names
            self.image.value = selected if selected in names else next(iter(names), None)

    def panel(self, name: str = "") -> Figure:
        """Draw an image (by id, or the one on which the feature sets differ most), its map, and its probabilities."""
        if not name:
            scores = self.images.groupby("id", sort=False)["score"]
            name = str((scores.max() - scores.min()).idxmax())
        rows = self.images[self.images["id"] == name].set_index("features")
        about = read_thumbnails(self.run, self.scheme, [name], CLOSEUP)[name]
        figure, ((left, middle, right),) = panels(3, 3, 3.4, width_ratios=(1, 1, 1.3))
        draw_image(left, about.image, about.mask)
        draw_overlay(middle, about, self.level)
        left.set_title(escape_mathtext(f"{name} ({rows['label'].iloc[0]})", 40))
        middle.set_title(f"its map, of fold {rows['fold'].iloc[0]}, which tests it")
        probabilities = rows.reindex(columns=[f"p:{one}" for one in self.classes]).astype(float)
        probabilities.columns = [escape_mathtext(one, 20) for one in self.classes]
        look: Any = {"color": [LINES[str(one)] for one in probabilities.index], "width": 0.8, "legend": False}
        probabilities.T.plot.barh(ax=right, xlim=(0, 1), xlabel="probability", ylabel="", **look)
        right.grid(False, axis="y")
        right.invert_yaxis()
        said = [f"{FEATURE_SETS[str(one)].title}, score {score:.3g}" for one, score in rows["score"].items()]
        legend_above(right, 1, right.containers, said)
        plt.close(figure)  # else the notebook displays it a second time
        return finish(figure, describe_overlays(self.level))

    def _show_closeup(self) -> None:
        self.closeup.value = ""
        if name := self.image.value:
            alt = f"{name}: the image, its anomaly map over it, and the probabilities of every class"
            self.closeup.value = _img(self.panel(name).savefig, alt, dpi=90)

    def _ipython_display_(self) -> None:
        """Display the controls; where no kernel runs, a sentence says so."""
        sentence = "The controls need a running kernel: make lab, then Run All Cells."
        display({**self.widget._repr_mimebundle_(), "text/plain": sentence}, raw=True)


def _img(save: Callable[..., Any], alt: str, **options: Any) -> str:
    return f'<img alt="{html.escape(alt)}" src="{embedded(save, **options)}">'
