"""Notebook 03: features made of maps: the backbone's, their statistics, patches pooled where they point."""

from pathlib import Path
from typing import Any

import numpy as np

from lib.artifacts import fingerprint
from lib.datasets.splits import FoldError
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.pipeline.dataset import FINAL, in_test_fold, index, parse_split, splits
from lib.pipeline.detectors import map_splits
from lib.pipeline.embeddings import backbone, backbone_digest, image_feature_table, patches, patches_digest
from lib.pipeline.maps import map_all, map_file, maps
from lib.pipeline.run import Run, each_part, feature_cost, once

BLOCKS = {  # of columns made of a split's maps: what their files are called, and the module that computes them
    "map": ("map", "lib.features.embeddings"),
    "stats": ("map-stats", "lib.anomaly_maps.map_statistics"),
    "guided": ("guided", "lib.features.map_guided_pooling"),
}


def map_columns_file(run: Run, block: str, split: str) -> str:
    """Return the artefact with a block of columns (one of `BLOCKS`) made of the split's maps."""
    return map_file(run, split).replace("maps/", f"features/{BLOCKS[block][0]}-")


def make_map_columns(run: Run, block: str, split: str) -> None:
    """Write a block of columns made of the split's maps, float32 (N, columns).

    `map`: the backbone's features of the map; `stats`: its statistics, as in `map_statistics.STATISTICS`; `guided`: the
    image's patches pooled where the map points.
    """
    stack = maps(run, split)
    made_from = {
        "code": code_digest(BLOCKS[block][1], "lib.pipeline.features"),
        "maps": run.store.digest(map_file(run, split)),
        **_depends_on(run, block, split),
    }

    def write(path: Path) -> dict[str, Any]:
        np.save(path, _columns_of(run, block, split, stack))
        return {"device": run.device} if block == "map" else {}

    run.store.make(map_columns_file(run, block, split), made_from, write)


def _depends_on(run: Run, block: str, split: str) -> dict[str, Any]:
    """Return what a block of columns depends on besides the maps."""
    if block == "map":
        return {"backbone": backbone_digest(run), **run.study.values(("feature_size", "tiles", "map_encoding"))}
    if block == "stats":
        return {}
    good, units = compared_with(run, split)
    return {
        "patches": patches_digest(run),
        "good": fingerprint({"rows": np.flatnonzero(good).tolist(), "units": units.tolist()}),
        **run.study.values(("guided_patches",)),
    }


def _columns_of(run: Run, block: str, split: str, stack: np.ndarray) -> np.ndarray:
    study = run.study
    if block == "stats":
        from lib.anomaly_maps.map_statistics import map_statistics

        return map_statistics(stack)
    report = step_bar(f"{split}, images")
    if block == "map":
        from lib.features.embeddings import map_features

        net, encoding = backbone(run), study.map_encoding
        return map_features(net, stack, encoding, device=run.device, progress=report)
    from lib.features.map_guided_pooling import map_guided_features

    counts = study.guided_patches
    return map_guided_features(patches(run), stack, *compared_with(run, split), counts, progress=report)


def map_columns(run: Run, block: str, split: str) -> np.ndarray:
    """Return a block of columns made of the split's maps; see `make_map_columns`."""
    make_map_columns(run, block, split)
    return np.load(run.store.path(map_columns_file(run, block, split)))


@once
def feature_all(run: Run) -> None:
    """Make all features that the study's feature sets need."""
    image_feature_table(run)
    map_all(run)
    blocks = ["map", *["guided"] * run.study.guided, *["stats"] * (run.study.baselines or run.study.guided)]
    for block in blocks:
        calls = [(run, block, split) for split in map_splits(run)]
        cost = feature_cost(run, len(index(run))) if block == "map" else None
        label = f"{BLOCKS[block][0]} features {run.study.map_method}"
        each_part(run, make_map_columns, calls, label, cost, makes=True)


def compared_with(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which images are good training images of the split, and the object that each image shows, (N,) both.

    An image's patches are compared with those of good training images of other objects.
    """
    table = index(run)
    good = (table["label"] == table.attrs["good"]).to_numpy() & ~in_test_fold(run, split)
    # where groups are unknown, and in stratified folds, which ignore them, an image stands for itself
    by_group = parse_split(split).scheme == "grouped" or (split == FINAL and table.attrs["grouped"])
    return good, (table["group"] if by_group else table["id"]).to_numpy(dtype=str)


def check_guides(run: Run) -> None:
    """Raise `FoldError` for a fold whose good training images all show one object, where patches need another."""
    for split in splits(run, with_maps=True) if run.study.guided else ():
        good, units = compared_with(run, split)
        if len(set(units[good])) < 2:
            raise FoldError(
                f"the good training images of {split} show one object, and map-guided features compare an image with "
                "good ones of other objects: label good images of more objects, or guided=false"
            )
