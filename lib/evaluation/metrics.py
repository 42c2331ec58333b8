"""Recalls, false rejects and ROC AUC, per fold and pooled over all test folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lib.classification.operating_threshold import recall_at_fpr

RECALL_AT_5_FPR = "recall_at_5"  # defect recall at FPR_LIMIT false rejects, the threshold moved
FPR_LIMIT = 0.05
SHARES = ("class_recall", "defect_recall", "false_reject_rate")  # of images, as `counted`
METRICS = (*SHARES, "weighted_auc", "binary_auc", RECALL_AT_5_FPR)
_DECIDED = ("defect_recall", "false_reject_rate", "binary_auc", RECALL_AT_5_FPR)  # of the binary decision
Good = str | Mapping[str, str]  # the good class's name, or one per data set
ALL = "(all)"
MISSING = "–"  # in sentences and tables
POOLED = "pooled"
KEYS = ["dataset", "scheme", "keep", "features"]
_ROW = ["dataset", "scheme", "fold", "id", "features", "task", "keep", "repeat"]  # one prediction


def good_class(good: Good, dataset: str) -> str:
    """Return the name of the good class of `dataset`."""
    return good if isinstance(good, str) else good[dataset]


def defect_classes(frame: pd.DataFrame, good: str) -> list[str]:
    """Return the defect classes among the true labels, sorted."""
    return sorted(set(frame["label"].astype(str)) - {good})


def class_probabilities(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns `p:<class>`, named by class."""
    return frame.filter(regex="^p:").rename(columns=lambda name: name.removeprefix("p:"))


def defect_scores(frame: pd.DataFrame, good: str) -> np.ndarray:
    """Return 1 - p(good) per row, in [0, 1]."""
    return 1 - frame[f"p:{good}"].to_numpy(float)


def counted(metric: str, frame: pd.DataFrame, good: str, label: str = ALL) -> tuple[np.ndarray, np.ndarray]:
    """Return masks (n,) of the images that a share counts, and of those among which it counts them.

    class_recall: those of class `label` called by its name; defect_recall: defects (of one class, or all) not predicted
    good; false_reject_rate: good images not predicted good.
    """
    truth, predicted = (frame[name].to_numpy(dtype=str) for name in ("label", "predicted"))
    if metric == "class_recall":
        return predicted == truth, truth == label
    if metric == "false_reject_rate":
        return predicted != good, truth == good
    return predicted != good, truth != good if label == ALL else truth == label


def measure(metric: str, frame: pd.DataFrame, good: str, label: str = ALL) -> tuple[float, int]:
    """Return one of `METRICS` of predictions, in [0, 1], and the number of images behind it.

    The shares are those of `counted`. weighted_auc is the one-vs-rest ROC AUC, the mean over classes weighted by each
    class's share of the images; binary_auc that of defective against good by 1 - p(good). recall_at_5 is the highest
    defect recall that a threshold on 1 - p(good) reaches with at most 5 % false rejects, moved on the very images that
    are counted: a figure of the ranking, not of a decision. NaN where there are no images to count or to tell apart.
    """
    from sklearn.metrics import roc_auc_score

    if metric in SHARES:
        hits, among = counted(metric, frame, good, label)
        return float(hits[among].mean()) if among.any() else float("nan"), int(among.sum())
    truth = frame["label"].to_numpy(dtype=str)
    classes, defective = np.unique(truth), truth != good
    if len(classes) < 2 or (metric != "weighted_auc" and defective.all()):
        value = float("nan")
    elif metric == "weighted_auc":
        scores = class_probabilities(frame)[classes].to_numpy(float)
        value = roc_auc_score(truth[:, None] == classes, scores, average="weighted")
    elif metric == RECALL_AT_5_FPR:
        value = recall_at_fpr(defect_scores(frame, good), defective, FPR_LIMIT)
    else:
        value = roc_auc_score(defective, defect_scores(frame, good))
    return float(value), len(frame)


def binary_predictions(predictions: pd.DataFrame, binary: str = "collapsed") -> pd.DataFrame:
    """Return the rows that decide good or defective.

    `collapsed` takes the multiclass prediction (argmax is not good), `separate` the two-class model's rows.
    """
    task = {"collapsed": "multiclass", "separate": "binary"}[binary]
    return predictions[predictions["task"] == task]


def rows_of_metric(predictions: pd.DataFrame, metric: str, binary: str) -> pd.DataFrame:
    """Return the rows that a metric counts: of `binary_predictions`, or multiclass ones."""
    return binary_predictions(predictions, binary if metric in _DECIDED else "collapsed")


def summary(
    predictions: pd.DataFrame, good: Good, binary: str = "collapsed", metrics: Sequence[str] = METRICS
) -> pd.DataFrame:
    """Return all measures as a tidy table.

    One row per dataset, scheme, keep, features, fold, metric and class, where fold is a number as text, or `pooled`
    (all test folds together). `value` and `n` as in `measure`, of repeats the mean. A recall always comes with the
    false-reject rate. Raises `ValueError` for rows given twice and for a class named like the mark for all classes.
    """
    twice = predictions.duplicated(_ROW)
    if twice.any():
        first = predictions.loc[twice, _ROW].iloc[0].to_dict()
        raise ValueError(f"{int(twice.sum())} prediction(s) given twice, the first: {first}; drop the copies")
    if ALL in set(predictions["label"]):
        raise ValueError(f"a class is named {ALL!r}, which stands for all classes here: rename the class")
    wanted = [metric for metric in METRICS if metric in {*metrics, "false_reject_rate"}]
    measured = []
    for key, cell in predictions.groupby(KEYS, observed=True, sort=False):
        name = good_class(good, str(key[0]))
        classes = defect_classes(cell, name)
        labels = {"class_recall": classes, "defect_recall": [*classes, ALL]}
        rows_of = {metric: rows_of_metric(cell, metric, binary) for metric in wanted}
        for fold in (POOLED, *sorted(set(cell["fold"]))):
            for metric, rows in rows_of.items():
                part = rows if fold == POOLED else rows[rows["fold"] == fold]
                for _, one in part.groupby("repeat", observed=True):
                    for label in labels.get(metric, [ALL]):
                        measured.append((*key, str(fold), metric, label, *measure(metric, one, name, label)))
    columns = [*KEYS, "fold", "metric", "class"]
    table = pd.DataFrame(measured, columns=[*columns, "value", "n"])
    return table.groupby(columns, sort=False, as_index=False).agg({"value": "mean", "n": "first"})


def at_keep(predictions: pd.DataFrame, keep: float) -> pd.DataFrame:
    """Return the predictions at one share of kept defects; raises `ValueError` where there are none."""
    part = predictions[predictions["keep"] == keep]
    if part.empty:
        raise ValueError(f"no predictions at keep {keep}; there are {sorted(set(predictions['keep']))}")
    return part
