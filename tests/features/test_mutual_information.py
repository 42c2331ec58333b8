import tracemalloc
from unittest import mock

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_classif

from lib.features import mutual_information
from lib.features.mutual_information import estimate_mutual_information, select


def labelled(n: int, d: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Columns of which every third depends on the class."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = generator.normal(size=(n, d)) + 0.7 * y[:, None] * (np.arange(d) % 3 == 0)
    return X, np.array([f"class {i}" for i in y])


def assert_equals_sklearn(X: np.ndarray, y: np.ndarray, n_neighbors: int = 3, atol: float = 1e-6) -> None:
    expected = mutual_info_classif(X, y, random_state=5, n_neighbors=n_neighbors)
    with mock.patch.object(mutual_information, "NEIGHBOURS", n_neighbors):
        actual = estimate_mutual_information(X, y, seed=5)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("n", "d", "classes"), [(60, 5, 2), (401, 9, 4), (1500, 3, 6)])
@pytest.mark.parametrize("n_neighbors", [1, 3, 8])
def test_equals_sklearn(n: int, d: int, classes: int, n_neighbors: int) -> None:
    X, y = labelled(n, d, classes)
    assert_equals_sklearn(X, y, n_neighbors)
    assert_equals_sklearn(np.asfortranarray(X.astype(np.float32)), y, n_neighbors)


def test_equals_sklearn_on_ties_and_constant_columns() -> None:
    X, y = labelled(300, 8, 3)
    X[:, 0] = 7.0
    X[:, 1] = 0.0
    X[:, 2] = np.maximum(X[:, 2], 0)  # as features behind a ReLU: half of them zero
    X[:, 3] = X[:, 4] = y == "class 1"
    X[:, 5] *= 1e-9
    assert_equals_sklearn(X[:, :6], y)
    X[:, 6] = np.round(X[:, 6], 1)  # many distances alike but for the noise
    X[:, 7] += 1e7
    assert_equals_sklearn(X[:, 6:], y, atol=5e-3)


@pytest.mark.parametrize("members", [1, 2, 5, 9])
def test_close_to_sklearn_with_a_small_class(members: int) -> None:
    """One member: left out. Up to seven: scikit-learn's neighbours in class come by another, rougher formula."""
    X, y = labelled(200, 8, 2)
    X[:, 4:] = np.maximum(X[:, 4:], 0)
    rare = np.concatenate([np.full(members, "rare"), y[members:]])
    assert_equals_sklearn(X, rare, atol=1e-2)


def test_blocks_of_columns_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = labelled(150, 11, 3)
    whole = estimate_mutual_information(X, y, seed=1)
    monkeypatch.setattr(mutual_information, "BLOCK_VALUES", 450)  # three columns at a time
    np.testing.assert_array_equal(estimate_mutual_information(X, y, seed=1), whole)


def test_the_seed_matters_for_ties_only_and_the_input_is_left_alone() -> None:
    X, y = labelled(200, 3, 2)
    X[:, 1] = np.round(X[:, 0])  # ties, which the noise takes apart
    before, state = X.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, other = (estimate_mutual_information(X, y, seed=seed) for seed in (0, 1))
    np.testing.assert_allclose(one[[0, 2]], other[[0, 2]], atol=1e-6)
    assert one[1] != other[1]
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_memory_is_a_small_multiple_of_the_input() -> None:
    X, y = labelled(2000, 800, 4)
    estimate_mutual_information(X[:, :2], y, seed=0)
    tracemalloc.start()
    estimate_mutual_information(X, y, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * X.nbytes  # all columns at once would take 13


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([[1.0], [np.nan], [2.0]], ["a", "a", "b"], "NaN"),
        ([[1.0], [2.0]], ["a", "a", "b"], "inconsistent"),
        ([[1.0], [2.0]], ["a", "b"], "no class has two members"),
    ],
)
def test_refuses(X: list, y: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_mutual_information(X, y, seed=0)


SCORES = [0.1, 0.9, 0.8, 0.7, 0.2, 0.7]
SOURCES = ["image", "image", "image", "map", "map", "map"]


@pytest.mark.parametrize(
    ("how", "n_train", "chosen"),
    [
        ("sqrt_n", 9, [1, 2, 3]),  # columns 3 and 5 tie: the lower index wins
        ("sqrt_n", 16, [1, 2, 3, 5]),
        ("per_source", 4, [1, 2, 3, 5]),
        ("per_source", 3, [1, 3]),  # the root is rounded down
        ("none", 4, [0, 1, 2, 3, 4, 5]),
        ("sqrt_n", 400, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_select(how: str, n_train: int, chosen: list[int]) -> None:
    assert select(SCORES, SOURCES, n_train, how).tolist() == chosen


def test_as_many_columns_as_the_root_of_the_images_and_of_ties_the_first() -> None:
    scores = np.random.default_rng(0).integers(0, 2, 1024)
    chosen = select(scores, ["image"] * 1024, 10_000, "sqrt_n")
    assert chosen.tolist() == np.flatnonzero(scores)[:100].tolist()
