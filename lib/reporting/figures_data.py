"""Figures of what comes before classification: folds, DRAEM's training and scores, features in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lib.pipeline.detectors import INNER
from lib.reporting import style
from lib.reporting.style import NAMES, PALETTE, class_colours, escape_mathtext, finish, side_legend, subplots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Plane = tuple[
    np.ndarray, np.ndarray
]  # points (n, 2) in two directions, and the share of the variance along each (2,)
CLASS_MARKERS = ("o", "X", "s", "P", "D", "^", "v", "<", ">", "*")


def plane(features: np.ndarray, tested: np.ndarray) -> Plane:
    """Return the tested rows of features (N, d) in the first two principal components of the other, scaled, rows."""
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), PCA(2, random_state=0)).fit(features[~tested])
    return fitted.transform(features[tested]), fitted[-1].explained_variance_ratio_


def embedding(panels: Mapping[str, Plane], labels: pd.Series, classes: Sequence[str], caption: str) -> Figure:
    """Draw the `plane` of each feature set in a panel of its own, coloured and marked by class, good ones below."""
    figure, grid = style.panels(len(panels), len(panels), 3.2, 3.2)
    truth, colours = labels.to_numpy(dtype=str), class_colours(classes)
    for axes, (name, (points, shares)) in zip(grid[0], panels.items(), strict=True):
        for place, label in enumerate(classes):
            axes.scatter(
                *points[truth == label].T, s=14 if place == 0 else 26, color=colours[label], edgecolor="0.25",
                marker=CLASS_MARKERS[place % len(CLASS_MARKERS)], linewidth=0.3, label=escape_mathtext(label, 24),
                zorder=2 + place / 100,
            )  # fmt: skip
        along = f"first direction ({shares[0]:.0%} of variance)"
        across = f"second direction ({shares[1]:.0%})"
        axes.set(title=NAMES[name], xlabel=along, ylabel=across, xticks=[], yticks=[])
    side_legend(grid[0][-1])
    return finish(figure, caption, "test images, in the directions in which the training images vary most")


def loss_curves(history: pd.DataFrame, caption: str) -> Figure:
    """Draw the three losses over the steps: each training thin, their running median thick; half-trainings dashed."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    figure, grid = subplots(1, 3, figsize=(9.6, 2.7), sharex=True)
    half = history["split"].str.contains(INNER)
    whole = ("all good training images", history[~half], "0.15", "-")
    kinds = [whole, ("half of them", history[half], "#8A4FBF", (0, (3, 1.5)))]
    for axes, column, title in zip(grid, ("l2", "ssim", "focal"), ("L2", "1 - SSIM", "focal"), strict=True):
        for name, part, colour, dash in (kind for kind in kinds if len(kind[1])):
            for _, one in part.groupby("split"):
                axes.plot(one["step"], one[column], lw=0.6, alpha=0.3, color=colour)
            median = part.groupby("step")[column].median().rolling(9, center=True, min_periods=1).median()
            axes.plot(median.index, median, lw=1.8, color=colour, ls=dash, label=name)
        axes.set(title=title, xlabel="step", yscale="log")
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    grid[0].set_ylabel("loss (log scale)")
    if half.any():
        grid[-1].legend(frameon=False, loc="upper right", fontsize=8)
    return finish(figure, caption, "thin: single trainings; thick: their median")


def score_curves(before: np.ndarray, after: np.ndarray, defective: np.ndarray, caption: str) -> Figure:
    """Draw the ROC of DRAEM's image score before its first and after its last step."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, axes = subplots(figsize=(4.2, 3.6))
    looks: list[dict[str, Any]] = [{"color": "0.5", "ls": "--"}, {"color": PALETTE["map"], "lw": 2}]
    for scores, name, line in zip((before, after), ("first step", "last step"), looks, strict=True):
        false_positives, true_positives, _ = roc_curve(defective, scores)
        label = f"{name}: AUROC {roc_auc_score(defective, scores):.3f}"
        axes.plot(false_positives, true_positives, label=label, **line)
    axes.plot([0, 1], [0, 1], color="0.8", lw=0.8, zorder=0)
    axes.set(xlabel="good images above the threshold", ylabel="defective images above it", aspect=1)
    style.percent_ticks(axes.xaxis, axes.yaxis)
    side_legend(axes)
    return finish(figure, caption, tight=False)


def score_distribution(scores: pd.DataFrame, good: str, caption: str) -> Figure:
    """Draw the maps' image score per class, training and test images apart (columns label, tested, score)."""
    import seaborn as sns

    order = [good, *sorted(set(scores["label"]) - {good})]
    table = scores.assign(seen=np.where(scores["tested"], "test fold", "training folds"))
    figure, axes = subplots(figsize=(6.8, 0.55 * len(order) + 1.0))
    sns.boxplot(
        table, x="score", y="label", hue="seen", order=order, ax=axes, fliersize=1.5, linewidth=0.8, saturation=1,
        palette={"test fold": PALETTE["map"], "training folds": "0.85"}, hue_order=["training folds", "test fold"],
    )  # fmt: skip
    axes.set_yticks(range(len(order)), [escape_mathtext(label, 24) for label in order])
    axes.set(xlabel="image score (0 to 1)", ylabel="")
    side_legend(axes, title="")
    return finish(figure, caption, tight=False)


def fold_sizes(folds: pd.DataFrame, labels: pd.Series, classes: Sequence[str], caption: str) -> Figure:
    """Draw how many images of each class are in each test fold, one panel per scheme, the good ones lowest."""
    table = folds.assign(label=folds["id"].map(labels))
    schemes, colours = list(table["scheme"].unique()), class_colours(classes)
    figure, grid = style.panels(len(schemes), len(schemes), 4.2, 2.8, sharey=True)
    for axes, scheme in zip(grid[0], schemes, strict=True):
        counts = pd.crosstab(table["fold"], table["label"].where(table["scheme"] == scheme))
        base = np.zeros(len(counts))
        for label, heights in counts.reindex(columns=list(classes), fill_value=0).items():
            look = {"color": colours[str(label)], "label": escape_mathtext(str(label), 24)}
            axes.bar(counts.index, heights, 0.8, base, edgecolor="0.25", linewidth=0.4, **look)
            base += heights.to_numpy()
        axes.set(title=f"{scheme} folds", xlabel="test fold", xticks=counts.index)
        axes.grid(False, axis="x")
    grid[0][0].set_ylabel("images")
    handles, names = grid[0][-1].get_legend_handles_labels()
    side_legend(grid[0][-1], handles[::-1], names[::-1])
    return finish(figure, caption)
