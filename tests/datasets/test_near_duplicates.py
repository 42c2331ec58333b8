"""Near-duplicates are found whatever the file's quality, size and brightness, and pictures that differ are not."""

import io

import numpy as np
import pytest
from PIL import Image

from lib.datasets.image_io import resize_rgb
from lib.datasets.near_duplicates import alike_groups, joined, least_alike, signatures, small_pictures
from lib.synthetic.products import PRODUCTS, image_counts, render

SIDE = 64


@pytest.fixture(scope="module", params=PRODUCTS)
def drawn(request):
    """A hundred pictures of a product, good ones and defects, as they are drawn."""
    labels = list(image_counts(request.param, 1.0))
    scenes = [(labels[n % len(labels)], n) for n in range(100)]
    return [render(request.param, label, scene, 96, 0)[0] for label, scene in scenes]


def resaved(picture, quality, size=96):
    buffer = io.BytesIO()
    Image.fromarray(picture).resize((size, size)).save(buffer, "jpeg", quality=quality)
    return np.asarray(Image.open(buffer))


def groups_of(pictures):
    return alike_groups(small_pictures(np.stack([resize_rgb(one, SIDE) for one in pictures])))


def test_a_picture_saved_again_is_found_and_nothing_else(drawn):
    again = [resaved(drawn[3], 80), resaved(drawn[50], 95, size=70), (drawn[97] * 0.8 + 20).astype(np.uint8)]
    assert groups_of(drawn).tolist() == list(range(100))
    assert groups_of([*drawn, *again]).tolist() == [*range(100), 3, 50, 97]


def test_few_or_equal_pictures_make_no_false_pair_and_no_fault():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (20, 32, 32, 3), dtype=np.uint8)
    assert alike_groups(small_pictures(noise)).tolist() == list(range(20))
    assert alike_groups(small_pictures(noise[:1])).tolist() == [0]
    flat = np.full((4, 32, 32, 3), 7, np.uint8)
    assert np.isfinite(signatures(small_pictures(flat))).all()


def test_the_bound_is_lowest_for_a_thousand_and_never_above_one():
    assert least_alike(1000, 96) == pytest.approx(0.8)
    assert 0.8 < least_alike(4000, 96) < least_alike(50_000, 96) < least_alike(10**9, 96) + 1e-9 < 1
    assert least_alike(30, 10) > least_alike(90, 30)


def test_pairs_in_different_parts_are_compared(monkeypatch, drawn):
    monkeypatch.setattr("lib.datasets.near_duplicates.AT_ONCE", 7)
    assert groups_of([*drawn, resaved(drawn[2], 90)])[-1] == 2


def test_groups_are_joined_and_named_by_their_first_row():
    assert joined(np.array([0, 1, 0, 3, 1]), np.array([2]), np.array([3])).tolist() == [0, 1, 0, 0, 1]
    assert joined(np.arange(3), np.array([], int), np.array([], int)).tolist() == [0, 1, 2]
