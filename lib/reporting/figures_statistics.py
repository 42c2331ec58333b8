"""Figures of measures: recall against false rejects, curves over the share of defects kept, paired differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lib.evaluation.metrics import ALL, RANKINGS, RECALL_AT_5_FPR, TITLES, defect_scores
from lib.evaluation.operating_points import TRAINING
from lib.evaluation.significance import by_measure, fold_differences
from lib.reporting import style
from lib.reporting.style import LINES, MARKERS, NAMES, PALETTE, escape_mathtext, finish, lined, present

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lib.evaluation.label_efficiency import LabelEfficiency

BANDS = "bands: 95 % bootstrap intervals over test images, by group where groups are known, and over repeats"
MEASURES = RANKINGS[:2]  # whose paired differences are drawn
BASE = "image"  # what paired differences are taken from, and in which order they are drawn
COMPARED = ("image_map", "map")


def recall_against_false_rejects(
    predictions: pd.DataFrame, good: str, caption: str, points: pd.DataFrame
) -> Figure:
    """Draw defect recall against false rejects as the threshold on 1 - p(good) moves, and its upper part larger.

    A curve is the mean of the folds', each of its own scores. Filled markers: the classifier's own decision. Hollow
    ones: what thresholds chosen on training images for a required recall reached on the test folds (`points` of
    `operating_numbers`), a thin line from each to that recall.
    """
    from sklearn.metrics import roc_curve

    figure, grid = style.panels(2, 2, 4.8, 3.9, sharex=True)
    whole, upper = grid[0]
    of_training = (points["method"] == TRAINING) & (points["class"] == ALL) & points["caught"].notna()
    chosen, found = points[of_training], present(predictions["features"], LINES)
    for name in found:
        part = predictions[predictions["features"] == name]
        defective, called = (part["label"] != good).to_numpy(), (part["predicted"] != good).to_numpy()
        curves = [
            roc_curve(one["label"] != good, defect_scores(one, good))[:2]
            for _, one in part.groupby(["fold", "repeat"])
            if (one["label"] == good).any() and (one["label"] != good).any()
        ]
        false_rejects = np.linspace(0, 1, 1001)
        recall = np.mean([np.interp(false_rejects, *curve) for curve in curves], axis=0)
        own = called[~defective].mean(), called[defective].mean()
        mine = chosen[chosen["features"] == name]
        sign = {"marker": MARKERS[name], "ls": "", "color": LINES[name], "ms": 6.5}
        for axes in grid.flat:
            axes.plot(false_rejects, recall, label=NAMES[name], **lined(name))
            axes.plot(*own, mec="0.1", zorder=4, **sign)
            axes.vlines(mine["false_rejects"], mine["recall"], mine["required"], color=LINES[name], lw=1)
            axes.plot(mine["false_rejects"], mine["recall"], mfc="white", zorder=3, **sign)
    lowest = min([0.9, *chosen["required"], *chosen["recall"]])
    whole.set(ylim=(0, 1.02), ylabel="defect recall", xlim=(-0.02, 1.02))
    upper.set(ylim=(lowest - 0.06, 1.01), title="the upper part")
    for axes in grid.flat:
        axes.set_xlabel("false rejects (share of good images)")
        style.percent_ticks(axes.xaxis, axes.yaxis, decimals=None)
    key, required = "filled: the classifier's own decision", sorted(set(chosen["required"]))
    for recall in required:
        upper.axhline(recall, color="0.45", lw=0.8, ls=":", zorder=1)
    if required:
        named = ", ".join(f"{100 * recall:g}" for recall in required)
        key += f"; hollow: a threshold from training images; dotted: the recalls required of it, {named} %"
    return finish(figure, caption, key, legend=found)


def degradation(
    values: pd.DataFrame, caption: str, by: str = "class", measure: str = "", x: str = "keep"
) -> Figure:
    """Draw one panel per `by` over keep (or labels): columns `x`, features (those of LINES are drawn), value, `by`.

    Bands from columns low and high, where given. `measure` names the vertical axis that all panels share, if any.
    """
    values = values[values["features"].isin(LINES)]
    panels, values = list(values[by].unique()), values.sort_values(x)
    columns = -(-len(panels) // -(-len(panels) // 4))
    width, banded = max(3.6 / columns, 2.5), "low" in values
    figure, grid = style.panels(len(panels), columns, width, 2.4, (0.3, 0.2), sharey=bool(measure))
    for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        for name, part in values[values[by] == panel].groupby("features", sort=False):
            if banded:
                axes.fill_between(part[x], part["low"], part["high"], color=LINES[name], alpha=0.1, lw=0)
                axes.plot(part[x], part[["low", "high"]], lw=0.6, alpha=0.7, **lined(name))
            look = style.DOTS | lined(str(name))
            axes.plot(part[x], part["value"], label=NAMES[name], marker=MARKERS[name], **look)
        axes.set_title(escape_mathtext(panel, 30), fontsize=9)
        if place + columns >= len(panels):  # no panel below
            names = {"keep": "defects kept in training", "labels": "labelled defects in a training fold"}
            axes.set_xlabel(names[x])
        if x == "keep":
            axes.set(xticks=sorted(values["keep"].unique()))
            style.percent_ticks(axes.xaxis)
        else:
            axes.set_xlim(0, None)
        if measure:
            axes.set(ylim=(0, 1.02), ylabel="" if place % columns else measure)
    return finish(figure, caption, BANDS if banded else "", legend=list(values["features"]))


def learning_curves(economy: LabelEfficiency, caption: str) -> Figure:
    """Draw recall at 5 % false rejects over the number of labelled defects, one panel per data set, 95 % bands."""
    values = economy.curves.rename(columns={"recall": "value"})
    return degradation(values, caption, "dataset", TITLES[RECALL_AT_5_FPR].replace(" at", "\nat"), "labels")


def paired_differences(measures: pd.DataFrame, compared: pd.DataFrame, caption: str) -> Figure:
    """Draw both - image and map - image in every fold, one row of panels per data set, one column per measure.

    `measures` is `summary` and `compared` is `compare` of the same predictions at one keep. Small dots: folds, each
    joined by a line. Large marker and bar: over all folds, with the 95 % interval.
    """
    datasets = list(dict.fromkeys(compared["dataset"]))
    figure, grid = style.panels(2 * len(datasets), 2, 4.8, 1.25, (0, 0.5), sharex="col", sharey=True)
    against = compared[(compared["class"] == ALL) & (compared["b"] == BASE)]
    for row, dataset in zip(grid, datasets, strict=True):
        known = by_measure(measures[measures["dataset"] == dataset])
        for axes, metric in zip(row, MEASURES, strict=True):
            here = against[(against["dataset"] == dataset) & (against["metric"] == metric)]
            folds = {
                name: fold_differences(known, name, BASE, metric, ALL)
                for name in present(here["a"], COMPARED)
            }
            _differences(axes, pd.DataFrame(folds), here.set_index("a"))
            axes.set_xlabel(f"difference: {TITLES[metric]}")
            axes.label_outer()
        row[0].set_title(escape_mathtext(dataset, 40), loc="left")
    return finish(figure, caption, "small: single folds; large: all folds, with 95 % interval")


def _differences(axes: Axes, steps: pd.DataFrame, overall: pd.DataFrame) -> None:
    """Draw differences by fold (rows) and feature set (columns), and those over all folds with their intervals."""
    heights = {str(name): -COMPARED.index(str(name)) for name in steps}
    axes.plot(steps.T, np.array(list(heights.values())) + 0.12, color="0.7", lw=0.8, zorder=1)
    for name, height in heights.items():
        dots, value = steps[name].dropna(), overall.loc[name]
        axes.scatter(
            dots,
            np.full(len(dots), height + 0.12),
            s=13,
            color=PALETTE[name],
            zorder=2,
            edgecolor="0.2",
            linewidth=0.4,
        )
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
