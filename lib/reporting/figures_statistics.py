"""Figures of measures: recall against false rejects, curves over the share of defects kept, paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lib.evaluation.metrics import ALL, FPR_LIMIT
from lib.evaluation.operating_points import TRAINING
from lib.evaluation.significance import by_measure, paired_folds
from lib.reporting import style
from lib.reporting.style import LINES, MARKERS, NAMES, PALETTE, escape_mathtext, finish, lined, present

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lib.evaluation.label_efficiency import LabelEfficiency

BANDS = "bands: 95 % bootstrap intervals over test images, by group where groups are known"
MEASURES = {"weighted_auc": "ROC AUC (weighted, one against the rest)", "defect_recall": "defect recall"}
BASE = "image"  # what paired differences are taken from, and in which order they are drawn
COMPARED = ("image_map", "map")


def recall_against_false_rejects(
    predictions: pd.DataFrame, good: str, caption: str, points: pd.DataFrame
) -> Figure:
    """Draw defect recall against false rejects as the threshold on 1 - p(good) moves, and its upper part larger.

    Filled markers: the classifier's own decision. Hollow ones: what thresholds chosen on training images for a
    required recall reached on the test folds (`points` of `operating_numbers`), a thin line from each to that recall.
    """
    from sklearn.metrics import roc_curve

    figure, grid = style.subplots(1, 2, figsize=(9.6, 3.9), sharex=True)
    of_training = (points["method"] == TRAINING) & (points["class"] == ALL) & points["caught"].notna()
    chosen, found = points[of_training], present(predictions["features"], LINES)
    for name in found:
        part = predictions[predictions["features"] == name]
        defective, called = (part["label"] != good).to_numpy(), (part["predicted"] != good).to_numpy()
        false_rejects, recall, _ = roc_curve(defective, 1 - part[f"p:{good}"])
        own = called[~defective].mean(), called[defective].mean()
        mine = chosen[chosen["features"] == name]
        sign = {"marker": MARKERS[name], "ls": "", "color": LINES[name], "ms": 6.5}
        for axes in grid:
            axes.plot(false_rejects, recall, label=NAMES[name], **lined(name))
            axes.plot(*own, mec="0.1", zorder=4, **sign)
            axes.vlines(mine["false_rejects"], mine["recall"], mine["required"], color=LINES[name], lw=1)
            axes.plot(mine["false_rejects"], mine["recall"], mfc="white", zorder=3, **sign)
    lowest = min([0.9, *chosen["required"], *chosen["recall"]])
    grid[0].set(ylim=(0, 1.02), ylabel="defect recall", xlim=(-0.02, 1.02))
    grid[1].set(ylim=(lowest - 0.06, 1.01), title="the upper part")
    for axes in grid:
        axes.set_xlabel("false rejects (share of good images)")
        style.percent_ticks(axes.xaxis, axes.yaxis, decimals=None)
    _required(grid[1], sorted(set(chosen["required"])))
    hollow = "\nhollow: a threshold from training images" if len(chosen) else ""
    note = f"filled: the classifier's own decision{hollow}"
    grid[0].text(0.98, 0.04, note, transform=grid[0].transAxes, ha="right", fontsize=8)
    return finish(figure, caption, legend=found)


def _required(axes: Axes, recalls: Sequence[float]) -> None:
    """Draw the required recalls as lines, named in the right margin; lines close to each other share a name."""
    low, high = axes.get_ylim()
    names: dict[float, str] = {}  # by the height at which they are written
    for recall in recalls:
        axes.axhline(recall, color="0.45", lw=0.8, ls=":", zorder=1)
        height = next((one for one in names if recall - one < (high - low) / 18), recall)
        names[height] = f"{names[height]}, {100 * recall:g}" if height in names else f"{100 * recall:g}"
    beside: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "annotation_clip": False}
    for height, name in names.items():
        axes.annotate(f"{name} %", (1, height), (4, 0), ("axes fraction", "data"), va="center", **beside)
    if names:
        axes.annotate("required", (1, 1), (4, 6), xycoords="axes fraction", **beside)


def degradation(values: pd.DataFrame, caption: str, by: str = "class", measure: str = "") -> Figure:
    """Draw one panel per `by` over keep: columns keep, features (those of LINES are drawn), value, `by`.

    Bands from columns low and high, where given. `measure` names the vertical axis that all panels share, if any.
    """
    values = values[values["features"].isin(LINES)]
    panels, values = list(values[by].unique()), values.sort_values("keep")
    columns = -(-len(panels) // -(-len(panels) // 4))
    width = max(3.6 / columns, 2.5)
    figure, grid = style.panels(len(panels), columns, width, 2.4, (0.3, 0.2), sharey=bool(measure))
    for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        _curves(axes, values[values[by] == panel], "keep", "value")
        axes.set(xticks=sorted(values["keep"].unique()))
        axes.set_title(escape_mathtext(panel, 30), fontsize=9)
        style.percent_ticks(axes.xaxis)
        if measure:
            axes.set_ylim(0, 1.02)
        if place + columns >= len(panels):
            axes.set_xlabel("defects kept in training")
    for axes in grid[:, 0]:
        axes.set_ylabel(measure)
    return finish(figure, caption, BANDS if "low" in values else "", legend=list(values["features"]))


def learning_curves(economy: LabelEfficiency, caption: str) -> Figure:
    """Draw recall at 5 % false rejects over the number of labelled defects, one panel per data set, 95 % bands."""
    datasets = list(dict.fromkeys(economy.curves["dataset"]))
    columns = min(3, len(datasets))
    figure, grid = style.panels(len(datasets), columns, max(5.0 / columns, 3.3), 3.0, sharey=True)
    for axes, dataset in zip(grid.flat, datasets, strict=False):
        _curves(axes, economy.curves[economy.curves["dataset"] == dataset], "labels", "recall")
        axes.set(title=escape_mathtext(dataset, 40), xlabel="labelled defects in a training fold")
        axes.set(ylim=(0, 1.02), xlim=(0, None))
    for axes in grid[:, 0]:
        axes.set_ylabel(f"defect recall at {FPR_LIMIT:.0%} false rejects")
    return finish(figure, caption, BANDS, legend=list(economy.curves["features"]))


def _curves(axes: Axes, values: pd.DataFrame, x: str, y: str) -> None:
    """Draw each feature set's line over its band (columns low, high, where given), both edges of the band thin."""
    for name in present(values["features"], LINES):
        part = values[values["features"] == name]
        if {"low", "high"} <= set(part):
            axes.fill_between(part[x], part["low"], part["high"], color=LINES[name], alpha=0.1, lw=0)
            for edge in ("low", "high"):
                axes.plot(part[x], part[edge], lw=0.6, alpha=0.7, **lined(name))
        axes.plot(part[x], part[y], label=NAMES[name], marker=MARKERS[name], **style.DOTS, **lined(name))


def paired_differences(measures: pd.DataFrame, compared: pd.DataFrame, caption: str) -> Figure:
    """Draw both - image and map - image in every fold, one row of panels per data set, one column per measure.

    `measures` is `summary` and `compared` is `compare` of the same predictions at one keep. Small dots: folds, each
    joined by a line. Large marker and bar: pooled over the test images, with the bootstrap's 95 % interval.
    """
    datasets = list(dict.fromkeys(compared["dataset"]))
    figure, grid = style.panels(2 * len(datasets), 2, 4.8, 1.25, (0, 0.5), sharex="col")
    against = compared[(compared["class"] == ALL) & (compared["b"] == BASE)]
    for row, dataset in zip(grid, datasets, strict=True):
        known = by_measure(measures[measures["dataset"] == dataset])
        here = against[against["dataset"] == dataset]
        for axes, metric in zip(row, MEASURES, strict=True):
            pooled = here[here["metric"] == metric].set_index("a")
            folds = {
                name: paired_folds(known, name, BASE, metric, ALL) for name in present(pooled.index, COMPARED)
            }
            _differences(
                axes, pd.DataFrame({name: one["a"] - one["b"] for name, one in folds.items()}), pooled
            )
        row[0].set_title(escape_mathtext(dataset, 40), loc="left")
        row[1].set_yticklabels([])
    for axes, title in zip(grid[-1], MEASURES.values(), strict=True):
        axes.set_xlabel(f"difference in {title}")
    return finish(figure, caption, "small: single folds; large: all test images, with 95 % interval")


def _differences(axes: Axes, steps: pd.DataFrame, pooled: pd.DataFrame) -> None:
    """Draw differences by fold (rows) and feature set (columns), and the pooled ones with their intervals."""
    heights = {name: -place for place, name in enumerate(COMPARED) if name in steps}
    for _, fold in steps.iterrows():
        axes.plot(fold, [height + 0.12 for height in heights.values()], color="0.7", lw=0.8, zorder=1)
    for name, height in heights.items():
        dots, value = steps[name].dropna(), pooled.loc[name]
        axes.scatter(
            dots, np.full(len(dots), height + 0.12), s=13, color=PALETTE[name], marker="o", zorder=2,
            edgecolor="0.2", linewidth=0.4,
        )  # fmt: skip
        axes.errorbar(
            value["difference"], height - 0.2,
            xerr=[[value["difference"] - value["low"]], [value["high"] - value["difference"]]],
            fmt=MARKERS[name], color=PALETTE[name], ms=7, mec="0.1", elinewidth=2.2, capsize=3, zorder=3,
        )  # fmt: skip
    axes.axvline(0, color="0.2", lw=1.2, zorder=1)
    axes.locator_params(axis="x", nbins=7)
    axes.set_yticks(list(heights.values()), [f"{NAMES[name]}\n- {BASE}" for name in heights], fontsize=8)
    axes.set_ylim(-len(COMPARED) + 0.45, 0.45)
    axes.grid(False, axis="y")
