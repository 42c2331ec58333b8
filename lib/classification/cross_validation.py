"""One fold at one keep ratio: thin, select, fit, predict, for each feature set."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lib.classification.classifiers import HIDDEN, LOGISTIC_REGRESSION, FitResult, Scale, fit_predict
from lib.classification.feature_sets import COLUMN_BLOCKS, FEATURE_SETS, MAIN, FeatureSet
from lib.features.mutual_information import Selection, estimate_mutual_information, select

Binary = Literal["collapsed", "separate"]

MULTICLASS, BINARY = "multiclass", "binary"
DEFECTIVE = "defective"  # the binary task's other class, beside the good one
FIT_DIAGNOSTICS = (
    *("features", "task", "keep", "n_train", "k", "k_image", "k_map", "mi_image", "mi_map"),
    *("iterations", "loss", "converged", "seconds"),
)


@dataclass(frozen=True)
class FoldResult:
    """What `evaluate_fold` found.

    predictions: one row per test image, feature set and task: `row` (index into the features), `features`, `task`
    (multiclass | binary), `keep`, `label`, `predicted`, and `p:<class>` per class; binary rows fill `p:<good>` and
    `p:defective` only, multiclass rows `p:<class>` only, the rest is NaN.
    diagnostics: one row per fitted network, columns `DIAGNOSTICS`: `features`, `task`, `keep`, `n_train`, `k`,
    `k_image`, `k_map` (columns used, in all and of two sources), `mi_image`, `mi_map` (mutual information with the
    label of the columns selected from these sources, in nats, highest first; empty where nothing was scored),
    `iterations`, `loss`, `converged`, `seconds` (fit and prediction, without the scoring).
    selected: task, then feature set, to the columns used, counted in the sources given, in the order of `SOURCES`.
    """

    predictions: pd.DataFrame
    diagnostics: pd.DataFrame
    selected: dict[str, dict[str, list[int]]]


def evaluate_fold(
    sources: Mapping[str, NDArray[np.floating]],
    labels: ArrayLike,
    train: ArrayLike,
    *,
    classes: Sequence[str],
    keep: float = 1.0,
    selection: Selection = "sqrt_n",
    mlp: tuple[int, ...] = HIDDEN,
    scale: Scale = "standard",
    binary: Binary = "collapsed",
    feature_sets: Sequence[str] = MAIN,
    seed: int,
) -> FoldResult:
    """Fit on the thinned training rows and predict the test rows, with each feature set (see `FEATURE_SETS`).

    sources: columns (N, d) each by where they come from (names out of `SOURCES`); labels (N,) names out of `classes`,
    of which the first is the good one; train (N,) bool, the rest is tested. A feature set whose sources are not all
    given is left out. `keep` in (0, 1] thins the defective training images (see `thin`). Columns are scored once, on
    the thinned training rows. The binary task is the multiclass prediction `collapsed` (argmax is not good), or a
    network trained `separate`-ly on two classes. Raises ValueError on input that does not fit together.
    """
    labels, train = np.asarray(labels, dtype=str), np.asarray(train)
    if strangers := sorted(set(sources) - set(COLUMN_BLOCKS)):
        raise ValueError(f"sources {strangers} are unknown: choose from {', '.join(COLUMN_BLOCKS)}")
    sources = {name: sources[name] for name in COLUMN_BLOCKS if name in sources}
    wanted = _checked(sources, labels, train, classes, binary, feature_sets)
    good = classes[0]
    fit_rows = np.flatnonzero(subsample_defects(labels, train, good=good, keep=keep, seed=seed))
    test_rows = np.flatnonzero(~train)
    columns = np.concatenate(list(sources.values()), axis=1)
    origin = np.repeat(list(sources), [values.shape[1] for values in sources.values()])
    contested = np.flatnonzero(
        np.isin(origin, [part for name in wanted for part in FEATURE_SETS[name].selected_columns])
    )

    predictions: list[pd.DataFrame] = []
    diagnostics: list[dict[str, object]] = []
    selected: dict[str, dict[str, list[int]]] = {}
    for task in (MULTICLASS, BINARY) if binary == "separate" else (MULTICLASS,):
        names = list(classes) if task == MULTICLASS else [good, DEFECTIVE]
        target = labels if task == MULTICLASS else np.where(labels == good, good, DEFECTIVE)
        scored = selection != "none"
        scores = score_columns(columns, contested, fit_rows, target, selection, seed)
        for features in wanted:
            feature_set = FEATURE_SETS[features]
            used, offered = used_columns(feature_set, scores, origin, len(fit_rows), selection)
            began = time.perf_counter()
            fit = fit_predict(
                columns[np.ix_(fit_rows, used)],
                target[fit_rows],
                columns[np.ix_(test_rows, used)],
                names,
                hidden=LOGISTIC_REGRESSION if feature_set.model == "logistic" else mlp,
                seed=seed,
                scale=scale,
            )
            cell = {"features": features, "task": task, "keep": keep}
            sizes = {"n_train": len(fit_rows), "k": len(used)}
            sizes |= {f"k_{name}": int(np.sum(origin[used] == name)) for name in ("image", "map")}
            told = offered if scored else offered[:0]
            told_by = {
                f"mi_{name}": _falling(scores[told[origin[told] == name]]) for name in ("image", "map")
            }
            diagnostics.append(cell | sizes | told_by | _course(fit, time.perf_counter() - began))
            selected.setdefault(task, {})[features] = used.tolist()
            table = _predictions(test_rows, cell, target[test_rows], fit.probabilities, names)
            predictions.append(table)
            if binary == "collapsed":
                predictions.append(_collapsed(table, good))
    order = ["row", "features", "task", "keep", "label", "predicted", *(f"p:{name}" for name in classes)]
    order += [f"p:{DEFECTIVE}"] if DEFECTIVE not in classes else []
    return FoldResult(
        pd.concat(predictions, ignore_index=True).reindex(columns=order),
        pd.DataFrame(diagnostics, columns=list(FIT_DIAGNOSTICS)),
        selected,
    )


def score_columns(
    columns: NDArray[np.floating],
    contested: NDArray[np.intp],
    rows: NDArray[np.intp],
    target: NDArray[np.str_],
    selection: Selection,
    seed: int,
) -> NDArray[np.float64]:
    """Return each column's mutual information (d,) with `target` (N,) on the given rows, in nats.

    columns (N, d); those not `contested` get 0, and so do all where the selection keeps every column.
    """
    scores = np.zeros(columns.shape[1])
    if selection != "none" and contested.size:
        scores[contested] = estimate_mutual_information(
            columns[np.ix_(rows, contested)], target[rows], seed=seed
        )
    return scores


def used_columns(
    feature_set: FeatureSet,
    scores: NDArray[np.float64],
    origin: NDArray[np.str_],
    n_train: int,
    selection: Selection,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the columns that a feature_set's fit uses, ascending, and those of them that the selection chose.

    scores (d,) of `informative`; origin (d,) the source of each column.
    """
    offered = np.flatnonzero(np.isin(origin, feature_set.selected_columns))
    if offered.size:
        offered = offered[select(scores[offered], origin[offered], n_train, selection)]
    return np.sort(
        np.concatenate([offered, np.flatnonzero(np.isin(origin, feature_set.all_columns))])
    ), offered


def subsample_defects(
    labels: ArrayLike, train: ArrayLike, *, good: str, keep: float, seed: int
) -> NDArray[np.bool_]:
    """Keep `keep` of every defect class's training rows, at least one, and every good training row.

    labels (N,), train (N,) bool; returns the mask (N,) of the rows to fit on. A class of n rows keeps n * keep of
    them, rounded half up. Each class has its own generator, from the seed and its name, so that neither the other
    classes nor the order of levels matters, and a lower level's rows are part of a higher one's.
    Raises ValueError unless 0 < keep <= 1.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep={keep} must lie above 0 and at most at 1")
    labels, kept = np.asarray(labels, dtype=str), np.array(train, dtype=bool)
    for name in np.unique(labels[kept]):
        if name == good:
            continue
        rows = np.flatnonzero(kept & (labels == name))
        share = max(1, math.floor(round(len(rows) * keep, 9) + 0.5))
        generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
        kept[generator.permutation(rows)[share:]] = False
    return kept


def _checked(
    sources: Mapping[str, NDArray[np.floating]],
    labels: NDArray[np.str_],
    train: NDArray,
    classes: Sequence[str],
    binary: str,
    feature_sets: Sequence[str],
) -> list[str]:
    """Refuse what does not fit together; return the feature sets that the sources allow."""
    if binary not in get_args(Binary):
        raise ValueError(f"binary={binary!r} is unknown: choose one of {', '.join(get_args(Binary))}")
    if unknown := [features for features in feature_sets if features not in FEATURE_SETS]:
        raise ValueError(f"feature sets {unknown} are unknown: choose from {', '.join(FEATURE_SETS)}")
    if len(set(classes)) != len(classes):
        raise ValueError(f"classes {list(classes)} name one twice")
    if classes[0] == DEFECTIVE:
        raise ValueError(f"the good class stands first and cannot be named {DEFECTIVE!r}: {list(classes)}")
    if strangers := sorted(set(labels.tolist()) - set(classes)):
        raise ValueError(f"labels {strangers} are not among the classes {list(classes)}")
    if train.shape != labels.shape or train.dtype != bool:
        raise ValueError(f"train must be ({len(labels)},) bool, not {train.shape} {train.dtype}")
    if train.all() or not train.any():
        raise ValueError("a fold needs both training and test rows")
    for name, values in sources.items():
        if values.ndim != 2 or len(values) != len(labels):
            raise ValueError(
                f"{name} features {values.shape} must have one row for each of {len(labels)} labels"
            )
    wanted = [name for name in feature_sets if all(part in sources for part in FEATURE_SETS[name].blocks)]
    if not wanted:
        raise ValueError(
            f"feature sets {list(feature_sets)} cannot be evaluated with {list(sources)} features only"
        )
    return wanted


def _course(fit: FitResult, seconds: float) -> dict[str, object]:
    return {
        "iterations": fit.iterations,
        "loss": fit.loss,
        "converged": fit.converged,
        "seconds": seconds,
    }


def _falling(scores: NDArray[np.float64]) -> list[float]:
    return np.round(np.sort(scores)[::-1], 6).tolist()


def _predictions(
    rows: NDArray[np.intp],
    cell: dict[str, object],
    labels: NDArray[np.str_],
    probabilities: NDArray[np.float64],
    names: Sequence[str],
) -> pd.DataFrame:
    """Tabulate probabilities (n, classes) of the given rows; the predicted class is the likeliest."""
    predicted = np.asarray(names, dtype=object)[probabilities.argmax(axis=1)]
    table = pd.DataFrame({"row": rows, **cell, "label": labels.astype(object), "predicted": predicted})
    return table.join(pd.DataFrame(probabilities, columns=[f"p:{name}" for name in names]))


def _collapsed(table: pd.DataFrame, good: str) -> pd.DataFrame:
    """Turn multiclass rows into binary ones: defective is every argmax but good, with what good leaves of 1."""
    binary = table[["row", "features", "keep", "label", "predicted", f"p:{good}"]].assign(task=BINARY)
    for column in ("label", "predicted"):
        binary[column] = binary[column].where(binary[column] == good, DEFECTIVE)
    return binary.assign(**{f"p:{DEFECTIVE}": 1 - binary[f"p:{good}"]})
