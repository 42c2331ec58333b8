"""Cross-validation folds: stratified as in the paper, or grouped so that no object stands on both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

SCHEMES = ("grouped", "stratified")
# Random grouped splits, at most. The splitter places the most lopsided groups first, so that its random state
# decides little but ties: on the magnetic tiles 100 states were equally even, and the first one does.
TRIES = 50


class FoldError(Exception):
    """Folds that these images do not allow; the message names the classes and how many folds they allow."""


def schemes_for(cv: str, grouped: bool) -> tuple[str, ...]:
    """Return the fold schemes that a study runs, the primary one first.

    `cv` is 'auto' (grouped where the groups are known, with stratified beside it as the leaking one),
    'grouped' or 'stratified'. Raises FoldError for another word, and for 'grouped' without groups.
    """
    if cv == "auto":
        return SCHEMES if grouped else ("stratified",)
    if cv not in SCHEMES:
        raise FoldError(f"cv is {cv!r}: choose auto, grouped or stratified")
    if cv == "grouped" and not grouped:
        raise FoldError("cv is 'grouped', but no groups are known: name them with --groups or --group-regex")
    return (cv,)


def make_folds(index: pd.DataFrame, n_folds: int, seed: int, scheme: str) -> pd.DataFrame:
    """Assign every image to the one fold whose test part it belongs to.

    Returns the columns id, scheme, fold (0 to n_folds - 1), sorted by id; the same for any order of the rows
    of `index`. A grouped split is drawn up to `TRIES` times, until every class stands in every test fold; if
    that never comes, it is the split with the fewest absences, then with the least deviation from an even
    share (`describe_folds` shows them). Raises FoldError, naming each class with too few images (grouped:
    groups) and the number of folds that is possible.
    """
    if scheme not in SCHEMES:
        raise FoldError(f"fold scheme {scheme!r} is unknown: choose grouped or stratified")
    if n_folds < 2:
        raise FoldError(f"{n_folds} folds: cross-validation needs at least 2")
    index = index.sort_values("id", ignore_index=True)
    codes = pd.factorize(index["label"], sort=True)[0]
    if scheme == "stratified":
        _check_counts(index["label"].value_counts(), n_folds, "images")
        fold = _stratified(codes, n_folds, int(_states(seed, 1)[0]))
    else:
        if index["group"].isna().any():
            missing = index.loc[index["group"].isna(), "id"].iloc[0]
            raise FoldError(f"grouped folds need a group for every image, and {missing!r} has none")
        _check_counts(index.groupby("label")["group"].nunique(), n_folds, "groups")
        fold = _grouped(codes, pd.factorize(index["group"], sort=True)[0], n_folds, seed)
        _check_training_parts(index["label"], fold, n_folds)
    return pd.DataFrame({"id": index["id"], "scheme": scheme, "fold": fold}).astype({"scheme": "string"})


def describe_folds(index: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """Count the test images per (scheme, fold) row and class column, zeros included."""
    table = folds.merge(index[["id", "label"]], on="id", validate="many_to_one")
    if len(table) != len(folds):
        raise ValueError(f"{len(folds) - len(table)} of {len(folds)} fold rows name images outside the index")
    return table.groupby(["scheme", "fold"])["label"].value_counts().unstack(fill_value=0).sort_index(axis=1)


def _states(seed: int, count: int) -> np.ndarray:
    return np.random.SeedSequence(seed).generate_state(count)


def _stratified(codes: np.ndarray, n_folds: int, state: int) -> np.ndarray:
    fold = np.full(len(codes), -1)
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=state)
    for number, (_, test) in enumerate(splitter.split(codes, codes)):
        fold[test] = number
    return fold


def _grouped(codes: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    best, best_score = np.empty(0, dtype=int), (np.inf, np.inf)
    for state in _states(seed, TRIES):
        fold = np.full(len(codes), -1)
        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=int(state))
        for number, (_, test) in enumerate(splitter.split(codes, codes, groups)):
            fold[test] = number
        score = _unevenness(codes, fold, n_folds)
        if score < best_score:
            best, best_score = fold, score
        if score[0] == 0:
            break
    return best


def _unevenness(codes: np.ndarray, fold: np.ndarray, n_folds: int) -> tuple[float, float]:
    """Return how many classes are absent from a test fold (summed over folds), and the worst deviation."""
    counts = np.zeros((codes.max() + 1, n_folds))
    np.add.at(counts, (codes, fold), 1)
    share = counts * n_folds / counts.sum(axis=1, keepdims=True)  # 1 = an even share
    return float((counts == 0).sum()), float(np.abs(share - 1).max())


def _check_counts(counts: pd.Series, n_folds: int, unit: str) -> None:
    if int(counts.min()) >= n_folds:
        return
    few = ", ".join(f"{name} has {n}" for name, n in counts.sort_index().items() if n < n_folds)
    raise FoldError(f"{n_folds} folds need {n_folds} {unit} of every class: {few}; {_proposal(counts, unit)}")


def _proposal(counts: pd.Series, unit: str) -> str:
    possible = int(counts.min())
    if possible >= 2:
        return f"choose {possible} folds or fewer (--set folds={possible})"
    lone = ", ".join(str(name) for name, n in counts.sort_index().items() if n < 2)
    return f"no number of folds is possible: add {unit} to {lone}, or leave the class out"


def _check_training_parts(labels: pd.Series, fold: np.ndarray, n_folds: int) -> None:
    spread = pd.Series(fold).groupby(labels.to_numpy()).nunique()
    if (alone := spread[spread < 2]).empty:
        return
    names = ", ".join(map(str, alone.index))
    raise FoldError(
        f"{n_folds} grouped folds: all images of {names} fall into one test fold in each of {TRIES} random "
        "splits, so that nothing is left to train on; make the groups smaller, or leave the class out"
    )
