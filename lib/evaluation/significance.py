"""Is a difference between two feature sets more than chance? Tests over folds, intervals over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from lib.classification.feature_sets import BASELINES, GUIDED, MAIN
from lib.evaluation.bootstrap import all_intervals
from lib.evaluation.metrics import (
    ALL,
    MEAN,
    MISSING,
    POOLED,
    RECALL_AT_5_FPR,
    Good,
    binary_predictions,
    check_predictions,
    good_class,
    summary,
)

PAIRS = (("image_map", "image"), ("image_map", "map"), ("map", "image"))
COMPARED = ("class_recall", "defect_recall", "weighted_auc")
_COLUMNS = [
    *("dataset", "scheme", "keep", "metric", "class", "a", "b"),
    *("value_a", "value_b", "false_rejects_a", "false_rejects_b"),
    *("n", "n_nonzero", "smallest_p", "p", "p_corrected", "effect"),
    *("mean_difference", "difference", "low", "high"),
]
METHOD = "image_map"  # the paper's proposal, which the baselines are to beat
_EXACT_UP_TO = 16  # non-zero differences whose 2**n signs are enumerated when magnitudes tie


@dataclass(frozen=True)
class Wilcoxon:
    """Outcome of a signed-rank test: n pairs, those that differ, min(W+, W-), p, and the smallest p in reach."""

    n: int
    n_nonzero: int
    statistic: float
    p: float
    smallest_p: float


@dataclass(frozen=True)
class CorrectedT:
    """Outcome of a corrected resampled t-test over n folds."""

    n: int
    statistic: float
    p: float


def wilcoxon_paired(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Wilcoxon:
    """Test a - b = 0 over folds: Wilcoxon's signed-rank test, two-sided, exact, zero differences dropped.

    With tied magnitudes all 2**n sign patterns are enumerated up to 16 differing pairs; beyond that SciPy samples
    65,536 of them with a fixed seed. Raises `ValueError` for unequal lengths and missing values.
    """
    differences = _differences(a, b)
    nonzero = differences[differences != 0]
    smallest = smallest_attainable_p(len(nonzero))
    if len(nonzero) < 2:
        return Wilcoxon(len(differences), len(nonzero), 0.0, 1.0, smallest)
    ranks = stats.rankdata(np.abs(nonzero))
    statistic = min(ranks[nonzero > 0].sum(), ranks[nonzero < 0].sum())
    if len(np.unique(ranks)) == len(ranks):
        p = stats.wilcoxon(nonzero, method="exact").pvalue
    else:
        p = stats.permutation_test(
            (ranks * np.sign(nonzero),),
            np.sum,
            permutation_type="samples",
            vectorized=True,
            n_resamples=2**_EXACT_UP_TO,
            rng=np.random.default_rng(0),
        ).pvalue
    return Wilcoxon(len(differences), len(nonzero), float(statistic), float(p), smallest)


def smallest_attainable_p(n: int) -> float:
    """Return the smallest two-sided p of a signed-rank test with n non-zero differences: 2 / 2**n, at most 1."""
    return min(1.0, 2.0 ** (1 - n))


def holm(ps: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return Holm's adjusted p-values in the order given; NaN (no test) stays NaN and does not count."""
    values = np.asarray(ps, dtype=float)
    adjusted, tested = np.full(len(values), np.nan), ~np.isnan(values)
    if tested.any():
        adjusted[tested] = multipletests(values[tested], method="holm")[1]
    return adjusted


def rank_biserial(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Return the matched-pairs rank-biserial correlation in [-1, 1]: (W+ - W-) / (W+ + W-); 0 where all are equal."""
    differences = _differences(a, b)
    nonzero = differences[differences != 0]
    if len(nonzero) == 0:
        return 0.0
    ranks = stats.rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def nadeau_bengio(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, n_train: float, n_test: float
) -> CorrectedT:
    """Test a - b = 0 with the t-test whose variance is corrected for overlapping training folds.

    `n_train` and `n_test` are the images of a training and of a test fold. Two-sided, k - 1 degrees of freedom
    (Nadeau and Bengio, Inference for the Generalization Error, 2003). Raises `ValueError` for fewer than two folds.
    """
    differences = _differences(a, b)
    k = len(differences)
    if k < 2 or n_train <= 0 or n_test <= 0:
        raise ValueError(
            f"need two folds and images in both parts, got {k} folds, {n_train} and {n_test} images"
        )
    mean, variance = differences.mean(), (1 / k + n_test / n_train) * differences.var(ddof=1)
    if mean == 0:
        return CorrectedT(k, 0.0, 1.0)
    statistic = float(mean / np.sqrt(variance)) if variance > 0 else float(np.copysign(np.inf, mean))
    return CorrectedT(k, statistic, float(2 * stats.t.sf(abs(statistic), k - 1)))


def compare(
    predictions: pd.DataFrame,
    good: Good,
    *,
    seed: int,
    alpha: float = 0.005,
    binary: str = "collapsed",
    n_bootstrap: int = 2000,
    measures: pd.DataFrame | None = None,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    metrics: Sequence[str] = COMPARED,
) -> pd.DataFrame:
    """Compare pairs (a, b) of feature sets, per data set, scheme, keep, metric and class.

    Metrics: class recall and defect recall per class, defect recall over all, weighted AUC; on demand recall_at_5.
    The test runs over the folds' values, and so does the corrected t-test (`p_corrected`); `difference` (a - b) and
    its 95 % interval are pooled over test images. Holm's family is all tests of one data set and scheme. `n` counts
    folds where both are defined. `measures` is `summary` of the same predictions, where it was already computed. No
    data set with two of the feature sets gives no rows. Raises `ValueError` for predictions that cannot be counted
    or paired.
    """
    check_predictions(predictions, good)
    if measures is None:
        measures = summary(predictions, good, binary, (*metrics, "false_reject_rate"))
    multiclass, deciding = binary_predictions(predictions), binary_predictions(predictions, binary)
    tasks = {name: deciding if name in ("defect_recall", RECALL_AT_5_FPR) else multiclass for name in metrics}
    rows: list[dict[str, object]] = []
    for _, cell in measures.groupby(["dataset", "scheme", "keep"], sort=False):
        dataset, scheme, keep = (cell[name].iloc[0] for name in ("dataset", "scheme", "keep"))
        known = by_measure(cell)
        frames = {name: _cell(task, dataset, scheme, keep) for name, task in tasks.items()}
        present = set(cell["features"])
        here = [pair for pair in pairs if present.issuperset(pair)]
        sizes = _sizes(_cell(multiclass, dataset, scheme, keep), good_class(good, dataset), keep)
        intervals = all_intervals(frames, good_class(good, dataset), here, seed, n_bootstrap)
        for (metric, label, a, b), interval in intervals.items():
            tested = _compared(known, metric, label, a, b, sizes)
            where = {"dataset": dataset, "scheme": scheme, "keep": keep, "metric": metric, "class": label}
            ends = {"low": interval.low, "high": interval.high}
            rows.append(where | {"a": a, "b": b} | tested | ends)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    families = table.groupby(["dataset", "scheme"], sort=False)["p"]
    adjusted = families.transform(lambda ps: holm(ps.to_numpy()))
    table.insert(list(table.columns).index("p") + 1, "p_holm", adjusted)
    table["significant"] = table["p"] < alpha
    table["significant_holm"] = table["p_holm"] < alpha
    table["in_reach"] = table["smallest_p"] < alpha
    return table


def by_measure(cell: pd.DataFrame, column: str = "value") -> pd.Series:
    """Return a column of a `summary` of one data set, scheme and keep by features, metric, class and fold."""
    return cell.set_index(["features", "metric", "class", "fold"])[column].sort_index()


def paired_folds(known: pd.Series, a: str, b: str, metric: str, label: str) -> pd.DataFrame:
    """Return the folds where feature sets a and b (of `by_measure`) both have a value, as columns a and b."""
    values = {side: known.loc[(name, metric, label)] for side, name in (("a", a), ("b", b))}
    return pd.DataFrame(values).drop([POOLED, MEAN]).dropna()


def _sizes(rows: pd.DataFrame, good: str, keep: float) -> tuple[float, float]:
    """Return the mean number of images in a training fold (its defects thinned to `keep`) and in a test fold."""
    labels, folds = rows.drop_duplicates("id")["label"], rows["fold"].nunique()
    fine = int((labels == good).sum())
    return (fine + keep * (len(labels) - fine)) * (folds - 1) / folds, len(labels) / folds


def _compared(
    known: pd.Series, metric: str, label: str, a: str, b: str, sizes: tuple[float, float]
) -> dict[str, object]:
    folds = paired_folds(known, a, b, metric, label)
    enough = len(folds) >= 2 and sizes[0] > 0
    test = wilcoxon_paired(folds["a"].to_numpy(), folds["b"].to_numpy())
    value = {name: known.loc[(name, metric, label, POOLED)] for name in (a, b)}
    return {
        "value_a": value[a],
        "value_b": value[b],
        "false_rejects_a": known.loc[(a, "false_reject_rate", ALL, POOLED)],
        "false_rejects_b": known.loc[(b, "false_reject_rate", ALL, POOLED)],
        "n": test.n,
        "n_nonzero": test.n_nonzero,
        "smallest_p": test.smallest_p,
        "p": test.p if test.n else float("nan"),
        "p_corrected": nadeau_bengio(folds["a"].to_numpy(), folds["b"].to_numpy(), *sizes).p
        if enough
        else float("nan"),
        "effect": rank_biserial(folds["a"].to_numpy(), folds["b"].to_numpy()),
        "mean_difference": float((folds["a"] - folds["b"]).mean()),
        "difference": value[a] - value[b],
    }


def _differences(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> np.ndarray:
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"need two rows of equal length, got shapes {first.shape} and {second.shape}")
    if np.isnan(first).any() or np.isnan(second).any():
        raise ValueError("a fold's value is missing: drop that fold from both rows first")
    return np.round(first - second, 12)  # equal shares of images must tie, whatever their last bits


def _cell(frame: pd.DataFrame, dataset: str, scheme: str, keep: float) -> pd.DataFrame:
    return frame[(frame["dataset"] == dataset) & (frame["scheme"] == scheme) & (frame["keep"] == keep)]


def against_method(
    predictions: pd.DataFrame,
    good: Good,
    *,
    seed: int,
    alpha: float = 0.005,
    binary: str = "collapsed",
    n: int = 2000,
    measures: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return `compare` of every other feature set against image + map: AUC, recall at 5 %.

    `measures` is `summary` of the predictions, where already computed.
    """
    pairs = [(name, METHOD) for name in (*MAIN, *BASELINES, *GUIDED) if name != METHOD]
    return compare(
        predictions,
        good,
        seed=seed,
        alpha=alpha,
        binary=binary,
        n_bootstrap=n,
        measures=measures,
        pairs=pairs,
        metrics=("weighted_auc", RECALL_AT_5_FPR),
    )


def format_p(p: float) -> str:
    """Return a p-value as readers see it."""
    return MISSING if pd.isna(p) else f"{p:.3g}" if p >= 1e-4 else "< 0.0001"
