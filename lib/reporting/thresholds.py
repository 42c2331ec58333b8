"""Every image's verdict at a threshold: what is caught, what escapes, and what a moved threshold changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.classification.feature_sets import MAIN
from lib.evaluation.metrics import binary_predictions, defect_scores

HIT, WRONG_CLASS, ESCAPE = "hit", "wrong class", "escape"  # of defective images
FALSE_REJECT, ACCEPTED = "false reject", "good, accepted"  # of good ones
VERDICTS = (HIT, WRONG_CLASS, ESCAPE, FALSE_REJECT, ACCEPTED)
CHANGES = ("good, now rejected", "good, now accepted", "defective, now caught", "defective, now escapes")
ORDERS = ("highest score first", "lowest score first", "nearest to the threshold first", "as in the index")
OWN = 0.5  # around which "nearest" is meant where the classifier itself decides


@dataclass(frozen=True)
class Counts:
    """How many of the defective images are caught (and named rightly), how many of the good ones rejected."""

    caught: int
    named: int
    defective: int
    rejected: int
    good: int

    @property
    def recall(self) -> float:
        """Defect recall in [0, 1], NaN without defective images."""
        return self.caught / self.defective if self.defective else float("nan")

    @property
    def false_rejects(self) -> float:
        """Share of the good images that are rejected, in [0, 1], NaN without good images."""
        return self.rejected / self.good if self.good else float("nan")

    def __str__(self) -> str:
        return (
            f"Defect recall {self.recall:.3f} ({self.caught} of {self.defective}, {self.named} of them by their right "
            f"class), false rejects {self.false_rejects:.3f} ({self.rejected} of {self.good})"
        )


def scored_images(predictions: pd.DataFrame, good: str, binary: str = "collapsed") -> pd.DataFrame:
    """Return one row per test image and main feature set: the scheme to believe, all defects kept, first repeat.

    Columns: fold, id, label, features, `p:` every class, `score` (1 - p(good) of the model that decides, in [0, 1]),
    `own` (whether the classifier itself calls the image defective), `named` (the likeliest defect class). Raises
    `ValueError` for predictions without such rows.
    """
    mine = predictions[
        (predictions["scheme"] == predictions["scheme"].iloc[0])
        & (predictions["keep"] == 1.0)
        & (predictions["repeat"] == predictions["repeat"].min())
        & predictions["features"].isin(MAIN)
    ]
    keys = ["features", "id"]
    deciding = binary_predictions(mine, binary)
    verdict = deciding[keys].assign(score=defect_scores(deciding, good), own=deciding["predicted"] != good)
    rows = binary_predictions(mine).merge(verdict, on=keys, validate="one_to_one")
    chances = rows[[name for name in rows.columns if name.startswith("p:") and rows[name].notna().any()]]
    defects = chances.drop(columns=f"p:{good}").fillna(0)
    named = defects.columns.to_numpy(dtype=object)[defects.to_numpy().argmax(axis=1)]
    kept = rows[["fold", "id", "label", "features", "score", "own"]]
    return kept.assign(named=[name.removeprefix("p:") for name in named], **chances)


def rejected(table: pd.DataFrame, threshold: float | None) -> np.ndarray:
    """Tell for each row whether it is rejected: its score reaches the threshold, or (None) the classifier says so."""
    return table["own"].to_numpy(bool) if threshold is None else table["score"].to_numpy() >= threshold


def verdicts(table: pd.DataFrame, good: str, threshold: float | None) -> np.ndarray:
    """Return one of `VERDICTS` for each row of `scored_images`."""
    out, defective = rejected(table, threshold), (table["label"] != good).to_numpy()
    named = (table["named"] == table["label"]).to_numpy()
    cases = [defective & out & named, defective & out, defective, out]
    return np.select(cases, [HIT, WRONG_CLASS, ESCAPE, FALSE_REJECT], ACCEPTED).astype(object)


def count(found: np.ndarray) -> Counts:
    """Count the verdicts of one feature set's images."""
    of = {name: int((found == name).sum()) for name in VERDICTS}
    caught = of[HIT] + of[WRONG_CLASS]
    goods = of[FALSE_REJECT] + of[ACCEPTED]
    return Counts(caught, of[HIT], caught + of[ESCAPE], of[FALSE_REJECT], goods)


def changes(table: pd.DataFrame, good: str, threshold: float | None) -> np.ndarray:
    """Return one of `CHANGES` for each row that the threshold judges otherwise than the classifier, else ""."""
    now, before = rejected(table, threshold), rejected(table, None)
    defective = (table["label"] != good).to_numpy()
    cases = [~defective & now, ~defective & ~now, defective & now, defective & ~now]
    return np.where(now == before, "", np.select(cases, CHANGES, "")).astype(object)


def chosen(
    table: pd.DataFrame,
    keep: np.ndarray,
    *,
    label: str | None = None,
    fold: int | None = None,
    order: str = ORDERS[0],
    threshold: float | None = None,
) -> pd.DataFrame:
    """Return the rows of `keep` (N,) bool with that true class and test fold (None: any), sorted.

    Rows of equal rank stay in the table's order. Raises `ValueError` for an order that is none of `ORDERS`.
    """
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}: expected one of {list(ORDERS)}")
    if label is not None:
        keep = keep & (table["label"] == label).to_numpy()
    if fold is not None:
        keep = keep & (table["fold"] == fold).to_numpy()
    found = table[keep]
    if order == ORDERS[3]:
        return found
    away = (found["score"] - (OWN if threshold is None else threshold)).abs()
    rank = {ORDERS[0]: -found["score"], ORDERS[1]: found["score"], ORDERS[2]: away}[order]
    return found.loc[rank.sort_values(kind="stable").index]


def most_disputed(table: pd.DataFrame) -> str:
    """Return the id of the image on which the scores of the feature sets lie furthest apart (the first of equals)."""
    spread = table.groupby("id", sort=False)["score"].agg(["max", "min"])
    return str((spread["max"] - spread["min"]).idxmax())
