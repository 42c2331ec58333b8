import warnings

import numpy as np
import pytest

from lib.classification.calibration import inner_parts, missing_classes

LABELS = np.repeat(["good", "big", "stripe"], [30, 12, 6])
GROUPS = np.array([f"{label}-{number // 3}" for number, label in enumerate(LABELS)])


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["images", "groups"])
def test_every_row_stands_in_one_part_and_classes_are_spread(groups: np.ndarray | None) -> None:
    parts = inner_parts(LABELS, groups, 2, seed=1)
    assert sorted(np.concatenate(parts).tolist()) == list(range(48))
    assert all(set(LABELS[part]) == {"good", "big", "stripe"} for part in parts)
    if groups is not None:
        assert not set(groups[parts[0]]) & set(groups[parts[1]])


def test_groups_make_the_difference_and_the_seed_decides() -> None:
    parts = inner_parts(LABELS, None, 3, seed=1)
    assert set(GROUPS[parts[0]]) & set(GROUPS[parts[1]])
    again, other = inner_parts(LABELS, None, 3, seed=1), inner_parts(LABELS, None, 3, seed=2)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))
    assert any(a.tolist() != b.tolist() for a, b in zip(parts, other, strict=True))


def test_a_class_of_one_group_is_absent_where_it_is_tested_and_named_there() -> None:
    groups = np.where(LABELS == "stripe", "the one", GROUPS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parts = inner_parts(LABELS, groups, 3, seed=1)
    missing = [
        missing_classes(LABELS, ~np.isin(np.arange(48), part), ["good", "big", "stripe", "dent"])
        for part in parts
    ]
    assert sorted(missing) == [[], [], ["stripe"]]
    tested = next(part for part, names in zip(parts, missing, strict=True) if names)
    assert (LABELS == "stripe")[tested].sum() == 6


def test_no_more_parts_than_the_largest_class_has_images() -> None:
    parts = inner_parts(["good", "good", "big"], None, 5, seed=0)
    assert sorted(map(len, parts)) == [1, 2]


def test_one_group_leaves_nothing_to_train_on() -> None:
    parts = inner_parts(LABELS, np.full(48, "all"), 3, seed=0)
    assert [len(part) for part in parts] == [48]
    assert missing_classes(LABELS, np.zeros(48, dtype=bool), ["good", "big", "stripe"]) == [
        "good",
        "big",
        "stripe",
    ]
