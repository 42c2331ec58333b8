"""Operating points: thresholds chosen on training scores, and what they catch and reject on the test folds."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lib.classification.operating_threshold import (
    clopper_pearson,
    conformal_threshold,
    defects_needed,
    empirical_threshold,
)
from lib.datasets.groups import groups_of_rows
from lib.evaluation import metrics as m

TRAINING, CONFORMAL = "training scores", "conformal"
METHODS = {TRAINING: empirical_threshold, CONFORMAL: conformal_threshold}
_KEYS = ["dataset", "scheme", "features"]
_SHARES = [f"{name}{end}" for name in ("recall", "false_rejects", "escapes") for end in ("", "_low", "_high")]
_COLUMNS = [
    *(*_KEYS, "class", "required", "method", "caught", "n_defects", "rejected", "n_good"),
    *("threshold_low", "threshold_high", "n_calibration", "n_needed", *_SHARES),
]


def operating_numbers(
    predictions: pd.DataFrame,
    calibration: pd.DataFrame,
    good: m.Good,
    required: Sequence[float] = (0.90, 0.95, 0.99, 0.995),
    prevalence: float = 0.01,
    binary: str = "collapsed",
) -> pd.DataFrame:
    """Return what each required recall costs with all defects, per data set, scheme, feature set, class and method.

    `calibration` holds out-of-fold predictions of each fold's training images; a feature set without gets no rows.
    `method` says how the threshold on 1 - p(good) was chosen: on the fold's calibration defects (of the class, or of
    all) to reach the recall there, or by the split-conformal bound on the same. There is one per fold
    (`threshold_low`, `threshold_high`: its range), verified on that fold's test images. `caught` of `n_defects` and
    `rejected` of `n_good` are pooled over the folds (and the mean of the repeats, rounded), shares in [0, 1] with 95 %
    intervals: Clopper-Pearson's for as many images as say as much as these do (`design_effect`). `escapes` per million
    products are at `prevalence`. `n_calibration` are the fewest calibration defects of a fold (objects, where they are
    known), `n_needed` what the bound needs; without a bound in some fold there are no values.
    """
    known = m.binary_predictions(calibration, binary) if len(calibration) else calibration
    places: Any = m.binary_predictions(m.at_keep(predictions, 1.0), binary).groupby(_KEYS, sort=False)
    found = []
    for key, tested in places:
        here = known[(known[_KEYS] == list(key)).all(axis=1)] if len(known) else known
        if len(here):
            counts = _counted(tested, here, m.good_class(good, key[0]), required)
            found.append(pd.DataFrame(counts).assign(**dict(zip(_KEYS, key, strict=True))))
    if not found:
        return pd.DataFrame(columns=_COLUMNS)
    numbers = pd.concat(found, ignore_index=True)
    for share, k, n in (("recall", "caught", "n_defects"), ("false_rejects", "rejected", "n_good")):
        numbers[share] = numbers[k] / numbers[n]
        hits, among = (numbers[one] / numbers[f"{k}_effect"] for one in (k, n))
        numbers[f"{share}_low"], numbers[f"{share}_high"] = clopper_pearson(hits, among)
    for end, of in (("", ""), ("_low", "_high"), ("_high", "_low")):
        numbers[f"escapes{end}"] = 1e6 * prevalence * (1 - numbers[f"recall{of}"])
    return numbers[_COLUMNS]


def points_of(points: pd.DataFrame, method: str = TRAINING, **asked: Any) -> pd.DataFrame:
    """Return the operating points over all classes by a method, with these values of columns; may have no rows."""
    found = m.where(points, asked | {"class": m.ALL, "method": method})
    return found.dropna(subset="caught") if method == TRAINING else found


def point_of(points: pd.DataFrame, features: str, required: float, method: str = TRAINING) -> dict[Any, Any]:
    """Return one of `points_of`; empty where no threshold could be set."""
    return next(iter(points_of(points, method, features=features, required=required).to_dict("records")), {})


def describe_defects(bound: Mapping[Any, Any]) -> str:
    """Return how many defects a bound of `METHODS` had, and how many it needs."""
    needed = bound["n_needed"]
    wanted = "no number is enough" if np.isinf(needed) else f"needed: {needed:.0f}"
    return f"Defects in a training fold: {bound['n_calibration']:.0f}; {wanted}."


def rejected(
    tested: pd.DataFrame, calibration: pd.DataFrame, good: str, recall: float, binary: str = "collapsed"
) -> pd.Series:
    """Return which images of one data set and scheme are rejected, bool by the index of `tested`.

    Each feature set rejects at the threshold that finds `recall` of the defects among the fold's training images
    (`calibration`, scored out of fold), and by its own decision where none were scored. `tested` holds the rows that
    decide good or defective (`binary_predictions`).
    """
    keys = ["scheme", "features", "repeat", "fold"]
    outcome = tested["predicted"] != good
    if len(calibration):
        bad = m.binary_predictions(calibration[calibration["label"] != good], binary)
        scored = bad.assign(score=m.defect_scores(bad, good)).groupby(keys)["score"]
        limits = scored.agg(lambda scores: empirical_threshold(scores.to_numpy(), recall))
        limit = limits.reindex(pd.MultiIndex.from_frame(tested[keys])).set_axis(tested.index)
        outcome = outcome.where(limit.isna(), limit <= m.defect_scores(tested, good))
    return outcome


def design_effect(hit: np.ndarray, cluster: np.ndarray, fold: np.ndarray, repeat: np.ndarray) -> float:
    """Return how many times fewer independent images would say as much about a share; at least 1 (Kish).

    hit (n,) bool; the object (or image) that each row shows, its fold and training. The share's variance is that of
    whole objects (linearised) and, as in `Sampled`, of trainings: seen where there are several, else at least what the
    spread of the folds demands, each with a training and threshold of its own.
    """
    from scipy.stats import norm, t

    trainings, share = max(1, len(np.unique(repeat))), hit.mean() if len(hit) else 0.0
    _, place, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    images, objects = len(hit) / trainings, len(sizes)
    if objects < 2 or share in (0, 1):
        return float(max(1.0, images / max(objects, 1)))
    surplus = np.bincount(place, hit) - share * sizes
    few = objects / (objects - 1) * (images - 1) / images  # of as many objects as images: none
    variance = few * (surplus**2).sum() / len(hit) ** 2
    hits = pd.DataFrame({"fold": fold, "repeat": repeat, "hit": hit})
    by_fold = hits.pivot_table("hit", "fold", "repeat", "mean")
    weights, several = np.bincount(np.unique(fold, return_inverse=True)[1]) / len(hit), trainings > 1
    freedom = len(by_fold) * (trainings - 1) if several else len(by_fold) - 1
    if freedom:
        one, repeats = by_fold[by_fold.columns[0]].var(ddof=1), by_fold.var(axis=1, ddof=1).fillna(0)
        spread = repeats / trainings if several else one
        of_training = float((weights**2 * spread).sum()) * (t.ppf(0.975, freedom) / norm.ppf(0.975)) ** 2
        variance = variance + of_training if several else max(variance, of_training)
    return float(max(1.0, variance * images / (share * (1 - share))))


def _counted(
    tested: pd.DataFrame, known: pd.DataFrame, good: str, required: Sequence[float]
) -> Iterator[dict[str, object]]:
    """Yield the counts of each class and required recall; in each fold and repeat by a threshold chosen on `known`."""
    folds = ["repeat", "fold"]
    scores, fine, repeats = m.defect_scores(tested, good), tested["label"] == good, tested["repeat"].nunique()
    cluster, repeat = groups_of_rows(tested), tested["repeat"].to_numpy()
    fold = tested["fold"].to_numpy()
    known = known.assign(score=m.defect_scores(known, good), unit=groups_of_rows(known))
    by_fold = tested.groupby(folds)
    for label in (m.ALL, *m.defect_classes(tested, good)):
        bad, of_class = tested["label"].eq(label), known["label"].eq(label)
        if label == m.ALL:
            bad, of_class = tested["label"].ne(good), known["label"].ne(good)
        parts = known[of_class].groupby(folds)
        chosen_on = {key: (part["score"].to_numpy(), part["unit"].nunique()) for key, part in parts}
        sources, units = zip(*[chosen_on.get(key, (np.array([]), 0)) for key, _ in by_fold], strict=True)
        for recall in required:
            for method, choose in METHODS.items():
                thresholds = np.array([choose(source, recall) for source in sources])
                if method == CONFORMAL and min(units) < defects_needed(recall):
                    thresholds[:] = np.nan  # images enough, but of too few objects
                out = scores >= thresholds[by_fold.ngroup()]
                refused = np.nan if np.isnan(thresholds).any() else 0
                yield {
                    **{"class": label, "required": recall, "method": method},
                    "caught": np.round((out[bad].sum() + refused) / repeats),
                    "n_defects": np.round(bad.sum() / repeats),
                    "rejected": np.round((out[fine].sum() + refused) / repeats),
                    "n_good": np.round(fine.sum() / repeats),
                    **{
                        f"{name}_effect": design_effect(*(one[of] for one in (out, cluster, fold, repeat)))
                        for name, of in (("caught", bad.to_numpy()), ("rejected", fine.to_numpy()))
                    },
                    "threshold_low": thresholds.min(),
                    "threshold_high": thresholds.max(),
                    "n_calibration": min(units),
                    "n_needed": defects_needed(recall),
                }


def describe_unlearned(calibration: pd.DataFrame) -> list[str]:
    """Return where the models of an inner fold had no image of a class: all that train there were held out at once."""
    keys = ["scheme", "fold", "repeat", "label"]
    spread = calibration.groupby(keys)["inner"].nunique() if len(calibration) else pd.Series(dtype=int)
    lone = dict.fromkeys((scheme, fold, label) for scheme, fold, _, label in spread.index[spread < 2])
    return [
        f"In {scheme} fold {fold}, class {label} was scored without any image of it: thresholds may be too low."
        for scheme, fold, label in lone
    ]
