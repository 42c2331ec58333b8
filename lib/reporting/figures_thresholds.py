"""Figures of what a threshold on 1 - p(good) catches, rejects and costs.

All draw every feature set among the predictions given, which are rows that decide good or defective.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.metrics import FPR_LIMIT, defect_scores, percent
from lib.evaluation.operating_points import points_of
from lib.reporting import style

SHOWN = 0.2  # false rejects up to which curves are drawn: beyond, no line would go
REJECTS = np.linspace(0, 1, 1001)
ODDS = np.linspace(-7, 7, 281)  # log-odds of thresholds
DOTTED = "Dotted, in the folds' range: threshold from training images for {} recall."
SCORES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)  # that are named on the axis


def mean_curve(predictions: pd.DataFrame, good: str) -> pd.DataFrame:
    """Return the defect recall at false rejects `REJECTS` (index) of one feature set: mean, low, high of the folds.

    Each fold and repeat has a curve of its own scores; one without good or without defective images has none.
    """
    curves = []
    for _, one in predictions.groupby(["fold", "repeat"]):
        bad = one["label"] != good
        if bad.any() and not bad.all():
            rejects, recall, _ = roc_curve(bad, defect_scores(one, good), drop_intermediate=False)
            best = pd.Series(recall, rejects).groupby(level=0).max()
            curves.append(np.interp(REJECTS, best.index, best))
    stack = np.array(curves or [np.full(len(REJECTS), np.nan)])
    return pd.DataFrame({"mean": stack.mean(0), "low": stack.min(0), "high": stack.max(0)}, REJECTS)


def recall_curve(predictions: pd.DataFrame, good: str, points: pd.DataFrame, width: float = style.PAGE) -> Figure:
    """Draw defect recall against false rejects up to 20 %: the mean of the folds, in their range.

    Markers: what thresholds chosen on training images for a required recall reached on the test folds (`points` of
    `operating_numbers`).
    """
    figure, axes = style.panel(4, width)
    chosen, methods = points_of(points), style.by_method(predictions)
    chosen = chosen[chosen["features"].isin([name for name, _ in methods])]
    for name, part in methods:
        curve = mean_curve(part, good)
        band = {"color": style.lined(name)["color"], "alpha": 0.13, "lw": 0}
        axes.fill_between(curve.index, curve["low"], curve["high"], **band)
        axes.plot(curve.index, curve["mean"], lw=2, **style.lined(name))
        mine = chosen[chosen["features"] == name]
        axes.plot(mine["false_rejects"], mine["recall"], ls="", zorder=4, **style.marked(name) | {"ms": 8})
    axes.axvline(FPR_LIMIT, color="0.45", lw=0.8, ls=":")
    axes.set(xlim=(0, SHOWN), ylim=(0, 1.02), xticks=np.linspace(0, SHOWN, 5), ylabel="defect recall")
    axes.set_xlabel("false rejects (share of good products)")
    style.percent_ticks(axes.xaxis, axes.yaxis)
    key = "Lines: means of the folds. Bands: their range. Dotted: 5 % false rejects."
    if required := sorted(set(chosen["required"])):
        named = ", ".join(f"{100 * one:g}" for one in required)
        key += f" Markers: thresholds from training images for {named} % recall"
        outside = int((chosen["false_rejects"] > SHOWN).sum())
        key += f"; {outside} of them lie beyond {percent(SHOWN, 0)}." if outside else "."
    return style.finish(figure, key, predictions["features"])


def precision_recall(predictions: pd.DataFrame, good: str, prevalence: float) -> Figure:
    """Draw the share of defective products among the rejected over the recall, where `prevalence` are defective.

    From the same curves as `recall_curve`, from one good test image rejected: fewer were not measured.
    """
    figure, axes = style.panel(4)
    for name, part in style.by_method(predictions):
        curve = mean_curve(part, good)["mean"].loc[1 / max((part["label"] == good).sum(), 1) :]
        caught, wrong = prevalence * curve, (1 - prevalence) * curve.index
        axes.plot(curve, caught / (caught + wrong), lw=2, **style.lined(name))
    axes.axhline(prevalence, color="0.45", lw=0.8, ls=":")
    axes.set(xlim=(0, 1.01), ylim=(0, None), xlabel="defect recall", ylabel="defective among the rejected")
    style.percent_ticks(axes.xaxis, axes.yaxis)
    note = f"{percent(prevalence)} of products are defective. Dotted: rejecting at random."
    return style.finish(figure, note, predictions["features"])


def score_histograms(predictions: pd.DataFrame, good: str, points: pd.DataFrame, target: float) -> Figure:
    """Draw how scores of good and of defective test images are spread, with the threshold for recall `target`.

    Line: the mean of the folds' thresholds from training images; band: their range (of `points`).
    """
    methods = style.by_method(predictions)
    figure, grid = style.panels(len(methods), 2, 2.5, sharex=True, sharey="row")
    for axes, (name, part) in zip(grid.flat, methods, strict=False):
        odds, bad = _log_odds(defect_scores(part, good)), (part["label"] != good).to_numpy()
        line = {"histtype": "step", "color": style.OUTLINE, "lw": 2}
        for rows, label, look in ((~bad, "good", {"color": "0.7"}), (bad, "defective", line)):
            axes.hist(odds[rows], ODDS[::7], weights=np.full(rows.sum(), 1 / rows.sum()), label=label, **look)
        _thresholds(axes, points, name, target)
        axes.set_title(FEATURE_SETS[name].title)
        _score_axis(axes, "score")
        axes.label_outer()
        style.percent_ticks(axes.yaxis)
    for row in grid:
        row[0].set_ylabel("share of images")
    style.legend_above(figure, 3, *grid[0][0].get_legend_handles_labels())
    return style.finish(figure, DOTTED.format(percent(target, 0)))


def threshold_sweep(predictions: pd.DataFrame, good: str, points: pd.DataFrame, target: float) -> Figure:
    """Draw what share of defects is caught, and named correctly, and of good products rejected, by the threshold.

    `predictions` of one feature set. A class is named where the model tells defect classes apart.
    """
    bad, named = predictions["label"] != good, name_defects(predictions, good)
    right = bad & (named == predictions["label"])
    lines = [
        ("defects caught", bad, bad, {"color": "0.1"}),
        ("defects caught and named correctly", right, bad, {"color": "0.5", "ls": "-."}),
        ("good products rejected", ~bad, ~bad, {"color": style.OUTLINE, "ls": "--"}),
    ]
    figure, axes = style.panel(4)
    for label, rows, whole, look in lines if named is not None else lines[::2]:
        axes.plot(ODDS, _at_or_above(predictions[rows], good) / whole.sum(), label=label, lw=2, **look)
    _thresholds(axes, points, str(predictions["features"].iloc[0]), target)
    axes.set(ylim=(0, 1.02), ylabel="share of images")
    _score_axis(axes, "threshold")
    style.percent_ticks(axes.yaxis)
    style.legend_above(figure, 4)
    return style.finish(figure, DOTTED.format(percent(target, 0)))


def cost_curve(predictions: pd.DataFrame, good: str, price_ratio: float, prevalence: float) -> Figure:
    """Draw the cost of 1,000 products over the threshold, in false rejects, of which a missed defect costs so many."""
    figure, axes = style.panel(4)
    for name, part in style.by_method(predictions):
        bad = part["label"] != good
        recall, rejects = (_at_or_above(part[rows], good) / rows.sum() for rows in (bad, ~bad))
        cost = 1000 * (prevalence * (1 - recall) * price_ratio + (1 - prevalence) * rejects)
        axes.plot(ODDS, cost, lw=2, **style.lined(name))
        axes.plot(ODDS[cost.argmin()], cost.min(), ls="", **style.marked(name) | {"ms": 8})
    axes.axhline(1000 * prevalence * price_ratio, color="0.45", lw=0.8, ls=":")
    axes.set(ylim=(0, 3000 * prevalence * price_ratio), ylabel="cost of 1,000 products")
    _score_axis(axes, "threshold")
    note = f"In false rejects: a missed defect costs {price_ratio:g}. {percent(prevalence)} of products are defective."
    note += " Markers: the cheapest threshold. Dotted: rejecting nothing."
    return style.finish(figure, note, predictions["features"])


def name_defects(predictions: pd.DataFrame, good: str) -> pd.Series | None:
    """Return the likeliest defect class of each row, whatever p(good); None where the model tells no classes apart."""
    chances = predictions.filter(regex="^p:").drop(columns=f"p:{good}").dropna(axis=1, how="all").fillna(0)
    chances.columns = chances.columns.str.removeprefix("p:")
    return chances.idxmax(axis=1) if set(predictions["label"]) & set(chances) else None


def _log_odds(scores: np.ndarray) -> np.ndarray:
    """Return the log-odds of scores in [0, 1], within those of `ODDS`."""
    least = 1 / (1 + np.exp(-ODDS[0]))
    clipped = np.clip(scores, least, 1 - least)
    return np.log(clipped / (1 - clipped))


def _at_or_above(rows: pd.DataFrame, good: str) -> np.ndarray:
    """Return how many of the rows have scores at or above each of the thresholds `ODDS`."""
    return len(rows) - np.searchsorted(np.sort(_log_odds(defect_scores(rows, good))), ODDS)


def _thresholds(axes: Axes, points: pd.DataFrame, name: str, target: float) -> None:
    """Draw the thresholds of a feature set from training images for a recall, where it has some: mean and range."""
    mine = points_of(points, features=name, required=target)
    for low, high in _log_odds(mine[["threshold_low", "threshold_high"]].to_numpy(float)):
        axes.axvspan(low, high, color="0.3", alpha=0.15, lw=0)
        axes.axvline((low + high) / 2, color="0.1", lw=1.2, ls=":")


def _score_axis(axes: Axes, name: str) -> None:
    axes.set_xlabel(f"{name} (log-odds scale)")
    axes.set_xticks(_log_odds(np.array(SCORES)), [f"{one:g}" for one in SCORES])
    axes.set_xlim(ODDS[0], ODDS[-1])
