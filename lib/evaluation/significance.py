"""Tests of the differences between two feature sets over folds, and what a comparison shows, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from lib.classification.feature_sets import BASELINES, GUIDED, MAIN
from lib.evaluation.bootstrap import Interval, interval_between, samples
from lib.evaluation.metrics import (
    ALL,
    MEAN,
    MISSING,
    POOLED,
    RECALL_AT_5_FPR,
    Good,
    defect_classes,
    good_class,
    rows_of_metric,
    summary,
)

PAIRS = (("image_map", "image"), ("image_map", "map"), ("map", "image"))
COMPARED = ("class_recall", "defect_recall", "weighted_auc")
METHOD = "image_map"  # the paper's proposal, which the baselines are to beat
HELPS = ("the map helps", "the map harms")  # verdicts on image + map against the image
_COLUMNS = [
    *("dataset", "scheme", "keep", "metric", "class", "a", "b"),
    *("value_a", "value_b", "false_rejects_a", "false_rejects_b"),
    *("n", "n_nonzero", "smallest_p", "p", "p_holm", "p_corrected", "effect"),
    *("mean_difference", "difference", "low", "high"),
]
_EXACT_UP_TO = 16  # non-zero differences whose 2**n signs are enumerated when magnitudes tie


@dataclass(frozen=True)
class Comparison(Interval):
    """The difference a - b of two feature sets: pooled values with their interval, and Wilcoxon's test over the folds.

    `p` is NaN where no test was made; `smallest_p` is the smallest in reach with `n_nonzero` folds that differ.
    """

    alpha: float = float("nan")
    n: int = 0
    n_nonzero: int = 0
    smallest_p: float = 1.0
    p: float = float("nan")
    p_holm: float = float("nan")
    p_corrected: float = float("nan")
    false_rejects_a: float = float("nan")

    @classmethod
    def find(cls, table: pd.DataFrame, metric: str, a: str, b: str, alpha: float) -> Comparison | None:
        """Return a against b from `compare` of one data set, also where that holds b against a; None where neither."""
        part = table[(table["metric"] == metric) & (table["class"] == ALL)]
        for first, second in ((a, b), (b, a)):
            rows = part[(part["a"] == first) & (part["b"] == second)].to_dict("records")
            if rows:
                known = {f.name: rows[0][f.name] for f in fields(cls) if f.name in rows[0]}
                return cls(**known, alpha=alpha) if first == a else cls(**known, alpha=alpha).reversed()
        return None

    def reversed(self) -> Comparison:
        """Return b against a."""
        ends: dict[str, Any] = {"difference": -self.difference, "low": -self.high, "high": -self.low}
        return replace(self, value_a=self.value_b, value_b=self.value_a, false_rejects_a=float("nan"), **ends)

    def verdict(self, better: str = "a gain", worse: str = "a loss") -> str:
        """Return what is shown, in words: a difference by the stated rule, by the interval alone, or none.

        `better` and `worse` say what a difference above and below zero means. That none is shown does not say that
        there is none: give the interval (`span`) beside it.
        """
        side = better if self.difference > 0 else worse
        if self.p < self.alpha:
            return f"{side} by the stated rule (p = {format_p(self.p)}, below {self.alpha:g})"
        if not self.side:
            return "no difference is shown"
        tested = "" if pd.isna(self.p) else f", not by the stated rule (p = {format_p(self.p)})"
        return f"{side} by the interval, which is clear of zero{tested}"

    def rule(self) -> str:
        """Return in words whether the study's rule for the test over the folds is met, or could not be."""
        rule = f"the stated rule (p < {self.alpha:g})"
        if self.smallest_p < self.alpha:
            return f"{rule} is {'' if self.p < self.alpha else 'not '}met"
        best = f"{self.n_nonzero} folds that differ give p = {format_p(self.smallest_p)} at best"
        return f"{rule} could not be met: {best}"


@dataclass(frozen=True)
class Wilcoxon:
    """A signed-rank test: n pairs, those that differ, p, the smallest p in reach, and the effect.

    `effect` is the matched-pairs rank-biserial correlation (W+ - W-) / (W+ + W-) in [-1, 1]; 0 where all are equal.
    """

    n: int
    n_nonzero: int
    p: float
    smallest_p: float
    effect: float


def wilcoxon_paired(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> Wilcoxon:
    """Test a - b = 0 over folds: Wilcoxon's signed-rank test, two-sided, exact, zero differences dropped.

    With tied magnitudes all 2**n sign patterns are enumerated up to 16 differing pairs; beyond that SciPy samples
    65,536 of them with a fixed seed.
    """
    from scipy import stats

    differences = _differences(a, b)
    nonzero = differences[differences != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    signed = ranks * np.sign(nonzero)
    if len(nonzero) < 2:
        p = 1.0
    elif len(np.unique(ranks)) == len(ranks):
        p = stats.wilcoxon(nonzero, method="exact").pvalue
    else:
        p = stats.permutation_test(
            (signed,),
            np.sum,
            permutation_type="samples",
            vectorized=True,
            n_resamples=2**_EXACT_UP_TO,
            rng=np.random.default_rng(0),
        ).pvalue
    smallest = smallest_attainable_p(len(nonzero))
    effect = float(signed.sum() / ranks.sum()) if len(nonzero) else 0.0
    return Wilcoxon(len(differences), len(nonzero), float(p), smallest, effect)


def smallest_attainable_p(n: int) -> float:
    """Return the smallest two-sided p of a signed-rank test with n non-zero differences: 2 / 2**n, at most 1."""
    return min(1.0, 2.0 ** (1 - n))


def holm(ps: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return Holm's adjusted p-values in the order given; NaN (no test) stays NaN and does not count."""
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(ps, dtype=float)
    adjusted, tested = np.full(len(values), np.nan), ~np.isnan(values)
    if tested.any():
        adjusted[tested] = multipletests(values[tested], method="holm")[1]
    return adjusted


def nadeau_bengio(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, n_train: float, n_test: float
) -> float:
    """Return the p-value of a - b = 0 by the t-test whose variance is corrected for overlapping training folds.

    `n_train` and `n_test` are the images of a training and of a test fold. Two-sided, k - 1 degrees of freedom
    (Nadeau and Bengio, Inference for the Generalization Error, 2003). NaN for fewer than two folds.
    """
    from scipy.stats import t

    differences = _differences(a, b)
    k = len(differences)
    if k < 2:
        return float("nan")
    mean, variance = differences.mean(), (1 / k + n_test / n_train) * differences.var(ddof=1)
    if mean == 0 or variance == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * t.sf(abs(float(mean / np.sqrt(variance))), k - 1))


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
    data set with two of the feature sets gives no rows. Raises `ValueError` as `summary` and `samples` do.
    """
    if measures is None:
        measures = summary(predictions, good, binary, (*metrics, "false_reject_rate"))
    place = ["dataset", "scheme", "keep"]
    predicted: Any = dict(iter(predictions.groupby(place, observed=True)))
    measured: Any = measures.groupby(place, sort=False)
    rows: list[dict[str, object]] = []
    for key, cell in measured:
        where, good_name = dict(zip(place, key, strict=True)), good_class(good, key[0])
        present, known = set(cell["features"]), by_measure(cell)
        here = [pair for pair in pairs if present.issuperset(pair)]
        used = sorted({name for pair in here for name in pair})
        sizes = _sizes(rows_of_metric(predicted[key], "weighted_auc", binary), good_name, key[2])
        for metric in metrics if here else ():
            frame = rows_of_metric(predicted[key], metric, binary)
            defects = defect_classes(frame, good_name)
            for label in {"class_recall": defects, "defect_recall": [*defects, ALL]}.get(metric, [ALL]):
                sampled = samples(frame, metric, used, good_name, seed, n_bootstrap, label)
                for a, b in here:
                    interval = interval_between(sampled[a], sampled[b])
                    compared = where | {"metric": metric, "class": label, "a": a, "b": b}
                    compared |= _compared(known, metric, label, a, b, sizes)
                    rows.append(compared | {"low": interval.low, "high": interval.high})
    table = pd.DataFrame(rows, columns=_COLUMNS)
    families = table.groupby(["dataset", "scheme"], sort=False)["p"]
    table["p_holm"] = families.transform(lambda ps: holm(ps.to_numpy()))
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
    first, second = folds["a"].to_numpy(), folds["b"].to_numpy()
    test = wilcoxon_paired(first, second)
    value = {name: known.loc[(name, metric, label, POOLED)] for name in (a, b)}
    return {
        "value_a": value[a],
        "value_b": value[b],
        "false_rejects_a": known.loc[(a, "false_reject_rate", ALL, POOLED)],
        "false_rejects_b": known.loc[(b, "false_reject_rate", ALL, POOLED)],
        **vars(test),
        "p": test.p if test.n else float("nan"),
        "p_corrected": nadeau_bengio(first, second, *sizes),
        "mean_difference": float((folds["a"] - folds["b"]).mean()),
        "difference": value[a] - value[b],
    }


def _differences(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> np.ndarray:
    # equal shares of images must tie, whatever their last bits
    return np.round(np.asarray(a, dtype=float) - np.asarray(b, dtype=float), 12)


def against_method(predictions: pd.DataFrame, good: Good, **settings: Any) -> pd.DataFrame:
    """Return `compare` of every other feature set against image + map, in AUC and recall at 5 % false rejects.

    `settings` are those of `compare`.
    """
    pairs = [(name, METHOD) for name in (*MAIN, *BASELINES, *GUIDED) if name != METHOD]
    return compare(predictions, good, pairs=pairs, metrics=("weighted_auc", RECALL_AT_5_FPR), **settings)


def format_p(p: float) -> str:
    """Return a p-value as readers see it."""
    return MISSING if pd.isna(p) else f"{p:.3g}" if p >= 1e-4 else "< 0.0001"
