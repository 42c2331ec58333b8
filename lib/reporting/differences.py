"""The figure of paired differences: what the map adds or loses against the image, fold by fold."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lib.evaluation.metrics import ALL
from lib.evaluation.significance import by_measure, paired_folds
from lib.reporting.style import MARKERS, NAMES, PALETTE, add_caption, escape_mathtext

MEASURES = {"weighted_auc": "ROC AUC (weighted, one against the rest)", "defect_recall": "defect recall"}
AGAINST = "image"
ORDER = ("image_map", "map")


def paired_differences(measures: pd.DataFrame, compared: pd.DataFrame, caption: str) -> Figure:
    """Draw both - image and map - image in every fold, one row of panels per data set, one column per measure.

    `measures` is `summary` and `compared` is `compare` of the same predictions at one keep. Small dots: folds, each
    joined by a line from one difference to the other. Large marker and bar: pooled over the test images, with the
    bootstrap's 95 % interval.
    """
    datasets = list(dict.fromkeys(compared["dataset"]))
    figure, grid = plt.subplots(
        len(datasets), len(MEASURES), figsize=(9.6, 1.25 * len(datasets) + 0.5), squeeze=False, sharex="col"
    )
    for row, dataset in zip(grid, datasets, strict=True):
        known = by_measure(measures[measures["dataset"] == dataset])
        here = compared[
            (compared["dataset"] == dataset) & (compared["class"] == ALL) & (compared["b"] == AGAINST)
        ]
        for axes, metric in zip(row, MEASURES, strict=True):
            pooled = here[here["metric"] == metric].set_index("a")
            heights = {name: -place for place, name in enumerate(ORDER) if name in pooled.index}
            folds = {name: paired_folds(known, name, AGAINST, metric, ALL) for name in heights}
            steps = pd.DataFrame({name: part["a"] - part["b"] for name, part in folds.items()})
            for _, one in steps.iterrows():
                axes.plot(one, [height + 0.12 for height in heights.values()], color="0.7", lw=0.8, zorder=1)
            for name, height in heights.items():
                dots = steps[name].dropna()
                axes.scatter(
                    dots, np.full(len(dots), height + 0.12), s=13, color=PALETTE[name], marker="o", zorder=2,
                    edgecolor="0.2", linewidth=0.4,
                )  # fmt: skip
                value = pooled.loc[name]
                axes.errorbar(
                    value["difference"], height - 0.2,
                    xerr=[[value["difference"] - value["low"]], [value["high"] - value["difference"]]],
                    fmt=MARKERS[name], color=PALETTE[name], ms=7, mec="0.1", elinewidth=2.2, capsize=3, zorder=3,
                )  # fmt: skip
            axes.axvline(0, color="0.2", lw=1.2, zorder=1)
            axes.xaxis.set_major_locator(MaxNLocator(7))
            axes.set_yticks(
                list(heights.values()), [f"{NAMES[name]}\n- {AGAINST}" for name in heights], fontsize=8
            )
            axes.set_ylim(-len(ORDER) + 0.45, 0.45)
            axes.grid(False, axis="y")
        row[0].set_title(escape_mathtext(dataset, 40), loc="left")
        row[1].set_yticklabels([])
    for axes, title in zip(grid[-1], MEASURES.values(), strict=True):
        axes.set_xlabel(f"difference in {title}")
    figure.tight_layout()
    add_caption(figure, caption, "small: single folds; large: all test images, with 95 % interval")
    return figure
