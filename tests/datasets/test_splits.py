import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib.datasets.catalog import build_index
from lib.datasets.splits import (
    TEST_ROW,
    FoldError,
    describe_folds,
    inner_parts,
    make_folds,
    make_inner_folds,
    schemes_for,
)

TILES = Path(__file__).parents[2] / ".." / "shared" / "data" / "magnetic_tile"


def an_index(groups_per_class: dict[str, int], per_group: int = 3) -> pd.DataFrame:
    rows = [
        (f"{label}/{group}-{shot}.png", label, f"{label}-{group}")
        for label, count in groups_per_class.items()
        for group in range(count)
        for shot in range(per_group)
    ]
    return pd.DataFrame(rows, columns=["id", "label", "group"]).astype("string")


INDEX = an_index({"good": 20, "crack": 7, "dent": 5})


@pytest.mark.parametrize("scheme", ["stratified", "grouped"])
def test_every_image_is_tested_once_and_classes_are_spread(scheme):
    folds = make_folds(INDEX, 5, 1, scheme)
    assert list(folds.columns) == ["id", "scheme", "fold"]
    assert folds["id"].tolist() == sorted(INDEX["id"]) and set(folds["scheme"]) == {scheme}
    assert set(folds["fold"]) == set(range(5))
    assert (describe_folds(INDEX, folds) > 0).all(axis=None)


def test_stratified_shares_are_even_to_one_image():
    counts = describe_folds(INDEX, make_folds(INDEX, 4, 1, "stratified"))
    assert (counts.max() - counts.min() <= 1).all()


def test_no_group_stands_in_two_folds_and_stratified_would_have_split_them():
    together = {}
    for scheme in ("grouped", "stratified"):
        table = make_folds(INDEX, 5, 1, scheme).merge(INDEX, on="id")
        together[scheme] = table.groupby("group")["fold"].nunique()
    assert (together["grouped"] == 1).all()
    assert (together["stratified"] > 1).any()


@pytest.mark.parametrize("scheme", ["stratified", "grouped"])
def test_the_seed_decides_and_the_order_of_rows_does_not(scheme):
    first = make_folds(INDEX, 3, 1, scheme)
    shuffled = INDEX.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(make_folds(shuffled, 3, 1, scheme), first)
    assert (make_folds(INDEX, 3, 2, scheme)["fold"] != first["fold"]).any()


def test_a_group_across_classes_stays_whole():
    index = INDEX.copy()
    index["group"] = index["group"].str.extract(r"(\d+)$")[0]
    table = make_folds(index, 3, 0, "grouped").merge(index, on="id")
    assert (table.groupby("group")["fold"].nunique() == 1).all()


def test_too_few_images_or_groups_are_named_with_what_is_possible():
    index = an_index({"good": 9, "crack": 4, "dent": 3}, per_group=1)
    said = r"5 folds need 5 images of every class: crack has 4, dent has 3; choose 3 folds or fewer \(--set folds=3\)"
    with pytest.raises(FoldError, match=said):
        make_folds(index, 5, 0, "stratified")
    make_folds(index, 3, 0, "stratified")
    with pytest.raises(FoldError, match=r"6 groups of every class: dent has 5; choose 5 folds or fewer"):
        make_folds(INDEX, 6, 0, "grouped")
    make_folds(INDEX, 6, 0, "stratified")
    with pytest.raises(FoldError, match="no number of folds is possible: add groups to dent"):
        make_folds(an_index({"good": 5, "dent": 1}), 2, 0, "grouped")


def from_counts(table: list[list[int]]) -> pd.DataFrame:
    """Make an index from the number of images per group (row) and class (column)."""
    rows = [
        (f"{label}/{group}-{shot}.png", str(label), str(group))
        for group, counts in enumerate(table)
        for label, count in enumerate(counts)
        for shot in range(count)
    ]
    return pd.DataFrame(rows, columns=["id", "label", "group"]).astype("string")


def test_a_class_absent_from_a_test_fold_is_told_not_hidden():
    index = from_counts([[2, 20, 0], [1, 20, 5], [1, 1, 1], [2, 1, 5]])
    counts = describe_folds(index, make_folds(index, 3, 0, "grouped"))
    assert (counts["2"] == 0).sum() == 1 and counts["2"].sum() == 11


def test_a_class_that_no_training_part_would_hold_is_refused():
    with pytest.raises(FoldError, match="all images of 1 fall into one test fold"):
        make_folds(from_counts([[2, 0, 2], [1, 1, 1], [20, 20, 0]]), 2, 0, "grouped")


def test_schemes():
    assert schemes_for("auto", grouped=True) == ("grouped", "stratified")
    assert schemes_for("auto", grouped=False) == ("stratified",)
    assert schemes_for("stratified", grouped=True) == ("stratified",)
    assert schemes_for("grouped", grouped=True) == ("grouped",)
    with pytest.raises(FoldError, match="--groups"):
        schemes_for("grouped", grouped=False)


LABELS = np.repeat(["good", "big", "stripe"], [30, 12, 6])
GROUPS = np.array([f"part {number // 3}" for number in range(48)])
TESTED = np.arange(48) % 12 < 3  # every fourth group


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["images", "groups"])
def test_inner_parts_hold_every_row_once_and_spread_the_classes(groups):
    first, second = inner_parts(LABELS, groups, 2, seed=1)
    assert sorted([*first, *second]) == list(range(48))
    assert set(LABELS[first]) == set(LABELS[second]) == {"good", "big", "stripe"}
    assert (not set(GROUPS[first]) & set(GROUPS[second])) == (groups is not None)
    again, other = (inner_parts(LABELS, groups, 2, seed=seed)[0].tolist() for seed in (1, 2))
    assert first.tolist() == again != other


def test_a_class_of_one_group_stays_whole_without_a_warning():
    groups = np.where(LABELS == "stripe", "the one", GROUPS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = inner_parts(LABELS, groups, 3, seed=1)
    assert sorted((LABELS == "stripe")[part].sum() for part in parts) == [0, 0, 6]


def test_no_more_inner_parts_than_images_of_the_largest_class_or_groups():
    assert sorted(map(len, inner_parts(["good", "good", "big"], None, 5, seed=0))) == [1, 2]
    assert [len(part) for part in inner_parts(LABELS, np.full(48, "all"), 3, seed=0)] == [48]


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["images", "groups"])
def test_inner_folds_share_out_training_images_and_no_test_image(groups):
    inner = make_inner_folds(LABELS, groups, TESTED, "good", 1)
    assert (inner[TESTED] == TEST_ROW).all() and set(inner[~TESTED]) == {0, 1}
    for name in np.unique(LABELS):
        first, second = np.bincount(inner[(name == LABELS) & ~TESTED])
        assert abs(first - second) <= (1 if groups is None else 3), name
    split = [len(set(inner[group == GROUPS])) > 1 for group in np.unique(GROUPS)]
    assert any(split) == (groups is None)
    again, other = (make_inner_folds(LABELS, groups, TESTED, "good", seed) for seed in (1, 2))
    assert np.array_equal(inner, again) and not np.array_equal(inner, other)


def test_a_class_of_one_lies_in_one_inner_fold_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inner = make_inner_folds(np.array(["good"] * 6 + ["dent"]), None, np.zeros(7, bool), "good", 0)
    assert inner[6] in (0, 1)


@pytest.mark.parametrize("groups", [None, np.array(["a", "a", "b", "b"])])
def test_inner_folds_without_good_images_are_refused_with_a_way_out(groups):
    labels = np.array(["good", "good", "dent", "dent"])
    tested = np.zeros(4, bool) if groups is not None else np.array([False, True, False, False])
    with pytest.raises(FoldError, match=r"good (images|groups): 1\) cannot be shared out .*map_fit=in_sample"):
        make_inner_folds(labels, groups, tested, "good", 0)


@pytest.mark.skipif(not TILES.is_dir(), reason="the magnetic tile images are not at ../shared")
def test_magnetic_tiles_allow_five_grouped_folds_and_not_ten():
    index = build_index(TILES)
    counts = describe_folds(index, make_folds(index, 5, 744, "grouped"))
    assert (counts > 0).all(axis=None) and counts.to_numpy().sum() == 1344
    with pytest.raises(FoldError, match="fray has 8; choose 8 folds or fewer"):
        make_folds(index, 10, 744, "grouped")
