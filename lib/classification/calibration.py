"""Inner folds of a training part: so that each of its images gets a prediction from a model that never saw it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold


def inner_parts(
    labels: ArrayLike, groups: ArrayLike | None, n_folds: int, *, seed: int
) -> list[NDArray[np.intp]]:
    """Split training rows into up to `n_folds` stratified parts, each to be predicted by a model of the others.

    labels (n,); groups (n,), of which none stands in two parts, or None. Returns the rows of each part; every row
    stands in one. A class of fewer images (groups) than parts is absent from some, and one of a single image (group)
    from the training of its own (see `absent`). There are no more parts than groups, nor than the largest class has
    images; a single part leaves nothing to train on.
    """
    labels = np.asarray(labels, dtype=str)
    n_folds = min(n_folds, int(np.unique(labels, return_counts=True)[1].max()))
    if groups is not None:
        n_folds = min(n_folds, len(np.unique(np.asarray(groups))))
    if n_folds < 2:
        return [np.arange(len(labels))]
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "The least populated class", UserWarning
        )  # the caller says it better
        parts = [part for _, part in splitter.split(labels, labels, groups)]
    return [part for part in parts if len(part)]


def missing_classes(labels: ArrayLike, train: ArrayLike, classes: Sequence[str]) -> list[str]:
    """Name the classes of `labels` (n,) without a row in `train` (n,) bool: a model of it cannot predict them."""
    labels, train = np.asarray(labels, dtype=str), np.asarray(train, dtype=bool)
    return [name for name in classes if (labels == name).any() and not (labels[train] == name).any()]
