"""Operating points: thresholds chosen on training scores, and what they catch and reject on the test folds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.classification.operating_threshold import (
    clopper_pearson,
    conformal_threshold,
    defects_needed,
    empirical_threshold,
)
from lib.evaluation.metrics import (
    ALL,
    Good,
    at_keep,
    binary_predictions,
    check_predictions,
    defect_scores,
    good_class,
)

TRAINING, CONFORMAL, OPTIMISTIC = "training scores", "conformal", "test folds themselves"
METHODS = {TRAINING: empirical_threshold, CONFORMAL: conformal_threshold}
_KEYS = ["dataset", "scheme", "features"]
_COUNTS = ["caught", "n_defects", "rejected", "n_good"]


def operating_numbers(
    predictions: pd.DataFrame,
    calibration: pd.DataFrame,
    good: Good,
    *,
    required: Sequence[float] = (0.90, 0.95, 0.99, 0.995),
    prevalence: float = 0.01,
    binary: str = "collapsed",
) -> pd.DataFrame:
    """Return what each required recall costs with all defects, per data set, scheme, feature set, class and method.

    `calibration` holds out-of-fold predictions of each fold's training images (its rows may be none). `method` says
    where the threshold on 1 - p(good) was chosen: on the fold's calibration defects (of the class, or of all) to
    reach the recall there, by the split-conformal bound on the same, or, optimistically, on the pooled test folds.
    The first two have one threshold per fold (`threshold_low`, `threshold_high`: its range) and are verified on that
    fold's test images. `caught` of `n_defects` and `rejected` of `n_good` are pooled over the folds (and the mean of
    the repeats, rounded), shares in [0, 1] with Clopper-Pearson 95 % intervals; `escapes` are per million products at
    `prevalence`. `n_calibration` are the fewest calibration defects of a fold, `n_needed` what the bound asks for; a
    bound that some fold refuses has no values. Raises `ValueError` for a prevalence outside (0, 1), predictions that
    cannot be counted, and a fold without calibration rows.
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence {prevalence} outside (0, 1)")
    part = at_keep(predictions, 1.0)
    check_predictions(part, good)
    known = binary_predictions(calibration, binary) if len(calibration) else calibration
    found = []
    for key, tested in binary_predictions(part, binary).groupby(_KEYS, sort=False, observed=True):
        place = dict(zip(_KEYS, map(str, key), strict=True))
        here = known
        for name, value in place.items() if len(known) else ():
            here = here[here[name] == value]
        name = good_class(good, place["dataset"])
        repeats = [rows for _, rows in tested.groupby("repeat", observed=True)]
        pooled = [[_Fold.of(rows, rows, name)] for rows in repeats]
        counts = [*_counted(pooled, {OPTIMISTIC: empirical_threshold}, name, required)]
        if len(here):
            counts += _counted([_folds(rows, here, name) for rows in repeats], METHODS, name, required)
        found.append(pd.DataFrame(counts).assign(**place))
    return _with_shares(pd.concat(found, ignore_index=True), prevalence)


@dataclass(frozen=True)
class _Fold:
    """Scores 1 - p(good) and true classes of one fold's test images and of its calibration images."""

    score: np.ndarray
    label: np.ndarray
    known_score: np.ndarray
    known_label: np.ndarray

    @classmethod
    def of(cls, tested: pd.DataFrame, known: pd.DataFrame, good: str) -> _Fold:
        """Return the scores and classes of predictions of test and of calibration images."""
        tested_labels, known_labels = (rows["label"].to_numpy(dtype=str) for rows in (tested, known))
        return cls(defect_scores(tested, good), tested_labels, defect_scores(known, good), known_labels)

    def counts(self, chosen: float, defects: str, good: str) -> list[float]:
        """Return caught, n_defects, rejected and n_good at a threshold; caught and rejected NaN without one."""
        among, fine = _of_class(self.label, defects, good), self.label == good
        reject = self.score >= chosen
        missing = np.nan if np.isnan(chosen) else 0
        return [reject[among].sum() + missing, among.sum(), reject[fine].sum() + missing, fine.sum()]


def _of_class(labels: np.ndarray, label: str, good: str) -> np.ndarray:
    return labels != good if label == ALL else labels == label


def _counted(
    repeats: Sequence[Sequence[_Fold]],
    methods: Mapping[str, Callable[[np.ndarray, float], float]],
    good: str,
    required: Sequence[float],
) -> Iterator[dict[str, object]]:
    """Yield the counts of each class and required recall where every fold's threshold is chosen on its calibration."""
    classes = sorted({name for folds in repeats for fold in folds for name in fold.label} - {good})
    for label in [ALL, *classes]:
        scores = [
            [fold.known_score[_of_class(fold.known_label, label, good)] for fold in folds]
            for folds in repeats
        ]
        least = min(len(defects) for folds in scores for defects in folds)
        for recall in required:
            for method, choose in methods.items():
                chosen = np.array([[choose(defects, recall) for defects in folds] for folds in scores])
                counts = [
                    np.sum(
                        [fold.counts(at, label, good) for fold, at in zip(folds, ats, strict=True)], axis=0
                    )
                    for folds, ats in zip(repeats, chosen, strict=True)
                ]
                mean: np.ndarray = np.round(np.array(counts, dtype=float).mean(axis=0))
                row = {"class": label, "required": recall, "method": method}
                row |= dict(zip(_COUNTS, mean, strict=True))
                row |= {"threshold_low": chosen.min(), "threshold_high": chosen.max()}
                optimistic = method == OPTIMISTIC
                row["n_calibration"] = np.nan if optimistic else least
                row["n_needed"] = np.nan if optimistic else defects_needed(recall)
                yield row


def _folds(tested: pd.DataFrame, known: pd.DataFrame, good: str) -> list[_Fold]:
    """Return one repeat's folds with the calibration images of the same repeat (of all repeats, if it has none)."""
    same = known[known["repeat"] == tested["repeat"].iloc[0]]
    known = same if len(same) else known
    folds = []
    for fold, rows in tested.groupby("fold", observed=True):
        inner = known[known["fold"] == fold]
        if inner.empty:
            where = ", ".join(str(rows[name].iloc[0]) for name in _KEYS)
            raise ValueError(f"no calibration predictions for fold {fold} of {where}")
        folds.append(_Fold.of(rows, inner, good))
    return folds


def _with_shares(numbers: pd.DataFrame, prevalence: float) -> pd.DataFrame:
    """Return the counts with shares, intervals and escapes per million."""
    for share, k, n in (("recall", "caught", "n_defects"), ("false_rejects", "rejected", "n_good")):
        numbers[share] = numbers[k] / numbers[n]
        ends = [
            clopper_pearson(int(hits), int(among)) if hits == hits and among else (np.nan, np.nan)
            for hits, among in zip(numbers[k], numbers[n], strict=True)
        ]
        numbers[f"{share}_low"], numbers[f"{share}_high"] = zip(*ends, strict=True)
    escapes = (("escapes", "recall"), ("escapes_low", "recall_high"), ("escapes_high", "recall_low"))
    for name, recall in escapes:
        numbers[name] = 1e6 * prevalence * (1 - numbers[recall])
    leading = [*_KEYS, "class", "required", "method"]
    return numbers[[*leading, *(name for name in numbers.columns if name not in leading)]]
