"""Recalls, false rejects, ROC AUC and AQL, per fold, as the mean of the folds and pooled over all test folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.classification import operating_threshold

RECALL_AT_5_FPR = "recall_at_5"  # defect recall at RATE false rejects, the threshold moved
FPR_LIMIT = 0.05
METRICS = (
    "class_recall",
    "defect_recall",
    "false_reject_rate",
    "weighted_auc",
    "binary_auc",
    "aql",
    RECALL_AT_5_FPR,
)
_DECIDED = ("defect_recall", "false_reject_rate", "binary_auc", RECALL_AT_5_FPR)  # of the binary decision
Good = str | Mapping[str, str]  # the good class's name, or one per data set
ALL = "(all)"
MISSING = "–"  # in sentences and tables
POOLED, MEAN = "pooled", "mean"
KEYS = ["dataset", "scheme", "keep", "features"]
_ROW = ["dataset", "scheme", "fold", "id", "features", "task", "keep", "repeat"]  # one prediction


def good_class(good: Good, dataset: str) -> str:
    """Return the name of the good class of `dataset`."""
    return good if isinstance(good, str) else good[dataset]


def defect_classes(frame: pd.DataFrame, good: str) -> list[str]:
    """Return the defect classes among the true labels, sorted."""
    return sorted(set(frame["label"].astype(str)) - {good})


def counted(
    metric: str, truth: np.ndarray, predicted: np.ndarray, good: str, label: str = ALL
) -> tuple[np.ndarray, np.ndarray]:
    """Return masks (n,) of the images that a share counts, and of those among which it counts them.

    class_recall: those of class `label` called by its name; defect_recall: defects (of one class, or all) not predicted
    good; false_reject_rate: good images not predicted good.
    """
    if metric == "class_recall":
        return predicted == truth, truth == label
    if metric == "false_reject_rate":
        return predicted != good, truth == good
    return predicted != good, truth != good if label == ALL else truth == label


def share(frame: pd.DataFrame, metric: str, good: str, label: str = ALL) -> float:
    """Return a share of `counted` in [0, 1]; NaN where there are no images to count."""
    truth, predicted = (frame[name].to_numpy(dtype=str) for name in ("label", "predicted"))
    hits, among = counted(metric, truth, predicted, good, label)
    return float(hits[among].mean()) if among.any() else float("nan")


def aql(recall: float) -> float:
    """Return the paper's Eq. 1, the percentage of defective images that escape, from a recall in [0, 1]."""
    return 100 - 100 * recall


def class_probabilities(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns `p:<class>` that hold any value, named by class."""
    columns = [name for name in frame.columns if name.startswith("p:") and frame[name].notna().any()]
    return frame[columns].rename(columns=lambda name: name.removeprefix("p:"))


def weighted_auc(frame: pd.DataFrame) -> tuple[float, tuple[str, ...]]:
    """Return the one-vs-rest ROC AUC, the mean over classes weighted by each class's share of the images.

    Also returns the classes without images: they have no curve and no weight. NaN with a single class.
    """
    from sklearn.metrics import roc_auc_score

    scores, truth = class_probabilities(frame), frame["label"].to_numpy(dtype=str)
    present = np.unique(truth)
    missing = tuple(name for name in scores.columns if name not in present)
    if len(present) < 2:
        return float("nan"), missing
    indicator = (truth[:, None] == present).astype(int)
    return float(roc_auc_score(indicator, scores[present].to_numpy(float), average="weighted")), missing


def binary_auc(frame: pd.DataFrame, good: str) -> float:
    """Return the ROC AUC of defective against good by 1 - p(good); NaN where one of the two has no images."""
    from sklearn.metrics import roc_auc_score

    defective = frame["label"].to_numpy(dtype=str) != good
    if defective.all() or not defective.any():
        return float("nan")
    return float(roc_auc_score(defective, defect_scores(frame, good)))


def defect_scores(frame: pd.DataFrame, good: str) -> np.ndarray:
    """Return 1 - p(good) per row, in [0, 1]."""
    return 1 - frame[f"p:{good}"].to_numpy(float)


def recall_at_5(frame: pd.DataFrame, good: str) -> float:
    """Return the highest defect recall that a threshold on 1 - p(good) reaches with at most 5 % false rejects.

    The threshold is moved on the very images that are counted: a figure of the ranking, not of a decision. NaN where
    there are no good or no defective images.
    """
    defective = frame["label"].to_numpy(dtype=str) != good
    return operating_threshold.recall_at_fpr(defect_scores(frame, good), defective, FPR_LIMIT)


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

    One row per dataset, scheme, keep, features, metric, class and fold, where fold is a number as text, `pooled` (all
    test folds together) or `mean` (of the folds). `value` is in [0, 1], `aql` in percent; `n` counts the images, for
    `mean` the folds; `missing` names the classes without weight in an AUC. Repeats are averaged within a fold.
    A recall always comes with the false-reject rate. Raises `ValueError` for rows given twice and for a class named
    like the mark for all classes.
    """
    twice = predictions.duplicated(_ROW)
    if twice.any():
        first = predictions.loc[twice, _ROW].iloc[0].to_dict()
        raise ValueError(f"{int(twice.sum())} prediction(s) given twice, the first: {first}; drop the copies")
    if ALL in set(predictions["label"]):
        raise ValueError(f"a class is named {ALL!r}, which stands for all classes here: rename the class")
    deciding = dict(iter(binary_predictions(predictions, binary).groupby(KEYS, observed=True)))
    found, wanted = [], {*metrics, "false_reject_rate"}
    for key, rows in binary_predictions(predictions).groupby(KEYS, observed=True, sort=False):
        measured = _by_fold(rows, deciding[key], good_class(good, str(key[0])), wanted)
        found.append(measured.assign(**{name: rows[name].iloc[0] for name in KEYS}))
    columns = [*KEYS, "metric", "class", "fold", "value", "n", "missing"]
    return pd.concat(found, ignore_index=True)[columns]


def _by_fold(rows: pd.DataFrame, deciding: pd.DataFrame, good: str, wanted: set[str]) -> pd.DataFrame:
    """Return the measures of one feature set: pooled, by fold, and their mean, repeats averaged."""
    classes = defect_classes(rows, good)
    measured = []
    for fold in (POOLED, *sorted(set(rows["fold"]))):
        part, decided = ((t if fold == POOLED else t[t["fold"] == fold]) for t in (rows, deciding))
        for repeat, one in part.groupby("repeat", observed=True):
            found = _measures(one, decided[decided["repeat"] == repeat], good, classes, wanted)
            measured += [(str(fold), *measure) for measure in found]
    table = pd.DataFrame(measured, columns=["fold", "metric", "class", "value", "n", "missing"])
    folds = table.groupby(["fold", "metric", "class"], sort=False).agg(
        value=("value", "mean"), n=("n", "first"), missing=("missing", _joined)
    )
    single = folds.drop(POOLED).groupby(["metric", "class"], sort=False)
    mean = single.agg(value=("value", "mean"), n=("value", "count"), missing=("missing", _joined))
    return pd.concat([folds.reset_index(), mean.reset_index().assign(fold=MEAN)], ignore_index=True)


def _measures(
    rows: pd.DataFrame, deciding: pd.DataFrame, good: str, classes: list[str], wanted: set[str]
) -> list[tuple[Any, ...]]:
    truth = rows["label"].to_numpy(dtype=str)
    n_of = {name: int((truth == name).sum()) for name in [*classes, good]} | {ALL: int((truth != good).sum())}
    found: list[tuple[Any, ...]] = []
    for name in classes:
        found.append(("class_recall", name, share(rows, "class_recall", good, name), n_of[name], ()))
    for name in [*classes, ALL]:
        recall = share(deciding, "defect_recall", good, name)
        found += [("defect_recall", name, recall, n_of[name], ()), ("aql", name, aql(recall), n_of[name], ())]
    found.append(("false_reject_rate", ALL, share(deciding, "false_reject_rate", good), n_of[good], ()))
    if "weighted_auc" in wanted:
        area, missing = weighted_auc(rows)
        found.append(("weighted_auc", ALL, area, len(rows), missing))
    if "binary_auc" in wanted:
        found.append(("binary_auc", ALL, binary_auc(deciding, good), len(deciding), ()))
    if RECALL_AT_5_FPR in wanted:
        found.append((RECALL_AT_5_FPR, ALL, recall_at_5(deciding, good), n_of[ALL], ()))
    return [measure for measure in found if measure[0] in wanted]


def _joined(missing: pd.Series) -> tuple[str, ...]:
    return tuple(sorted({name for names in missing for name in names}))


def at_keep(predictions: pd.DataFrame, keep: float) -> pd.DataFrame:
    """Return the predictions at one share of kept defects; raises `ValueError` where there are none."""
    part = predictions[predictions["keep"] == keep]
    if part.empty:
        raise ValueError(f"no predictions at keep {keep}; there are {sorted(set(predictions['keep']))}")
    return part
