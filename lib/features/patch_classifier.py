"""The patch classifier: tells patches of each defect class from good ones by a linear discriminant, taught by masks.

Its image score for a class is the mean of the highest places' scores. An image without a mask, or with an empty one,
teaches by the places where its anomaly map is highest, then where the classifier is (multiple instances). On one fold
of magnetic tiles a network of two layers on the same patches was no better (docs/combined.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from torch import Tensor

DRAWN = 32  # patches of each image that it is fitted on, so that every image counts alike
MOST = 200_000  # patches of all images together
COVERED = 0.3  # of the patch that the mask covers most: what a patch needs to be one of the defect
POINTED = 12  # places of an image without a mask that stand for the defect
ROUNDS = 3  # in which these are chosen anew, by the classifier itself
HIGHEST = 12  # places whose mean is the image's score
SHRINKAGE = 0.01  # of each class's covariance, towards one variance for all channels
UNKNOWN = 0.0  # the score for a class that no image taught


@dataclass(frozen=True)
class PatchClassifier:
    """Weights (C, classes) and biases (classes,): log odds of a patch (C,) for each defect class against good."""

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]

    def scores(self, patches: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the scores (n, classes) of images by their patches (n, h, w, C), an image at a time."""
        found = np.empty((len(patches), len(self.biases)), np.float32)
        for row, image in enumerate(patches):
            odds = np.asarray(image, np.float32).reshape(-1, image.shape[-1]) @ self.weights
            found[row] = np.sort(odds, axis=0)[-HIGHEST:].mean(axis=0) + self.biases
        return found

    def exported(self, patches: Tensor) -> Tensor:
        """Return the scores (n, classes) of patches (n, p, C) in an exported file."""
        import torch

        odds = patches @ torch.from_numpy(self.weights)
        highest = odds.topk(min(HIGHEST, odds.shape[1]), dim=1).values
        return highest.mean(dim=1) + torch.from_numpy(self.biases)

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        save_file({"weights": self.weights, "biases": self.biases}, path)

    @classmethod
    def load(cls, path: Path) -> PatchClassifier:
        """Return what `save` wrote."""
        with safe_open(path, "numpy") as file:
            return cls(file.get_tensor("weights"), file.get_tensor("biases"))


def fit_patch_classifier(
    patches: NDArray[np.floating],
    labels: NDArray[np.str_],
    covered: NDArray[np.floating],
    maps: NDArray[np.floating],
    rows: NDArray[np.intp],
    classes: Sequence[str],
    seed: int,
) -> PatchClassifier:
    """Return the classifier fitted on some `rows` of patches (N, h, w, C), which may be memory-mapped.

    labels (N,): names out of `classes`, the first of which is the good one. covered, maps (N, h * w): the share of each
    patch that the mask covers, 0 where there is none, and the anomaly map there. `DRAWN` patches are drawn of each
    image, fewer where they would be more than `MOST`; good ones count as much as all defects together. Places without
    a mask are chosen anew by the classifier, `ROUNDS` times. Scores are `UNKNOWN` for a class without rows, and for all
    where no good image or no defect is.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    flat, n_channels = patches.reshape(len(patches), -1, patches.shape[-1]), patches.shape[-1]
    defects = [row for row in rows if labels[row] != classes[0]]
    unmasked = [row for row in defects if not covered[row].any()]
    places = {row: np.flatnonzero(covered[row] >= COVERED * covered[row].max()) for row in defects}
    places |= {row: _highest(maps[row]) for row in unmasked}
    everywhere, each = np.arange(flat.shape[1]), max(1, min(DRAWN, MOST // max(1, len(rows))))
    there = [name for name in classes if name in set(labels[rows])]
    own = [classes.index(name) - 1 for name in there[1:]]
    weights = np.zeros((n_channels, len(classes) - 1), np.float32)
    biases = np.full(len(classes) - 1, UNKNOWN, np.float32)
    if len(there) < 2 or there[0] != classes[0]:
        return PatchClassifier(weights, biases)
    for _ in range(1 + (ROUNDS if unmasked else 0)):
        generator = np.random.default_rng(seed)
        drawn = np.empty((len(rows), each, n_channels), np.float32)
        for number, row in enumerate(rows):  # all places of good images, and those chosen of the others
            drawn[number] = flat[row, np.sort(generator.choice(places.get(row, everywhere), each))]
        taught = np.repeat([there.index(name) for name in labels[rows]], each)
        priors = [0.5, *np.full(len(own), 0.5 / len(own))]
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE, priors=priors)
        model.fit(drawn.reshape(-1, n_channels), taught)
        lines, heights = model.coef_, model.intercept_
        if len(own) > 1:  # of two classes there is one line, the defect's against good
            lines, heights = lines[1:] - lines[0], heights[1:] - heights[0]
        weights[:, own], biases[own] = lines.T, heights
        for row in unmasked:
            places[row] = _highest(flat[row].astype(np.float32) @ weights[:, classes.index(labels[row]) - 1])
    return PatchClassifier(weights, biases)


def _highest(values: NDArray[np.floating]) -> NDArray[np.intp]:
    return np.argsort(-values, kind="stable")[:POINTED]
