"""Figures of what comes before classification: DRAEM's training, image scores, features in two dimensions."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.metrics import percent
from lib.pipeline.detectors import INNER
from lib.reporting import style
from lib.reporting.style import PALETTE, escape_mathtext, finish

# points (n, 2) in two directions, and the share of the variance along each (2,)
Plane = tuple[np.ndarray, np.ndarray]
SMOOTH = 10  # records of a loss
MANY = 2000  # points, above which an SVG holds their picture


def plane(features: np.ndarray, tested: np.ndarray) -> Plane:
    """Return the tested rows of features (N, d) in the first two principal components of the other, scaled, rows."""
    fitted = make_pipeline(StandardScaler(), PCA(2, random_state=0)).fit(features[~tested])
    return fitted.transform(features[tested]), fitted[-1].explained_variance_ratio_


def embedding(panels: Mapping[str, Plane], labels: pd.Series, classes: Sequence[str]) -> Figure:
    """Draw the `plane` of each feature set in its panel, coloured and marked by class, good images in front."""
    figure, grid = style.panels(len(panels), len(panels), 3.6)
    colours = ["0.78", *sns.color_palette("plasma", len(classes) - 1)]  # defects by lightness, beside grey
    shown, names = labels.to_numpy(dtype=str), list(classes)
    order = np.argsort(shown == names[0], kind="stable")
    shown = shown[order]
    for axes, (name, (points, shares)) in zip(grid[0], panels.items(), strict=True):
        sns.scatterplot(
            x=points[order, 0], y=points[order, 1], hue=shown, style=shown, hue_order=names, style_order=names, s=26,
            palette=colours, edgecolor="0.25", linewidth=0.3, legend=axes is grid[0][-1], ax=axes,
            rasterized=len(shown) > MANY,
        )  # fmt: skip
        along = f"first direction ({percent(shares[0], 0)} of variance)"
        across = f"second direction ({percent(shares[1], 0)})"
        axes.set(title=FEATURE_SETS[name].title, xlabel=along, ylabel=across, xticks=[], yticks=[])
    signs, _ = grid[0][-1].get_legend_handles_labels()
    grid[0][-1].get_legend().remove()
    names = [escape_mathtext(name, 24) for name in names]
    style.legend_above(figure, min(len(names), 6), signs, names, loc="outside lower center")
    return finish(figure, "Test images, in the directions in which the training images vary most.")


def loss_curves(history: pd.DataFrame) -> Figure:
    """Draw the three losses over the steps, smoothed: the trainings' median in their range; half-trainings apart."""
    losses = {"l2": "L2", "ssim": "1 - SSIM", "focal": "focal"}
    half = history["split"].str.contains(INNER)
    trained_on = np.where(half, "half of the good training images", "all good training images")
    table = history.assign(images=trained_on)
    smooth = table.groupby("split")[list(losses)].rolling(SMOOTH, min_periods=1).mean()
    table[list(losses)] = smooth.droplevel(0)
    figure, (grid,) = style.panels(3, 3, 3)
    for axes, (name, title) in zip(grid, losses.items(), strict=True):
        sns.lineplot(
            table, x="step", y=name, hue="images", style="images", estimator="median", errorbar=("pi", 100), ax=axes,
            palette=["0.15", "#8A4FBF"][: table["images"].nunique()], legend=half.any() and axes is grid[0],
        )  # fmt: skip
        axes.set(yscale="log", title=title, ylabel="loss (log scale)" if axes is grid[0] else "")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    if legend := grid[0].get_legend():
        style.legend_above(figure, 2, *grid[0].get_legend_handles_labels())
        legend.remove()
    return finish(figure, f"Means of {SMOOTH} records. Line: the trainings' median. Band: all of them.")


def score_distribution(scores: pd.DataFrame, good: str) -> Figure:
    """Draw the maps' image score per class, training and test images apart (columns label, tested, score)."""
    order = [good, *sorted(set(scores["label"]) - {good})]
    table = scores.assign(seen=np.where(scores["tested"], "test fold", "training folds"))
    figure, grid = style.panels(1, 1, 0.55 * len(order) + 1.0)
    axes = sns.boxplot(
        table, x="score", y="label", hue="seen", order=order, ax=grid[0][0], fliersize=1.5,
        flierprops={"rasterized": len(table) > MANY}, linewidth=0.8,
        saturation=1, hue_order=["training folds", "test fold"], palette=["0.85", PALETTE["map"]],
    )  # fmt: skip
    axes.set_yticks(range(len(order)), [escape_mathtext(label, 24) for label in order])
    axes.set(xlabel="image score (0 to 1)", ylabel="")
    style.legend_above(axes, 2, title="")
    return finish(figure)
