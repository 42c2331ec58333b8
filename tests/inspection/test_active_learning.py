"""Active learning: what is chosen, in which order, and what is refused; by properties and by hand in one dimension."""

import numpy as np
import pandas as pd
import pytest

from lib.inspection.active_learning import (
    NEAR,
    margin_uncertainty,
    standardised,
    suggest_labels,
    weighted_k_center,
)


@pytest.fixture
def scene():
    """200 images in 16 columns, three classes, 20 labelled."""
    rng = np.random.default_rng(1)
    return rng.dirichlet(np.ones(3), 200), rng.normal(size=(200, 16)), rng.normal(size=(20, 16))


def test_every_row_once_as_many_as_asked_and_the_same_again(scene):
    found = suggest_labels(*scene, 30, seed=5)
    assert found.index.tolist() == list(range(1, 31))
    assert found["row"].is_unique
    assert found["row"].between(0, 199).all()
    assert found["uncertainty"].to_numpy() == pytest.approx(margin_uncertainty(scene[0])[found["row"]])
    pd.testing.assert_frame_equal(found, suggest_labels(*scene, 30, seed=5))


def test_more_than_there_are_gives_all_and_fewer_a_beginning_of_it(scene):
    everything = suggest_labels(*scene, 1000)
    assert sorted(everything["row"]) == list(range(200))
    pd.testing.assert_frame_equal(everything.head(7), suggest_labels(*scene, 7))


def test_the_order_of_the_files_does_not_matter(scene):
    chances, new, old = scene
    turned = suggest_labels(chances[::-1], new[::-1], old, 25)
    assert [199 - row for row in turned["row"]] == suggest_labels(chances, new, old, 25)["row"].tolist()


def test_it_hesitates_most_where_two_classes_are_level_and_never_with_one():
    chances = [[0.5, 0.5, 0.0], [0.9, 0.05, 0.05], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]]
    assert margin_uncertainty(chances) == pytest.approx([1, 0.15, 1, 0])
    assert margin_uncertainty(np.ones((4, 1))).tolist() == [0, 0, 0, 0]


def test_distances_count_what_was_chosen_before():
    """In one dimension: labelled at 0, images at 1, 4, 6 and 10; k-centre takes 10, then 4 or 6, by hand."""
    new, old = np.array([[1.0], [4.5], [6.0], [10.0]]), np.array([[0.0]])
    rows, distances = weighted_k_center(np.ones(4), new, old, 4)
    assert rows.tolist() == [3, 1, 2, 0]
    assert distances == pytest.approx([10, 4.5, 1.5, 1])


def test_of_two_equally_far_the_doubtful_one_and_of_two_equally_doubtful_the_far_one():
    old = np.zeros((1, 2))
    new = np.array([[3.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    assert suggest_labels([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], new, old, 3)["row"].tolist()[0] == 1
    assert (
        suggest_labels([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4]], [[1.0, 0], [9.0, 0], [2.0, 0]], old, 1)[
            "row"
        ].item()
        == 1
    )


def test_equal_probabilities_leave_it_to_the_distance(scene):
    _, new, old = scene
    level = suggest_labels(np.full((200, 3), 1 / 3), new, old, 15)
    certain = suggest_labels(np.tile([1.0, 0, 0], (200, 1)), new, old, 15)
    farthest = weighted_k_center(np.ones(200), *standardised(new, old), 15)[0]
    assert level["row"].tolist() == certain["row"].tolist() == farthest.tolist()


@pytest.mark.parametrize("shake", [0.0, 0.02])
def test_the_same_picture_twice_is_not_asked_for_twice(scene, shake):
    """The most doubtful image of all comes ten times; a labelled one comes again: each is asked for once, or not."""
    chances, new, old = scene
    chances, new = chances.copy(), new.copy()
    rng = np.random.default_rng(2)
    chances[:10], chances[10] = [0.5, 0.5, 0], [0.5, 0.5, 0]
    new[:10] = new[0] + shake * rng.normal(size=(10, 16))
    new[10] = old[3] + shake * rng.normal(size=16)
    found = suggest_labels(chances, new, old, 100)["row"]
    assert found.isin(range(10)).sum() == 1
    assert 10 not in found.to_numpy()
    everything = suggest_labels(chances, new, old, 200)
    assert set(everything["row"].tail(10)) <= set(range(11))
    assert everything["reason"].tail(10).str.contains("same picture").all()
    assert (everything["distance"].tail(10) < NEAR).all()


def test_a_doubtful_image_far_from_all_comes_before_a_sure_one(scene):
    chances, new, old = scene
    chances = np.tile([0.98, 0.01, 0.01], (200, 1))
    chances[42] = [0.5, 0.5, 0]
    assert suggest_labels(chances, new, old, 1)["row"].item() == 42


def test_nothing_labelled_yet(scene):
    chances, new, _ = scene
    found = suggest_labels(chances, new, np.empty((0, 16)), 10)
    assert found["row"].iloc[0] == margin_uncertainty(chances).argmax()
    assert np.isnan(found["distance"].iloc[0])
    assert found["distance"].iloc[1:].notna().all()
    assert "nothing labelled" in found["reason"].iloc[0]


def test_a_column_with_a_large_scale_and_a_dead_one_change_nothing(scene):
    chances, new, old = scene
    plain = suggest_labels(chances, new, old, 20)["row"].tolist()
    scaled = [np.column_stack([part * [1e4, *[1] * 15], np.full(len(part), 7.0)]) for part in (new, old)]
    assert suggest_labels(chances, *scaled, 20)["row"].tolist() == plain
    alike = suggest_labels(chances, np.ones((200, 16)), np.ones((20, 16)), 5)
    assert alike["row"].is_unique


def test_two_random_images_are_about_one_apart():
    new, old = standardised(*np.split(np.random.default_rng(3).normal(size=(400, 64)), 2))
    assert np.median(np.linalg.norm(new - old, axis=1)) == pytest.approx(1, abs=0.05)


def test_the_reason_names_no_class(scene):
    for reason in suggest_labels(*scene, 200)["reason"]:
        assert "defect" not in reason
        assert "good" not in reason


@pytest.mark.parametrize(
    ("place", "name"), [(0, "probabilities"), (1, "embeddings"), (2, "embeddings of labelled")]
)
def test_values_that_are_not_finite_are_refused_by_row(scene, place, name):
    changed = [array.copy() for array in scene]
    changed[place][[3, 9], 0] = np.nan
    with pytest.raises(ValueError, match=rf"{name}.* of row\(s\) \[3, 9\]"):
        suggest_labels(*changed, 5)
