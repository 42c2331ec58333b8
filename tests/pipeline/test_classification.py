"""Baselines and out-of-fold scores: which rows they hold, that no image judges itself, the same by any processes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import lib.pipeline.classification as module
from lib.anomaly_maps.map_statistics import map_statistics
from lib.classification.feature_sets import BASELINES, GUIDED, LINEAR_BASELINES, LINEAR_GUIDED, MAIN
from lib.pipeline.classification import calibrate_fold, calibration, predictions
from lib.pipeline.dataset import in_test_fold, index, splits
from lib.pipeline.features import map_stats_table
from lib.pipeline.maps import maps
from lib.pipeline.run import open_run

SETTINGS = {"weights": "random-init", "leak_check": "none", "keep": (0.5, 1.0), "inner_folds": 3}
SPLIT = "stratified-0"


def make_run(folder, **settings):
    return open_run("deco_cap", "smoke", "", str(folder), SETTINGS | settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("study"))
    predictions(run, "imbalance")
    calibration(run)
    return run


def test_every_baseline_where_all_defects_are_kept_the_cheap_ones_below(run):
    table, fits = predictions(run, "imbalance")
    for keep, expected in ((1.0, MAIN + BASELINES + GUIDED), (0.5, MAIN + LINEAR_BASELINES + LINEAR_GUIDED)):
        assert set(table.loc[table["keep"] == keep, "features"]) == set(expected)
        assert set(fits.loc[fits["keep"] == keep, "features"]) == set(expected)
    assert table.groupby(["features", "keep", "task"]).size().eq(len(index(run))).all()
    assert not table.drop(columns="group").isna().all().any()


def test_baselines_off_leaves_the_rest_as_it_was(run, tmp_path):
    bare = predictions(make_run(tmp_path, baselines=False), "imbalance")[0]
    full = predictions(run, "imbalance")[0]
    mine = full[full["features"].isin(MAIN + GUIDED)].reset_index(drop=True)
    pd.testing.assert_frame_equal(bare, mine)


def test_map_statistics_are_those_of_the_splits_maps(run):
    np.testing.assert_array_equal(map_stats_table(run, SPLIT), map_statistics(maps(run, SPLIT)))


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
    assert table.attrs["absent"] == []


def recalibrated(run, monkeypatch, spoil):
    """The split's out-of-fold predictions after `spoil(rows of the index)` of the features were made nonsense."""
    true, read = module._columns, set()

    def spoilt(run, file):
        values = true(run, file).copy()
        values[spoil] = 1e3 * values[spoil] - 7
        read.add(file)
        return values

    monkeypatch.setattr(module, "_columns", spoilt)
    run.store.forget(f"predictions/calibration/{SPLIT}")
    calibrate_fold(run, SPLIT)
    monkeypatch.undo()
    assert read == set(module.source_files(run, module.CALIBRATION, SPLIT).values())
    return pd.read_parquet(run.store.path(f"predictions/calibration/{SPLIT}.parquet"))


def test_neither_test_folds_nor_inner_folds_leak_into_calibration(run, monkeypatch):
    before = calibration(run)
    before = before[before["fold"] == 0].reset_index(drop=True)
    tested = in_test_fold(run, SPLIT)
    pd.testing.assert_frame_equal(recalibrated(run, monkeypatch, tested), before)

    ids = index(run)["id"]
    held_out = before.loc[before["inner"] == 1, "id"].unique()
    spoilt = held_out[: len(held_out) // 2]
    after = recalibrated(run, monkeypatch, ids.isin(spoilt).to_numpy())
    apart = (before["inner"] == 1) & ~before["id"].isin(spoilt)
    values = [name for name in before if name.startswith("p:")]
    np.testing.assert_allclose(after.loc[apart, values], before.loc[apart, values], rtol=0, atol=1e-6)
    others = before["inner"] != 1  # their models did learn from the spoilt images
    assert np.nanmax(np.abs(after.loc[others, values] - before.loc[others, values])) > 1e-3
    recalibrated(run, monkeypatch, np.zeros(len(ids), dtype=bool))


def test_a_class_that_an_inner_part_lacks_is_said_and_gets_nothing(run, monkeypatch, tmp_path):
    def lopsided(labels, groups, n_folds, *, seed):
        lone, rest = np.flatnonzero(labels == "marks"), np.flatnonzero(labels == "flowlines")
        return [
            lone,
            rest[:1],
            np.setdiff1d(np.arange(len(labels)), [*lone, rest[0]]),
            np.arange(len(labels)),
        ]

    monkeypatch.setattr(module, "inner_parts", lopsided)
    run.store.forget("predictions/calibration")
    table = calibration(run)
    here = [note for note in table.attrs["absent"] if note["split"] == SPLIT]
    classes = index(run).attrs["classes"]
    assert here == [
        {"split": SPLIT, "repeat": 0, "inner": 0, "classes": ["marks"], "fitted": True},
        {"split": SPLIT, "repeat": 0, "inner": 2, "classes": ["good"], "fitted": True},
        {"split": SPLIT, "repeat": 0, "inner": 3, "classes": classes, "fitted": False},
    ]
    lone = table[(table["inner"] == 0) & (table["task"] == "multiclass")]
    assert set(lone["label"]) == {"marks"} and (lone["p:marks"] == 0).all()
    assert 3 not in set(table["inner"])
    monkeypatch.undo()
    run.store.forget("predictions/calibration")
    assert calibration(run).attrs["absent"] == []


def test_as_many_processes_as_cores_and_the_same_bytes(run, tmp_path, monkeypatch):
    seen = []

    def spy(*args, **kwargs):
        seen.append(kwargs["processes"])
        return run_tasks(*args, **kwargs)

    run_tasks = module.run_tasks
    monkeypatch.setattr(module, "run_tasks", spy)
    monkeypatch.setattr(module, "WORTH_PROCESSES", 0)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    twin = make_run(tmp_path)
    predictions(twin, "imbalance")
    calibration(twin)
    assert seen == [2, 2, 2]
    for name in ("classification", "imbalance", "calibration"):
        file = f"predictions/{name}.parquet"
        assert twin.store.digest(file) == run.store.digest(file), name
    monkeypatch.setattr(module, "WORTH_PROCESSES", 10**9)
    run.store.forget("predictions/calibration")
    calibration(run)
    assert seen[-1] == 1


def test_repeats_get_other_inner_folds(run, tmp_path):
    twice = replace(run, study=replace(run.study, repeats=2), study_dir=str(tmp_path))
    table = calibration(twice)
    rows = table[(table["fold"] == 0) & (table["features"] == "image") & (table["task"] == "multiclass")]
    inner = rows.pivot(index="id", columns="repeat", values="inner")
    assert inner.notna().all(axis=None) and (inner[0] != inner[1]).any()
