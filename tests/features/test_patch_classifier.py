"""The patch classifier: taught by masks, or by maps, and what an exported file says of the same patches."""

import numpy as np
import pytest
import torch

from lib.features.patch_classifier import HIGHEST, UNKNOWN, PatchClassifier, fit_patch_classifier

CLASSES = ["good", "dent", "scratch"]
N, SIDE, C = 60, 6, 8
PLACES = SIDE * SIDE


def case(seed=0):
    """Patches of noise; a dent lifts channel 0 and a scratch channel 1 at four places, which the mask covers."""
    draw = np.random.default_rng(seed)
    labels = np.array(CLASSES)[np.arange(N) % 3]
    patches = draw.standard_normal((N, PLACES, C))
    covered = np.zeros((N, PLACES))
    for row in np.flatnonzero(labels != "good"):
        at = draw.permutation(PLACES)[:4]
        patches[row, at, CLASSES.index(labels[row]) - 1] += 4
        covered[row, at] = 1
    return patches.reshape(N, SIDE, SIDE, C).astype(np.float16), labels, covered


def taught(patches, labels, covered, maps=None, rows=None, seed=1):
    rows = np.arange(N) if rows is None else rows
    return fit_patch_classifier(
        patches, labels, covered, np.zeros_like(covered) if maps is None else maps, rows, CLASSES, seed
    )


def separation(model):
    """The smallest AUC of a class's score between its own new images and all others."""
    patches, labels, _ = case(seed=7)
    scores = model.scores(patches)
    return min(
        np.mean(scores[labels == name, i][:, None] > scores[labels != name, i][None])
        for i, name in enumerate(CLASSES[1:])
    )


def test_masks_teach_each_class_its_own_score():
    model = taught(*case())
    assert model.weights.shape == (C, 2) and separation(model) > 0.95
    again = taught(*case())
    np.testing.assert_array_equal(model.weights, again.weights)


def test_without_masks_the_map_teaches():
    patches, labels, covered = case()
    none = np.zeros_like(covered)
    pointing = taught(patches, labels, none, maps=covered + 0.01)
    lost = taught(patches, labels, none, maps=np.random.default_rng(3).random(covered.shape))
    assert separation(pointing) > 0.95
    assert separation(taught(patches, labels, covered)) >= separation(lost)


def test_a_small_mask_still_teaches():
    patches, labels, covered = case()
    small = taught(patches, labels, covered * 0.05)
    np.testing.assert_array_equal(small.weights, taught(patches, labels, covered).weights)


def test_only_its_rows_teach():
    patches, labels, covered = case()
    rows = np.arange(0, N, 2)
    model = taught(patches, labels, covered, rows=rows)
    others = np.arange(1, N, 2)
    patches[others], covered[others], labels[others] = 99, 1 - covered[others], "dent"
    np.testing.assert_array_equal(taught(patches, labels, covered, rows=rows).weights, model.weights)


@pytest.mark.parametrize("missing", ["scratch", "good"])
def test_a_class_that_nobody_taught_is_unknown(missing):
    patches, labels, covered = case()
    scores = taught(patches, labels, covered, rows=np.flatnonzero(labels != missing)).scores(patches)
    assert (scores[:, 1] == UNKNOWN).all()
    assert (scores[:, 0] == UNKNOWN).all() == (missing == "good")


def test_an_exported_file_says_the_same(tmp_path):
    patches, labels, covered = case()
    model = taught(patches, labels, covered)
    model.save(tmp_path / "model.safetensors")
    again = PatchClassifier.load(tmp_path / "model.safetensors")
    flat = torch.from_numpy(patches.reshape(N, PLACES, C).astype(np.float32))
    np.testing.assert_allclose(again.exported(flat).numpy(), model.scores(patches), atol=1e-5)
    few = flat[:, : HIGHEST - 2]
    expected = (few.numpy() @ model.weights).mean(axis=1) + model.biases
    np.testing.assert_allclose(again.exported(few).numpy(), expected, atol=1e-5)
