from pathlib import Path

import pandas as pd
import pytest

from lib.datasets import splits as folds_module
from lib.datasets.catalog import build_index
from lib.datasets.splits import FoldError, describe_folds, make_folds, schemes_for

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


def test_too_few_images_are_named_with_what_is_possible():
    index = an_index({"good": 9, "crack": 4, "dent": 3}, per_group=1)
    with pytest.raises(FoldError) as caught:
        make_folds(index, 5, 0, "stratified")
    assert (
        str(caught.value)
        == "5 folds need 5 images of every class: crack has 4, dent has 3; choose 3 folds or fewer "
        "(--set folds=3)"
    )
    make_folds(index, 3, 0, "stratified")


def test_too_few_groups_are_named_even_with_many_images():
    with pytest.raises(FoldError, match=r"6 groups of every class: dent has 5; choose 5 folds or fewer"):
        make_folds(INDEX, 6, 0, "grouped")
    make_folds(INDEX, 6, 0, "stratified")


def test_a_lone_group_makes_every_number_impossible():
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


def test_further_draws_bring_every_class_into_every_test_fold(monkeypatch):
    index = from_counts([[2, 0], [1, 1], [1, 1], [2, 2]])
    assert (describe_folds(index, make_folds(index, 3, 0, "grouped")) > 0).all(axis=None)
    monkeypatch.setattr(folds_module, "TRIES", 1)
    assert not (describe_folds(index, make_folds(index, 3, 0, "grouped")) > 0).all(axis=None)


def test_a_class_absent_from_a_test_fold_is_told_not_hidden():
    index = from_counts([[2, 20, 0], [1, 20, 5], [1, 1, 1], [2, 1, 5]])
    counts = describe_folds(index, make_folds(index, 3, 0, "grouped"))
    assert (counts["2"] == 0).sum() == 1 and counts["2"].sum() == 11


def test_a_class_that_no_training_part_would_hold_is_refused():
    with pytest.raises(FoldError, match="all images of 1 fall into one test fold"):
        make_folds(from_counts([[2, 0, 2], [1, 1, 1], [20, 20, 0]]), 2, 0, "grouped")


def test_bad_requests_are_refused():
    with pytest.raises(FoldError, match="at least 2"):
        make_folds(INDEX, 1, 0, "stratified")
    with pytest.raises(FoldError, match="'kfold' is unknown"):
        make_folds(INDEX, 3, 0, "kfold")
    without = INDEX.copy()
    without.loc[4, "group"] = pd.NA
    with pytest.raises(FoldError, match=r"'good/1-1\.png' has none"):
        make_folds(without, 3, 0, "grouped")
    with pytest.raises(ValueError, match="outside the index"):
        describe_folds(INDEX.iloc[1:], make_folds(INDEX, 3, 0, "grouped"))


def test_schemes():
    assert schemes_for("auto", grouped=True) == ("grouped", "stratified")
    assert schemes_for("auto", grouped=False) == ("stratified",)
    assert schemes_for("stratified", grouped=True) == ("stratified",)
    assert schemes_for("grouped", grouped=True) == ("grouped",)
    with pytest.raises(FoldError, match="--groups"):
        schemes_for("grouped", grouped=False)
    with pytest.raises(FoldError, match="'groups': choose auto"):
        schemes_for("groups", grouped=True)


@pytest.mark.skipif(not TILES.is_dir(), reason="the magnetic tile images are not at ../shared")
def test_magnetic_tiles_allow_five_grouped_folds_and_not_ten():
    index = build_index(TILES).index
    counts = describe_folds(index, make_folds(index, 5, 744, "grouped"))
    assert (counts > 0).all(axis=None) and counts.to_numpy().sum() == 1344
    with pytest.raises(FoldError, match="fray has 8; choose 8 folds or fewer"):
        make_folds(index, 10, 744, "grouped")
