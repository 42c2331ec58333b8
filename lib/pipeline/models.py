"""Which map models a split needs, what they are called, and which images each may see.

A model has a name: `grouped-0` is fitted on all good training images of that split, `grouped-0-inner-0` on one half of
them, for cross-fitted maps.
"""

from __future__ import annotations

import numpy as np

from lib.config import MapMethod
from lib.datasets.splits import N_INNER, make_inner_folds
from lib.pipeline.dataset import in_test_fold, index, splits
from lib.pipeline.run import Run

INNER = "-inner-"
SUFFIXES: dict[MapMethod, str] = {
    "in_sample": "",
    "cross_fitted": "-crossfitted",
    "patchcore": "-patchcore",
}


def map_splits(run: Run, map_method: MapMethod) -> list[str]:
    """Return the splits that get maps of this reading; those made for comparison, the primary scheme's."""
    names = splits(run, with_maps=True)
    primary = names[0].rsplit("-", 1)[0]
    return [name for name in names if map_method == run.study.map_method or name.rsplit("-", 1)[0] == primary]


def models(split: str, map_method: MapMethod) -> list[str]:
    """Return the names of the models that make the split's maps: one, or one for each half."""
    return [split] if map_method == "in_sample" else [f"{split}{INNER}{half}" for half in range(N_INNER)]


def all_models(run: Run, *map_methods: MapMethod) -> list[str]:
    """Return the names of all models of the given readings, in their order, that the study asks for."""
    asked = [map_method for map_method in run.study.map_methods if map_method in map_methods]
    return [name for one in asked for split in map_splits(run, one) for name in models(split, one)]


def map_name(split: str, map_method: MapMethod) -> str:
    """Return what the split's maps are called in `maps/NAME.npy`, `maps/NAME-scores.npy`, `features/map-NAME.npy`."""
    return split + SUFFIXES[map_method]


def inner_folds(run: Run, split: str) -> np.ndarray:
    """Return the half (0 or 1) of each training image of the split, -1 for test images; by group where known."""
    table = index(run)
    groups = table["group"].to_numpy() if table.attrs["grouped"] else None
    labels, tested = table["label"].to_numpy(), in_test_fold(run, split)
    return make_inner_folds(labels, groups, tested, table.attrs["good"], run.seed("inner", split))


def good_rows(run: Run, name: str) -> np.ndarray:
    """Return the rows that the model `name` may see: good images of its training fold, or of one half of it."""
    table = index(run)
    split, _, half = name.partition(INNER)
    training = inner_folds(run, split) == int(half) if half else ~in_test_fold(run, split)
    return np.flatnonzero((table["label"] == table.attrs["good"]).to_numpy() & training)
