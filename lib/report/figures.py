"""The study's figures: each function draws on new axes, returns the figure, and never shows or saves it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from lib.store import atomic

# Okabe and Ito's colours: told apart by colour-blind readers, and in grey by lightness, dash and marker.
PALETTE = {"image": "#0072B2", "map": "#E69F00", "both": "#007A5A"}
DASHES = {"image": (4, 1.5), "map": (1, 1), "both": ""}
MARKERS = {"image": "s", "map": "o", "both": "D"}
NAMES = {"image": "image", "map": "anomaly map", "both": "image + anomaly map"}
MAP_COLOURS = "inferno"


def house_style() -> None:
    """Set fonts, grid and resolution for all figures of a notebook."""
    sns.set_theme(context="paper", style="whitegrid", font_scale=1.05)
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 160,
            "svg.fonttype": "path",
            "svg.hashsalt": "study",
            "axes.titlesize": 10,
        }
    )


def plain(text: str) -> str:
    """Return text from the data so that matplotlib shows it as it is (a dollar sign starts no formula)."""
    return str(text).replace("$", r"\$").replace("\n", "⏎")


def save_figure(figure: Figure, folder: Path, name: str, alt: str) -> None:
    """Write `name.png` and `name.svg` into `folder`, atomically, free of dates, `alt` as their description."""
    for suffix, metadata in (
        (".png", {"Software": None, "Description": alt}),
        (".svg", {"Date": None, "Description": alt}),
    ):
        with atomic(folder / (name + suffix)) as partial:
            figure.savefig(partial, bbox_inches="tight", metadata=metadata, facecolor="white")


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)


def footnote(figure: Figure, caption: str) -> None:
    """Write the caption (data set, preset, folds, backbone) under everything that the figure holds.

    The caption as given is also the figure's label, for pages that show it as text.
    """
    figure.set_label(caption)
    figure.canvas.draw()
    lowest = figure.get_tightbbox().y0 / figure.get_figheight()
    text = textwrap.fill(plain(caption), max(60, int(figure.get_figwidth() * 17)))
    figure.text(
        0.5, lowest - 0.08 / figure.get_figheight(), text, ha="center", va="top", fontsize=7, color="0.35"
    )


def samples(
    images: Mapping[str, np.ndarray], masks: Mapping[str, Sequence[np.ndarray | None]], caption: str
) -> Figure:
    """Draw samples per class, one row each, defect masks outlined: images per class uint8 (n, H, W, 3)."""
    columns = max(len(stack) for stack in images.values())
    figure, grid = plt.subplots(
        len(images), columns, figsize=(1.35 * columns + 0.8, 1.42 * len(images)), squeeze=False
    )
    for row, (label, stack) in zip(grid, images.items(), strict=True):
        for axes in row[len(stack) :]:
            axes.set_axis_off()
        for axes, image, mask in zip(row, stack, masks[label], strict=False):
            axes.imshow(image)
            _bare(axes)
            if mask is not None and mask.any() and not mask.all():
                axes.contour(mask, levels=[0.5], colors=["#D55E00"], linewidths=0.8)
        row[0].set_ylabel(textwrap.shorten(plain(label), 18, placeholder="…"), fontsize=9)
    figure.tight_layout(pad=0.3)
    footnote(figure, caption)
    return figure


def image_and_map(
    images: np.ndarray,
    maps: np.ndarray,
    labels: Sequence[str],
    masks: Sequence[np.ndarray | None],
    caption: str,
) -> Figure:
    """Draw image over anomaly map (Figure 4), all maps on one scale from 0 to 1, true outlines dashed."""
    figure, grid = plt.subplots(2, len(images), figsize=(1.5 * len(images) + 0.7, 3.3), squeeze=False)
    for k, (image, anomaly_map, label, mask) in enumerate(zip(images, maps, labels, masks, strict=True)):
        grid[0, k].imshow(image)
        grid[0, k].set_title(textwrap.shorten(plain(label), 18, placeholder="…"), fontsize=9)
        grid[1, k].imshow(anomaly_map.astype(np.float32), cmap=MAP_COLOURS, vmin=0, vmax=1)
        for axes in grid[:, k]:
            _bare(axes)
        if mask is not None and mask.any() and not mask.all():
            grid[1, k].contour(mask, levels=[0.5], colors=["white"], linewidths=0.7, linestyles="dashed")
    figure.tight_layout(pad=0.3)
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 1), MAP_COLOURS)
    figure.colorbar(scale, ax=grid, shrink=0.8, label="anomaly (softmax)", pad=0.01)
    footnote(figure, caption)
    return figure


def simulation_panel(panel: Mapping[str, np.ndarray], caption: str) -> Figure:
    """Draw what DRAEM was shown and answered: image, simulated, mask, reconstruction, map; one column each."""
    rows = ("image", "simulated", "mask", "reconstruction", "map")
    count = len(panel["image"])
    figure, grid = plt.subplots(
        len(rows), count, figsize=(1.25 * count + 1.3, 1.3 * len(rows)), squeeze=False
    )
    for row, name in zip(grid, rows, strict=True):
        for axes, picture in zip(row, panel[name], strict=True):
            if picture.ndim == 3:
                axes.imshow(np.clip(picture, 0, 1))
            else:
                axes.imshow(picture, cmap=MAP_COLOURS, vmin=0, vmax=1)
            _bare(axes)
        row[0].set_ylabel(name, fontsize=9)
    figure.tight_layout(pad=0.3)
    scale = mpl.cm.ScalarMappable(mpl.colors.Normalize(0, 1), MAP_COLOURS)
    figure.colorbar(scale, ax=grid, shrink=0.5, label="mask, map (0 to 1)", pad=0.01)
    footnote(figure, caption)
    return figure


def loss_curves(history: pd.DataFrame, caption: str) -> Figure:
    """Draw the three losses over the steps, one line per split."""
    figure, grid = plt.subplots(1, 3, figsize=(9, 2.6), sharex=True)
    titles = {"l2": "L2", "ssim": "1 - SSIM", "focal": "focal"}
    for axes, (column, title) in zip(grid, titles.items(), strict=True):
        for _, part in history.groupby("split"):
            axes.plot(part["step"], part[column], lw=1, alpha=0.8, color="#0072B2")
        axes.set(title=title, xlabel="step", yscale="log")
    grid[0].set_ylabel("loss (log scale)")
    figure.tight_layout()
    footnote(figure, caption)
    return figure


def score_curves(before: np.ndarray, after: np.ndarray, defective: np.ndarray, caption: str) -> Figure:
    """Draw the ROC of DRAEM's image score before its first and after its last step."""
    figure, axes = plt.subplots(figsize=(3.6, 3.4))
    for scores, name, style in ((before, "first step", "0.55"), (after, "last step", "#0072B2")):
        rate, hit, _ = roc_curve(defective, scores)
        axes.plot(rate, hit, color=style, label=f"{name}: AUROC {roc_auc_score(defective, scores):.3f}")
    axes.plot([0, 1], [0, 1], color="0.8", lw=0.8, zorder=0)
    axes.set(
        xlabel="share of good images above the threshold", ylabel="share of defective above it", aspect=1
    )
    axes.legend(frameon=False, loc="lower right")
    footnote(figure, caption)
    return figure


def score_distribution(scores: pd.DataFrame, good: str, caption: str) -> Figure:
    """Draw DRAEM's image score per class, training and test images apart (columns label, tested, score)."""
    order = [good, *sorted(set(scores["label"]) - {good})]
    table = scores.assign(
        seen=np.where(scores["tested"], "test fold", "training folds"), name=scores["label"].map(plain)
    )
    figure, axes = plt.subplots(figsize=(6.4, 0.55 * len(order) + 1.3))
    sns.boxplot(
        table, x="score", y="name", hue="seen", order=[plain(label) for label in order], ax=axes, fliersize=1.5,
        linewidth=0.8, palette={"test fold": "#E69F00", "training folds": "0.8"},
        hue_order=["training folds", "test fold"],
    )  # fmt: skip
    axes.set(xlabel="DRAEM image score (0 to 1)", ylabel="")
    axes.legend(title="", frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    footnote(figure, caption)
    return figure


def fold_sizes(folds: pd.DataFrame, labels: pd.Series, classes: Sequence[str], caption: str) -> Figure:
    """Draw how many images of each class stand in each test fold, one panel per scheme."""
    table = folds.assign(label=folds["id"].map(labels).map(plain))
    order = [plain(label) for label in classes]
    schemes = list(table["scheme"].unique())
    figure, grid = plt.subplots(
        1, len(schemes), figsize=(4.4 * len(schemes), 2.8), squeeze=False, sharey=True
    )
    for axes, scheme in zip(grid[0], schemes, strict=True):
        counts = table[table["scheme"] == scheme].groupby(["fold", "label"]).size().unstack(fill_value=0)
        counts = counts.reindex(columns=order, fill_value=0)
        counts.plot.bar(stacked=True, ax=axes, width=0.8, legend=False, colormap="cividis", rot=0)
        axes.set(title=f"{scheme} folds", xlabel="test fold", ylabel="images")
    grid[0][-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    footnote(figure, caption)
    return figure


def recall_bars(recalls: pd.DataFrame, caption: str) -> Figure:
    """Draw Table 2: columns class, features, metric (class_recall, defect_recall), value."""
    titles = {"class_recall": "correct defect class recall", "defect_recall": "defect recall"}
    figure, grid = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
    for axes, (metric, title) in zip(grid, titles.items(), strict=True):
        part = recalls[(recalls["metric"] == metric) & recalls["features"].isin(PALETTE)]
        part = part.assign(name=part["class"].map(plain))
        sns.barplot(
            part, x="name", y="value", hue="features", hue_order=list(PALETTE), palette=PALETTE, ax=axes,
            legend=axes is grid[1], saturation=1, edgecolor="0.2", linewidth=0.5,
        )  # fmt: skip
        for bars, hatch in zip(axes.containers, ("", "..", "//"), strict=False):
            for bar in bars:
                bar.set_hatch(hatch)
        axes.set(title=title, xlabel="", ylabel="recall (pooled test folds)", ylim=(0, 1.02))
        if part["name"].nunique() > 4:
            axes.tick_params(axis="x", rotation=20)
    figure.tight_layout()
    named_legend(figure, grid[1])
    footnote(figure, caption)
    return figure


def confusions(predictions: pd.DataFrame, classes: Sequence[str], caption: str) -> Figure:
    """Draw one confusion matrix per feature set, in shares of the true class, counts written in."""
    found = [name for name in PALETTE if name in set(predictions["features"])]
    size = 0.55 * len(classes) + 1.6
    figure, grid = plt.subplots(1, len(found), figsize=(size * len(found), size), squeeze=False, sharey=True)
    for axes, name in zip(grid[0], found, strict=True):
        part = predictions[predictions["features"] == name]
        counts = confusion_matrix(part["label"], part["predicted"], labels=list(classes))
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        shown = [plain(label) for label in classes]
        sns.heatmap(
            shares, annot=counts, fmt="d", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, ax=axes,
            xticklabels=shown, yticklabels=shown, annot_kws={"fontsize": 8},
        )  # fmt: skip
        axes.set(title=NAMES[name], xlabel="predicted")
        axes.tick_params(axis="x", rotation=45)
    grid[0][0].set_ylabel("true")
    figure.tight_layout()
    footnote(figure, caption)
    return figure


def degradation(values: pd.DataFrame, caption: str, by: str = "class") -> Figure:
    """Draw one panel per `by` over keep: columns keep, features (image, map and both are drawn), value, `by`."""
    values = values[values["features"].isin(PALETTE)]
    panels = list(values[by].unique())
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(2.7 * columns + 0.4, 2.5 * rows),
        squeeze=False,
        sharex=True,
        sharey=by == "class",
    )
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, panels, strict=False):
        part = values[values[by] == panel]
        sns.lineplot(
            part, x="keep", y="value", hue="features", style="features", palette=PALETTE, dashes=DASHES,
            markers=MARKERS, hue_order=list(PALETTE), style_order=list(PALETTE), ax=axes, legend=axes is grid.flat[0],
            errorbar=None, markersize=5,
        )  # fmt: skip
        axes.set(title=plain(panel), xlabel="defective training images kept", ylabel="")
        axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
        axes.set_xticks(sorted(values["keep"].unique()))
    figure.tight_layout()
    named_legend(figure, grid.flat[0])
    footnote(figure, caption)
    return figure


def embedding(
    panels: Mapping[str, np.ndarray], labels: pd.Series, classes: Sequence[str], caption: str
) -> Figure:
    """Draw points (n, 2) of each feature set in a panel of its own, coloured and marked by class."""
    figure, grid = plt.subplots(1, len(panels), figsize=(3.3 * len(panels), 3.2), squeeze=False)
    order = [plain(label) for label in classes]
    for axes, (name, points) in zip(grid[0], panels.items(), strict=True):
        sns.scatterplot(
            x=points[:, 0], y=points[:, 1], hue=labels.map(plain).to_numpy(), style=labels.map(plain).to_numpy(),
            hue_order=order, style_order=order, palette="cividis", s=18, alpha=0.8, ax=axes, legend=axes is grid[0][-1],
        )  # fmt: skip
        axes.set(title=NAMES[name], xlabel="first direction", ylabel="second direction", xticks=[], yticks=[])
    grid[0][-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    footnote(figure, caption)
    return figure


def selected_sources(diagnostics: pd.DataFrame, caption: str) -> Figure:
    """Draw how many of the K selected columns of image + map come from the map, over keep."""
    part = diagnostics[(diagnostics["features"] == "both") & (diagnostics["task"] == "multiclass")]
    share = part.assign(share=part["k_map"] / part["k"])
    figure, axes = plt.subplots(figsize=(4.4, 2.8))
    sns.stripplot(share, x="keep", y="share", color=PALETTE["map"], ax=axes, jitter=0.1, size=5, edgecolor="0.2",
                  linewidth=0.5)  # fmt: skip
    axes.axhline(0.5, color="0.6", lw=0.8)
    axes.set(
        ylim=(-0.03, 1.03), xlabel="share of defective training images kept", ylabel="share from the map"
    )
    footnote(figure, caption)
    return figure


def named_legend(figure: Figure, axes: Axes) -> None:
    """Move the axes' legend of feature sets above the figure, with their names in words."""
    handles, labels = axes.get_legend_handles_labels()
    legend = axes.get_legend()
    if legend is not None:
        legend.remove()
    figure.legend(
        handles, [NAMES.get(label, label) for label in labels], loc="lower center", bbox_to_anchor=(0.5, 1.0),
        ncols=len(labels), frameon=False,
    )  # fmt: skip
