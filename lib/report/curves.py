"""Figures of operating points and of label economy."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from lib.report.economy import Economy
from lib.report.figures import DASHES, MARKERS, NAMES, PALETTE, footnote, named_legend, plain
from lib.report.metrics import ALL, RATE
from lib.report.points import TRAINING


def recall_against_false_rejects(
    predictions: pd.DataFrame, good: str, caption: str, points: pd.DataFrame | None = None
) -> Figure:
    """Draw defect recall against false rejects as the threshold on 1 - p(good) moves, the operating points marked.

    Filled markers: the classifier's own decision. Hollow ones, with their required recall: what thresholds chosen on
    training images reached on the test folds (`points` of `operating_numbers`, where there are any).
    """
    figure, axes = plt.subplots(figsize=(5.4, 4.2))
    labelled: list[tuple[float, float]] = []
    for name, colour in PALETTE.items():
        part = predictions[predictions["features"] == name]
        if part.empty:
            continue
        defective = (part["label"] != good).to_numpy()
        rate, hit, _ = roc_curve(defective, 1 - part[f"p:{good}"])
        axes.plot(rate, hit, color=colour, label=NAMES[name], dashes=DASHES[name] or (None, None))
        called = (part["predicted"] != good).to_numpy()
        axes.plot(
            called[~defective].mean(), called[defective].mean(), MARKERS[name], color=colour, ms=6, mec="0.1"
        )
        chosen = _chosen(points, name)
        axes.plot(chosen["false_rejects"], chosen["recall"], MARKERS[name], color=colour, ms=6, mfc="white")
        for place, text in _labels(chosen).items():
            if any(abs(place[0] - x) < 0.2 and abs(place[1] - y) < 0.08 for x, y in labelled):
                continue  # the markers stand in a row, and the table has the figures
            labelled.append(place)
            right = place[0] > 0.85
            axes.annotate(
                text, place, (4 if right else 3, -10), textcoords="offset points", fontsize=7,
                ha="right" if right else "left",
            )  # fmt: skip
    axes.set(
        xlabel="false rejects (share of good images)",
        ylabel="defect recall",
        xlim=(-0.02, 1.02),
        ylim=(0, 1.02),
    )
    told = "filled: the classifier's own decision"
    if len(_chosen(points)):
        told += "\nhollow: threshold from training images\nfor a defect recall of so many %"
    axes.legend(frameon=False, loc="lower right", title=told, title_fontsize=8, fontsize=8)
    footnote(figure, caption)
    return figure


def learning_curves(economy: Economy, caption: str) -> Figure:
    """Draw recall at 5 % false rejects over the number of labelled defects, one panel per data set, 95 % bands."""
    datasets = list(dict.fromkeys(economy.curves["dataset"]))
    columns = min(3, len(datasets))
    rows = -(-len(datasets) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(4.6 * columns + 0.4, 3.4 * rows), squeeze=False, sharey=True
    )
    for axes in grid.flat[len(datasets) :]:
        axes.set_axis_off()
    for axes, dataset in zip(grid.flat, datasets, strict=False):
        for name, colour in PALETTE.items():
            part = economy.curves[
                (economy.curves["dataset"] == dataset) & (economy.curves["features"] == name)
            ]
            if part.empty:
                continue
            axes.fill_between(part["labels"], part["low"], part["high"], color=colour, alpha=0.15, lw=0)
            axes.plot(
                part["labels"], part["recall"], color=colour, marker=MARKERS[name], ms=5, mec="0.1", label=name,
                dashes=DASHES[name] or (None, None),
            )  # fmt: skip
        axes.set(title=plain(dataset), xlabel="labelled defects in a training fold", ylim=(0, 1.02))
        axes.set_xlim(left=0)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"defect recall at {RATE:.0%} false rejects")
    figure.tight_layout()
    named_legend(figure, grid[0][0])
    footnote(figure, caption)
    return figure


def _chosen(points: pd.DataFrame | None, features: str | None = None) -> pd.DataFrame:
    """Return the points over all defects whose thresholds come from training images."""
    if points is None:
        return pd.DataFrame(columns=["required", "recall", "false_rejects"])
    part = points[(points["method"] == TRAINING) & (points["class"] == ALL) & ~np.isnan(points["caught"])]
    return part if features is None else part[part["features"] == features]


def _labels(points: pd.DataFrame) -> dict[tuple[float, float], str]:
    """Return the required recalls in percent by place; points too close to be labelled apart share a label."""
    found: dict[tuple[float, float], str] = {}
    last = (-1.0, -1.0)
    for row in points.sort_values("required").to_dict("records"):
        place, text = (float(row["false_rejects"]), float(row["recall"])), f"{100 * row['required']:g}"
        if abs(place[0] - last[0]) < 0.05:
            found[last] += f", {text}"
        else:
            found[place] = text
            last = place
    return found
