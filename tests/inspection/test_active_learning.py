"""Active learning: what is chosen, in which order, and what is refused; by properties and by hand in one dimension."""

import numpy as np
import pandas as pd
import pytest

from lib.inspection.active_learning import NEAR, margin_uncertainty, standardised, suggest_labels, weighted_k_center


@pytest.fixture
def scene():
    """200 images in 16 columns, three classes, 20 labelled."""
    rng = np.random.default_rng(1)
    return rng.dirichlet(np.ones(3), 200), rng.normal(size=(200, 16)), rng.normal(size=(20, 16))


def test_all_rows_once_fewer_are_a_beginning_and_the_same_again(scene):
    everything = suggest_labels(*scene, 1000, seed=5)
    assert sorted(everything["row"]) == list(range(200))
    assert everything.index.tolist() == list(range(1, 201))
    assert everything["uncertainty"].to_numpy() == pytest.approx(margin_uncertainty(scene[0])[everything["row"]])
    assert not everything["reason"].str.contains("defect|good").any(), "no class is suspected"
    pd.testing.assert_frame_equal(everything.head(7), suggest_labels(*scene, 7, seed=5))


def test_the_order_of_the_files_does_not_matter(scene):
    probabilities, new, old = scene
    turned = suggest_labels(probabilities[::-1], new[::-1], old, 25)
    assert [199 - row for row in turned["row"]] == suggest_labels(*scene, 25)["row"].tolist()


def test_it_hesitates_most_where_two_classes_are_level():
    probabilities = [[0.5, 0.5, 0.0], [0.9, 0.05, 0.05], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]]
    assert margin_uncertainty(probabilities) == pytest.approx([1, 0.15, 1, 0])


def test_distances_count_what_was_chosen_before():
    """In one dimension: labelled at 0, images at 1, 4.5, 6 and 10; k-centre takes 10, then 4.5 or 6, by hand."""
    new, old = np.array([[1.0], [4.5], [6.0], [10.0]]), np.array([[0.0]])
    rows, distances = weighted_k_center(np.ones(4), new, old, 4)
    assert rows.tolist() == [3, 1, 2, 0]
    assert distances == pytest.approx([10, 4.5, 1.5, 1])


def test_of_two_equally_far_the_doubtful_one_and_of_two_equally_doubtful_the_far_one():
    old, apart = np.zeros((1, 2)), np.array([[3.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    assert suggest_labels([[0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], apart, old, 1)["row"].item() == 1
    on_a_line = [[1.0, 0.0], [9.0, 0.0], [2.0, 0.0]]
    assert suggest_labels([[0.6, 0.4]] * 3, on_a_line, old, 1)["row"].item() == 1


def test_equal_probabilities_leave_it_to_the_distance(scene):
    _, new, old = scene
    farthest = weighted_k_center(np.ones(200), *standardised(new, old), 15)[0]
    for equal in ([1 / 3, 1 / 3, 1 / 3], [1.0, 0, 0]):
        assert suggest_labels(np.tile(equal, (200, 1)), new, old, 15)["row"].tolist() == farthest.tolist()


@pytest.mark.parametrize("shake", [0.0, 0.02])
def test_the_same_image_twice_is_not_asked_for_twice(scene, shake):
    """The most doubtful image of all comes ten times; a labelled one comes again: each is asked for once, or not."""
    probabilities, new, old = scene
    rng = np.random.default_rng(2)
    probabilities[:11] = [0.5, 0.5, 0]
    new[:10] = new[0] + shake * rng.normal(size=(10, 16))
    new[10] = old[3] + shake * rng.normal(size=16)
    found = suggest_labels(probabilities, new, old, 200)
    assert found["row"].head(100).isin(range(11)).sum() == 1
    last = found.tail(10)
    assert set(last["row"]) <= set(range(11))
    assert last["reason"].str.contains("nearly the same").all()
    assert (last["distance"] < NEAR).all()


def test_a_column_with_a_large_scale_and_a_constant_one_change_nothing(scene):
    probabilities, new, old = scene
    scaled = [np.column_stack([part * [1e4, *[1] * 15], np.full(len(part), 7.0)]) for part in (new, old)]
    plain = suggest_labels(*scene, 20)["row"].tolist()
    assert suggest_labels(probabilities, *scaled, 20)["row"].tolist() == plain
    one, other = standardised(*np.split(np.random.default_rng(3).normal(size=(400, 64)), 2))
    assert np.median(np.linalg.norm(one - other, axis=1)) == pytest.approx(1, abs=0.05)
