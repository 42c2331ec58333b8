"""The classifier: two dense layers with ReLU and a softmax, on standardised features; without layers, its baseline."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

Scale = Literal["standard", "none"]

HIDDEN = (512, 100)
SEED = 744  # of the authors' published code
LINEAR: tuple[int, ...] = ()  # no hidden layer: a logistic regression
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
    """Fit the scaler and the network on the training rows and give the test rows' class probabilities.

    X_train (n, d), y_train (n,) names out of `classes`, X_test (m, d). Everything but the sizes is scikit-learn's
    default: Adam 1e-3, batches of min(200, n), L2 1e-4, until the loss has not improved by 1e-4 for ten passes.
    Without hidden layers, `hidden=LINEAR`, the network is a multinomial logistic regression, which scikit-learn fits
    by L-BFGS: always on standardised columns, with C = 1/d, so that the prior variance of a class's logit is 1 for
    any number of columns. A class without training rows gets probability 0. Raises ValueError on an unknown scale,
    a label outside `classes`, or fewer than two classes to learn.
    """
    if scale not in get_args(Scale):
        raise ValueError(f"scale={scale!r} is unknown: choose one of {', '.join(get_args(Scale))}")
    labels = np.asarray(y_train)
    learnt = sorted(set(labels.tolist()))
    if strangers := sorted(set(learnt) - set(classes)):
        raise ValueError(f"training labels {strangers} are not among the classes {list(classes)}")
    if len(learnt) < 2:
        raise ValueError(f"training rows hold only {learnt}: a classifier needs at least two classes")
    train, test = np.asarray(X_train, dtype=np.float32), np.asarray(X_test, dtype=np.float32)
    if scale == "standard" or hidden == LINEAR:
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)

    if hidden == LINEAR:
        model = LogisticRegression(C=1 / train.shape[1], max_iter=MAX_ITERATIONS)
    else:
        model = MLPClassifier(hidden_layer_sizes=hidden, max_iter=MAX_ITERATIONS, random_state=seed)
    # products this small gain nothing from threads, and `converged` tells what the warning would
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, labels)
        known = model.predict_proba(test).astype(np.float64)
        fitted = model.predict_proba(train) if hidden == LINEAR else None
    loss = model.loss_ if fitted is None else log_loss(labels, fitted, labels=model.classes_)
    probabilities = np.zeros((len(test), len(classes)))
    probabilities[:, [list(classes).index(name) for name in model.classes_]] = known
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # float32 sums to 1 within 1e-7 only
    iterations = int(np.max(model.n_iter_))
    return FitResult(probabilities, iterations, float(loss), iterations < MAX_ITERATIONS)
