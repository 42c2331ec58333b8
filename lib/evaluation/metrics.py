"""Recalls, false rejects, ROC AUC and recall at 5 % false rejects, by fold and over all test folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

RECALL_AT_5_FPR = "recall_at_5"  # defect recall at FPR_LIMIT false rejects, read from each fold's own curve
FPR_LIMIT = 0.05
SHARES = ("class_recall", "defect_recall", "false_reject_rate")  # of images, as `counted`
RANKINGS = ("binary_auc", RECALL_AT_5_FPR, "weighted_auc")  # the first decides on good or defective
METRICS = (*SHARES, *RANKINGS)
TITLES = {  # in tables, figures and sentences
    "class_recall": "Correct defect class recall",
    "defect_recall": "Defect recall",
    "false_reject_rate": "False reject rate",
    "binary_auc": "AUC, good against defective",
    RECALL_AT_5_FPR: "Defect recall at 5 % false rejects",
    "weighted_auc": "AUC, naming the class",
}
_DECIDED = ("defect_recall", "false_reject_rate", "binary_auc", RECALL_AT_5_FPR)  # of the binary decision
Good = str | Mapping[str, str]  # the good class's name, or one per data set
ALL = "(all)"
MISSING = "–"  # in sentences and tables
OVERALL = "all folds"  # shares are counted over them all, rankings are the mean over the folds
POOLED = "pooled"  # rankings of all folds' scores together, though those of two networks share no scale
KEYS = ["dataset", "scheme", "keep", "features"]
_ROW = ["dataset", "scheme", "fold", "id", "features", "task", "keep", "repeat"]  # one prediction


def percent(share: float, digits: int = 1) -> str:
    """Return a share in [0, 1] as readers see it."""
    return f"{100 * share:.{digits}f} %"


def count(n: float, thing: str) -> str:
    """Return a number of things in words: 1 image, 20 images."""
    words = f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{n:,.0f} {thing if round(n) == 1 else words}"


def good_class(good: Good, dataset: str) -> str:
    """Return the name of the good class of `dataset`."""
    return good if isinstance(good, str) else good[dataset]


def defect_classes(frame: pd.DataFrame, good: str) -> list[str]:
    """Return the defect classes among the true labels, sorted."""
    return sorted(set(frame["label"].astype(str)) - {good})


def defect_scores(frame: pd.DataFrame, good: str) -> np.ndarray:
    """Return 1 - p(good) per row, in [0, 1]."""
    return 1 - frame[f"p:{good}"].to_numpy(float)


@dataclass(frozen=True)
class Answers:
    """Predictions of n images as arrays: true and predicted class (n,), and each class's probability (n,) by name."""

    truth: np.ndarray
    predicted: np.ndarray
    probabilities: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Self:
        """Return the predictions of a frame with label, predicted and `p:<class>`."""
        truth, predicted = (frame[name].to_numpy(dtype=str) for name in ("label", "predicted"))
        names = [name for name in map(str, frame) if name.startswith("p:")]
        return cls(truth, predicted, {name[2:]: frame[name].to_numpy(float) for name in names})

    def at(self, rows: np.ndarray) -> "Answers":
        """Return those of the rows given, by position or mask."""
        chances = {name: values[rows] for name, values in self.probabilities.items()}
        return Answers(self.truth[rows], self.predicted[rows], chances)


def counted(metric: str, answers: Answers, good: str, label: str = ALL) -> tuple[np.ndarray, np.ndarray]:
    """Return masks (n,) of the images that a share counts, and of those among which it counts them.

    class_recall: those of class `label` predicted as it; defect_recall: defects (of one class, or all) not predicted
    good; false_reject_rate: good images not predicted good. A ranking counts all.
    """
    truth, predicted = answers.truth, answers.predicted
    if metric in RANKINGS:
        return truth == truth, truth == truth
    if metric == "class_recall":
        return predicted == truth, truth == label
    if metric == "false_reject_rate":
        return predicted != good, truth == good
    return predicted != good, truth != good if label == ALL else truth == label


def measured(
    metric: str, answers: Answers, good: str, label: str = ALL, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return one of `METRICS` of a network's predictions, (s,) in [0, 1], for s weightings (n, s) of its n images.

    The shares are those of `counted`. binary_auc is the ROC AUC of defective against good by 1 - p(good), weighted_auc
    the one-vs-rest ROC AUC, the mean over classes weighted by each class's share of the images. recall_at_5 is the
    highest defect recall with 5 % false rejects: a measure of the ranking, not of a decision. Where 5 % is no whole
    number of good images, it lies straight between those of the next whole numbers. Weights, which count images,
    default to 1. NaN where there are no images to count or to separate.
    """
    truth = answers.truth
    weights = np.ones((len(truth), 1)) if weights is None else weights
    if metric in SHARES:
        hits, among = counted(metric, answers, good, label)
        return _divided((among & hits) @ weights, among @ weights)
    if metric != "weighted_auc":
        measure_of = _recall_at_limit if metric == RECALL_AT_5_FPR else _area
        return measure_of(1 - answers.probabilities[good], truth != good, weights)
    total, share = np.zeros((2, weights.shape[1]))
    for name in np.unique(truth):
        area = _area(answers.probabilities[str(name)], truth == name, weights)
        defined, drawn = ~np.isnan(area), weights[truth == name].sum(axis=0)
        total[defined] += (area * drawn)[defined]
        share[defined] += drawn[defined]
    return _divided(total, share)


def _cumulated(score: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (n,), falling, with their sign changed, and the weight of the first 0 to n (n + 1, s)."""
    order = np.argsort(-score, kind="stable")
    total = np.zeros((len(score) + 1, weights.shape[1]), weights.dtype)
    np.cumsum(weights[order], axis=0, out=total[1:])
    return -score[order], total


def _area(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of pairs of a positive and another in which the positive is higher; equal ones count half."""
    falling, found = _cumulated(score[positive], weights[positive])
    others, theirs = -score[~positive], weights[~positive]
    pairs = found[np.searchsorted(falling, others, "left")] + found[np.searchsorted(falling, others, "right")]
    pairs *= theirs
    return _divided(pairs.sum(axis=0, dtype=float), 2.0 * found[-1] * theirs.sum(axis=0, dtype=float))


def _recall_at_limit(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    falling, found = _cumulated(score[positive], weights[positive])
    fine, wrong = _cumulated(score[~positive], weights[~positive])
    levels = np.unique(fine)  # thresholds just above each good score, and one below all
    caught = found[np.r_[np.searchsorted(falling, levels), len(falling)]]
    rejected = wrong[np.r_[np.searchsorted(fine, levels), len(fine)]]
    limit, each = FPR_LIMIT * rejected[-1].astype(float), np.arange(caught.shape[1])
    last = (rejected <= limit + 1e-9).sum(axis=0) - 1  # the highest point that is allowed
    beyond = rejected[np.minimum(last + 1, len(rejected) - 1), each]
    after = (rejected <= beyond).sum(axis=0) - 1  # the highest with one good image more
    rise, step = caught[after, each] - caught[last, each], rejected[after, each] - rejected[last, each]
    share = np.divide(limit - rejected[last, each], step, out=np.zeros(len(each)), where=step > 0)
    recall = _divided(caught[last, each] + share * rise, caught[-1])
    return np.where(rejected[-1] > 0, recall, np.nan)


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Return the mean over the first axis of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    return _divided(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))


def task_of(metric: str, binary: str) -> str:
    """Return whose rows a metric counts, or a decision between good and defective (`defect_recall`).

    `collapsed` takes the multiclass prediction (argmax is not good), `separate` the two-class model's rows.
    """
    return {"collapsed": "multiclass", "separate": "binary"}[binary if metric in _DECIDED else "collapsed"]


def rows_of_metric(predictions: pd.DataFrame, metric: str, binary: str) -> pd.DataFrame:
    """Return the rows that a metric counts."""
    return predictions[predictions["task"] == task_of(metric, binary)]


def binary_predictions(predictions: pd.DataFrame, binary: str = "collapsed") -> pd.DataFrame:
    """Return the rows that decide good or defective."""
    return rows_of_metric(predictions, "defect_recall", binary)


def summary(
    predictions: pd.DataFrame, good: Good, binary: str = "collapsed", metrics: Sequence[str] = METRICS
) -> pd.DataFrame:
    """Return all measures as a tidy table.

    One row per dataset, scheme, keep, features, fold, metric and class, where fold is a number as text, `OVERALL`, or,
    of rankings, `POOLED`. `value` is that of `measured`, of repeats the mean, `n` the images behind it. A recall always
    comes with the false-reject rate. Raises `ValueError` for rows given twice and for a class named like the mark for
    all classes.
    """
    twice = predictions.duplicated(_ROW)
    if twice.any():
        first = predictions.loc[twice, _ROW].iloc[0].to_dict()
        raise ValueError(f"{int(twice.sum())} prediction(s) given twice, the first: {first}; drop the copies")
    if (predictions["label"] == ALL).any():
        raise ValueError(f"a class is named {ALL!r}, which stands for all classes here: rename the class")
    wanted = [metric for metric in METRICS if metric in {*metrics, "false_reject_rate"}]
    rows = predictions[predictions["task"].isin({task_of(metric, binary) for metric in wanted})]
    found, every = [], Answers.of(rows)
    cells: Any = rows.reset_index(drop=True).groupby(KEYS, observed=True, sort=False)
    for key, cell in cells[["task", "repeat", "fold"]]:
        name = good_class(good, str(key[0]))
        classes = sorted(set(every.truth[cell.index].tolist()) - {name})
        labels = {"class_recall": classes, "defect_recall": [*classes, ALL]}
        trained = {}
        for task_and_repeat, part in cell.groupby(["task", "repeat"]):
            of_fold = {str(fold): every.at(one.index) for fold, one in part.groupby("fold")}
            trained[task_and_repeat] = {POOLED: every.at(part.index), **of_fold}
        for metric in wanted:
            for (task, repeat), parts in trained.items():
                for label in labels.get(metric, [ALL]) if task == task_of(metric, binary) else ():
                    of = metric, label, repeat
                    values = {fold: measured(metric, one, name, label)[0] for fold, one in parts.items()}
                    sizes = {fold: counted(metric, one, name, label)[1].sum() for fold, one in parts.items()}
                    pooled, n = values.pop(POOLED), int(sizes[POOLED])
                    if metric in RANKINGS:
                        values = {OVERALL: mean_of_known(np.array([*values.values()]))} | values | {POOLED: pooled}
                    else:
                        values = {OVERALL: pooled} | values
                    for fold, value in values.items():
                        found.append((*key, fold, *of, float(value), int(sizes.get(fold, n))))
    columns = [*KEYS, "fold", "metric", "class"]
    table = pd.DataFrame(found, columns=[*columns, "repeat", "value", "n"])
    return table.groupby(columns, sort=False, as_index=False).agg({"value": "mean", "n": "first"})


def where(table: pd.DataFrame, asked: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of a table that have these values by column."""
    return table[(table[list(asked)] == pd.Series(asked)).all(axis=1)]


def at_keep(predictions: pd.DataFrame, keep: float) -> pd.DataFrame:
    """Return the predictions at one share of kept defects; raises `ValueError` where there are none."""
    part = predictions[predictions["keep"] == keep]
    if part.empty:
        raise ValueError(f"no predictions at keep {keep}; there are {sorted(set(predictions['keep']))}")
    return part
