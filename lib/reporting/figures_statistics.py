"""Curves: recall against false rejects, measures over the share of defects kept, and what labels buy."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from lib.evaluation.metrics import ALL, FPR_LIMIT
from lib.evaluation.operating_points import TRAINING
from lib.reporting.economy import LabelEfficiency
from lib.reporting.style import DASHES, LINES, MARKERS, NAMES, add_caption, escape_mathtext, named_legend

BANDS = "bands: 95 % bootstrap intervals over test images, by group where groups are known"


def recall_against_false_rejects(
    predictions: pd.DataFrame, good: str, caption: str, points: pd.DataFrame | None = None
) -> Figure:
    """Draw defect recall against false rejects as the threshold on 1 - p(good) moves, and its upper part larger.

    Filled markers: the classifier's own decision. Hollow ones: what thresholds chosen on training images for a
    required recall reached on the test folds (`points` of `operating_numbers`, where there are any), a thin line from
    each to the recall that it was to reach.
    """
    figure, grid = plt.subplots(1, 2, figsize=(9.6, 3.9), sharex=True)
    chosen = _chosen(points)
    found = [name for name in LINES if name in set(predictions["features"])]
    for name in found:
        part = predictions[predictions["features"] == name]
        defective, called = (part["label"] != good).to_numpy(), (part["predicted"] != good).to_numpy()
        rate, hit, _ = roc_curve(defective, 1 - part[f"p:{good}"])
        own = called[~defective].mean(), called[defective].mean()
        mine, look = _chosen(points, name), {"color": LINES[name], "ms": 6.5}
        for axes in grid:
            axes.plot(rate, hit, color=LINES[name], label=NAMES[name], dashes=DASHES[name] or (None, None))
            axes.plot(*own, MARKERS[name], mec="0.1", zorder=4, **look)
            axes.vlines(mine["false_rejects"], mine["recall"], mine["required"], color=LINES[name], lw=1)
            axes.plot(mine["false_rejects"], mine["recall"], MARKERS[name], mfc="white", zorder=3, **look)
    lowest = min([0.9, *chosen["required"], *chosen["recall"]])
    grid[0].set(ylim=(0, 1.02), ylabel="defect recall", xlim=(-0.02, 1.02))
    grid[1].set(ylim=(lowest - 0.06, 1.01), title="the upper part")
    for axes in grid:
        axes.set_xlabel("false rejects (share of good images)")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    _required(grid[1], sorted(set(chosen["required"])))
    told = "filled: the classifier's own decision"
    if len(chosen):
        told += "\nhollow: a threshold from training images"
    grid[0].text(0.98, 0.04, told, transform=grid[0].transAxes, ha="right", fontsize=8)
    figure.tight_layout()
    named_legend(figure, found)
    add_caption(figure, caption)
    return figure


def _required(axes: Axes, recalls: list[float]) -> None:
    """Draw the required recalls as lines, named in the right margin; those too close to be told apart share a name."""
    low, high = axes.get_ylim()
    rows: list[tuple[float, list[str]]] = []
    for recall in recalls:
        axes.axhline(recall, color="0.45", lw=0.8, ls=":", zorder=1)
        if rows and recall - rows[-1][0] < (high - low) / 18:
            rows[-1][1].append(f"{100 * recall:g}")
        else:
            rows.append((recall, [f"{100 * recall:g}"]))
    for recall, names in rows:
        axes.annotate(
            f"{', '.join(names)} %", (1, recall), (4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", fontsize=8, va="center", annotation_clip=False,
        )  # fmt: skip
    if rows:
        axes.annotate(
            "required", (1, 1), (4, 6), xycoords="axes fraction", textcoords="offset points", fontsize=8
        )


def degradation(values: pd.DataFrame, caption: str, by: str = "class", measure: str = "") -> Figure:
    """Draw one panel per `by` over keep: columns keep, features (those of LINES are drawn), value, `by`.

    Bands from columns low and high, where given. `measure` names the vertical axis that all panels share; without it,
    each has its own, named by the panel's title.
    """
    values = values[values["features"].isin(LINES)]
    panels = list(values[by].unique())
    rows = -(-len(panels) // 4)
    columns = -(-len(panels) // rows)
    figure, grid = plt.subplots(
        rows, columns, figsize=(max(3.6, 2.5 * columns) + 0.3, 2.4 * rows + 0.2), squeeze=False, sharey=bool(measure)
    )  # fmt: skip
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    found = [name for name in LINES if name in set(values["features"])]
    keeps = sorted(values["keep"].unique())
    for axes, panel in zip(grid.flat, panels, strict=False):
        part = values[values[by] == panel].sort_values("keep")
        for name in found:
            _banded(axes, part[part["features"] == name], "keep", "value", name)
        axes.set(xticks=keeps)
        axes.set_title(escape_mathtext(panel, 30), fontsize=9)
        axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
        if measure:
            axes.set_ylim(0, 1.02)
    for axes in grid[:, 0]:
        axes.set_ylabel(measure)
    for k, axes in enumerate(grid.flat):
        if k < len(panels) <= k + columns:
            axes.set_xlabel("defects kept in training")
    figure.tight_layout()
    named_legend(figure, found)
    add_caption(figure, caption, BANDS if "low" in values else "")
    return figure


def _banded(axes: Axes, part: pd.DataFrame, x: str, y: str, features: str) -> None:
    """Draw one feature set's line over its band (columns low, high, where given), both edges of the band thin."""
    colour = LINES[features]
    if {"low", "high"} <= set(part):
        axes.fill_between(part[x], part["low"], part["high"], color=colour, alpha=0.1, lw=0)
        for edge in ("low", "high"):
            axes.plot(
                part[x], part[edge], color=colour, lw=0.6, alpha=0.7, dashes=DASHES[features] or (None, None)
            )
    axes.plot(
        part[x], part[y], color=colour, marker=MARKERS[features], ms=5, mec="white", mew=0.5,
        label=NAMES[features], dashes=DASHES[features] or (None, None),
    )  # fmt: skip


def learning_curves(economy: LabelEfficiency, caption: str) -> Figure:
    """Draw recall at 5 % false rejects over the number of labelled defects, one panel per data set, 95 % bands."""
    datasets = list(dict.fromkeys(economy.curves["dataset"]))
    columns = min(3, len(datasets))
    rows = -(-len(datasets) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(max(5.0, 3.3 * columns), 3.0 * rows), squeeze=False, sharey=True
    )
    for axes in grid.flat[len(datasets) :]:
        axes.set_axis_off()
    for axes, dataset in zip(grid.flat, datasets, strict=False):
        for name in LINES:
            part = economy.curves[
                (economy.curves["dataset"] == dataset) & (economy.curves["features"] == name)
            ]
            if part.empty:
                continue
            _banded(axes, part, "labels", "recall", name)
        axes.set(
            title=escape_mathtext(dataset, 40), xlabel="labelled defects in a training fold", ylim=(0, 1.02)
        )
        axes.set_xlim(left=0)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"defect recall at {FPR_LIMIT:.0%} false rejects")
    figure.tight_layout()
    named_legend(figure, list(economy.curves["features"]))
    add_caption(figure, caption, BANDS)
    return figure


def _chosen(points: pd.DataFrame | None, features: str | None = None) -> pd.DataFrame:
    """Return the points over all defects whose thresholds come from training images."""
    if points is None:
        return pd.DataFrame(columns=["required", "recall", "false_rejects"])
    part = points[(points["method"] == TRAINING) & (points["class"] == ALL) & ~np.isnan(points["caught"])]
    return part if features is None else part[part["features"] == features]
