"""The chain: nothing from a test fold reaches DRAEM, and a changed setting redoes what depends on it, no more."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import lib.pipeline.classification as stage
from lib.classification.cross_validation import evaluate_fold
from lib.cli import parser, plan
from lib.config import Study, UsageError
from lib.draem import detector, training
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.pipeline.classification import calibration, predictions
from lib.pipeline.dataset import (
    folds,
    images,
    in_test_fold,
    index,
    load_images,
    sample_rows_per_class,
    splits,
)
from lib.pipeline.detectors import fit_model, load_model
from lib.pipeline.maps import map_all, maps
from lib.pipeline.quality import map_quality
from lib.pipeline.run import Run, open_run
from lib.reporting.figures_maps import read_thumbnails
from lib.synthetic import textures
from run_all import check_data
from tests.draem.official import export_official
from tests.pipeline.plates import draw_plates

SETTINGS = {"weights": "random-init", "leak_check": "none", "keep": (0.5, 1.0)}


def make_run(folder, **settings):
    return open_run("deco_cap", "smoke", "", str(folder), SETTINGS | settings)


def command_of(data, output):
    return f"--data {data} --preset smoke --output {output} --weights random-init".split()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("study"))
    predictions(run, "imbalance")
    calibration(run)
    return run


def test_names_tell_standins_from_real_data(tmp_path):
    assert make_run(tmp_path).name == "deco_cap-synthetic"
    (tmp_path / "deco_cap").mkdir()
    real = open_run("deco_cap", "smoke", str(tmp_path), str(tmp_path))
    assert (real.name, real.data_dir) == ("deco_cap", str(tmp_path / "deco_cap"))


def test_draem_sees_good_training_images_only(run, monkeypatch):
    table, stack = index(run), images(run, run.study.image_size)
    seen = {}

    def spy(pictures, *args, **kwargs):
        seen["pictures"] = np.array(pictures)
        raise InterruptedError

    monkeypatch.setattr(training, "train", spy)
    run.store.forget("draem/stratified-0")
    with pytest.raises(InterruptedError):
        fit_model(run, "draem", "stratified-0")
    allowed = (table["label"] == "good").to_numpy() & ~in_test_fold(run, "stratified-0")
    assert np.array_equal(seen["pictures"], stack[allowed])
    assert 0 < allowed.sum() < (table["label"] == "good").sum()
    monkeypatch.undo()
    fit_model(run, "draem", "stratified-0")


def test_a_mask_that_is_drawn_anew_changes_the_maps_quality(tmp_path):
    data = draw_plates(tmp_path / "plates")
    (data / "ground_truth" / "dent").mkdir(parents=True)
    for number in range(12):
        mask = np.zeros((40, 56), np.uint8)
        mask[:20] = 255
        Image.fromarray(mask).save(data / f"ground_truth/dent/{number // 2}-{number % 2}_mask.png")
    mine = open_run("plates", "smoke", str(data), str(tmp_path / "study"), SETTINGS)
    before = map_quality(mine)
    Image.fromarray(255 - mask).save(data / "ground_truth/dent/0-0_mask.png")
    assert not map_quality(mine).equals(before)
    assert map_quality(mine)["image_auroc"].equals(before["image_auroc"])


def test_good_images_of_one_object_are_refused_where_guides_need_another(tmp_path):
    data = draw_plates(tmp_path / "plates")
    rows = pd.read_csv(data / "groups.csv")
    good = rows["id"].str.startswith("good/")
    # two objects of good images: each fold tests one of them
    rows.loc[good, "group"] = np.where(rows.loc[good, "id"].str.contains(r"/[0-5]-"), "first", "second")
    rows.loc[~good, "group"] = rows.loc[~good, "id"]
    rows.to_csv(data / "groups.csv", index=False)
    command = command_of(data, tmp_path / "out")
    with pytest.raises(UsageError, match=r"show one object.*guided_baseline=own_background"):
        check_data(plan(parser().parse_args(command)))
    check_data(plan(parser().parse_args([*command, "--set", "guided_baseline=own_background"])))


def test_each_image_is_tested_once_per_scheme(run):
    table = folds(run)
    assert (table.groupby(["scheme", "id"]).size() == 1).all()
    assert set(table["id"]) == set(index(run)["id"])
    assert sum(in_test_fold(run, name).sum() for name in splits(run)) == len(index(run))


def test_the_same_study_gives_the_same_bytes(run, tmp_path):
    twin = make_run(tmp_path)
    predictions(twin, "imbalance")
    for name in (
        "folds.parquet",
        "draem/stratified-1.safetensors",
        "maps/stratified-0.npy",
        "predictions/imbalance.parquet",
    ):
        assert twin.store.digest(name) == run.store.digest(name), name


def test_another_seed_gives_other_predictions(run, tmp_path):
    twin = make_run(tmp_path, seed=1)
    mine, other = predictions(run, "classification")[0], predictions(twin, "classification")[0]
    assert not np.allclose(mine["p:good"].dropna(), other["p:good"].dropna())


def test_textures_that_come_to_be_are_noticed(run, tmp_path, monkeypatch):
    folder = tmp_path / "dtd" / "banded"
    folder.mkdir(parents=True)
    for grey in (40, 200):
        Image.new("RGB", (32, 32), (grey, 90, 90)).save(folder / f"{grey}.png")
    shutil.copytree(run.study_dir, tmp_path / "study")
    other = replace(run, study_dir=str(tmp_path / "study"))
    assert fit_model(other, "draem", "stratified-0")["textures"].startswith("procedural")
    monkeypatch.setattr(textures, "DTD_ROOT", folder.parent)
    detector._texture_bank.cache_clear()
    assert fit_model(other, "draem", "stratified-0")["textures"] == "DTD folder (2 images)"
    detector._texture_bank.cache_clear()


def test_image_scores_cover_every_split(run):
    scores = map_all(run)
    assert set(scores["split"]) == set(splits(run))
    assert scores["score"].between(0, 1).all()
    assert scores.groupby("id")["tested"].sum().eq(1).all()


def test_official_checkpoints_replace_training(run, tmp_path):
    export_official(tmp_path, "model_", ReconstructiveNetwork(8, seed=1), DiscriminativeNetwork(8, seed=2))
    other = replace(
        run, study=replace(run.study, draem_checkpoint=str(tmp_path)), study_dir=str(tmp_path / "s")
    )
    assert fit_model(other, "draem", "stratified-0")["origin"] == "official checkpoint"
    mine = load_model(other, "draem", "stratified-0").reconstructive.state_dict()
    expected = ReconstructiveNetwork(8, seed=1).state_dict()
    assert all((mine[key] == expected[key]).all() for key in expected)


def test_closeups_and_samples(run):
    rows = sample_rows_per_class(index(run), 3)
    assert list(rows) == index(run).attrs["classes"]
    pictures, outlines = load_images(run, rows["marks"], 48)
    assert pictures.shape == (3, 48, 48, 3)
    assert all(mask.any() for mask in outlines)


def test_read_thumbnails_errors_carry_the_map_of_the_fold_that_tests_them(run):
    table, layout = index(run), folds(run).set_index("id")["fold"]
    wanted = [table["id"].iloc[row] for row in (0, 5, len(table) - 1)]
    found = read_thumbnails(run, "stratified", wanted, side=48)
    assert list(found) == wanted
    for row, name in zip((0, 5, len(table) - 1), wanted, strict=True):
        expected, other = (maps(run, f"stratified-{fold}")[row] for fold in (layout[name], 1 - layout[name]))
        assert np.array_equal(found[name].anomaly_map, expected)
        assert not np.array_equal(found[name].anomaly_map, other)
        (photo,), (mask,) = load_images(run, [row], 48)
        assert np.array_equal(found[name].image, photo)
        assert (found[name].mask is None) == (mask is None)
    assert found[wanted[-1]].mask.any()


def test_a_study_without_pictures_says_what_to_do(tmp_path):
    run = Run("magnetic_tile_x", Study.of("smoke"), str(tmp_path))
    with pytest.raises(FileNotFoundError, match="--data"):
        index(run)


def test_predictions_hold_the_true_class_in_every_task(run):
    other = replace(run, study=replace(run.study, binary="separate"))
    table, notes = predictions(other, "classification")
    truth = index(run).set_index("id")["label"]
    assert set(table["task"]) == {"multiclass", "binary"}
    assert (table["label"] == table["id"].map(truth)).all()
    assert isinstance(notes, pd.DataFrame)
    assert {"k", "k_image", "k_map", "n_train"} <= set(notes)


def test_diagnostics_that_lack_a_column_are_made_again(run, monkeypatch):
    _, notes = predictions(run, "classification")
    both = notes.set_index("features").loc["image_map"]
    assert [len(told) for told in both["mi_map"]] == both["k_map"].tolist()
    made = []
    monkeypatch.setattr(stage, "evaluate_fold", lambda *a, **k: made.append(1) or evaluate_fold(*a, **k))
    predictions(run, "classification")
    assert not made
    monkeypatch.setattr(stage, "FIT_DIAGNOSTICS", (*stage.FIT_DIAGNOSTICS, "another"))
    predictions(run, "classification")
    assert len(made) == len(splits(run))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 5}, r"hole has 2; choose 2 folds or fewer \(--set folds=2\)"),
        ({"map_fit": "cross_fitted"}, r"1 group\(s\), cannot be shared out .*map_fit=in_sample"),
        ({"compare_map_fit": "true"}, "cannot be shared out"),
    ],
)
def test_folds_and_halves_that_groups_do_not_allow_are_refused_at_the_door(settings, message, tmp_path):
    data = draw_plates(tmp_path / "plates")
    groups = pd.read_csv(data / "groups.csv")
    number = groups["group"].str.extract(r"(\d+)")[0].astype(int)
    two = (
        number % 2
        if "folds" not in settings
        else number.where(~groups["id"].str.startswith("hole"), number % 2)
    )
    groups.assign(group=two).to_csv(data / "groups.csv", index=False)
    command = command_of(data, tmp_path)
    command += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    with pytest.raises(UsageError, match=message):
        check_data(plan(parser().parse_args(command)))
