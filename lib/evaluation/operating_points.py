"""Operating points: thresholds chosen on training scores, and what they catch and reject on the test folds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from lib.classification.operating_threshold import (
    clopper_pearson,
    conformal_threshold,
    defects_needed,
    empirical_threshold,
)
from lib.evaluation.metrics import ALL, Good, at_keep, binary_predictions, defect_scores, good_class

TRAINING, CONFORMAL, OPTIMISTIC = "training scores", "conformal", "test folds themselves"
METHODS = {TRAINING: empirical_threshold, CONFORMAL: conformal_threshold}
_KEYS = ["dataset", "scheme", "features"]
_COUNTS = ["caught", "n_defects", "rejected", "n_good"]
_Scores = dict[str, np.ndarray]  # 1 - p(good) of the images of each class, and of all defects (`ALL`)


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
    bound that some fold refuses has no values.
    """
    known = binary_predictions(calibration, binary) if len(calibration) else calibration
    deciding, found = binary_predictions(at_keep(predictions, 1.0), binary), []
    for key, tested in deciding.groupby(_KEYS, sort=False, observed=True):
        place = dict(zip(_KEYS, map(str, key), strict=True))
        here = known
        for name, value in place.items() if len(known) else ():
            here = here[here[name] == value]
        name = good_class(good, place["dataset"])
        classes = sorted(set(tested["label"].astype(str)))
        repeats = [rows for _, rows in tested.groupby("repeat", observed=True)]
        pooled = [[(scores, scores)] for scores in (_scores(rows, name, classes) for rows in repeats)]
        counts = [*_counted(pooled, {OPTIMISTIC: empirical_threshold}, name, required)]
        if len(here):
            folds = [_folds(rows, here, name, classes) for rows in repeats]
            counts += _counted(folds, METHODS, name, required)
        found.append(pd.DataFrame(counts).assign(**place))
    return _with_shares(pd.concat(found, ignore_index=True), prevalence)


def _scores(rows: pd.DataFrame, good: str, classes: Sequence[str]) -> _Scores:
    labels, scores = rows["label"].to_numpy(dtype=str), defect_scores(rows, good)
    return {ALL: scores[labels != good]} | {str(name): scores[labels == name] for name in classes}


def _counted(
    repeats: Sequence[Sequence[tuple[_Scores, _Scores]]],
    methods: Mapping[str, Callable[[np.ndarray, float], float]],
    good: str,
    required: Sequence[float],
) -> Iterator[dict[str, object]]:
    """Yield the counts of each class and required recall, from the test and the calibration images of each fold."""
    for label in (name for name in repeats[0][0][0] if name != good):
        least = min(len(known[label]) for folds in repeats for _, known in folds)
        for recall in required:
            for method, choose in methods.items():
                chosen = np.array([[choose(known[label], recall) for _, known in folds] for folds in repeats])
                counts = np.zeros((len(repeats), len(_COUNTS)))
                for place, folds in enumerate(repeats):
                    for (tested, _), at in zip(folds, chosen[place], strict=True):
                        missing = np.nan if np.isnan(at) else 0
                        for column, scores in ((0, tested[label]), (2, tested[good])):
                            counts[place, column] += (scores >= at).sum() + missing
                            counts[place, column + 1] += len(scores)
                optimistic = method == OPTIMISTIC
                yield {
                    **{"class": label, "required": recall, "method": method},
                    **dict(zip(_COUNTS, np.round(counts.mean(axis=0)), strict=True)),
                    "threshold_low": chosen.min(),
                    "threshold_high": chosen.max(),
                    "n_calibration": np.nan if optimistic else least,
                    "n_needed": np.nan if optimistic else defects_needed(recall),
                }


def _folds(
    tested: pd.DataFrame, known: pd.DataFrame, good: str, classes: Sequence[str]
) -> list[tuple[_Scores, _Scores]]:
    """Return one repeat's folds with the calibration images of the same repeat (of all repeats, if it has none)."""
    same = known[known["repeat"] == tested["repeat"].iloc[0]]
    inner = dict(iter((same if len(same) else known).groupby("fold", observed=True)))
    by_fold = tested.groupby("fold", observed=True)
    return [(_scores(rows, good, classes), _scores(inner[fold], good, classes)) for fold, rows in by_fold]


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
