"""Figures of classification: recalls, confusions, how far probabilities can be trusted, which columns were selected."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lib.classification.operating_threshold import clopper_pearson
from lib.evaluation.metrics import defect_scores
from lib.reporting import style
from lib.reporting.style import MARKERS, NAMES, PALETTE, escape_mathtext, filled, finish, present, side_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 8  # classes: more need the width of a page


def recall_bars(recalls: pd.DataFrame, caption: str) -> Figure:
    """Draw Table 2, the two recalls beside (or, of many classes, below) each other.

    `recalls` has columns class, features, metric (class_recall, defect_recall), value.
    """
    titles = {"class_recall": "correct defect class recall", "defect_recall": "defect recall"}
    order, found = list(dict.fromkeys(recalls["class"])), present(recalls["features"])
    crowded = len(order) > 4 or max((len(name) for name in order), default=0) > 12
    columns = 2 if len(order) <= MANY else 1
    figure, grid = style.panels(2, columns, 9.6 / columns, 2.8, sharey=True)
    for axes, (metric, title) in zip(grid.flat, titles.items(), strict=True):
        values = recalls[recalls["metric"] == metric].set_index(["features", "class"])["value"]
        for place, name in enumerate(found):
            heights = values.reindex([(name, label) for label in order]).to_numpy()
            at = np.arange(len(order)) + (place - (len(found) - 1) / 2) * 0.27
            look = filled(name) | {"edgecolor": "0.2" if name != "image_map" else "0.75"}
            axes.bar(at, heights, 0.27, label=name, **look)
        slanted = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        axes.set_xticks(range(len(order)), [escape_mathtext(label, 20) for label in order], **slanted)
        axes.grid(False, axis="x")
        axes.set(title=title, ylim=(0, 1.02))
    for axes in grid[:, 0]:
        axes.set_ylabel("recall (pooled test folds)")
    return finish(figure, caption, legend=found, bars=True)


def confusions(predictions: pd.DataFrame, classes: Sequence[str], caption: str) -> Figure:
    """Draw a confusion matrix per feature set, beside (of many classes, below) each other, counts written in."""
    import seaborn as sns
    from sklearn.metrics import confusion_matrix

    found = present(predictions["features"])
    columns = len(found) if len(classes) <= MANY else 1
    size, names = 0.44 * len(classes) + 0.4, [escape_mathtext(label, 18) for label in classes]
    look: dict[str, Any] = {"sharey": True, "sharex": True, "layout": "constrained"}
    figure, grid = style.panels(len(found), columns, size, size + 0.3, (1.0, 0.7), **look)
    for axes, name in zip(grid.flat, found, strict=True):
        part = predictions[predictions["features"] == name]
        counts = confusion_matrix(part["label"], part["predicted"], labels=list(classes))
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        sns.heatmap(
            shares, annot=counts, fmt="d", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, ax=axes,
            xticklabels=names, yticklabels=names, annot_kws={"fontsize": 8}, linewidths=0.5, linecolor="0.9",
        )  # fmt: skip
        axes.set_title(NAMES[name], color=PALETTE[name], fontweight="bold")
        axes.set_xticks(axes.get_xticks(), names, rotation=40, ha="right", rotation_mode="anchor")
        axes.tick_params(axis="y", rotation=0)
    for axes in grid[-1]:
        axes.set_xlabel("predicted")
    for axes in grid[:, 0]:
        axes.set_ylabel("true")
    return finish(figure, caption, "counts of images, shaded by their share of the true class", tight=False)


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


def reliability(predictions: pd.DataFrame, good: str, caption: str) -> Figure:
    """Draw how often an image given a probability of being defective is defective, per feature set.

    1 - p(good) of the first repeat, in bins of equally many images; below, how good and defective images are spread.
    """
    from matplotlib.ticker import FixedLocator, FormatStrFormatter
    from sklearn.metrics import brier_score_loss

    found = _defect_probabilities(predictions, good)
    look: dict[str, Any] = {"sharex": True, "sharey": "row", "height_ratios": [3, 1]}
    figure, grid = style.panels(2 * len(found), len(found), 3.2, 2.05, **look)
    for (name, (scores, defective)), axes, below in zip(found.items(), *grid, strict=True):
        bins = reliability_bins(scores, defective)
        axes.plot([0, 1], [0, 1], color="0.6", lw=0.8, zorder=1)
        axes.errorbar(
            bins["score"], bins["share"], (bins["share"] - bins["low"], bins["high"] - bins["share"]),
            fmt=MARKERS[name], color=PALETTE[name], **style.DOTS, elinewidth=1.2, capsize=2, ls="-", lw=0.8,
        )  # fmt: skip
        axes.set_title(f"{NAMES[name]}\nBrier score {brier_score_loss(defective, scores):.3f}")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        edges = np.linspace(0, 1, 21)
        below.hist(scores[~defective], edges, color="0.82", label="good")
        below.hist(scores[defective], edges, fill=False, edgecolor=PALETTE[name], lw=1.2, label="defective")
        below.set(xlabel="1 - p(good)", yscale="symlog")
        below.yaxis.set_major_locator(FixedLocator([1, 10, 100, 1000, 10000]))
        below.yaxis.set_major_formatter(FormatStrFormatter("%d"))
    grid[0][0].set_ylabel("share that is defective")
    grid[1][0].set_ylabel("images")
    side_legend(grid[1][-1], fontsize=8)
    return finish(figure, caption, "bins of equally many images, with 95 % intervals")


def brier_scores(predictions: pd.DataFrame, good: str) -> str:
    """Say each feature set's Brier score, and that of giving every image the share of defective ones."""
    from sklearn.metrics import brier_score_loss

    found = _defect_probabilities(predictions, good)
    scores = [f"{NAMES[name]} {brier_score_loss(truth, score):.3f}" for name, (score, truth) in found.items()]
    share = float(next(reversed(found.values()))[1].mean())
    constant = f"giving every image the share of defects, {share:.1%}, scores {share * (1 - share):.3f}"
    return f"Brier score: {', '.join(scores)}; {constant}."


def _defect_probabilities(predictions: pd.DataFrame, good: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return 1 - p(good) in [0, 1] (n,) and which images are defective (n,) by feature set, of the first repeat."""
    rows = predictions[predictions["repeat"] == predictions["repeat"].min()]
    parts = {name: rows[rows["features"] == name] for name in present(rows["features"])}
    return {
        name: (np.clip(defect_scores(part, good), 0, 1), (part["label"] != good).to_numpy())
        for name, part in parts.items()
    }


def selected_sources(diagnostics: pd.DataFrame, caption: str, by: str = "split") -> Figure:
    """Draw how many selected columns of image + map come from either, over `by` (split or keep), and their information.

    Right: the mutual information of the K best columns of either source alone, and what a column needed to be chosen.
    """
    from matplotlib.ticker import MaxNLocator

    rows = diagnostics[diagnostics["task"] == "multiclass"]
    both = rows[rows["features"] == "image_map"]
    places = sorted(both[by].unique())
    figure, (left, right) = style.subplots(1, 2, figsize=(max(8.6, 0.9 * len(places)), 2.9))
    base = np.zeros(len(places))
    for source in ("image", "map"):
        counts = both.groupby(by)[f"k_{source}"].mean().reindex(places).to_numpy()
        left.bar(range(len(places)), counts, 0.7, base, label=source, **filled(source))
        base += counts
    left.set_ylabel("columns of image + map" + (", mean" if by == "keep" else ""), fontsize=8.5)
    left.yaxis.set_major_locator(MaxNLocator(integer=True))
    _information(right, rows, by, places)
    names = [f"{place:.0%}" if by == "keep" else str(place).rsplit("-", 1)[-1] for place in places]
    for axes in (left, right):
        axes.set_xticks(range(len(places)), names)
        axes.set_xlabel("defective training images kept" if by == "keep" else "test fold")
        axes.grid(False, axis="x")
    key = "boxes: the best columns of either source alone"
    return finish(figure, caption, key, legend=("image", "map"), bars=True)


def _information(axes: Axes, rows: pd.DataFrame, by: str, places: Sequence[object]) -> None:
    """Draw boxes of the mutual information of each source's best columns, and the least among the chosen ones."""

    def values(features: str, source: str, place: object) -> list[float]:
        return list(chain(*rows.loc[(rows["features"] == features) & (rows[by] == place), f"mi_{source}"]))

    axes.set_ylabel("mutual information (nats)", fontsize=8.5)
    if not any(len(one) for source in ("image", "map") for one in rows[f"mi_{source}"]):
        axes.text(0.5, 0.5, "every column is used: nothing was scored", ha="center", transform=axes.transAxes)
        return
    chosen = [values("image_map", "image", place) + values("image_map", "map", place) for place in places]
    for at, (place, scores) in enumerate(zip(places, chosen, strict=True)):
        for shift, source in ((-0.2, "image"), (0.2, "map")):
            box = axes.boxplot(
                values(source, source, place), positions=[at + shift], widths=0.32, patch_artist=True,
                manage_ticks=False, flierprops={"markersize": 2}, medianprops={"color": "white", "linewidth": 1.5},
            )  # fmt: skip
            box["boxes"][0].set(facecolor=PALETTE[source], hatch=style.HATCHES[source], linewidth=0.5)
        if scores:
            label = "least of the chosen" if at == 0 else ""
            axes.hlines(min(scores), at - 0.42, at + 0.42, color="0.1", lw=1.2, ls="--", label=label)
    axes.set_ylim(bottom=0)
    if any(chosen):
        side_legend(axes, fontsize=8)


def describe_selected(diagnostics: pd.DataFrame) -> str:
    """Say how many of the selected columns of image + map come from the map, over the fits given."""
    both = diagnostics[(diagnostics["features"] == "image_map") & (diagnostics["task"] == "multiclass")]
    if both.empty:
        return "Image and map together were not evaluated."
    counts, ks = both["k_map"], both["k"]
    without = int((counts == 0).sum())
    return (
        f"Of {_span(ks)} selected columns, from the map come {_span(counts)} "
        f"({counts.sum() / ks.sum():.0%} in all); in {without} of {len(both)} fits none does"
        + (", and there image + map is the image alone." if without else ".")
    )


def _span(values: pd.Series) -> str:
    return str(values.min()) if values.min() == values.max() else f"{values.min()} to {values.max()}"
