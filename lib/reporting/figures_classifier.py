"""Figures of classification: confusions, how far probabilities can be trusted, which columns were selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.classification.operating_threshold import clopper_pearson
from lib.evaluation.metrics import defect_scores, percent
from lib.pipeline.dataset import parse_split
from lib.reporting import style
from lib.reporting.style import MARKERS, PALETTE, escape_mathtext, finish, legend_above, present

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 8  # classes: more need the width of a page


def confusions(predictions: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix per feature set, of the first repeat, beside (or, of many classes, below) each other."""
    predictions = predictions[predictions["repeat"] == predictions["repeat"].min()]
    found = present(predictions["features"])
    columns = len(found) if len(classes) <= MANY else 1
    names = [escape_mathtext(label, 18) for label in classes]
    figure, grid = style.panels(len(found), columns, style.PAGE / columns, sharey=True, sharex=True)
    for axes, name in zip(grid.flat, found, strict=True):
        part = predictions[predictions["features"] == name]
        table = pd.crosstab(part["label"], part["predicted"])
        counts = table.reindex(list(classes), columns=list(classes), fill_value=0).to_numpy()
        shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, linewidth=0.5, edgecolors="0.9")
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.48 else "0.15"
            axes.text(column + 0.5, row + 0.5, count, ha="center", va="center", color=colour)
        axes.set_title(FEATURE_SETS[name].title)
        at = np.arange(len(classes)) + 0.5
        axes.set_xticks(at, names, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(at, names)
        axes.set(aspect="equal", ylim=(len(classes), 0), xlim=(0, len(classes)))
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted", ylabel="true")
        axes.label_outer()
    return finish(figure, "counts of images, shaded by their share of the true class")


def reliability_bins(scores: np.ndarray, defective: np.ndarray) -> pd.DataFrame:
    """Return the mean score and the share of defective ones in ten bins (fewer with ties) of equally many images.

    scores (n,) in [0, 1], defective (n,) bool. Columns score, share, low, high (Clopper-Pearson, 95 %).
    """
    table = pd.DataFrame({"score": scores, "defective": defective})
    varied = table["score"].nunique() > 1
    of_bin = pd.qcut(table["score"], 10, duplicates="drop") if varied else np.zeros(len(table))
    rows = []
    for _, part in table.groupby(of_bin, observed=True):
        k, n = int(part["defective"].sum()), len(part)
        rows.append((part["score"].mean(), k / n, *clopper_pearson(k, n)))
    return pd.DataFrame(rows, columns=["score", "share", "low", "high"])


def reliability(predictions: pd.DataFrame, good: str) -> Figure:
    """Draw how often an image given a probability of being defective is defective, per feature set.

    1 - p(good) of the first repeat, in bins of equally many images; below, how good and defective images are spread.
    """
    from sklearn.metrics import brier_score_loss

    rows = predictions[predictions["repeat"] == predictions["repeat"].min()]
    found, share = present(rows["features"]), (rows["label"] != good).mean()
    look: dict[str, Any] = {"sharex": True, "sharey": "row", "height_ratios": [3, 1]}
    figure, grid = style.panels(2 * len(found), len(found), 2.3, **look)
    for name, axes, below in zip(found, *grid, strict=True):
        part = rows[rows["features"] == name]
        scores, defective = np.clip(defect_scores(part, good), 0, 1), (part["label"] != good).to_numpy()
        bins = reliability_bins(scores, defective)
        axes.plot([0, 1], [0, 1], color="0.6", lw=0.8, zorder=1)
        axes.errorbar(
            bins["score"], bins["share"], (bins["share"] - bins["low"], bins["high"] - bins["share"]),
            fmt=MARKERS[name], color=PALETTE[name], **style.DOTS, elinewidth=1.2, capsize=2, ls="-", lw=0.8,
        )  # fmt: skip
        axes.set_title(f"{FEATURE_SETS[name].title}\nBrier score {brier_score_loss(defective, scores):.3f}")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        edges = np.linspace(0, 1, 21)
        below.hist(scores[~defective], edges, color="0.82", label="good")
        below.hist(scores[defective], edges, fill=False, edgecolor=PALETTE[name], lw=1.2, label="defective")
        below.set(xlabel="1 - p(good)", yscale="symlog")
    grid[0][0].set_ylabel("share that is defective")
    grid[1][0].set_ylabel("images")
    legend_above(grid[1][-1], 2)
    brier = share * (1 - share)
    constant = f"giving every image the share of defects, {percent(share)}, has Brier score {brier:.3f}"
    return finish(figure, f"bins of equally many images, with 95 % intervals; {constant}")


def selected_sources(diagnostics: pd.DataFrame, by: str = "split") -> Figure:
    """Draw how many selected columns of image + map come from either, over `by` (split or keep), and their information.

    Right: the mutual information of the K best columns of either source alone, and what a column needed to be chosen.
    """
    rows = diagnostics[diagnostics["task"] == "multiclass"]
    both = rows[rows["features"] == "image_map"]
    places = sorted(both[by].unique())
    names = [percent(place, 0) if by == "keep" else str(parse_split(place).fold) for place in places]
    figure, ((left, right),) = style.panels(2, 2, 3.2)
    counts = both.groupby(by)[["k_image", "k_map"]].mean()
    if len(counts):
        counts = counts.set_axis(names).set_axis(["image", "map"], axis=1)
        style.draw_bars(left, counts, stacked=True, rot=0)
    left.locator_params(axis="y", integer=True)
    left.set_ylabel("columns of image + map" + (", mean" if by == "keep" else ""))
    _information(right, rows, by, places)
    for axes in (left, right):
        axes.set_xticks(range(len(places)), names)
        axes.set_xlabel("defective training images kept" if by == "keep" else "test fold")
        axes.grid(False, axis="x")
    return finish(figure, "boxes: the best columns of either source alone", ("image", "map"), bars=True)


def _information(axes: Axes, rows: pd.DataFrame, by: str, places: list[Any]) -> None:
    """Draw boxes of the mutual information of each source's best columns, and the least among the chosen ones."""
    import seaborn as sns

    scored = rows.melt([by, "features"], ["mi_image", "mi_map"], "source", "nats").explode("nats").dropna()
    if scored.empty or not places:
        axes.text(0.5, 0.5, "every column is used: nothing was scored", ha="center", transform=axes.transAxes)
    else:
        scored["nats"] = scored["nats"].astype(float)
        alone = scored[scored["source"] == "mi_" + scored["features"]]
        sns.boxplot(
            alone, x=by, y="nats", hue="features", order=places, hue_order=("image", "map"), palette=PALETTE, ax=axes,
            saturation=1, fliersize=2, linewidth=0.5, medianprops={"color": "white", "linewidth": 1.5}, legend=False,
        )  # fmt: skip
        chosen = scored[scored["features"] == "image_map"].groupby(by)["nats"].min().reindex(places)
        at = np.arange(len(places))
        axes.hlines(chosen, at - 0.42, at + 0.42, "0.1", ls="--", lw=1.2, label="least of the chosen")
        axes.set_ylim(bottom=0)
        legend_above(axes, 1)
    axes.set_ylabel("mutual information (nats)")


def describe_selected(diagnostics: pd.DataFrame) -> str:
    """Say how many of the selected columns of image + map come from the map, over the fits given."""
    both = diagnostics[(diagnostics["features"] == "image_map") & (diagnostics["task"] == "multiclass")]
    if both.empty:
        return "Image and map together were not evaluated."
    counts, ks = both["k_map"], both["k"]
    without = int((counts == 0).sum())
    return (
        f"Of {ks.mean():.3g} selected columns in a fit, from the map come {counts.mean():.3g} "
        f"({percent(counts.sum() / ks.sum(), 0)})"
        + (f"; in {without} of {len(both)} fits none does, " if without else ".")
        + ("and there image + map is the image alone." if without else "")
    )
