"""One fold at one share of the defects: subsample, select, fit, predict, for each feature set."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lib.classification.classifiers import HIDDEN, LOGISTIC_REGRESSION, Fitted, Scale, fit
from lib.classification.feature_sets import COLUMN_BLOCKS, FEATURE_SETS, MAIN
from lib.classification.stacking import fit_stacked
from lib.datasets.splits import inner_parts
from lib.features.mutual_information import Selection, estimate_mutual_information, select

Binary = Literal["collapsed", "separate"]

MULTICLASS, BINARY = "multiclass", "binary"
DEFECTIVE = "defective"  # the binary task's other class, beside the good one


@dataclass(frozen=True)
class FoldResult:
    """What `evaluate_fold` found.

    predictions: one row per test image, feature set and task: `row` (index into the features), `features`, `task`
    (multiclass | binary), `keep`, `label`, `predicted`, and `p:<class>` per class; binary rows fill `p:<good>` and
    `p:defective` only, multiclass rows `p:<class>` only, the rest is NaN.
    diagnostics: one row per fitted classifier: `features`, `task`, `keep`, `n_train`, `k`, `k_image`, `k_map` (columns
    used, in all and of two blocks), `iterations`, `converged`.
    models: by task, then feature set: the columns used, ascending, counted in the blocks given in the order of
    `COLUMN_BLOCKS`, and the classifier fitted on them.
    """

    predictions: pd.DataFrame
    diagnostics: pd.DataFrame
    models: dict[str, dict[str, tuple[NDArray[np.intp], Fitted]]]


def evaluate_fold(
    blocks: Mapping[str, NDArray[np.floating]],
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
    groups: ArrayLike | None = None,
    inner_folds: int = 3,
    seed: int,
) -> FoldResult:
    """Fit each feature set on the training rows and predict the test rows.

    blocks: columns (N, d) by the names of `COLUMN_BLOCKS`; labels (N,) names out of `classes`, of which the first is
    the good one; train (N,) bool, the rest is tested. A feature set whose blocks are not all given is left out.
    `keep` in (0, 1] is the share of defective training images used (see `subsample_defects`). Columns are scored once,
    on the training rows used. Stacked sets are fitted by `inner_folds`, which split no group (N,). The binary task is
    the multiclass prediction `collapsed` (argmax is not good), or a classifier trained `separate`-ly on two classes.
    """
    labels, train = np.asarray(labels, dtype=str), np.asarray(train)
    blocks = {name: blocks[name] for name in COLUMN_BLOCKS if name in blocks}
    wanted = [FEATURE_SETS[name] for name in feature_sets if set(FEATURE_SETS[name].blocks) <= set(blocks)]
    good = classes[0]
    fit_rows = np.flatnonzero(subsample_defects(labels, train, good=good, keep=keep, seed=seed))
    test_rows = np.flatnonzero(~train)
    widths = [values.shape[1] for values in blocks.values()]
    origin, first = np.repeat(list(blocks), widths), dict(zip(blocks, np.cumsum([0, *widths]), strict=False))
    candidates = np.flatnonzero(np.isin(origin, [name for one in wanted for name in one.selected_columns]))

    def part_of(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.floating]:
        """Return rows and columns, counted in the blocks one after the other, without copies of all blocks."""
        mine = {name: columns[origin[columns] == name] - first[name] for name in blocks}
        return np.concatenate([blocks[name][np.ix_(rows, own)] for name, own in mine.items()], axis=1)

    predictions: list[pd.DataFrame] = []
    diagnostics: list[dict[str, object]] = []
    models: dict[str, dict[str, tuple[NDArray[np.intp], Fitted]]] = {}
    for task in (MULTICLASS, BINARY) if binary == "separate" else (MULTICLASS,):
        names = list(classes) if task == MULTICLASS else [good, DEFECTIVE]
        target = labels if task == MULTICLASS else np.where(labels == good, good, DEFECTIVE)
        scores = np.zeros(len(origin))  # of a column: its mutual information with the target, in nats
        if selection != "none" and candidates.size:
            offered = part_of(fit_rows, candidates)
            scores[candidates] = estimate_mutual_information(offered, target[fit_rows], seed=seed)
        for one in wanted:
            chosen = np.flatnonzero(np.isin(origin, one.selected_columns))
            if chosen.size:
                chosen = chosen[select(scores[chosen], origin[chosen], len(fit_rows), selection)]
            used = np.union1d(chosen, np.flatnonzero(np.isin(origin, one.all_columns + one.scores)))
            given, truth = part_of(fit_rows, used), target[fit_rows]
            if one.model == "stacked":
                part, own = (np.zeros(len(truth), int), None if groups is None else np.asarray(groups)[fit_rows])
                for number, rows in enumerate(inner_parts(truth, own, inner_folds, seed=seed)):
                    part[rows] = number
                beside = np.isin(origin[used], one.scores)
                model = fit_stacked(given, truth, names, beside=beside, part=part)
            else:
                hidden = LOGISTIC_REGRESSION if one.model == "logistic" else mlp
                model = fit(given, truth, names, hidden=hidden, seed=seed, scale=scale)
            probabilities = model.probabilities(part_of(test_rows, used))
            cell: dict[str, object] = {"features": one.key, "task": task, "keep": keep}
            report = {"n_train": len(fit_rows), "k": len(used)}
            report |= {f"k_{name}": int(np.sum(origin[used] == name)) for name in ("image", "map")}
            diagnostics.append(cell | report | {"iterations": model.iterations, "converged": model.converged})
            models.setdefault(task, {})[one.key] = used, model
            labelled = {"row": test_rows, **cell, "label": target[test_rows].astype(object)}
            likeliest = np.asarray(names, dtype=object)[probabilities.argmax(axis=1)]
            chances = pd.DataFrame(probabilities, columns=[f"p:{name}" for name in names])
            table = pd.DataFrame({**labelled, "predicted": likeliest}).join(chances)
            predictions += [table, _collapsed(table, good)] if binary == "collapsed" else [table]
    order = ["row", "features", "task", "keep", "label", "predicted", *(f"p:{name}" for name in classes)]
    order += [f"p:{DEFECTIVE}"] if DEFECTIVE not in classes else []
    table = pd.concat(predictions, ignore_index=True).reindex(columns=order)
    return FoldResult(table, pd.DataFrame(diagnostics), models)


def subsample_defects(labels: ArrayLike, train: ArrayLike, *, good: str, keep: float, seed: int) -> NDArray[np.bool_]:
    """Return the rows to fit on, (N,) bool: all good training rows and `keep` of each defect class's, at least one.

    labels (N,), train (N,) bool, 0 < keep <= 1. A class of n rows keeps n * keep of them, rounded half up. Each class
    has its own generator, from the seed and its name, so that a lower level's rows are part of a higher one's.
    """
    labels, kept = np.asarray(labels, dtype=str), np.array(train, dtype=bool)
    for name in np.unique(labels[kept]):
        if name == good:
            continue
        rows = np.flatnonzero(kept & (labels == name))
        share = max(1, math.floor(round(len(rows) * keep, 9) + 0.5))
        generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
        kept[generator.permutation(rows)[share:]] = False
    return kept


def _collapsed(table: pd.DataFrame, good: str) -> pd.DataFrame:
    """Turn multiclass rows into binary ones: defective is every argmax but good, with what good leaves of 1."""
    binary = table[["row", "features", "keep", "label", "predicted", f"p:{good}"]].assign(task=BINARY)
    for column in ("label", "predicted"):
        binary[column] = binary[column].where(binary[column] == good, DEFECTIVE)
    return binary.assign(**{f"p:{DEFECTIVE}": 1 - binary[f"p:{good}"]})
