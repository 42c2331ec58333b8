"""Tests of the differences between two feature sets over folds, and what a comparison shows, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lib.classification.feature_sets import BASELINES, COMBINED, GUIDED
from lib.evaluation import metrics as m
from lib.evaluation.bootstrap import Paired, Sampled, paired_by_task

METHOD = "image_map"  # the paper's proposal
AS_PICTURE = (METHOD, "image")
AS_GUIDE = ("guided_logistic", "image_logistic")  # the same classifier with the map as a guide, and without
STACKED = ("combined", "guided_logistic")  # what patch classifier and score add to map-guided features
PAIRS = (AS_PICTURE, (METHOD, "map"), ("map", "image"))  # compared in every measure and class
OTHERS = (  # compared in rankings
    *((name, METHOD) for name in (*BASELINES, *GUIDED, *COMBINED)),
    ("guided_all", "image_map_all"),  # the same network, nothing selected
    AS_GUIDE,
    STACKED,
)
MARGIN = 0.02  # what is worse by less is as good: two hundredths of an AUC, two points of recall
_COLUMNS = [
    *("dataset", "scheme", "keep", "metric", "class", "a", "b"),
    *("value_a", "value_b", "false_rejects_a", "false_rejects_b"),
    *("n", "n_nonzero", "smallest_p", "p", "p_holm", "p_corrected", "effect"),
    *("difference", "low", "high", "low_of_all", "repeats", "retraining", "identical"),
]


@dataclass(frozen=True)
class Comparison:
    """The difference a - b of two feature sets over all folds with its 95 % interval, and Wilcoxon's test over folds.

    `p` is NaN where no test was made; `smallest_p` the smallest that the folds that differ can give; `low_of_all` is
    `low` corrected for all sets compared with b; `retraining` the difference's standard deviation from one training to
    the next, NaN without `repeats`; `identical` the share of predictions that both make alike.
    """

    difference: float
    low: float
    high: float
    value_a: float = float("nan")
    value_b: float = float("nan")
    alpha: float = float("nan")
    n: int = 0
    smallest_p: float = 1.0
    p: float = float("nan")
    low_of_all: float = float("nan")
    repeats: int = 1
    retraining: float = float("nan")
    identical: float = 0.0
    metric: str = m.RANKINGS[0]

    @classmethod
    def find(cls, table: pd.DataFrame, metric: str, a: str, b: str, alpha: float) -> Self | None:
        """Return a against b from `compare` of one data set; None where it was not made."""
        for row in m.where(table, {"metric": metric, "class": m.ALL, "a": a, "b": b}).to_dict("records"):
            return cls(**{field.name: (row | {"alpha": alpha})[field.name] for field in fields(cls)})
        return None

    @property
    def side(self) -> int:
        """1 where the interval lies above zero, -1 where below, 0 where it includes zero or is not defined."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def as_good(self) -> bool:
        """Whether a is not worse than b by `MARGIN`, corrected for all that were compared with b."""
        return self.low_of_all > -MARGIN

    def value(self, value: float) -> str:
        """Return a value of the metric as readers see it: an AUC, or a share in percent."""
        return f"{value:.3f}" if "auc" in self.metric else m.percent(value)

    def span(self) -> str:
        """Return the difference with its interval in words; of shares in percentage points."""
        form, unit, times = ("+z.3f", "", 1) if "auc" in self.metric else ("+z.1f", " points", 100)
        ends = (self.difference, self.low, self.high)
        difference, low, high = (format(times * one, form).replace("-", "−") for one in ends)
        return f"{difference}{unit}, 95 % CI {low} to {high}"

    def verdict(self, better: str = "better", worse: str = "worse") -> str:
        """Return what is shown, in words: the one rule for every page.

        Not tested where both make the same predictions, no measurable difference where the interval includes zero. With
        one training per fold the interval allows for retraining by the spread of the folds (`Sampled`).
        """
        if self.identical == 1:
            return "not tested: both make the same predictions"
        return {1: better, -1: worse, 0: "no measurable difference"}[self.side]

    def rule(self) -> str:
        """Return whether the paper's test over the folds confirms the difference."""
        said = f"{'is met' if self.p < self.alpha else 'is not met'}: p = {format_p(self.p)}"
        if self.smallest_p >= self.alpha:
            said = f"cannot be met with {m.count(self.n, 'fold')}"
        return f"The stated rule, p < {self.alpha:g}, {said}."


def bootstrap_difference(
    frame: pd.DataFrame, metric: str, a: str, b: str, good: str, seed: int, n: int = 2000
) -> Comparison:
    """Return the difference between feature sets a and b over all folds with its interval, untested.

    Arguments and errors as of `Paired`.
    """
    paired = Paired(frame, (a, b), good)
    sampled = paired.samples(metric, seed, n)
    found = _difference(sampled, a, b, seed) | {"identical": paired.identical(a, b), "metric": metric}
    return Comparison(**found, value_a=sampled[a].values[0], value_b=sampled[b].values[0])


def _difference(sampled: Mapping[str, Sampled], a: str, b: str, seed: int) -> dict[str, Any]:
    gap = sampled[a] - sampled[b]
    about = {"repeats": gap.trained.shape[1], "retraining": gap.retraining}
    return {"difference": float(gap.values[0])} | dict(zip(("low", "high"), gap.interval(seed), strict=True)) | about


def wilcoxon(differences: ArrayLike) -> dict[str, Any]:
    """Test paired differences over folds by Wilcoxon's signed-rank test, two-sided, exact, zero differences dropped.

    Returns `n` pairs, `n_nonzero` that differ, `smallest_p` possible, `p` (NaN without pairs), and `effect`, the
    matched-pairs rank-biserial correlation (W+ - W-) / (W+ + W-) in [-1, 1]; 0 where all are equal. With tied
    magnitudes all sign patterns of up to 16 differing pairs are enumerated; beyond that SciPy samples them with a fixed
    seed.
    """
    from scipy import stats

    differences = _rounded(differences)
    nonzero = differences[differences != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    p = 1.0 if len(differences) else float("nan")
    if len(nonzero) > 1:
        signs = stats.PermutationMethod(n_resamples=2**16, rng=np.random.default_rng(0))
        tied = len(np.unique(ranks)) < len(ranks)
        p = float(stats.wilcoxon(nonzero, method=signs if tied else "exact").pvalue)
    effect = float(np.sign(nonzero) @ ranks / ranks.sum()) if len(nonzero) else 0.0
    counts = {"n": len(differences), "n_nonzero": len(nonzero)}
    return counts | {"smallest_p": smallest_attainable_p(len(nonzero)), "p": p, "effect": effect}


def smallest_attainable_p(n: int) -> float:
    """Return the smallest two-sided p of a signed-rank test with n non-zero differences: 2 / 2**n, at most 1."""
    return min(1.0, 2.0 ** (1 - n))


def holm(ps: pd.Series) -> pd.Series:
    """Return Holm's adjusted p-values; NaN (no test) stays NaN and does not count."""
    tested = ps.dropna().sort_values()  # statsmodels' way to it takes a third of a second at each call
    return (tested * np.arange(len(tested), 0, -1)).cummax().clip(upper=1).reindex(ps.index)


def nadeau_bengio(differences: ArrayLike, n_train: float, n_test: float) -> float:
    """Return the p-value of paired differences over folds by the t-test corrected for overlapping training folds.

    `n_train` and `n_test` are the images of a training and of a test fold. Two-sided, k - 1 degrees of freedom
    (Nadeau and Bengio, Inference for the Generalization Error, 2003). NaN for fewer than two folds.
    """
    from scipy.stats import t

    differences = _rounded(differences)
    if (k := len(differences)) < 2:
        return float("nan")
    mean, variance = differences.mean(), (1 / k + n_test / n_train) * differences.var(ddof=1)
    return float(mean == 0 if variance == 0 else 2 * t.sf(abs(float(mean / np.sqrt(variance))), k - 1))


def _rounded(differences: ArrayLike) -> np.ndarray:
    """Equal shares of images must tie, whatever the last bits of their differences."""
    return np.round(np.asarray(differences, dtype=float), 12)


def compare(
    predictions: pd.DataFrame,
    good: m.Good,
    *,
    seed: int,
    alpha: float = 0.005,
    binary: str = "collapsed",
    n: int = 2000,
    measures: pd.DataFrame | None = None,
    metrics: Sequence[str] = (*m.RANKINGS, *m.SHARES[:2]),
) -> pd.DataFrame:
    """Compare pairs (a, b) of feature sets, per data set, scheme, keep, metric and class.

    All pairs in the rankings; image, map and both also in defect recall, over all classes and by class, and in class
    recall. `difference` (a - b) and its 95 % interval are over all folds (`Sampled`), Wilcoxon's test and the corrected
    t-test (`p_corrected`) over the folds' values. Holm's family is all rankings of a data set and scheme, `low_of_all`
    the lower end at 95 % for all pairs with the same b at once (Bonferroni). `n` counts folds where both are defined.
    `measures` is `summary` of the same predictions, where it was already computed. No data set with two of the feature
    sets gives no rows. Raises `ValueError` as `summary` and `Paired` do.
    """
    if measures is None:
        measures = m.summary(predictions, good, binary, metrics)
    place = ["dataset", "scheme", "keep"]
    predicted: Any = dict(iter(predictions.groupby(place, observed=True)))
    rows: list[dict[str, Any]] = []
    of_place: Any = measures.groupby(place, sort=False)
    for key, cell in of_place:
        name, present, known = m.good_class(good, key[0]), set(cell["features"]), by_measure(cell)
        if not (here := [pair for pair in (*PAIRS, *OTHERS) if present.issuperset(pair)]):
            continue
        sizes = _fold_sizes(m.rows_of_metric(predicted[key], "weighted_auc", binary), name, key[2])
        used, defects = sorted({one for pair in here for one in pair}), m.defect_classes(predicted[key], name)
        paired = paired_by_task(predicted[key], metrics, binary, used, name)
        for metric in metrics:
            of_task = paired[m.task_of(metric, binary)]
            mine = [pair for pair in here if pair in PAIRS or metric not in m.SHARES]
            for label in {"class_recall": defects, "defect_recall": [*defects, m.ALL]}.get(metric, [m.ALL]):
                sampled = of_task.samples(metric, seed, n, label, {one for pair in mine for one in pair})
                for a, b in mine:
                    folds = fold_differences(known, a, b, metric, label)
                    row = dict(zip(_COLUMNS, (*key, metric, label, a, b), strict=False)) | wilcoxon(folds)
                    for side, one in (("a", a), ("b", b)):
                        row[f"value_{side}"] = known[one, metric, label, m.OVERALL]
                        row[f"false_rejects_{side}"] = known[one, "false_reject_rate", m.ALL, m.OVERALL]
                    row |= _difference(sampled, a, b, seed)
                    tried = sum(other == b for _, other in mine)
                    row["low_of_all"] = (sampled[a] - sampled[b]).interval(seed, 1 - 0.05 / tried)[0]
                    row |= {"identical": of_task.identical(a, b), "p_corrected": nadeau_bengio(folds, *sizes)}
                    if row["identical"] == 1:  # not tested
                        row |= {"p": float("nan"), "p_corrected": float("nan")}
                    rows.append(row)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    ranked = table["p"].where(table["metric"].isin(m.RANKINGS))
    table["p_holm"] = ranked.groupby([table["dataset"], table["scheme"]], sort=False).transform(holm)
    table["significant"] = table["p"] < alpha
    table["significant_holm"] = table["p_holm"] < alpha
    table["in_reach"] = table["smallest_p"] < alpha
    return table


def by_measure(cell: pd.DataFrame, column: str = "value") -> pd.Series:
    """Return a column of a `summary` of one data set, scheme and keep by features, metric, class and fold."""
    return cell.set_index(["features", "metric", "class", "fold"])[column].sort_index()


def fold_differences(known: pd.Series, a: str, b: str, metric: str, label: str) -> pd.Series:
    """Return a - b (of `by_measure`) in the folds where both feature sets have a value."""
    gaps = known.loc[(a, metric, label)] - known.loc[(b, metric, label)]
    return gaps.drop([m.OVERALL, m.POOLED], errors="ignore").dropna()


def _fold_sizes(rows: pd.DataFrame, good: str, keep: float) -> tuple[float, float]:
    """Return the mean number of images in a training fold (its defects thinned to `keep`) and in a test fold."""
    labels, folds = rows.drop_duplicates("id")["label"], rows["fold"].nunique()
    fine = int((labels == good).sum())
    return (fine + keep * (len(labels) - fine)) * (folds - 1) / folds, len(labels) / folds


def format_p(p: float) -> str:
    """Return a p-value as readers see it."""
    return m.MISSING if pd.isna(p) else f"{p:.3g}" if p >= 1e-4 else "< 0.0001"
