"""Notebooks 04 and 05: the classifiers' fits, and scores of patch classifiers, taught anew for each, out of fold."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lib.artifacts import file_sha256, fingerprint
from lib.classification.cross_validation import subsample_defects
from lib.datasets.masks import load_masks
from lib.datasets.region import read_region
from lib.datasets.splits import inner_parts
from lib.execution.source_code import code_digest
from lib.features.backbone_weights import grid
from lib.features.patch_classifier import UNKNOWN, PatchClassifier, fit_patch_classifier
from lib.pipeline.dataset import FINAL, in_test_fold, index, looked_at, parse_split
from lib.pipeline.embeddings import patches, patches_digest
from lib.pipeline.maps import make_maps, map_file, maps
from lib.pipeline.run import Run, once

CODE = (
    *("lib.features.patch_classifier", "lib.features.backbone_weights", "lib.datasets.masks"),
    *("lib.classification.cross_validation", "lib.datasets.splits", "lib.pipeline.patch_scores"),
)
CALIBRATION = "calibration"
AT_ONCE = 256  # images whose patches are held


class Fit(NamedTuple):
    """A fit of the classifiers: rows of the index, which of them train, the share of defects kept, its seed, its name.

    The other rows are predicted. groups (N,), of all images: none is split between inner folds; None where unknown.
    """

    rows: NDArray[np.intp]
    train: NDArray[np.bool_]
    keep: float
    seed: int
    groups: NDArray[np.str_] | None
    name: dict[str, int]


def levels(run: Run, stage: str) -> list[float]:
    """Return the shares of defects that a stage keeps."""
    return [share for share in run.study.keep if share < 1] if stage == "imbalance" else [1.0]


def _seed(run: Run, stage: str, split: str) -> int:
    mine = parse_split(split)
    return run.seed(CALIBRATION if stage == CALIBRATION else "classify", mine.of_fold, mine.repeat)


def fits_of(run: Run, stage: str, split: str) -> Iterator[Fit]:
    """Yield the fits of a stage in one split.

    Calibration fits on inner folds of the training images, dealt by the split's own scheme: grouped within grouped
    folds. The other stages fit on all training images, at each share of defects kept.
    """
    table, train, mine = index(run), ~in_test_fold(run, split), parse_split(split)
    seed, name = _seed(run, stage, split), {"repeat": mine.repeat}
    by_group = mine.scheme == "grouped" or (split == FINAL and table.attrs["grouped"])
    groups = table["group"].to_numpy(dtype=str) if by_group else None
    if stage != CALIBRATION:
        every = np.arange(len(train))
        yield from (Fit(every, train, keep, seed, groups, name) for keep in levels(run, stage))
        return
    trained = np.flatnonzero(train)
    labels, own = table["label"].to_numpy(dtype=str)[trained], None if groups is None else groups[trained]
    for inner, part in enumerate(inner_parts(labels, own, run.study.inner_folds, seed=seed)):
        known = ~np.isin(np.arange(len(trained)), part)
        yield Fit(trained, known, 1.0, seed, groups, name | {"inner": inner})


def fit_facts(run: Run, stage: str, split: str) -> dict[str, Any]:
    """Return what the fits of a stage in one split depend on, besides columns and code, in JSON values."""
    return {
        "tested": fingerprint({"rows": np.flatnonzero(in_test_fold(run, split)).tolist()}),
        "index": run.store.digest("index.parquet"),
        "keep": levels(run, stage),
        "seed": _seed(run, stage, split),
        "inner_folds": run.study.inner_folds,
    }


def patch_scores_file(stage: str, split: str) -> str:
    """Return the artefact with the scores of a stage's fits in a split."""
    return f"features/patch/{stage}/{split}.npy"


def final_patch_classifier(run: Run) -> PatchClassifier:
    """Return the classifier that scores new images: of all labelled ones."""
    run.store.digest(patch_scores_file("classification", FINAL))  # or FileNotFoundError
    return PatchClassifier.load(_model_file(run))


def _model_file(run: Run) -> Path:
    return run.store.path(patch_scores_file("classification", FINAL)).with_suffix(".safetensors")


def patch_scores(run: Run, stage: str, split: str) -> np.ndarray:
    """Return the scores for each defect class, float32 (fits, N, classes), of each fit's rows; NaN of other rows.

    A training image's are by a classifier that did not see it, nor an image of its group: of inner folds of the images
    that train. The others' are by the classifier of all these. Defects that the fit does not keep teach nothing.
    Training images have `UNKNOWN` for a class that some inner fold could not teach, so that nothing is learnt from it.
    """
    table = index(run)
    if split == FINAL:
        make_maps(run, split)
    masks = [file_sha256(Path(table.attrs["root"]) / mask) for mask in table["mask"].dropna()]
    made_from = {
        "code": code_digest(*CODE),
        "patches": patches_digest(run),
        "maps": run.store.digest(map_file(run, split)),
        "masks": fingerprint({"sha256": masks}),
        "stage": stage,
        **run.study.values(("feature_size", "tiles")),
        **looked_at(run),
        **fit_facts(run, stage, split),
    }

    def write(path: Path) -> dict[str, Any]:
        known, classes = patches(run), list(table.attrs["classes"])
        labels, at_patches = table["label"].to_numpy(dtype=str), _at_patches(run, split)
        every, at_once = list(fits_of(run, stage, split)), max(1, AT_ONCE // run.study.tiles**2)
        found = np.full((len(every), len(table), len(classes) - 1), np.nan, np.float32)
        whole: PatchClassifier | None = None
        for number, one in enumerate(every):
            if len(set(labels[one.rows[one.train]])) < 2:
                continue  # no classifier is fitted either
            untaught = np.zeros(len(classes) - 1, bool)
            for model, scored in _models(one, known, labels, at_patches, classes, run.study.inner_folds):
                for start in range(0, len(scored), at_once):
                    rows = scored[start : start + at_once]
                    found[number, rows] = model.scores(known[rows])
                whole, untaught = whole or model, untaught | ~model.weights.any(axis=0)
            # a class that an inner fold lacks would be told by the lack of its score
            found[number][np.ix_(one.rows[one.train], untaught)] = UNKNOWN
        np.save(path, found)
        if split != FINAL or whole is None:
            return {}
        whole.save(_model_file(run))
        return {"files": [_model_file(run)]}

    name = patch_scores_file(stage, split)
    run.store.make(name, made_from, write)
    return np.load(run.store.path(name))


def _models(
    one: Fit, known: NDArray, labels: NDArray, evidence: tuple[NDArray, NDArray], classes: list[str], n: int
) -> Iterator[tuple[PatchClassifier, NDArray[np.intp]]]:
    """Yield the classifier of all images that train with the others' rows, then each inner fold's with its own."""
    kept = subsample_defects(labels[one.rows], one.train, good=classes[0], keep=one.keep, seed=one.seed)
    teach = one.rows[kept]

    def taught_by(rows: NDArray[np.intp]) -> PatchClassifier:
        return fit_patch_classifier(known, labels, *evidence, rows, classes, one.seed)

    yield taught_by(teach), one.rows[~kept]
    groups = None if one.groups is None else one.groups[teach]
    for part in inner_parts(labels[teach], groups, n, seed=one.seed):
        yield taught_by(np.delete(teach, part)), teach[part]


def _at_patches(run: Run, split: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the share of each patch that the image's mask covers, and the mean of its map there, (N, h * w) both."""
    stack, places = maps(run, split), grid(run.study.feature_side)
    pointed = [_at_places(stack[i : i + AT_ONCE], places) for i in range(0, len(stack), AT_ONCE)]
    return _covered(run), np.concatenate(pointed).reshape(len(stack), -1)


@once
def _covered(run: Run) -> NDArray[np.float32]:
    table, side, region = index(run), run.study.feature_side, read_region(run.study.region)
    covered = np.zeros((len(table), grid(side) ** 2), np.float32)
    for row, mask in enumerate(load_masks(Path(table.attrs["root"]), table, side, run.study.resize, region)):
        if mask is not None:
            covered[row] = _at_places(mask[None], grid(side)).ravel()
    return covered


def _at_places(stack: NDArray, places: int) -> NDArray[np.float32]:
    """Return masks or maps (n, H, W) as means over places (n, places, places)."""
    import torch
    from torch.nn import functional as F

    values = torch.from_numpy(stack.astype(np.float32))[:, None]
    found: NDArray[np.float32] = F.interpolate(values, (places, places), mode="area")[:, 0].numpy()
    return found
