"""The classifier: two dense layers with ReLU and a softmax, on standardised features; without layers, its baseline."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

Scale = Literal["standard", "none"]

HIDDEN = (512, 100)
SEED = 744  # of the authors' published code
LOGISTIC_REGRESSION: tuple[int, ...] = ()  # no hidden layer: a logistic regression
MAX_ITERATIONS = 1000  # passes, or steps of L-BFGS; far beyond what the stopping rules take


@dataclass(frozen=True)
class FitResult:
    """What a fitted classifier says of the test rows, and how its fit went."""

    probabilities: NDArray[
        np.float64
    ]  # (n_test, n_classes), columns in the order of `classes`, rows sum to 1
    iterations: int  # passes through the training rows, or steps of L-BFGS
    loss: (
        float  # mean cross-entropy of the training rows; a network's is of the last pass, with its L2 penalty
    )
    converged: bool  # the fit stopped by its own rule before MAX_ITERATIONS


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier as plain arrays: scaler, dense layers with ReLU between them, softmax.

    `learnt` are the places in `classes` of the classes that the training rows held, in the order of the outputs; two
    classes share one output, through the logistic function. One layer is a logistic regression. Without a scaler,
    `mean` and `scale` (d,) are None.
    """

    classes: tuple[str, ...]
    learnt: tuple[int, ...]
    mean: NDArray[np.float64] | None
    scale: NDArray[np.float64] | None
    weights: tuple[NDArray[np.floating], ...]  # (inputs, outputs) each
    biases: tuple[NDArray[np.floating], ...]  # (outputs,) each
    iterations: int
    loss: float
    converged: bool

    def probabilities(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the class probabilities (n, n_classes) of X (n, d), in the order of `classes`; rows sum to 1.

        A class without training rows gets 0. Raises ValueError for values that are not finite.
        """
        values = np.array(X, dtype=np.float32)
        if not np.isfinite(values).all():
            raise ValueError("a classifier's input must be finite")
        if self.mean is not None and self.scale is not None:
            values -= self.mean.astype(values.dtype)
            values /= self.scale.astype(values.dtype)
        with threadpool_limits(1, user_api="blas"):
            for layer, (weights, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
                if layer:
                    np.maximum(values, 0, out=values)
                values = values @ weights + bias
        if values.shape[1] == 1:
            chance = expit(values[:, 0])
            known = np.stack([1 - chance, chance], axis=1)
        else:
            known = np.exp(values - values.max(axis=1, keepdims=True))
            known /= known.sum(axis=1, keepdims=True)
        found = np.zeros((len(values), len(self.classes)))
        found[:, list(self.learnt)] = known.astype(np.float64)
        return found / found.sum(axis=1, keepdims=True)  # float32 sums to 1 within 1e-7 only


def fit(
    X: ArrayLike,
    y: ArrayLike,
    classes: Sequence[str],
    *,
    hidden: tuple[int, ...] = HIDDEN,
    seed: int = SEED,
    scale: Scale = "standard",
) -> Fitted:
    """Fit the scaler and the network.

    X (n, d), y (n,) names out of `classes`. Everything but the sizes is scikit-learn's
    default: Adam 1e-3, batches of min(200, n), L2 1e-4, until the loss has not improved by 1e-4 for ten passes.
    Without hidden layers, `hidden=LINEAR`, the network is a multinomial logistic regression, which scikit-learn fits
    by L-BFGS: always on standardised columns, with C = 1/d, so that the prior variance of a class's logit is 1 for
    any number of columns. Raises ValueError on an unknown scale, a label outside `classes`, or fewer than two classes
    to learn.
    """
    if scale not in get_args(Scale):
        raise ValueError(f"scale={scale!r} is unknown: choose one of {', '.join(get_args(Scale))}")
    labels = np.asarray(y)
    learnt = sorted(set(labels.tolist()))
    if strangers := sorted(set(learnt) - set(classes)):
        raise ValueError(f"training labels {strangers} are not among the classes {list(classes)}")
    if len(learnt) < 2:
        raise ValueError(f"training rows hold only {learnt}: a classifier needs at least two classes")
    train, scaler = np.asarray(X, dtype=np.float32), None
    if scale == "standard" or hidden == LOGISTIC_REGRESSION:
        scaler = StandardScaler().fit(train)
        train = scaler.transform(train)

    if hidden == LOGISTIC_REGRESSION:
        model = LogisticRegression(C=1 / train.shape[1], max_iter=MAX_ITERATIONS)
    else:
        model = MLPClassifier(hidden_layer_sizes=hidden, max_iter=MAX_ITERATIONS, random_state=seed)
    # products this small gain nothing from threads, and `converged` tells what the warning would
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, labels)
        fitted = model.predict_proba(train) if hidden == LOGISTIC_REGRESSION else None
    iterations = int(np.max(model.n_iter_))
    return Fitted(
        classes=tuple(classes),
        learnt=tuple(list(classes).index(name) for name in model.classes_),
        mean=None if scaler is None else scaler.mean_,
        scale=None if scaler is None else scaler.scale_,
        weights=(model.coef_.T,) if hidden == LOGISTIC_REGRESSION else tuple(model.coefs_),
        biases=(model.intercept_,) if hidden == LOGISTIC_REGRESSION else tuple(model.intercepts_),
        iterations=iterations,
        loss=float(model.loss_ if fitted is None else log_loss(labels, fitted, labels=model.classes_)),
        converged=iterations < MAX_ITERATIONS,
    )


def fit_predict(
    X_train: ArrayLike,
    y_train: ArrayLike,
    X_test: ArrayLike,
    classes: Sequence[str],
    *,
    hidden: tuple[int, ...] = HIDDEN,
    seed: int = SEED,
    scale: Scale = "standard",
) -> FitResult:
    """Fit on the training rows, as `fit` does, and give the test rows' class probabilities; X_test (m, d)."""
    model = fit(X_train, y_train, classes, hidden=hidden, seed=seed, scale=scale)
    return FitResult(model.probabilities(X_test), model.iterations, model.loss, model.converged)
