"""Splits: outer folds for testing, and inner folds of their training parts; stratified, and grouped where known."""

import warnings

import numpy as np
import pandas as pd

SCHEMES = ("grouped", "stratified")
N_INNER = 2  # inner folds of cross-fitted maps
TEST_ROW = -1  # the inner fold of a test image: none


class FoldError(Exception):
    """Folds that these images do not allow; the message names the classes and how many folds they allow."""


def stratified_parts(labels: np.ndarray, groups: np.ndarray | None, n_parts: int, seed: int) -> np.ndarray:
    """Return the part of each row, from 0: every class shared out evenly, and no group (if given) split."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_parts, shuffle=True, random_state=seed)
    part = np.zeros(np.shape(labels), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # the callers check for it
        for number, (_, rows) in enumerate(splitter.split(labels, labels, groups)):
            part[rows] = number
    return part


def schemes_for(cv: str, grouped: bool) -> tuple[str, ...]:
    """Return the fold schemes of a study, the primary one first; raises FoldError for 'grouped' without groups.

    `cv` is 'auto' (grouped where the groups are known, and stratified as the leaking one), 'grouped' or 'stratified'.
    """
    if cv == "auto":
        return SCHEMES if grouped else ("stratified",)
    if cv == "grouped" and not grouped:
        raise FoldError("cv is 'grouped', but no groups are known: name them with --groups or --group-regex")
    return (cv,)


def make_folds(index: pd.DataFrame, n_folds: int, seed: int, scheme: str) -> pd.DataFrame:
    """Return the fold, 0 to n_folds - 1, in whose test part each image is: columns id, scheme, fold, sorted by id.

    Raises FoldError, naming each class with too few images (grouped: groups) and the number of folds that is possible,
    or each class that a grouped split puts into one fold.
    """
    index = index.sort_values("id", ignore_index=True)
    codes = pd.factorize(index["label"], sort=True)[0]
    groups = None if scheme == "stratified" else pd.factorize(index["group"], sort=True)[0]
    counts = index.groupby("label")["id" if groups is None else "group"].nunique()
    if few := ", ".join(f"{name} has {n}" for name, n in counts.items() if n < n_folds):
        unit, possible = "images" if groups is None else "groups", int(counts.min())
        remedy = f"choose {possible} folds or fewer (--set folds={possible})"
        if possible < 2:
            lone = ", ".join(counts.index[counts < 2])
            remedy = f"no number of folds is possible: add {unit} to {lone}, or leave the class out"
        raise FoldError(f"{n_folds} folds need {n_folds} {unit} of every class: {few}; {remedy}")
    # the splitter places the most lopsided groups first: its random state decides little but ties
    fold = stratified_parts(codes, groups, n_folds, int(np.random.SeedSequence(seed).generate_state(1)[0]))
    spread = pd.Series(fold).groupby(index["label"]).nunique()
    if names := ", ".join(spread.index[spread < 2]):
        issue = f"{n_folds} grouped folds: all images of {names} fall into one test fold"
        raise FoldError(f"{issue}: make the groups smaller, or leave the class out")
    return pd.DataFrame({"id": index["id"], "scheme": scheme, "fold": fold}).astype({"scheme": "string"})


def describe_folds(index: pd.DataFrame, folds: pd.DataFrame) -> pd.DataFrame:
    """Count the test images per (scheme, fold) row and class column, zeros included."""
    table = folds.merge(index[["id", "label"]], on="id", validate="many_to_one")
    return table.groupby(["scheme", "fold"])["label"].value_counts().unstack(fill_value=0).sort_index(axis=1)


def inner_parts(labels: np.ndarray, groups: np.ndarray | None, n_folds: int, *, seed: int) -> list[np.ndarray]:
    """Return the rows of up to `n_folds` stratified parts of training rows, each to be predicted by the others.

    No group is split. A class of fewer images (groups) than parts is absent from some. There are no more parts than
    groups, nor than the largest class has images; a single part leaves nothing to train on.
    """
    labels = np.asarray(labels, dtype=str)
    n_folds = min(n_folds, int(np.unique(labels, return_counts=True)[1].max()))
    if groups is not None:
        n_folds = min(n_folds, len(np.unique(np.asarray(groups))))
    if n_folds < 2:
        return [np.arange(len(labels))]
    part = stratified_parts(labels, groups, n_folds, seed)
    return [np.flatnonzero(part == number) for number in np.unique(part)]


def make_inner_folds(
    labels: np.ndarray, groups: np.ndarray | None, tested: np.ndarray, good: str, seed: int
) -> np.ndarray:
    """Return the inner fold, 0 or 1, of each training image of an outer fold, and `TEST_ROW` for its test images.

    All are (N,). A group stays whole; a class too small to be shared out lies in one inner fold. Raises FoldError where
    an inner fold would hold no good image, as no detector could be fitted on it.
    """
    training = np.flatnonzero(~tested)
    mine = labels[training].astype(str)
    units = training if groups is None else groups[training].astype(str)
    parts = inner_parts(mine, None if groups is None else units, N_INNER, seed=seed % 2**32)
    inner = np.full(len(labels), TEST_ROW)
    for number, rows in enumerate(parts):
        inner[training[rows]] = number
    if set(inner[training[mine == good]]) != set(range(N_INNER)):
        count = f"good {'images' if groups is None else 'groups'}: {len(np.unique(units[mine == good]))}"
        issue = f"those of one ({count}) cannot be shared out so"
        remedy = "choose more folds, or map_source=draem with map_fit=in_sample"
        raise FoldError(f"cross-fitted maps need good images in both halves of a training fold; {issue}: {remedy}")
    return inner
