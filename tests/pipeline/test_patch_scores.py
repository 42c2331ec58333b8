"""Scores of patch classifiers: out of fold, of the images that a fit keeps, and nothing of the test fold in them."""

import numpy as np
import pytest

import lib.pipeline.patch_scores as module
from lib.pipeline.classification import CALIBRATION, _fits, patch_scores
from lib.pipeline.dataset import FINAL, in_test_fold, index
from tests.pipeline.conftest import make_run

SPLIT = "stratified-0"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of its own, as leaks are put into its steps."""
    return make_run(tmp_path_factory.mktemp("study"))


def made_anew(run, stage, monkeypatch, **spoilt):
    """The scores of a stage in a split, after its inputs were replaced by `spoilt`."""
    run.store.forget(module.patch_scores_file(stage, SPLIT))
    with monkeypatch.context() as patched:
        for name, value in spoilt.items():
            patched.setattr(module, name, lambda *_, value=value: value)
        found = patch_scores(run, stage, SPLIT)
    run.store.forget(module.patch_scores_file(stage, SPLIT))
    return found


@pytest.mark.parametrize("stage", ["classification", "imbalance", CALIBRATION])
def test_every_row_of_a_fit_has_scores_and_no_other_has(run, stage):
    scores, fits = patch_scores(run, stage, SPLIT), list(_fits(run, stage, SPLIT))
    assert scores.shape == (len(fits), len(index(run)), len(index(run).attrs["classes"]) - 1)
    for found, one in zip(scores, fits, strict=True):
        others = np.setdiff1d(np.arange(len(found)), one.rows)
        assert np.isfinite(found[one.rows]).all() and np.isnan(found[others]).all()


@pytest.mark.parametrize("stage", ["classification", CALIBRATION])
def test_masks_patches_and_maps_of_held_out_images_reach_no_other_image(run, stage, monkeypatch):
    before, fits = made_anew(run, stage, monkeypatch), list(_fits(run, stage, SPLIT))
    for number, one in enumerate(fits):
        held = np.setdiff1d(np.arange(len(index(run))), one.rows[one.train])
        patches, (covered, maps) = module.patches(run).copy(), module._at_patches(run, SPLIT)
        patches[held], covered[held], maps[held] = 7, 1 - covered[held], 1 - maps[held]
        after = made_anew(run, stage, monkeypatch, patches=patches, _at_patches=(covered, maps))
        train = one.rows[one.train]
        np.testing.assert_array_equal(after[number, train], before[number, train])


def test_a_training_image_s_own_mask_does_not_reach_its_score(run, monkeypatch):
    before = made_anew(run, "classification", monkeypatch)[0]
    covered, maps = module._at_patches(run, SPLIT)
    own = np.flatnonzero(~in_test_fold(run, SPLIT) & covered.any(axis=1))[0]
    covered[own] = covered[own, ::-1]
    after = made_anew(run, "classification", monkeypatch, _at_patches=(covered, maps))[0]
    np.testing.assert_array_equal(after[own], before[own])
    assert (after != before).any(), "it teaches the others"


def test_a_leak_is_caught(run, monkeypatch):
    """The test fold's images teach, against the rule: the scores of training images change with their masks."""

    def leaking(one, known, labels, evidence, classes, n):
        model = module.fit_patch_classifier(
            known, labels, *evidence, np.arange(len(labels)), classes, one.seed
        )
        yield model, one.rows

    monkeypatch.setattr(module, "_models", leaking)
    with pytest.raises(AssertionError):
        test_masks_patches_and_maps_of_held_out_images_reach_no_other_image(
            run, "classification", monkeypatch
        )
    with pytest.raises(AssertionError):
        test_a_training_image_s_own_mask_does_not_reach_its_score(run, monkeypatch)


def test_defects_that_are_not_kept_teach_nothing(run, monkeypatch):
    scores = {
        one.keep: patch_scores(run, "imbalance", SPLIT)[i]
        for i, one in enumerate(_fits(run, "imbalance", SPLIT))
    }
    whole = patch_scores(run, "classification", SPLIT)[0]
    assert scores and all((found != whole).any() for found in scores.values())


def test_new_images_are_scored_by_the_classifier_of_all(run):
    scores = patch_scores(run, "classification", FINAL)[0]
    found = module.final_patch_classifier(run).scores(module.patches(run))
    assert scores.shape == found.shape and (scores != found).any(), "labelled images are scored out of fold"
