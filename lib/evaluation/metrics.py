"""Recalls, false rejects, ROC AUC and AQL, per fold, as the mean of the folds and pooled over all test folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.classification import operating_threshold
from lib.classification.feature_sets import FEATURE_SETS

RECALL_AT_5_FPR = "recall_at_5"  # defect recall at RATE false rejects, the threshold moved
FPR_LIMIT = 0.05
_AT_THRESHOLD = ("class_recall", "defect_recall", "false_reject_rate")
METRICS = (*_AT_THRESHOLD, "weighted_auc", "binary_auc", "aql", RECALL_AT_5_FPR)
Good = str | Mapping[str, str]  # the good class's name, or one per data set
ALL = "(all)"
MISSING = "–"  # in sentences and tables
POOLED, MEAN = "pooled", "mean"
KEYS = ["dataset", "scheme", "keep", "features"]
_ROW = ["dataset", "scheme", "fold", "id", "features", "task", "keep", "repeat"]  # one prediction
_COLUMNS = (*_ROW, "group", "label", "predicted")
_Measure = tuple[str, str, float, int, tuple[str, ...]]


@dataclass(frozen=True)
class Auc:
    """An area under the ROC curve in [0, 1] (NaN where undefined) and the classes that had no test image."""

    value: float
    missing: tuple[str, ...] = ()


def good_class(good: Good, dataset: str) -> str:
    """Return the name of the good class of `dataset`; raises `KeyError` where a mapping does not know it."""
    if isinstance(good, str):
        return good
    if dataset not in good:
        raise KeyError(
            f"no good class given for data set {dataset!r} (given for: {', '.join(good) or 'none'})"
        )
    return good[dataset]


def check_predictions(predictions: pd.DataFrame, good: Good) -> None:
    """Refuse predictions that cannot be counted.

    Raises `ValueError` for missing columns, no rows, an unknown feature set, rows given twice, a class named
    like the mark for all classes, and a data set without good or without defective images.
    """
    missing = [name for name in _COLUMNS if name not in predictions.columns]
    if missing:
        raise ValueError(f"predictions lack the column(s) {', '.join(missing)}")
    if predictions.empty:
        raise ValueError("predictions hold no rows: run notebook 04 (or 05) first")
    unknown = sorted(set(predictions["features"]) - set(FEATURE_SETS))
    if unknown:
        raise ValueError(f"unknown feature set(s) {unknown}: expected some of {list(FEATURE_SETS)}")
    twice = predictions.duplicated(_ROW)
    if twice.any():
        first = predictions.loc[twice, _ROW].iloc[0].to_dict()
        raise ValueError(f"{int(twice.sum())} prediction(s) given twice, the first: {first}; drop the copies")
    if ALL in set(predictions["label"]):
        raise ValueError(f"a class is named {ALL!r}, which stands for all classes here: rename the class")
    for dataset, labels in predictions.groupby("dataset", observed=True)["label"]:
        name, found = good_class(good, str(dataset)), set(labels)
        if name not in found or found == {name}:
            raise ValueError(
                f"{dataset}: need good ({name!r}) and defective images, found classes {sorted(found)}"
            )


def defect_classes(frame: pd.DataFrame, good: str) -> list[str]:
    """Return the defect classes among the true labels, sorted."""
    return sorted(set(frame["label"].astype(str)) - {good})


def class_recall(frame: pd.DataFrame, label: str) -> float:
    """Return the correct defect class recall: the share of a class's images called by its name; NaN without images."""
    truth = frame["label"].to_numpy(dtype=str)
    return _share(frame["predicted"].to_numpy(dtype=str) == truth, truth == label)


def defect_recall(frame: pd.DataFrame, good: str, label: str = ALL) -> float:
    """Return the share of the defective images (of one class, or all) not predicted good; NaN where there is none."""
    truth = frame["label"].to_numpy(dtype=str)
    return _share(
        frame["predicted"].to_numpy(dtype=str) != good, truth != good if label == ALL else truth == label
    )


def false_positive_rate(frame: pd.DataFrame, good: str) -> float:
    """Return the share of the good images predicted defective, in [0, 1]; NaN where there is no good image."""
    return _share(frame["predicted"].to_numpy(dtype=str) != good, frame["label"].to_numpy(dtype=str) == good)


def aql(recall: float) -> float:
    """Return the paper's Eq. 1, the percentage of defective images that escape, from a recall in [0, 1]."""
    return 100 - 100 * recall


def class_probabilities(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns `p:<class>` that hold any value, named by class."""
    columns = [name for name in frame.columns if name.startswith("p:") and frame[name].notna().any()]
    return frame[columns].rename(columns=lambda name: name.removeprefix("p:"))


def weighted_auc(frame: pd.DataFrame) -> Auc:
    """Return the one-vs-rest ROC AUC, the mean over classes weighted by each class's share of the images.

    A class without images has no curve: it gets no weight and is named in `missing`. Raises `ValueError` where a
    class with images has no probabilities.
    """
    from sklearn.metrics import roc_auc_score

    scores = class_probabilities(frame)
    truth = frame["label"].to_numpy(dtype=str)
    present = sorted(set(truth))
    require_probabilities(frame, scores, present)
    missing = tuple(name for name in scores.columns if name not in present)
    if len(present) < 2:
        return Auc(float("nan"), missing)
    indicator = (truth[:, None] == np.array(present)[None, :]).astype(int)
    return Auc(float(roc_auc_score(indicator, scores[present].to_numpy(float), average="weighted")), missing)


def binary_auc(frame: pd.DataFrame, good: str) -> float:
    """Return the ROC AUC of defective against good by 1 - p(good); NaN where one of the two has no images."""
    from sklearn.metrics import roc_auc_score

    defective = frame["label"].to_numpy(dtype=str) != good
    if defective.all() or not defective.any():
        return float("nan")
    return float(roc_auc_score(defective, defect_scores(frame, good)))


def defect_scores(frame: pd.DataFrame, good: str) -> np.ndarray:
    """Return 1 - p(good) per row, in [0, 1]; raises `ValueError` where p(good) is not given."""
    scores = class_probabilities(frame)
    require_probabilities(frame, scores, [good])
    return 1 - scores[good].to_numpy(float)


def recall_at_fpr(frame: pd.DataFrame, good: str, rate: float = FPR_LIMIT) -> float:
    """Return the highest defect recall that a threshold on 1 - p(good) reaches with at most `rate` false rejects.

    The threshold is moved on the very images that are counted: a figure of the ranking, not of a decision. NaN where
    there are no good or no defective images.
    """
    return operating_threshold.recall_at_fpr(
        defect_scores(frame, good), frame["label"].to_numpy(dtype=str) != good, rate
    )


def binary_predictions(predictions: pd.DataFrame, binary: str = "collapsed") -> pd.DataFrame:
    """Return the rows that decide good or defective.

    `collapsed` takes the multiclass prediction (argmax is not good), `separate` the two-class model's rows. Raises
    `ValueError` for another name, or where the predictions hold no such rows.
    """
    tasks = {"collapsed": "multiclass", "separate": "binary"}
    if binary not in tasks:
        raise ValueError(f"binary is {binary!r}: expected one of {list(tasks)}")
    rows = predictions[predictions["task"] == tasks[binary]]
    if rows.empty:
        raise ValueError(f"binary={binary!r} needs predictions of the task {tasks[binary]!r}: there are none")
    return rows


def summary(
    predictions: pd.DataFrame, good: Good, binary: str = "collapsed", metrics: Sequence[str] = METRICS
) -> pd.DataFrame:
    """Return all measures as a tidy table.

    One row per dataset, scheme, keep, features, metric, class and fold, where fold is a number as text, `pooled` (all
    test folds together) or `mean` (of the folds). `value` is in [0, 1], `aql` in percent; `n` counts the images, for
    `mean` the folds; `missing` names the classes without weight in an AUC. Repeats are averaged within a fold.
    `good` is the good class's name, or one per data set. A recall always comes with the false-reject rate. Raises
    `ValueError` for predictions that cannot be counted and for an unknown metric.
    """
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown:
        raise ValueError(f"unknown metric(s) {unknown}: expected some of {list(METRICS)}")
    check_predictions(predictions, good)
    wanted = {*metrics, "false_reject_rate"}
    multiclass, deciding = binary_predictions(predictions), binary_predictions(predictions, binary)
    found = []
    deciding_of = dict(iter(deciding.groupby(KEYS, observed=True)))
    for key, rows in multiclass.groupby(KEYS, observed=True, sort=False):
        if key not in deciding_of:
            raise ValueError(
                f"binary={binary!r}: no such predictions for {dict(zip(KEYS, key, strict=True))}"
            )
        measured = _by_fold(rows, deciding_of[key], good_class(good, str(key[0])), wanted)
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
) -> list[_Measure]:
    counts = rows["label"].astype(str).value_counts()
    n_of = {name: int(counts.get(name, 0)) for name in [*classes, good]}
    n_of[ALL] = sum(n_of[name] for name in classes)
    found: list[_Measure] = []
    if "class_recall" in wanted:
        found += [("class_recall", name, class_recall(rows, name), n_of[name], ()) for name in classes]
    for name in [*classes, ALL]:
        recall = defect_recall(deciding, good, name)
        found += [("defect_recall", name, recall, n_of[name], ())] if "defect_recall" in wanted else []
        found += [("aql", name, aql(recall), n_of[name], ())] if "aql" in wanted else []
    found.append(("false_reject_rate", ALL, false_positive_rate(deciding, good), n_of[good], ()))
    if "weighted_auc" in wanted:
        area = weighted_auc(rows)
        found.append(("weighted_auc", ALL, area.value, len(rows), area.missing))
    if "binary_auc" in wanted:
        found.append(("binary_auc", ALL, binary_auc(deciding, good), len(deciding), ()))
    if RECALL_AT_5_FPR in wanted:
        found.append((RECALL_AT_5_FPR, ALL, recall_at_fpr(deciding, good), n_of[ALL], ()))
    return found


def _joined(missing: pd.Series) -> tuple[str, ...]:
    return tuple(sorted({name for names in missing for name in names}))


def _share(hits: np.ndarray, among: np.ndarray) -> float:
    return float(hits[among].mean()) if among.any() else float("nan")


def require_probabilities(frame: pd.DataFrame, scores: pd.DataFrame, classes: Sequence[str]) -> None:
    """Raise `ValueError` where a row has no probability of one of `classes`; `scores` is `class_probabilities`."""
    gaps = [name for name in classes if name not in scores.columns or scores[name].isna().any()]
    if gaps:
        folds = sorted(set(frame.loc[scores.reindex(columns=gaps).isna().any(axis=1), "fold"]))
        raise ValueError(f"no probability (column p:{gaps[0]}) for the class(es) {gaps} in fold(s) {folds}")


def at_keep(predictions: pd.DataFrame, keep: float) -> pd.DataFrame:
    """Return the predictions at one share of kept defects; raises `ValueError` where there are none."""
    part = predictions[predictions["keep"] == keep]
    if part.empty:
        raise ValueError(f"no predictions at keep {keep}; there are {sorted(set(predictions['keep']))}")
    return part
