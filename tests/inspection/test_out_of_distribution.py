"""What is out of distribution: distances against brute force, groups left out, ranges with their margins."""

import numpy as np
import pytest

from lib.inspection.out_of_distribution import ood_reasons, training_reference


def labelled(n=150, groups=None):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(n, 6)).astype(np.float32) * np.float32([1, 2, 3, 1, 1, 0])
    sizes = np.column_stack([np.full(n, 60), np.full(n, 40)])
    groups = np.arange(n) if groups is None else groups
    return embeddings, groups, sizes, np.column_stack([np.linspace(0.4, 0.6, n), np.linspace(0.1, 0.2, n)])


def test_distances_are_to_the_nearest_of_another_group():
    embeddings, _, *rest = labelled()
    groups = np.repeat(np.arange(75), 2)
    embeddings[1::2] = embeddings[::2] + 1e-3  # two shots of each object
    reference = training_reference(embeddings, groups, *rest)
    scaled = (embeddings - reference.centre) / reference.spread
    apart = np.sqrt(((scaled[:, None] - scaled[None]) ** 2).mean(axis=2))
    apart[groups[:, None] == groups] = np.inf
    np.testing.assert_allclose(reference.distances, apart.min(axis=1), rtol=1e-4)
    assert reference.distances.min() > 10 * 1e-3
    alone = training_reference(embeddings, np.arange(150), *rest)
    assert alone.limit < reference.limit, (
        "an object's other shot would put every new object out of distribution"
    )


def test_one_in_a_hundred_labelled_images_lies_beyond_the_limit():
    reference = training_reference(*labelled(200))
    assert (reference.distances > reference.limit).sum() == 1
    assert reference.rate == 0.01
    few = training_reference(*labelled(20))
    assert few.limit == few.distances.max()
    assert few.rate == pytest.approx(1 / 21)


def test_new_images_like_the_labelled_ones_rarely_lie_beyond_the_limit():
    reference = training_reference(*labelled(400))
    rng = np.random.default_rng(9)
    new = rng.normal(size=(1000, 6)).astype(np.float32) * np.float32([1, 2, 3, 1, 1, 0])
    distances, _ = reference.nearest(new)
    assert (distances > reference.limit).mean() < 0.03
    assert (reference.nearest(new + 8)[0] > reference.limit).all()


def test_the_nearest_is_named_and_a_labelled_image_is_at_no_distance():
    embeddings, *rest = labelled()
    reference = training_reference(embeddings, *rest)
    distances, rows = reference.nearest(embeddings[[7, 3]])
    assert rows.tolist() == [7, 3]
    assert distances.max() < 1e-6


@pytest.mark.parametrize(
    ("kind", "inside", "outside"),
    [
        ("size", (119, 79), (125, 85)),
        ("size", (31, 21), (29, 19)),
        ("width by height", (70, 40), (80, 40)),
        ("brightness", 0.64, 0.66),
        ("brightness", 0.36, 0.34),
        ("contrast", 0.07, 0.06),
        ("contrast", 0.29, 0.31),
    ],
)
def test_each_range_has_its_margin(kind, inside, outside):
    reference = training_reference(*labelled())

    def reasons(value):
        of = {"size": (60, 40), "brightness": 0.5, "contrast": 0.15}
        of["size" if isinstance(value, tuple) else kind] = value
        exposure = np.array([[of["brightness"], of["contrast"]]])
        return ood_reasons(reference, np.array([of["size"]]), exposure, np.zeros(1))[0]

    assert reasons(inside) == ()
    assert len(reasons(outside)) == 1
    assert kind in reasons(outside)[0]


def test_one_group_alone_says_nothing_of_distances():
    embeddings, _, *rest = labelled()
    with pytest.raises(ValueError, match="one group"):
        training_reference(embeddings, np.zeros(150), *rest)
