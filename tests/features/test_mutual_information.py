import tracemalloc

import numpy as np
import pytest
from sklearn.feature_selection import mutual_info_classif

from lib.features.mutual_information import estimate_mutual_information, n_selected, select


def labelled(n: int, d: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Columns of which every third depends on the class."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = generator.normal(size=(n, d)) + 0.7 * y[:, None] * (np.arange(d) % 3 == 0)
    return X, np.array([f"class {i}" for i in y])


def assert_equals_sklearn(X: np.ndarray, y: np.ndarray, seed: int = 5, n_neighbors: int = 3) -> None:
    expected = mutual_info_classif(X, y, random_state=seed, n_neighbors=n_neighbors)
    actual = estimate_mutual_information(X, y, seed=seed, n_neighbors=n_neighbors)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("n", "d", "classes"), [(12, 4, 3), (60, 5, 2), (401, 9, 4), (1500, 3, 6)])
@pytest.mark.parametrize("n_neighbors", [1, 3, 8])
def test_equals_sklearn(n: int, d: int, classes: int, n_neighbors: int) -> None:
    X, y = labelled(n, d, classes)
    assert_equals_sklearn(X, y, n_neighbors=n_neighbors)
    assert_equals_sklearn(np.asfortranarray(X.astype(np.float32)), y, seed=9, n_neighbors=n_neighbors)


def test_equals_sklearn_on_ties_and_constant_columns() -> None:
    X, y = labelled(300, 12, 3)
    X[:, 0] = 7.0
    X[:, 1] = 0.0
    X[:, 2] = np.round(X[:, 2])
    X[:, 3] = np.maximum(X[:, 3], 0)  # as features behind a ReLU: half of them zero
    X[:, 4] = X[:, 5] = y == "class 1"
    X[:, 6] += 1e7
    X[:, 7] *= 1e-9
    X[:, 8] = 1e6  # noise of 1e-4 on a coarse grid of floats
    X[150:, 9:] = X[:150, 9:]
    assert_equals_sklearn(X, y)


@pytest.mark.parametrize("members", range(1, 10))
def test_equals_sklearn_with_a_small_class(members: int) -> None:
    """One member: left out. Up to seven: scikit-learn compares pairs by another, rougher formula."""
    X, y = labelled(200, 8, 2)
    X[:, 4:] = np.round(X[:, 4:])
    rare = np.concatenate([np.full(members, "rare"), y[members:]])
    assert_equals_sklearn(X, rare)


def test_blocks_of_columns_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = labelled(150, 11, 3)
    whole = estimate_mutual_information(X, y, seed=1)
    monkeypatch.setattr(estimate_mutual_information, "BLOCK_VALUES", 450)  # three columns at a time
    np.testing.assert_array_equal(estimate_mutual_information(X, y, seed=1), whole)


def test_informative_columns_score_higher_and_the_seed_matters_for_noise_only() -> None:
    X, y = labelled(600, 9, 2)
    X[:, ::3] += y[:, None] == "class 1"
    scores = estimate_mutual_information(X, y, seed=0)
    assert scores[[0, 3, 6]].min() > 0.1 + scores[[1, 2, 4, 5, 7, 8]].max()
    np.testing.assert_allclose(scores, estimate_mutual_information(X, y, seed=1), atol=1e-6)
    X[:, 1] = np.round(X[:, 0])  # ties, which the noise takes apart
    assert estimate_mutual_information(X, y, seed=0)[1] != estimate_mutual_information(X, y, seed=1)[1]


def test_leaves_its_input_and_the_global_generator_alone() -> None:
    X, y = labelled(50, 3, 2)
    before = X.copy()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    estimate_mutual_information(X, y, seed=0)
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
    ("X", "y", "n_neighbors", "message"),
    [
        ([[1.0], [np.nan], [2.0]], ["a", "a", "b"], 3, "NaN"),
        ([[1.0], [2.0]], ["a", "a", "b"], 3, "inconsistent"),
        ([[1.0], [2.0]], ["a", "b"], 3, "no class has two members"),
        ([[1.0], [2.0]], ["a", "a"], 0, "n_neighbors must be at least 1, not 0"),
    ],
)
def test_refuses(X: list, y: list, n_neighbors: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_mutual_information(X, y, seed=0, n_neighbors=n_neighbors)


def test_n_selected_is_the_root_rounded_down() -> None:
    assert [n_selected(n) for n in (1, 15, 16, 3824, 4_000_000)] == [1, 3, 4, 61, 2000]
    with pytest.raises(ValueError, match="0 training images"):
        n_selected(0)


SCORES = [0.1, 0.9, 0.8, 0.7, 0.2, 0.7]
SOURCES = ["image", "image", "image", "map", "map", "map"]


@pytest.mark.parametrize(
    ("how", "n_train", "chosen"),
    [
        ("sqrt_n", 9, [1, 2, 3]),  # columns 3 and 5 tie: the lower index wins
        ("sqrt_n", 16, [1, 2, 3, 5]),
        ("per_source", 4, [1, 2, 3, 5]),
        ("per_source", 1, [1, 3]),
        ("none", 4, [0, 1, 2, 3, 4, 5]),
        ("sqrt_n", 400, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_select(how: str, n_train: int, chosen: list[int]) -> None:
    assert select(SCORES, SOURCES, n_train, how).tolist() == chosen


def test_select_breaks_many_ties_by_index() -> None:
    scores = np.random.default_rng(0).integers(0, 2, 1024)
    assert (
        select(scores, ["image"] * 1024, 10_000, "sqrt_n").tolist() == np.flatnonzero(scores)[:100].tolist()
    )


@pytest.mark.parametrize(
    ("scores", "sources", "how", "message"),
    [
        ([1.0], ["image"], "best", "selection='best' is unknown: choose one of sqrt_n, per_source, none"),
        ([1.0, 2.0], ["image"], "sqrt_n", "one value per column"),
        ([1.0, np.nan], ["image", "map"], "sqrt_n", "column 1 has a score that is not finite"),
    ],
)
def test_select_refuses(scores: list, sources: list, how: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select(scores, sources, 4, how)
