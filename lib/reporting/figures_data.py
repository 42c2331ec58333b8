"""Figures of what comes before classification: folds, DRAEM's training and scores, features in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.preprocessing import StandardScaler

from lib.pipeline.models import INNER
from lib.reporting.style import CLASS_MARKERS, NAMES, PALETTE, add_caption, class_colours, escape_mathtext


@dataclass(frozen=True)
class Plane:
    """Points (n, 2) in the two strongest directions, and the share of the variance along each (2,)."""

    points: np.ndarray
    shares: np.ndarray


def plane(features: np.ndarray, tested: np.ndarray) -> Plane:
    """Return the tested rows of features (N, d) in the two directions in which the other, scaled, rows vary most."""
    scaler = StandardScaler().fit(features[~tested])
    directions = PCA(2, random_state=0).fit(scaler.transform(features[~tested]))
    return Plane(
        directions.transform(scaler.transform(features[tested])), directions.explained_variance_ratio_
    )


def embedding(panels: Mapping[str, Plane], labels: pd.Series, classes: Sequence[str], caption: str) -> Figure:
    """Draw the points of each feature set in a panel of its own, coloured and marked by class, good ones below."""
    figure, grid = plt.subplots(1, len(panels), figsize=(3.2 * len(panels), 3.2), squeeze=False)
    truth, colours = labels.to_numpy(dtype=str), class_colours(classes)
    for axes, (name, found) in zip(grid[0], panels.items(), strict=True):
        for place, label in enumerate(classes):
            points = found.points[truth == label]
            axes.scatter(
                points[:, 0], points[:, 1], s=14 if place == 0 else 26, color=colours[label], edgecolor="0.25",
                marker=CLASS_MARKERS[place % len(CLASS_MARKERS)], linewidth=0.3, label=escape_mathtext(label, 24),
                zorder=2 + place / 100,
            )  # fmt: skip
        axes.set(
            title=NAMES[name],
            xlabel=f"first direction ({found.shares[0]:.0%} of variance)",
            ylabel=f"second direction ({found.shares[1]:.0%})",
            xticks=[],
            yticks=[],
        )
    grid[0][-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    add_caption(figure, caption, "test images, in the directions in which the training images vary most")
    return figure


def loss_curves(history: pd.DataFrame, caption: str) -> Figure:
    """Draw the three losses over the steps: each training thin, their running median thick; half-trainings dashed."""
    figure, grid = plt.subplots(1, 3, figsize=(9.6, 2.7), sharex=True)
    titles = {"l2": "L2", "ssim": "1 - SSIM", "focal": "focal"}
    half = history["split"].str.contains(INNER)
    kinds = {
        "all good training images": (~half, "0.15", "-"),
        "half of them": (half, "#8A4FBF", (0, (3, 1.5))),
    }
    for axes, (column, title) in zip(grid, titles.items(), strict=True):
        for name, (rows, colour, dash) in kinds.items():
            part = history[rows]
            if part.empty:
                continue
            for _, one in part.groupby("split"):
                axes.plot(one["step"], one[column], lw=0.6, alpha=0.3, color=colour)
            middle = part.groupby("step")[column].median().rolling(9, center=True, min_periods=1).median()
            axes.plot(middle.index, middle, lw=1.8, color=colour, ls=dash, label=name)
        axes.set(title=title, xlabel="step", yscale="log")
        axes.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        axes.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    grid[0].set_ylabel("loss (log scale)")
    if half.any():
        grid[-1].legend(frameon=False, loc="upper right", fontsize=8)
    figure.tight_layout()
    add_caption(figure, caption, "thin: single trainings; thick: their median")
    return figure


def score_curves(before: np.ndarray, after: np.ndarray, defective: np.ndarray, caption: str) -> Figure:
    """Draw the ROC of DRAEM's image score before its first and after its last step."""
    figure, axes = plt.subplots(figsize=(4.2, 3.6))
    for scores, name, style in (
        (before, "first step", {"color": "0.5", "ls": "--"}),
        (after, "last step", {"color": PALETTE["map"], "lw": 2}),
    ):
        rate, hit, _ = roc_curve(defective, scores)
        axes.plot(rate, hit, label=f"{name}: AUROC {roc_auc_score(defective, scores):.3f}", **style)
    axes.plot([0, 1], [0, 1], color="0.8", lw=0.8, zorder=0)
    axes.set(xlabel="good images above the threshold", ylabel="defective images above it", aspect=1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    add_caption(figure, caption)
    return figure


def score_distribution(scores: pd.DataFrame, good: str, caption: str) -> Figure:
    """Draw the maps' image score per class, training and test images apart (columns label, tested, score)."""
    order = [good, *sorted(set(scores["label"]) - {good})]
    table = scores.assign(seen=np.where(scores["tested"], "test fold", "training folds"))
    figure, axes = plt.subplots(figsize=(6.8, 0.55 * len(order) + 1.0))
    sns.boxplot(
        table, x="score", y="label", hue="seen", order=order, ax=axes, fliersize=1.5, linewidth=0.8, saturation=1,
        palette={"test fold": PALETTE["map"], "training folds": "0.85"}, hue_order=["training folds", "test fold"],
    )  # fmt: skip
    axes.set_yticks(range(len(order)), [escape_mathtext(label, 24) for label in order])
    axes.set(xlabel="image score (0 to 1)", ylabel="")
    axes.legend(title="", frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    add_caption(figure, caption)
    return figure


def fold_sizes(folds: pd.DataFrame, labels: pd.Series, classes: Sequence[str], caption: str) -> Figure:
    """Draw how many images of each class stand in each test fold, one panel per scheme, the good ones lowest."""
    table = folds.assign(label=folds["id"].map(labels))
    schemes, colours = list(table["scheme"].unique()), class_colours(classes)
    figure, grid = plt.subplots(
        1, len(schemes), figsize=(4.2 * len(schemes), 2.8), squeeze=False, sharey=True
    )
    for axes, scheme in zip(grid[0], schemes, strict=True):
        counts = pd.crosstab(table["fold"], table["label"].where(table["scheme"] == scheme))
        base = np.zeros(len(counts))
        for label in classes:
            heights = counts[label].to_numpy() if label in counts else np.zeros(len(counts))
            axes.bar(
                counts.index, heights, 0.8, base, color=colours[label], edgecolor="0.25", linewidth=0.4,
                label=escape_mathtext(label, 24),
            )  # fmt: skip
            base += heights
        axes.set(title=f"{scheme} folds", xlabel="test fold", xticks=counts.index)
        axes.grid(False, axis="x")
    grid[0][0].set_ylabel("images")
    handles, names = grid[0][-1].get_legend_handles_labels()
    grid[0][-1].legend(handles[::-1], names[::-1], frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    add_caption(figure, caption)
    return figure
