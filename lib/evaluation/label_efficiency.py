"""Recall over the number of labelled defects in training, and how many a feature set needs for the same recall."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib.classification.cross_validation import subsample_defects
from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.bootstrap import Paired, quantile_ends
from lib.evaluation.metrics import MISSING, RECALL_AT_5_FPR, Good, binary_predictions, good_class

REFERENCE = "image"
_ENDS = ("lower", "higher")  # of intervals, widened to the next value: infinite ones have no middle


class LabelEfficiency(NamedTuple):
    """Learning curves and needs as tidy tables.

    curves: dataset, scheme, features, keep, labels (labelled defects of a training fold, mean over folds), recall at
    5 % false rejects and its 95 % interval low, high. needs: dataset, scheme, features, reference (labels that the
    image has), target (recall that it reaches with them), labels (that the feature set needs for the same recall) and
    their interval low, high; infinite is not reached; `least` the fewest labels studied.
    """

    curves: pd.DataFrame
    needs: pd.DataFrame


def label_efficiency(
    predictions: pd.DataFrame, good: Good, *, seed: int, binary: str = "collapsed", n: int = 2000
) -> LabelEfficiency:
    """Return learning curves and needed labels per data set and scheme, with n bootstrap samples of test images.

    Needs and targets are read from curves fitted to rise with the number of labels (isotonic regression), as the first
    crossing of a noisy curve would need too few. Feature sets with a single keep have no curve. With one repeat,
    intervals leave out which defects were kept and how networks started.
    """
    curves, needs = [], []
    deciding = binary_predictions(predictions, binary)
    for (dataset, scheme), rows in deciding.groupby(["dataset", "scheme"], sort=False):
        name, keeps = good_class(good, str(dataset)), sorted(set(rows["keep"]))
        kept = {features: set(part["keep"]) for features, part in rows.groupby("features")}
        studied = [features for features in FEATURE_SETS if kept.get(features) == set(keeps)]
        if len(keeps) < 2 or not studied:
            continue
        labels = np.array([labels_kept(rows, name, keep) for keep in keeps])
        paired = [Paired(part, studied, name) for _, part in rows.groupby("keep")]
        levels = list(enumerate(one.samples(RECALL_AT_5_FPR, seed, n) for one in paired))
        recalls = {
            features: np.array([at[features].with_training(seed + k).clip(0, 1) for k, at in levels])
            for features in studied
        }
        fitted = {features: rising(values) for features, values in recalls.items()}
        for features, values in recalls.items():
            for keep, count, sampled in zip(keeps, labels, values, strict=True):
                ends = quantile_ends(sampled[1:], _ENDS)
                curves.append((dataset, scheme, features, keep, count, sampled[0], *ends))
        for count, target in zip(labels, fitted.pop(REFERENCE, []), strict=False):
            for features, risen in fitted.items():
                needed = labels_for_recall(labels, risen, target)
                ends = quantile_ends(needed[1:], _ENDS)
                needs.append((dataset, scheme, features, count, target[0], needed[0], *ends, labels[0]))
    columns = ["dataset", "scheme", "features", "keep", "labels", "recall", "low", "high"]
    asked = ["dataset", "scheme", "features", "reference", "target", "labels", "low", "high", "least"]
    return LabelEfficiency(pd.DataFrame(curves, columns=columns), pd.DataFrame(needs, columns=asked))


def labels_kept(rows: pd.DataFrame, good: str, keep: float) -> float:
    """Return the labelled defects of a training fold at `keep`, the mean over the folds."""
    images = rows.drop_duplicates("id")
    labels, folds = images["label"].to_numpy(dtype=str), images["fold"].to_numpy()
    outside = [folds != fold for fold in np.unique(folds)]
    kept = [subsample_defects(labels, training, good=good, keep=keep, seed=0) for training in outside]
    return float(np.mean([(labels[mask] != good).sum() for mask in kept]))


def rising(values: np.ndarray) -> np.ndarray:
    """Return the isotonic regression of each column, (levels, samples): the closest values that never fall."""
    levels = range(len(values))

    def fitted(at: int) -> np.ndarray:  # highest over starts, lowest over ends, of the means around a level
        means = [[values[start : end + 1].mean(axis=0) for end in levels[at:]] for start in levels[: at + 1]]
        return np.max([np.min(of_start, axis=0) for of_start in means], axis=0)

    return np.array([fitted(at) for at in levels])


def labels_for_recall(labels: np.ndarray, recalls: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return where each sample's learning curve first reaches its target, straight between the levels.

    labels (levels,), ascending; recalls (levels, samples); target (samples,). The fewest labels where they already
    suffice, infinite where no level does, NaN where a target is.
    """
    reached = recalls >= target - 1e-12
    after = reached.argmax(axis=0)
    before, each = np.maximum(after - 1, 0), np.arange(len(target))
    rise = recalls[after, each] - recalls[before, each]
    share = np.divide(target - recalls[before, each], rise, out=np.zeros(len(target)), where=rise > 0)
    needed = labels[before] + share * (labels[after] - labels[before])
    needed = np.where(reached.any(axis=0), needed, np.inf)
    return np.where(np.isnan(target), np.nan, needed)


def describe_need(need: Any) -> str:
    """Return a row of `LabelEfficiency.needs` as readers see it; the interval where its ends differ."""
    if np.isnan(need["labels"]):
        return MISSING
    shown = []
    for labels in (need["labels"], need["low"], need["high"]):
        fewest = f"{labels:.0f}{' or fewer' * (labels <= need['least'])}"
        shown.append("not reached" if np.isinf(labels) else fewest)
    value, low, high = shown
    return value + (f" ({low} to {high})" if low != high else "")
