"""Scores of patch classifiers: out of fold, of the images that a fit keeps, and nothing of the test fold in them."""

import numpy as np
import pandas as pd
import pytest

import lib.pipeline.patch_scores as module
from lib.pipeline.dataset import FINAL, in_test_fold, index
from lib.pipeline.features import feature_all
from lib.pipeline.patch_scores import CALIBRATION, fits_of, patch_scores
from tests.pipeline.conftest import make_run

SPLIT = "stratified-0"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of its own, as leaks are put into its steps."""
    run = make_run(tmp_path_factory.mktemp("study"))
    feature_all(run)
    return run


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
    scores, fits = patch_scores(run, stage, SPLIT), list(fits_of(run, stage, SPLIT))
    assert scores.shape == (len(fits), len(index(run)), len(index(run).attrs["classes"]) - 1)
    for found, one in zip(scores, fits, strict=True):
        others = np.setdiff1d(np.arange(len(found)), one.rows)
        assert np.isfinite(found[one.rows]).all() and np.isnan(found[others]).all()


@pytest.mark.parametrize("stage", ["classification", CALIBRATION])
def test_masks_patches_and_maps_of_held_out_images_reach_no_other_image(run, stage, monkeypatch):
    before, fits = made_anew(run, stage, monkeypatch), list(fits_of(run, stage, SPLIT))
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
        model = module.fit_patch_classifier(known, labels, *evidence, np.arange(len(labels)), classes, one.seed)
        yield model, one.rows

    monkeypatch.setattr(module, "_models", leaking)
    with pytest.raises(AssertionError):
        test_masks_patches_and_maps_of_held_out_images_reach_no_other_image(run, "classification", monkeypatch)
    with pytest.raises(AssertionError):
        test_a_training_image_s_own_mask_does_not_reach_its_score(run, monkeypatch)


def test_defects_that_are_not_kept_teach_nothing(run, monkeypatch):
    before, labels = made_anew(run, "imbalance", monkeypatch), index(run)["label"].to_numpy(dtype=str)
    for number, one in enumerate(fits_of(run, "imbalance", SPLIT)):
        kept = module.subsample_defects(labels, one.train, good="good", keep=one.keep, seed=one.seed)
        left = np.flatnonzero(one.train & ~kept)
        assert left.size
        patches, (covered, maps) = module.patches(run).copy(), module._at_patches(run, SPLIT)
        patches[left], covered[left], maps[left] = 7, 1 - covered[left], 1 - maps[left]
        after = made_anew(run, "imbalance", monkeypatch, patches=patches, _at_patches=(covered, maps))
        others = np.setdiff1d(np.arange(len(labels)), left)
        np.testing.assert_array_equal(after[number, others], before[number, others])


def test_fewer_kept_defects_give_other_scores(run):
    scores = {
        one.keep: patch_scores(run, "imbalance", SPLIT)[i] for i, one in enumerate(fits_of(run, "imbalance", SPLIT))
    }
    whole = patch_scores(run, "classification", SPLIT)[0]
    assert scores and all((found != whole).any() for found in scores.values())


def test_new_images_are_scored_by_the_classifier_of_all(run):
    scores = patch_scores(run, "classification", FINAL)[0]
    (one,), table = fits_of(run, "classification", FINAL), index(run)
    how = (table["label"].to_numpy(dtype=str), *module._at_patches(run, FINAL), np.arange(len(table)))
    every = module.fit_patch_classifier(module.patches(run), *how, list(table.attrs["classes"]), one.seed)
    found = module.final_patch_classifier(run)
    np.testing.assert_array_equal(found.weights, every.weights)
    assert (scores != found.scores(module.patches(run))).any(), "labelled images are scored out of fold"


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """A run of pairs of images that show one object."""
    first = make_run(tmp_path_factory.mktemp("pairs"), synthetic_scale=0.12)
    names, labels = index(first)["id"], index(first)["label"]
    pairs = labels + (labels.groupby(labels).cumcount() // 2).astype(str)
    groups = tmp_path_factory.mktemp("groups") / "groups.csv"
    pd.DataFrame({"id": names, "group": pairs}).to_csv(groups, index=False)
    run = make_run(tmp_path_factory.mktemp("grouped"), groups=str(groups), synthetic_scale=0.12)
    feature_all(run)
    return run


@pytest.mark.parametrize(
    ("stage", "split"), [("classification", "grouped-0"), (CALIBRATION, "grouped-0"), ("classification", FINAL)]
)
def test_no_image_is_scored_by_what_another_of_its_object_taught(grouped, stage, split, monkeypatch):
    run, table = grouped, index(grouped)
    before, fits = patch_scores(run, stage, split), list(fits_of(run, stage, split))
    covered, maps = module._at_patches(run, split)
    number = next(i for i, one in enumerate(fits) if before[i, one.rows[one.train]].any())
    train = fits[number].rows[fits[number].train]
    own = next(
        row
        for row in train
        if covered[row].any() and (table["group"].iloc[train] == table["group"].iloc[row]).sum() == 2
    )
    covered[own] = covered[own, ::-1]
    run.store.forget(module.patch_scores_file(stage, split))
    monkeypatch.setattr(module, "_at_patches", lambda *_: (covered, maps))
    after = patch_scores(run, stage, split)
    run.store.forget(module.patch_scores_file(stage, split))
    pair = train[(table["group"].iloc[train] == table["group"].iloc[own]).to_numpy()]
    np.testing.assert_array_equal(after[number, pair], before[number, pair])
    assert (after[number, train] != before[number, train]).any()


def test_a_class_that_an_inner_fold_cannot_teach_has_no_score_in_training(run, monkeypatch):
    labels = index(run)["label"].to_numpy(dtype=str)

    def lopsided(labels, groups, n, *, seed):
        return [np.flatnonzero(labels == "marks"), np.flatnonzero(labels != "marks")]

    monkeypatch.setattr(module, "inner_parts", lopsided)
    scores = made_anew(run, "classification", monkeypatch)[0]
    tested, place = in_test_fold(run, SPLIT), index(run).attrs["classes"].index("marks") - 1
    assert (scores[~tested, place] == module.UNKNOWN).all() and (scores[tested, place] != module.UNKNOWN).all()
    assert set(labels[tested]) == set(labels)
