"""The ResNet-18, and its features of each place of each image."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.artifacts import new_array
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.features.backbone_weights import resolve_weights, weights_digest
from lib.pipeline.dataset import images
from lib.pipeline.run import Run

if TYPE_CHECKING:
    from lib.features.resnet import Backbone


def backbone(run: Run) -> Backbone:
    """Return the ResNet-18 that the study's `weights` name."""
    return _backbone(_weights(run.study.weights, run.study.offline)[0])


def backbone_digest(run: Run) -> str:
    """Return the SHA-256 of the weights of `backbone`, which are not read for it."""
    return _weights(run.study.weights, run.study.offline)[1]


@lru_cache(maxsize=1)
def _backbone(source: str) -> Backbone:
    from lib.features.resnet import load_backbone

    return load_backbone(source)


@lru_cache(maxsize=1)
def _weights(weights: str, offline: bool) -> tuple[str, str]:
    source = resolve_weights(weights, offline=offline)
    return source, weights_digest(source)


def patches_name(run: Run) -> str:
    """Return the artefact with the patches of all images."""
    return f"patches/{run.study.patch_size}.npy"


def patches(run: Run) -> np.ndarray:
    """Return the patches of all images, memory-mapped, float16 (N, h, w, 384) with h = w = patch_size / 8."""
    side = run.study.patch_size
    stack = images(run, side)
    made_from = {
        "code": code_digest("lib.features.patch_embeddings", "lib.pipeline.patches"),
        "images": run.store.digest(f"images/{side}.npy"),
        "backbone": backbone_digest(run),
    }

    def write(path: Path) -> dict[str, str]:
        from lib.features.patch_embeddings import N_CHANNELS, grid, patch_features

        net = backbone(run)
        out = new_array(path, np.float16, (len(stack), grid(side), grid(side), N_CHANNELS))
        patch_features(net, stack, out, device=run.device, progress=step_bar("patches, images"))
        out.flush()
        return {"backbone": net.name, "backbone_sha256": net.sha256}

    run.store.make(patches_name(run), made_from, write)
    return np.load(run.store.path(patches_name(run)), mmap_mode="r")


def patches_of(run: Run, stack: np.ndarray) -> np.ndarray:
    """Return the patches of other images (n, patch_size, patch_size, 3) uint8, as `patches` has them."""
    from lib.features.patch_embeddings import N_CHANNELS, grid, patch_features

    side = grid(run.study.patch_size)
    out = np.empty((len(stack), side, side, N_CHANNELS), np.float16)
    return patch_features(backbone(run), stack, out, device=run.device)
