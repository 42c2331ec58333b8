"""The study's backbone, and its features of all images, pooled and by place: made in one pass over the images."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.artifacts import atomic, new_array
from lib.execution.source_code import code_digest
from lib.features.backbone_weights import WeightsError, grid, resolve_weights, weights_digest
from lib.pipeline.dataset import images
from lib.pipeline.run import Run, each_part, feature_cost

if TYPE_CHECKING:
    from lib.features.backbone import Backbone

IMAGE, PATCHES = "features/image.npy", "features/patches.npy"
# images per task; the same however many processes there are, so that batches hold the same images
AT_ONCE = 256


def backbone(run: Run) -> Backbone:
    """Return the study's backbone with its weights."""
    study = run.study
    return _backbone(study.backbone, study.weights, study.feature_size, study.tiles, backbone_digest(run))


@lru_cache(maxsize=1)
def _backbone(name: str, weights: str, side: int, tiles: int, _digest: str) -> Backbone:
    from lib.features.backbone import load_backbone

    return load_backbone(name, weights, side, tiles)


def backbone_digest(run: Run) -> str:
    """Return the backbone's name and its weights' SHA-256; the weights are not loaded for it."""
    name = run.study.backbone
    return f"{name} {weights_digest(name, resolve_weights(name, run.study.weights))}"


def image_features_of(run: Run, stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pooled features and the patches of images (n, feature_side, feature_side, 3) uint8."""
    from lib.features.embeddings import image_features

    return image_features(backbone(run), stack, device=run.device)


def image_feature_table(run: Run) -> np.ndarray:
    """Return the pooled features of all images, float32 (N, n_features)."""
    _make(run)
    return np.load(run.store.path(IMAGE))


def patches(run: Run) -> np.ndarray:
    """Return the patches of all images, memory-mapped, float16 (N, h, w, n_channels) with h = w = feature_side / 8."""
    _make(run)
    return np.load(run.store.path(PATCHES), mmap_mode="r")


def patches_digest(run: Run) -> str:
    """Return the SHA-256 of the patches of all images."""
    return str(_make(run)["files"][Path(PATCHES).name])


def _make(run: Run) -> dict[str, Any]:
    """Make the features of all images where they are not proven; returns their manifest."""
    side, tiles = run.study.feature_side, run.study.tiles
    stack = images(run, side)
    made_from = {
        "code": code_digest("lib.features.embeddings", "lib.pipeline.embeddings"),
        "images": run.store.digest(f"images/{side}.npy"),
        "backbone": backbone_digest(run),
        "side": side,
        "tiles": tiles,
    }

    def write(path: Path) -> dict[str, Any]:
        net, beside = backbone(run), run.store.path(PATCHES)
        with atomic(beside) as partial:
            new_array(partial, np.float16, (len(stack), grid(side), grid(side), net.n_channels))
            at_once = max(1, AT_ONCE // tiles**2)
            rows = [(start, start + at_once) for start in range(0, len(stack), at_once)]
            calls = [(run, made_from["backbone"], partial, *ends) for ends in rows]
            parts = each_part(run, _part, calls, "image features", feature_cost(run, at_once))
        np.save(path, np.concatenate(parts))
        about = {} if run.scheduler else {"device": run.device}  # else the workers' devices
        return {"backbone": net.title, "backbone_sha256": net.sha256, "files": [beside]} | about

    return run.store.make(IMAGE, made_from, write)


def _part(run: Run, digest: str, path: Path, start: int, stop: int) -> np.ndarray:
    """Return the pooled features of some images, and write their patches to their place in the file."""
    if backbone_digest(run) != digest:
        remedy = "put the same weights there, or name one file that all can read with --weights FILE"
        raise WeightsError(f"backbone={run.study.backbone}: another machine has other weights of it; {remedy}")
    pooled, local = image_features_of(run, images(run, run.study.feature_side)[start:stop])
    array = np.load(path, mmap_mode="r")
    with path.open("rb+") as file:  # no mapping: several machines may write to a shared folder
        file.seek(array.offset + start * array[0].nbytes)
        file.write(local.tobytes())
    return pooled
