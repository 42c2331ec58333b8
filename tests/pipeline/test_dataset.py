"""Which images a study has and how they are dealt to folds, and what is refused before anything starts."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.cli import parser, plan
from lib.config import Study, UsageError
from lib.pipeline.dataset import (
    FINAL,
    folds,
    in_test_fold,
    index,
    load_images,
    parse_split,
    repeated,
    sample_rows_per_class,
    splits,
)
from lib.pipeline.run import Run, open_run
from lib.synthetic.products import image_counts
from run_all import check_data
from tests.pipeline.conftest import make_run
from tests.pipeline.plates import draw_plates


def check(data, output, **settings):
    command = f"--data {data} --preset smoke --output {output} --weights random-init".split()
    command += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    check_data(plan(parser().parse_args(command)))


def test_names_tell_drawn_products_from_real_data(tmp_path):
    assert make_run(tmp_path).name == "deco_cap-synthetic"
    (tmp_path / "deco_cap").mkdir()
    real = open_run("deco_cap", "smoke", str(tmp_path), str(tmp_path))
    assert (real.name, real.data_dir) == ("deco_cap", str(tmp_path / "deco_cap"))


def test_a_product_drawn_anew_leaves_nothing_of_the_former(tmp_path):
    for scale in (0.06, 0.01):
        drawn = index(make_run(tmp_path, synthetic_scale=scale, synthetic_side=32))
        assert drawn["label"].value_counts().to_dict() == image_counts("deco_cap", scale)


def test_the_images_are_listed_once_for_as_long_as_a_run_lives(tmp_path, monkeypatch):
    """Every step asks for the index, and a folder may hold thousands of images."""
    first, listed = make_run(tmp_path), []
    digest = lambda folder: listed.append(folder) or "same"  # noqa: E731
    monkeypatch.setattr("lib.pipeline.dataset.listing_digest", digest)
    table = index(first)
    table["label"] = "altered by a caller"
    assert "altered by a caller" not in set(index(first)["label"])
    splits(first), in_test_fold(first, splits(first)[0])
    assert len(listed) == 1
    for other in (replace(first), pickle.loads(pickle.dumps(first))):  # opened anew, and on a worker
        assert other == first and index(other).equals(index(first))
    assert len(listed) == 3
    name, other = splits(first)[:2]
    mask = in_test_fold(first, name)
    expected, mask[:] = mask.tolist(), False
    assert in_test_fold(first, name).tolist() == expected != in_test_fold(first, other).tolist()


def test_each_image_is_tested_once_per_scheme(run):
    table = folds(run)
    assert (table.groupby(["scheme", "id"]).size() == 1).all()
    assert set(table["id"]) == set(index(run)["id"])
    assert sum(in_test_fold(run, name).sum() for name in splits(run)) == len(index(run))


def test_a_split_s_name_says_scheme_fold_and_repeat(run):
    assert parse_split("grouped-10-repeat-2") == ("grouped", 10, 2, "grouped-10")
    assert parse_split(FINAL) == ("final", 0, 0, FINAL)
    twice = replace(run, study=replace(run.study, repeats=2))
    assert repeated(run, splits(run)) == splits(run) == splits(twice) == ["stratified-0", "stratified-1"]
    both = repeated(twice, splits(twice))
    assert both == [*splits(run), "stratified-0-repeat-1", "stratified-1-repeat-1"]
    for name in both:
        np.testing.assert_array_equal(in_test_fold(run, name), in_test_fold(run, parse_split(name).of_fold))


def test_samples_of_each_class_are_read_with_their_masks(run):
    rows = sample_rows_per_class(index(run), 3)
    assert list(rows) == index(run).attrs["classes"]
    images, masks = load_images(run, rows["marks"], 48)
    assert images.shape == (3, 48, 48, 3)
    assert all(mask.any() for mask in masks)


def test_a_study_without_images_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="--data"):
        index(Run("magnetic_tile_x", Study.of("smoke"), str(tmp_path)))


def test_good_images_of_one_object_are_refused_where_guides_need_another(tmp_path):
    data = draw_plates(tmp_path / "plates")
    rows = pd.read_csv(data / "groups.csv")
    good = rows["id"].str.startswith("good/")
    # two objects of good images: each fold tests one of them
    rows.loc[good, "group"] = np.where(rows.loc[good, "id"].str.contains(r"/[0-5]-"), "first", "second")
    rows.loc[~good, "group"] = rows.loc[~good, "id"]
    rows.to_csv(data / "groups.csv", index=False)
    with pytest.raises(UsageError, match=r"show one object.*guided=false"):
        check(data, tmp_path / "out")
    check(data, tmp_path / "out", guided="false")


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("folds", 5, r"hole has 2; choose 2 folds or fewer \(--set folds=2\)"),
        ("map_fit", "cross_fitted", r"good groups: 1\) cannot be shared out .*map_fit=in_sample"),
    ],
)
def test_folds_and_halves_that_groups_do_not_allow_are_refused(setting, value, message, tmp_path):
    data = draw_plates(tmp_path / "plates")
    groups = pd.read_csv(data / "groups.csv")
    number = groups["group"].str.extract(r"(\d+)")[0].astype(int)
    few = groups["id"].str.startswith("hole") | (setting != "folds")
    groups.assign(group=number.where(~few, number % 2)).to_csv(data / "groups.csv", index=False)
    with pytest.raises(UsageError, match=message):
        check(data, tmp_path, **{setting: value})
