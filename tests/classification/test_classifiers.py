import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lib.classification import classifiers
from lib.classification.classifiers import LOGISTIC_REGRESSION, fit

CLASSES = ["good", "big", "stripe"]  # not in alphabetical order


def blobs(seed: int = 0, n: int = 90) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = generator.normal(size=(n, 5)) + 3 * np.eye(3, 5)[y]
    return X.astype(np.float32), np.array(CLASSES)[y]


@pytest.fixture
def few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "MAX_ITERATIONS", 25)


def test_equals_scikit_learns_pipeline() -> None:
    X, y = blobs()
    test = blobs(1)[0]
    model = fit(X, y, CLASSES, hidden=(16, 8), seed=3)
    network = MLPClassifier((16, 8), random_state=3, max_iter=1000)
    expected = make_pipeline(StandardScaler(), network).fit(X, y)
    columns = [list(expected.classes_).index(name) for name in CLASSES]
    np.testing.assert_allclose(model.probabilities(test), expected.predict_proba(test)[:, columns], atol=1e-5)
    assert (model.iterations, model.converged) == (network.n_iter_, True)


def test_without_layers_it_is_a_logistic_regression_on_standardised_columns() -> None:
    X, y = blobs()
    X *= 100
    test = 100 * blobs(1)[0]
    model = fit(X, y, CLASSES, hidden=LOGISTIC_REGRESSION, scale="none")
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=1 / 5, max_iter=1000)).fit(X, y)
    columns = [list(expected.classes_).index(name) for name in CLASSES]
    np.testing.assert_allclose(model.probabilities(test), expected.predict_proba(test)[:, columns], atol=1e-5)
    assert (model.iterations, model.converged) == (expected[-1].n_iter_[0], True)


def test_predicts_in_the_order_of_the_classes() -> None:
    X, y = blobs()
    test, truth = blobs(1)
    for order in (CLASSES, CLASSES[::-1]):
        probabilities = fit(X, y, order, hidden=(16,)).probabilities(test)
        assert np.mean(np.array(order)[probabilities.argmax(axis=1)] == truth) > 0.9
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)


def test_a_class_absent_from_training_gets_probability_zero() -> None:
    X, y = blobs()
    seen = y != "big"
    probabilities = fit(X[seen], y[seen], CLASSES, hidden=(8,)).probabilities(X)
    assert (probabilities[:, 1] == 0).all()
    assert (probabilities[:, [0, 2]] > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)


@pytest.mark.usefixtures("few_passes")
def test_scale_decides_whether_units_matter() -> None:
    X, y = blobs()
    stretched = X * np.float32([1, 16, 256, 1, 1]) + np.float32([0, 0, 0, 512, 0])

    def change(scale: str) -> float:
        before, after = (
            fit(values, y, CLASSES, hidden=(8,), scale=scale).probabilities(values[:20]) for values in (X, stretched)
        )
        return float(np.abs(before - after).max())

    assert change("standard") < 1e-2 < 0.05 < change("none")


@pytest.mark.usefixtures("few_passes")
def test_test_rows_leave_no_trace_in_scaler_or_network() -> None:
    X, y = blobs()
    test = blobs(1)[0]
    strange = np.concatenate([test[:10], 1e3 * test[10:] - 500])
    ours, theirs = (fit(X, y, CLASSES, hidden=(8,)).probabilities(rows) for rows in (test, strange))
    np.testing.assert_allclose(ours[:10], theirs[:10], rtol=0, atol=1e-6)


@pytest.mark.usefixtures("few_passes")
def test_seed_and_sizes_change_the_fit_and_repeating_does_not() -> None:
    X, y = blobs()
    first = fit(X, y, CLASSES, hidden=(8,), seed=1).probabilities(X)
    np.testing.assert_array_equal(first, fit(X, y, CLASSES, hidden=(8,), seed=1).probabilities(X))
    assert not np.allclose(first, fit(X, y, CLASSES, hidden=(8,), seed=2).probabilities(X))
    assert not np.allclose(first, fit(X, y, CLASSES, hidden=(8, 8), seed=1).probabilities(X))


def test_not_converging_is_told_by_the_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "MAX_ITERATIONS", 2)
    X, y = blobs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fit(X, y, CLASSES, hidden=(8,))
    assert (model.iterations, model.converged) == (2, False)


def test_one_class_cannot_be_learnt() -> None:
    with pytest.raises(ValueError, match=r"hold only \['big'\]"):
        fit(np.eye(3), ["big"] * 3, CLASSES)
