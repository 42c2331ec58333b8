"""Figures of measures: recall against false rejects, curves over the share of defects kept, all differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.metrics import ALL, RANKINGS, RECALL_AT_5_FPR, TITLES, defect_scores
from lib.evaluation.operating_points import TRAINING
from lib.reporting import style
from lib.reporting.style import LINES, escape_mathtext, finish, lined, marked, present

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lib.evaluation.label_efficiency import LabelEfficiency

BANDS = "bands: 95 % bootstrap intervals over test images, by group where groups are known, and over repeats"
MEASURES = RANKINGS[:2]  # whose differences are drawn


def recall_against_false_rejects(predictions: pd.DataFrame, good: str, points: pd.DataFrame) -> Figure:
    """Draw defect recall against false rejects as the threshold on 1 - p(good) moves, and its upper part larger.

    A curve is the mean of the folds', each of its own scores. Filled markers: the classifier's own decision. Hollow
    ones: what thresholds chosen on training images for a required recall reached on the test folds (`points` of
    `operating_numbers`), a thin line from each to that recall.
    """
    from sklearn.metrics import roc_curve

    figure, grid = style.panels(2, 2, 4, sharex=True)
    whole, upper = grid[0]
    of_training = (points["method"] == TRAINING) & (points["class"] == ALL) & points["caught"].notna()
    chosen, found = points[of_training], present(predictions["features"], LINES)
    for name in found:
        part = predictions[predictions["features"] == name]
        defective, called = (part["label"] != good).to_numpy(), (part["predicted"] != good).to_numpy()
        curves = [
            roc_curve(one["label"] != good, defect_scores(one, good), drop_intermediate=False)[:2]
            for _, one in part.groupby(["fold", "repeat"])
            if (one["label"] == good).any() and (one["label"] != good).any()
        ]
        false_rejects = np.linspace(0, 1, 1001)
        best = [pd.Series(recall, rejects).groupby(level=0).max() for rejects, recall in curves]
        recall = np.mean([np.interp(false_rejects, curve.index, curve) for curve in best], axis=0)
        own = called[~defective].mean(), called[defective].mean()
        mine = chosen[chosen["features"] == name]
        sign = marked(name) | {"ls": "", "mew": 1}
        for axes in grid.flat:
            axes.plot(false_rejects, recall, label=FEATURE_SETS[name].title, **lined(name))
            axes.plot(*own, zorder=4, **sign | {"mec": "0.1"})
            axes.vlines(mine["false_rejects"], mine["recall"], mine["required"], color=LINES[name], lw=1)
            axes.plot(
                mine["false_rejects"], mine["recall"], mfc="white", zorder=3, **sign | {"mec": LINES[name]}
            )
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
    return finish(figure, key, found)


def degradation(values: pd.DataFrame, by: str = "class", measure: str = "", x: str = "keep") -> Figure:
    """Draw one panel per `by` over keep (or labels): columns `x`, features (those of LINES are drawn), value, `by`.

    Bands from columns low and high, where given. `measure` names the vertical axis that all panels share, if any.
    """
    values = values[values["features"].isin(LINES)]
    panels, values = list(values[by].unique()), values.sort_values(x)
    columns = -(-len(panels) // -(-len(panels) // 4))
    banded = "low" in values
    figure, grid = style.panels(len(panels), columns, 2.8, sharey=bool(measure))
    for place, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        for name, part in values[values[by] == panel].groupby("features", sort=False):
            if banded:
                axes.fill_between(part[x], part["low"], part["high"], color=LINES[name], alpha=0.1, lw=0)
                axes.plot(part[x], part[["low", "high"]], lw=0.6, alpha=0.7, **lined(name))
            look = marked(str(name)) | lined(str(name))
            axes.plot(part[x], part["value"], label=FEATURE_SETS[name].title, **look)
        axes.set_title(escape_mathtext(panel, 30))
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
    return finish(figure, BANDS if banded else "", values["features"])


def learning_curves(economy: LabelEfficiency) -> Figure:
    """Draw recall at 5 % false rejects over the number of labelled defects, one panel per data set, 95 % bands."""
    values = economy.curves.rename(columns={"recall": "value"})
    return degradation(values, "dataset", TITLES[RECALL_AT_5_FPR].replace(" at", "\nat"), "labels")


def differences(compared: pd.DataFrame) -> Figure:
    """Draw all differences between feature sets with their 95 % intervals, a row of panels per data set.

    `compared` is `compare` at one keep; a column of panels each for AUC and recall at 5 % false rejects. Filled: the
    interval excludes zero. Where both make the same predictions nothing is drawn.
    """
    datasets = list(dict.fromkeys(compared["dataset"]))
    part = compared[(compared["class"] == ALL) & (compared["identical"] < 1)]
    pairs = list(dict.fromkeys(zip(part["a"], part["b"], strict=True)))
    height = 0.3 * max(len(pairs), 3) + 0.3
    figure, grid = style.panels(2 * len(datasets), 2, height, sharex="col", sharey=True)
    for row, dataset in zip(grid, datasets, strict=True):
        for axes, metric in zip(row, MEASURES, strict=True):
            here = part[(part["dataset"] == dataset) & (part["metric"] == metric)]
            for one in here.to_dict("records"):
                height, clear = -pairs.index((one["a"], one["b"])), one["low"] > 0 or one["high"] < 0
                axes.plot([one["low"], one["high"]], [height, height], color="0.4", lw=1.5)
                axes.plot(one["difference"], height, "o", color="0.1", mfc="0.1" if clear else "white", ms=5)
            axes.axvline(0, color="0.2", lw=1)
            axes.set_xlabel(TITLES[metric])
            axes.label_outer()
        row[0].set_title(escape_mathtext(dataset, 40), loc="left")
        labels = [f"{FEATURE_SETS[a].title} \u2212 {FEATURE_SETS[b].title}" for a, b in pairs]
        row[0].set_yticks([-place for place in range(len(pairs))], labels)
    return finish(figure, "differences with 95 % intervals; filled: the interval excludes zero")
