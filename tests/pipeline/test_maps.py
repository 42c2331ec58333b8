"""Maps of every split, their scores and their quality."""

import shutil
from dataclasses import replace

import numpy as np
from PIL import Image

from lib.anomaly_maps.localization_metrics import image_auroc
from lib.draem import detector
from lib.pipeline.dataset import folds, index, load_images, splits
from lib.pipeline.detectors import fit_model
from lib.pipeline.maps import map_all, map_quality, maps
from lib.pipeline.run import open_run
from lib.reporting.figures_maps import read_thumbnails
from tests.pipeline.conftest import SETTINGS
from tests.pipeline.plates import draw_plates


def test_image_scores_cover_every_split(run):
    scores = map_all(run)
    assert set(scores["split"]) == set(splits(run))
    assert scores["score"].between(0, 1).all()
    assert scores.groupby("id")["tested"].sum().eq(1).all()


def test_the_quality_of_maps_is_the_mean_of_the_repeats(run, twice):
    one, both = map_quality(run), map_quality(twice)
    scores = map_all(twice).query("tested")
    again = scores[scores["split"].str.endswith("-repeat-1")].groupby("split")
    folds = [image_auroc(part["score"].to_numpy(), part["label"].to_numpy(), "good") for _, part in again]
    second = np.mean(folds, axis=0)
    assert not np.array_equal(second, one["image_auroc"])
    np.testing.assert_allclose(both["image_auroc"], (one["image_auroc"] + second) / 2)
    assert both["images"].equals(one["images"])
    assert not both["pixel_auroc"].equals(one["pixel_auroc"])


def test_a_mask_that_is_drawn_anew_changes_the_maps_quality(tmp_path):
    data = draw_plates(tmp_path / "plates")
    (data / "ground_truth" / "dent").mkdir(parents=True)
    mask = np.zeros((40, 56), np.uint8)
    mask[:20] = 255
    for number in range(12):
        Image.fromarray(mask).save(data / f"ground_truth/dent/{number // 2}-{number % 2}_mask.png")
    mine = open_run("plates", "smoke", str(data), str(tmp_path / "study"), SETTINGS)
    before = map_quality(mine)
    Image.fromarray(255 - mask).save(data / "ground_truth/dent/0-0_mask.png")
    assert not map_quality(mine).equals(before)
    assert map_quality(mine)["image_auroc"].equals(before["image_auroc"])


def test_textures_that_come_to_be_are_noticed(run, tmp_path, monkeypatch):
    folder = tmp_path / "dtd" / "banded"
    folder.mkdir(parents=True)
    for grey in (40, 200):
        Image.new("RGB", (32, 32), (grey, 90, 90)).save(folder / f"{grey}.png")
    shutil.copytree(run.study_dir, tmp_path / "study")
    other = replace(run, study_dir=str(tmp_path / "study"))
    assert fit_model(other, "stratified-0")["textures"].startswith("procedural")
    monkeypatch.setattr(detector, "DTD_ROOT", folder.parent)
    assert fit_model(other, "stratified-0")["textures"] == "DTD folder (2 images)"


def test_thumbnails_carry_the_map_of_the_fold_that_tests_them(run):
    table, layout = index(run), folds(run).set_index("id")["fold"]
    rows = (0, 5, len(table) - 1)
    wanted = [table["id"].iloc[row] for row in rows]
    found = read_thumbnails(run, "stratified", wanted, side=48)
    assert list(found) == wanted
    for row, name in zip(rows, wanted, strict=True):
        expected, other = (maps(run, f"stratified-{fold}")[row] for fold in (layout[name], 1 - layout[name]))
        assert np.array_equal(found[name].anomaly_map, expected)
        assert not np.array_equal(found[name].anomaly_map, other)
        (photo,), (mask,) = load_images(run, [row], 48)
        assert np.array_equal(found[name].image, photo)
        assert (found[name].mask is None) == (mask is None)
    assert found[wanted[-1]].mask.any()
