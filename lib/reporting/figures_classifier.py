"""Figures of classification: where it fails, how far probabilities can be trusted, which features were selected."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from sklearn.metrics import brier_score_loss

from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.classification.operating_threshold import clopper_pearson
from lib.evaluation.by_class import CHANGES, changed
from lib.evaluation.metrics import defect_scores, percent
from lib.evaluation.significance import AS_GUIDE, AS_PICTURE
from lib.pipeline.dataset import parse_split
from lib.reporting import style
from lib.reporting.figures_thresholds import name_defects

BINS = 5
MANY = 8  # classes: more need the width of a page
BETTER, WORSE = "#009E73", style.OUTLINE
SIDES = ("defects", "good products")
ERRORS = {"missed": style.OUTLINE, "wrong class": "0.6", "false reject": "#8A4FBF"}


def confusion(
    predictions: pd.DataFrame, classes: Sequence[str], methods: Iterable[str] = MAIN, width: float = style.PAGE
) -> Figure:
    """Draw a confusion matrix per method, of multiclass rows in the first repeat: shares of the true class, counts."""
    predictions = predictions[predictions["repeat"] == predictions["repeat"].min()]
    found = style.by_method(predictions, methods)
    columns = min(len(found), 2) if len(classes) <= MANY else 1
    names = [style.escape_mathtext(label, 14) for label in classes]
    figure, grid = style.panels(len(found), columns, 0.9 * width / columns, width)
    for axes, (name, part) in zip(grid.flat, found, strict=False):
        table = pd.crosstab(part["label"], part["predicted"])
        counts = table.reindex(list(classes), columns=list(classes), fill_value=0).to_numpy()
        shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
        texts = np.vectorize(lambda share, n: f"{percent(share, 0)}\n({n})")(shares, counts)
        sns.heatmap(
            shares, vmin=0, vmax=1, annot=texts, fmt="", cmap="Blues", cbar=False, square=True, ax=axes,
            linewidths=0.5, xticklabels=names, yticklabels=names,
        )  # fmt: skip
        axes.set(title=FEATURE_SETS[name].title, xlabel="predicted", ylabel="true")
        axes.tick_params(axis="x", rotation=30, rotation_mode="xtick")
        axes.tick_params(axis="y", rotation=0)
    return style.finish(figure, "Share of the true class, and in brackets the number of images.")


def class_recalls(values: pd.DataFrame, width: float = style.PAGE) -> Figure:
    """Draw the defect recall of each class at 5 % false rejects with its interval (of `by_class.class_recalls`)."""
    found, classes = style.by_method(values), list(dict.fromkeys(values["class"]))
    images = values.groupby("class")["images"].first()
    figure, axes = style.panel(0.22 * len(found) * len(classes) + 1.4, width)
    for number, (name, part) in enumerate(found):
        mine = part.set_index("class").reindex(classes)
        at = np.arange(len(classes)) + 0.2 * (number - (len(found) - 1) / 2)
        spread = (mine["value"] - mine["low"]).clip(0), (mine["high"] - mine["value"]).clip(0)
        axes.errorbar(mine["value"], at, xerr=spread, ls="", elinewidth=1.5, **style.marked(name))
    names = [f"{style.escape_mathtext(one, 18)} ({images[one]})" for one in classes]
    axes.set_yticks(range(len(classes)), names)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(classes) - 0.5, -0.5), xlabel="defect recall at 5 % false rejects")
    axes.grid(False, axis="y")
    style.percent_ticks(axes.xaxis)
    return style.finish(figure, "Lines: 95 % CI. In brackets: images of the class.", values["features"])


def error_pareto(predictions: pd.DataFrame, rejected: pd.Series, good: str) -> Figure:
    """Draw the errors of one method by true class, the most frequent first, stacked by their kind.

    `predictions`: rows that decide good or defective; `rejected`: bool by their index.
    """
    bad, named = predictions["label"] != good, name_defects(predictions, good)
    wrong = bad & rejected & (False if named is None else named != predictions["label"])
    kinds = np.select([bad & ~rejected, wrong, ~bad & rejected], list(ERRORS), "")
    counts = pd.crosstab(predictions["label"], kinds).reindex(columns=list(ERRORS), fill_value=0)
    counts = counts.loc[counts.sum(axis=1).sort_values().index] / predictions["repeat"].nunique()
    totals = predictions.groupby("label")["id"].nunique()
    names = [f"{style.escape_mathtext(str(name), 18)} ({totals[name]})" for name in counts.index]
    figure, axes = style.panel(0.4 * len(counts) + 1.2)
    look: Any = {"color": list(ERRORS.values()), "stacked": True, "width": 0.7}
    counts.set_axis(names).plot.barh(ax=axes, xlabel="images", ylabel="", **look)
    axes.grid(False, axis="y")
    style.legend_above(axes, 3, title="")
    return style.finish(figure, "In brackets: images of the class.")


def fixed_and_broken(predictions: pd.DataFrame, rejected: pd.Series, good: str) -> Figure:
    """Draw how many decisions the map puts right, and how many wrong, as an extra picture and as a guide.

    `predictions`: rows that decide good or defective; `rejected`: bool by their index.
    """
    there, rows = set(predictions["features"]), {}
    for a, b in [pair for pair in (AS_GUIDE, AS_PICTURE) if there.issuperset(pair)]:
        name = f"{FEATURE_SETS[a].title}\ninstead of {FEATURE_SETS[b].phrase}"
        rows[name] = changed(predictions, rejected, good, a, b)
    counts = pd.DataFrame(rows, CHANGES).T.round()
    figure, (grid,) = style.panels(2, 2, 0.7 * len(counts) + 1.0, sharey=True, sharex=True)
    for axes, (more, less), title in zip(grid, (CHANGES[:2], CHANGES[2:]), SIDES, strict=True):
        for name, sign, colour in ((more, 1, BETTER), (less, -1, WORSE)):
            bars = axes.barh(counts.index, sign * counts[name], color=colour, height=0.5)
            axes.bar_label(bars, [f"{count:.0f}" for count in counts[name]], padding=4)
        axes.axvline(0, color="0.2", lw=1)
        axes.margins(x=0.2)
        axes.set(title=title, xticks=[], xlabel=f"{less.split()[-1]}  ←     →  {more.split()[-1]}")
        axes.grid(False)
    note = "Images that one method rejects and the other does not, at thresholds from training images."
    return style.finish(figure, note)


def reliability_bins(scores: np.ndarray, defective: np.ndarray) -> pd.DataFrame:
    """Return the mean score and the share of defective ones in five bins (fewer with ties) of equally many images.

    scores (n,) in [0, 1], defective (n,) bool. Columns score, share, low, high (Clopper-Pearson, 95 %).
    """
    table = pd.DataFrame({"score": scores, "defective": defective})
    varied = table["score"].nunique() > 1
    fifths: Any = pd.qcut(scores, BINS, duplicates="drop") if varied else np.zeros(len(table))
    bins = table.groupby(fifths, observed=True)
    found = bins.mean().set_axis(["score", "share"], axis=1)
    low, high = clopper_pearson(bins["defective"].sum(), bins.size())
    return found.assign(low=low, high=high).reset_index(drop=True)


def reliability(predictions: pd.DataFrame, good: str) -> Figure:
    """Draw how often an image given a probability of being defective is defective, in the first repeat."""
    rows = predictions[predictions["repeat"] == predictions["repeat"].min()]
    found, share = style.by_method(rows), (rows["label"] != good).mean()
    figure, grid = style.panels(len(found), 2, 3, sharex=True, sharey=True)
    unit = {"xlim": (-0.02, 1.02), "ylim": (-0.02, 1.02)}
    for (name, part), axes in zip(found, grid.flat, strict=False):
        scores, defective = np.clip(defect_scores(part, good), 0, 1), (part["label"] != good).to_numpy()
        bins = reliability_bins(scores, defective)
        spread = bins["share"] - bins["low"], bins["high"] - bins["share"]
        axes.plot([0, 1], [0, 1], color="0.6", lw=0.8, zorder=1)
        look = style.marked(name) | {"elinewidth": 1.5, "capsize": 2, "lw": 0.8}
        axes.errorbar(bins["score"], bins["share"], spread, **look)
        axes.set_title(f"{FEATURE_SETS[name].title}: Brier score {brier_score_loss(defective, scores):.3f}")
        axes.set(xlabel="probability of a defect", ylabel="share defective", **unit)
        axes.label_outer()
    constant = f"Giving every image the share of defects, {percent(share)}, has Brier score {share * (1 - share):.3f}."
    return style.finish(figure, f"Fifths of the images with 95 % CI. {constant}")


def selected_sources(diagnostics: pd.DataFrame, by: str = "split") -> Figure:
    """Draw how many selected features of image + map come from either, over `by` (split or keep)."""
    rows = diagnostics[(diagnostics["task"] == "multiclass") & (diagnostics["features"] == "image_map")]
    counts = rows.groupby(by)[["k_image", "k_map"]].mean().set_axis(["Image", "Anomaly map"], axis=1)
    names = [percent(place, 0) if by == "keep" else str(parse_split(place).fold) for place in counts.index]
    figure, axes = style.panel(2.6)
    if len(counts):
        look: Any = {"color": [style.PALETTE["image"], style.PALETTE["map"]], "stacked": True, "width": 0.8}
        counts.set_axis(names).plot.bar(ax=axes, rot=0, **look)
        style.legend_above(axes, 2)
    axes.set_xlabel("defective training images kept" if by == "keep" else "test fold")
    axes.set_ylabel("selected features" + (", mean" if by == "keep" else ""))
    return style.finish(figure)


def describe_selected(diagnostics: pd.DataFrame) -> str:
    """Say how many of the selected features come from the map, over the fits given."""
    both = diagnostics[(diagnostics["features"] == "image_map") & (diagnostics["task"] == "multiclass")]
    if both.empty:
        return "Image and map together were not evaluated."
    counts, ks = both["k_map"], both["k"]
    without = int((counts == 0).sum())
    none = f"; in {without} of {len(both)} fits none does, and there image + map is the image alone."
    share = percent(counts.sum() / ks.sum(), 0)
    told = f"Of {ks.mean():.3g} selected columns in a fit, from the map come {counts.mean():.3g} ({share})"
    return told + (none if without else ".")
