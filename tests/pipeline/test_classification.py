"""Baselines and out-of-fold scores: which rows they hold, that no image judges itself, the same by any processes."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import lib.pipeline.classification as module
import lib.pipeline.run as steps
from lib.anomaly_maps.map_statistics import map_statistics
from lib.classification import cross_validation
from lib.classification.feature_sets import BASELINES, COMBINED, GUIDED, MAIN
from lib.pipeline.classification import calibration, predict_fold, predictions
from lib.pipeline.dataset import in_test_fold, index, splits
from lib.pipeline.features import map_columns
from lib.pipeline.maps import maps
from tests.pipeline.conftest import make_run

SPLIT, AGAIN = "stratified-0", "stratified-0-repeat-1"
LINEAR_BASELINES = ("score", "image_logistic", "image_map_logistic")  # what costs little is fitted everywhere
LINEAR_GUIDED = ("guided_logistic", *COMBINED)


def test_every_baseline_where_all_defects_are_kept_the_cheap_ones_below(run):
    table, fits = predictions(run, "imbalance")
    for keep, expected in ((1.0, MAIN + BASELINES + GUIDED + COMBINED), (0.5, MAIN + LINEAR_BASELINES + LINEAR_GUIDED)):
        assert set(table.loc[table["keep"] == keep, "features"]) == set(expected)
        assert set(fits.loc[fits["keep"] == keep, "features"]) == set(expected)
    assert table.groupby(["features", "keep", "task"]).size().eq(len(index(run))).all()
    assert not table.drop(columns="group").isna().all().any()


def test_baselines_off_leaves_the_rest_as_it_was(run, tmp_path):
    shutil.copytree(run.study_dir, tmp_path / "study")
    bare = predictions(make_run(tmp_path / "study", baselines=False), "imbalance")[0]
    full = predictions(run, "imbalance")[0]
    mine = full[full["features"].isin(MAIN + GUIDED + COMBINED)].reset_index(drop=True)
    pd.testing.assert_frame_equal(bare, mine)


def test_map_statistics_are_those_of_the_splits_maps(run):
    np.testing.assert_array_equal(map_columns(run, "stats", SPLIT), map_statistics(maps(run, SPLIT)))


def test_calibration_holds_each_training_image_once(run):
    table, pictures = calibration(run), index(run)
    assert set(table["features"]) == set(MAIN + LINEAR_BASELINES + LINEAR_GUIDED)
    assert list(table.columns) == [*predictions(run, "classification")[0].columns, "inner"]
    for split in splits(run):
        trained = set(pictures.loc[~in_test_fold(run, split), "id"])
        part = table[table["fold"] == int(split[-1])]
        for _, cell in part.groupby(["features", "task"]):
            assert sorted(cell["id"]) == sorted(trained)
        assert part.groupby("id")["inner"].nunique().eq(1).all()
    assert set(table["inner"]) == {0, 1, 2}
    assert (table["label"] == table["id"].map(pictures.set_index("id")["label"])).all()
    rows = table[table["task"] == "multiclass"]
    np.testing.assert_allclose(rows[[f"p:{c}" for c in pictures.attrs["classes"]]].sum(axis=1), 1)


def test_a_repeat_trains_anew_on_the_same_folds_and_keeps_what_is_there(run, twice):
    """The first repeat has the very files of a study without repeats, the second has others under its own names."""
    made = [name for name in twice.store.names() if name not in run.store.names()]
    assert all("-repeat-1" in name for name in made)
    beside = {name: name.replace("-repeat-1", "") for name in made}
    assert {name.split("-")[0] for name in made} == {
        *("draem/stratified", "maps/stratified", "features/map", "features/guided"),
        *(
            f"{what}/{stage}/stratified"
            for what in ("features/patch", "predictions")
            for stage in ("classification", "imbalance", "calibration")
        ),
    }
    assert sorted(beside.values()) == sorted(name for name in run.store.names() if "stratified" in name)
    assert [name for name in made if twice.store.digest(name) == twice.store.digest(beside[name])] == []
    changed = {name for name in run.store.names() if run.store.digest(name) != twice.store.digest(name)}
    assert changed == {f"predictions/{stage}.parquet" for stage in ("classification", "imbalance", "calibration")}


@pytest.mark.parametrize("stage", ["imbalance", "calibration"])
def test_every_repeat_predicts_the_same_images(run, twice, stage):
    once, both = predictions(run, stage)[0], predictions(twice, stage)[0]
    first, second = (both[both["repeat"] == repeat] for repeat in (0, 1))
    keys = ["scheme", "fold", "id", "features", "task", "keep"]
    pd.testing.assert_frame_equal(first.reset_index(drop=True), once)
    pd.testing.assert_frame_equal(*(part[keys].sort_values(keys, ignore_index=True) for part in (first, second)))
    together = first.merge(second, on=keys)
    differs = (together.filter(regex="^p:.*_x$").to_numpy() != together.filter(regex="^p:.*_y$")).any(axis=1)
    assert differs.groupby(together["features"]).any().all(), "other seeds, for the image alone too"


def test_a_killed_run_goes_on_at_the_repeat_where_it_was(twice, tmp_path, monkeypatch):
    shutil.copytree(twice.study_dir, tmp_path / "study")
    run = replace(twice, study_dir=str(tmp_path / "study"))
    run.store.forget("predictions/")
    real, fitted = cross_validation.evaluate_fold, []

    def killed_at_the_third(*args, **kwargs):
        fitted.append(kwargs["seed"])
        if len(fitted) == 3:
            raise InterruptedError
        return real(*args, **kwargs)

    monkeypatch.setattr(cross_validation, "evaluate_fold", killed_at_the_third)
    with pytest.raises(InterruptedError):
        predictions(run, "classification")
    predictions(run, "classification")
    assert fitted == [
        run.seed("classify", f"stratified-{fold}", repeat) for fold, repeat in ((0, 0), (1, 0), (0, 1), (0, 1), (1, 1))
    ]
    assert run.store.digest("predictions/classification.parquet") == twice.store.digest(
        "predictions/classification.parquet"
    )


def recalibrated(run, monkeypatch, spoil, split):
    """The split's out-of-fold predictions after `spoil(rows of the index)` of the features were made nonsense."""
    true, read = module._columns, set()

    def spoilt(run, file):
        values = true(run, file).copy()
        places = (slice(None), spoil) if "patch" in file else spoil
        values[places] = 1e3 * values[places] - 7
        read.add(file)
        return values

    monkeypatch.setattr(module, "_columns", spoilt)
    run.store.forget(f"predictions/calibration/{split}")
    predict_fold(run, module.CALIBRATION, split)
    monkeypatch.undo()
    assert read == set(module.source_files(run, module.CALIBRATION, split).values())
    assert {file for file in read if ("repeat-1" in file) != (split == AGAIN)} <= {"features/image.npy"}
    return pd.read_parquet(run.store.path(f"predictions/calibration/{split}.parquet"))


@pytest.mark.parametrize("split", [SPLIT, AGAIN])
def test_neither_test_folds_nor_inner_folds_leak_into_calibration(twice, monkeypatch, split):
    run, before = twice, calibration(twice)
    mine = (before["fold"] == 0) & (before["repeat"] == (split == AGAIN))
    before = before[mine].reset_index(drop=True)
    tested = in_test_fold(run, split)
    pd.testing.assert_frame_equal(recalibrated(run, monkeypatch, tested, split), before)

    ids = index(run)["id"]
    held_out = before.loc[before["inner"] == 1, "id"].unique()
    spoilt = held_out[: len(held_out) // 2]
    after = recalibrated(run, monkeypatch, ids.isin(spoilt).to_numpy(), split)
    apart = (before["inner"] == 1) & ~before["id"].isin(spoilt)
    values = [name for name in before if name.startswith("p:")]
    np.testing.assert_allclose(after.loc[apart, values], before.loc[apart, values], rtol=0, atol=1e-6)
    others = before["inner"] != 1  # their models did learn from the spoilt images
    assert np.nanmax(np.abs(after.loc[others, values] - before.loc[others, values])) > 1e-3
    recalibrated(run, monkeypatch, np.zeros(len(ids), dtype=bool), split)


def test_a_class_that_an_inner_part_lacks_gets_nothing_and_a_part_without_two_classes_fits_nothing(run, monkeypatch):
    def lopsided(labels, groups, n_folds, *, seed):
        return [np.flatnonzero(labels == "marks"), np.arange(len(labels))]

    monkeypatch.setattr("lib.pipeline.patch_scores.inner_parts", lopsided)
    run.store.forget("predictions/calibration")
    table = calibration(run)
    lone = table[table["task"] == "multiclass"]
    assert set(lone["label"]) == {"marks"} and (lone["p:marks"] == 0).all()
    assert set(table["inner"]) == {0}
    monkeypatch.undo()
    run.store.forget("predictions/calibration")
    calibration(run)


def test_side_by_side_and_made_anew_the_same_bytes(run, tmp_path, monkeypatch):
    seen = []

    def spy(*args, **kwargs):
        if kwargs["label"] in ("classification", "imbalance", "calibration"):
            seen.append(kwargs["processes"])
        return run_tasks(*args, **kwargs)

    run_tasks = steps.run_tasks
    monkeypatch.setattr(steps, "run_tasks", spy)
    monkeypatch.setattr("lib.execution.parallel.WORTH_PROCESSES", 0)
    monkeypatch.setenv("STUDY_CORES", "2")
    twin = make_run(tmp_path)
    predictions(twin, "imbalance")
    calibration(twin)
    assert seen == [2, 2, 2]
    made = [name for name in twin.store.names() if name.startswith(("folds", "draem/", "maps/", "feat", "pred"))]
    assert len(made) > 15
    assert {name: twin.store.digest(name) for name in made} == {name: run.store.digest(name) for name in made}
    monkeypatch.setattr("lib.execution.parallel.WORTH_PROCESSES", 1e9)
    twin.store.forget(f"predictions/calibration/{SPLIT}")
    calibration(twin)
    assert seen[-1] == 1


def test_repeats_get_other_inner_folds(run):
    fits = [fit for split in (SPLIT, AGAIN) for fit in module.fits_of(run, module.CALIBRATION, split)]
    learnt = {tuple(name.values()): known for _, known, *_, name in fits}
    assert {one.seed for one in fits} == {run.seed(module.CALIBRATION, SPLIT, repeat) for repeat in (0, 1)}
    assert set(learnt) == {(repeat, inner) for repeat in range(2) for inner in range(3)}
    assert not all(np.array_equal(learnt[0, inner], learnt[1, inner]) for inner in range(3))


def test_predictions_hold_the_true_class_in_every_task(run, tmp_path):
    shutil.copytree(run.study_dir, tmp_path / "study")
    other = replace(run, study=replace(run.study, binary="separate"), study_dir=str(tmp_path / "study"))
    diagnostics = predict_fold(other, "classification", SPLIT)["diagnostics"]
    table = pd.read_parquet(other.store.path(f"predictions/classification/{SPLIT}.parquet"))
    assert set(table["task"]) == {"multiclass", "binary"}
    assert (table["label"] == table["id"].map(index(run).set_index("id")["label"])).all()
    assert {"k", "k_image", "k_map", "n_train"} <= set(diagnostics[0])
