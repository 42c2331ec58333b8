"""Figures of measures: over the labels there are, fold by fold, and all differences."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.label_efficiency import LabelEfficiency
from lib.evaluation.metrics import ALL, OVERALL, POOLED, RANKINGS, RECALL_AT_5_FPR, TITLES
from lib.evaluation.published_results import display_name
from lib.reporting import style

BANDS = "Bands: 95 % CI."
MEASURES = RANKINGS[:2]  # which are drawn fold by fold, and whose differences
SEVERAL = 5  # folds from which a box says more than their dots


def degradation(
    values: pd.DataFrame, by: str = "metric", x: str = "keep", measure: str = "", width: float = style.PAGE
) -> Figure:
    """Draw one panel per `by`, on one scale, over keep (or labels): columns `x`, features (of LINES), value, `by`.

    Bands from columns low and high, where given. `measure` names the vertical axis, of shares.
    """
    values = values[values["features"].isin(style.LINES)].sort_values(x)
    places, banded = list(dict.fromkeys(values.sort_index()[by])), "low" in values
    columns = min(len(places), 2 if width > style.HALF else 1)
    figure, grid = style.panels(len(places), columns, 4 if columns == 1 else 3, width, sharey=True)
    for axes, place in zip(grid.flat, places, strict=False):
        for name, part in values[values[by] == place].groupby("features", sort=False):
            if banded:
                band = {"color": style.LINES[str(name)], "alpha": 0.12, "lw": 0}
                axes.fill_between(part[x], part["low"], part["high"], **band)
            look = style.marked(str(name)) | style.lined(str(name))
            axes.plot(part[x], part["value"], label=FEATURE_SETS[str(name)].title, **look)
        if len(places) > 1:
            axes.set_title(style.escape_mathtext(place, 40))
        axes.set_ylim(0, 1.02)
        if x == "keep":
            axes.set(xlabel="defects kept in training", xticks=sorted(values["keep"].unique()))
            style.percent_ticks(axes.xaxis)
        else:
            axes.set(xlabel="labelled defects in a training fold", xlim=(0, None))
        if measure:
            style.percent_ticks(axes.yaxis)
    for row in grid:
        row[0].set_ylabel(measure)
    return style.finish(figure, BANDS if banded else "", values["features"])


def learning_curves(economy: LabelEfficiency, width: float = style.PAGE) -> Figure:
    """Draw recall at 5 % false rejects over the number of labelled defects, one panel per data set, 95 % bands."""
    values = economy.curves.rename(columns={"recall": "value"})
    values = values[values["features"].isin(style.METHODS)]
    values = values.assign(dataset=values["dataset"].map(display_name))
    return degradation(values, "dataset", "labels", TITLES[RECALL_AT_5_FPR].replace(" at", "\nat"), width)


def fold_dots(measures: pd.DataFrame) -> Figure:
    """Draw each fold's AUC and recall at 5 % false rejects of every feature set, and their mean (of `summary`).

    Of one data set, scheme and keep. From five folds on, a box shows how they are spread.
    """
    part = measures[(measures["class"] == ALL) & measures["metric"].isin(MEASURES)]
    found = style.present(part["features"], FEATURE_SETS)
    figure, (grid,) = style.panels(2, 2, 0.27 * len(found) + 0.8, sharey=True)
    for axes, metric in zip(grid, MEASURES, strict=True):
        here = part[part["metric"] == metric]
        folds = here[~here["fold"].isin([OVERALL, POOLED])]
        look = {"x": "value", "y": "features", "order": found, "ax": axes, "legend": False}
        if folds["fold"].nunique() >= SEVERAL:
            sns.boxplot(folds, color="0.9", fliersize=0, linewidth=0.8, **look)
        mean = here[here["fold"] == OVERALL]
        sns.stripplot(folds, color="0.45", size=5, jitter=False, **look)
        sns.stripplot(mean, color=style.OUTLINE, marker="D", size=7, jitter=False, **look)
        axes.set(xlabel=TITLES[metric], ylabel="")
    grid[0].set_yticks(range(len(found)), [FEATURE_SETS[name].title for name in found])
    return style.finish(figure, "Dots: folds. Diamonds: their mean.")


def forest(compared: pd.DataFrame) -> Figure:
    """Draw all differences between feature sets with their 95 % CI, of AUC and of recall at 5 % false rejects.

    `compared` is `compare` at one keep. Those against the same feature set stand together, data sets in colours.
    Filled: the interval excludes zero. Where both make the same predictions nothing is drawn.
    """
    part = compared[(compared["class"] == ALL) & (compared["identical"] < 1)]
    datasets = list(dict.fromkeys(compared["dataset"]))
    labels: dict[int, str] = {}
    places: dict[tuple[str, str], int] = {}
    for b in sorted(set(part["b"]), key=list(FEATURE_SETS).index):
        labels[len(labels)] = f"against {FEATURE_SETS[b].phrase}:"
        for a in dict.fromkeys(part.loc[part["b"] == b, "a"]):
            places[a, b] = len(labels)
            labels[len(labels)] = FEATURE_SETS[a].title
    colours = dict(zip(datasets, sns.color_palette("dark", len(datasets)), strict=True))
    figure, (grid,) = style.panels(2, 2, (0.15 + 0.08 * len(datasets)) * len(labels) + 1.0, sharey=True)
    for axes, metric in zip(grid, MEASURES, strict=True):
        for one in part[part["metric"] == metric].to_dict("records"):
            shift = 0.2 * (datasets.index(one["dataset"]) - (len(datasets) - 1) / 2)
            height, clear = places[one["a"], one["b"]] + shift, one["low"] > 0 or one["high"] < 0
            colour = colours[one["dataset"]]
            axes.plot([one["low"], one["high"]], [height, height], color=colour, lw=1.5)
            axes.plot(one["difference"], height, "o", color=colour, mfc=colour if clear else "white", ms=5)
        axes.axvline(0, color="0.2", lw=1)
        axes.grid(False, axis="y")
        axes.set(xlabel=TITLES[metric], ylim=(len(labels) - 0.5, -0.5))
    grid[0].set_yticks(list(labels), list(labels.values()))
    for text, label in zip(grid[0].get_yticklabels(), labels.values(), strict=True):
        text.set_fontweight("bold" if label.endswith(":") else "normal")
    signs = [grid[0].plot([], [], "-o", color=colours[name])[0] for name in datasets]
    names = [style.escape_mathtext(display_name(name), 30) for name in datasets]
    style.legend_above(figure, 4, signs, names)
    filled = "Filled: the interval excludes zero. Methods that decide alike have none."
    return style.finish(figure, f"Differences with 95 % CI. {filled}")
