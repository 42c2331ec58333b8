"""The classifier: two dense layers with ReLU and a softmax, on standardised features; without layers, its baseline."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scale = Literal["standard", "none"]

HIDDEN = (512, 100)
SEED = 744  # of the authors' published code
LOGISTIC_REGRESSION: tuple[int, ...] = ()  # no hidden layer: a logistic regression
MAX_ITERATIONS = 1000  # passes, or steps of L-BFGS; far beyond what the stopping rules take


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier as plain arrays: scaler, dense layers with ReLU between them, softmax.

    `fitted_classes` are the places in `classes` of the classes that the training rows held, in the order of the
    outputs; two classes share one output, through the logistic function. One layer is a logistic regression. Where
    nothing is scaled, `mean` is 0 and `scale` 1 (d,).
    """

    classes: tuple[str, ...]
    fitted_classes: tuple[int, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: tuple[NDArray[np.floating], ...]  # (inputs, outputs) each
    biases: tuple[NDArray[np.floating], ...]  # (outputs,) each
    iterations: int  # passes through the training rows, or steps of L-BFGS
    converged: bool  # the fit stopped by its own rule before MAX_ITERATIONS

    def probabilities(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the class probabilities (n, n_classes) of X (n, d), in the order of `classes`; rows sum to 1.

        A class without training rows gets 0.
        """
        from scipy.special import expit
        from threadpoolctl import threadpool_limits

        values = np.array(X, dtype=np.float32)
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
        found[:, list(self.fitted_classes)] = known.astype(np.float64)
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
    """Return a scaler and a network fitted to X (n, d) and y (n,), names out of `classes`.

    Everything but the sizes is scikit-learn's default: Adam 1e-3, batches of min(200, n), L2 1e-4, until the loss has
    not improved by 1e-4 for ten passes. With `hidden=LOGISTIC_REGRESSION` it is a multinomial logistic regression by
    L-BFGS: always on standardised columns, with C = 1/d, so that the prior variance of a class's logit is 1 for any
    number of columns. Raises ValueError on fewer than two classes to learn.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    labels, train = np.asarray(y), np.asarray(X, dtype=np.float32)
    if len(present := np.unique(labels).tolist()) < 2:
        raise ValueError(f"training rows hold only {present}: a classifier needs at least two classes")
    linear, mean, spread = hidden == LOGISTIC_REGRESSION, np.zeros(train.shape[1]), np.ones(train.shape[1])
    if scale == "standard" or linear:
        scaler = StandardScaler().fit(train)
        train, mean, spread = scaler.transform(train), scaler.mean_, scaler.scale_
    model: Any = MLPClassifier(hidden_layer_sizes=hidden, max_iter=MAX_ITERATIONS, random_state=seed)
    if linear:
        model = LogisticRegression(C=1 / train.shape[1], max_iter=MAX_ITERATIONS)
    # products this small gain nothing from threads, and `converged` says what the warning would
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, labels)
    iterations = int(np.max(model.n_iter_))
    return Fitted(
        classes=tuple(classes),
        fitted_classes=tuple(list(classes).index(name) for name in model.classes_),
        mean=mean,
        scale=spread,
        weights=(model.coef_.T,) if linear else tuple(model.coefs_),
        biases=(model.intercept_,) if linear else tuple(model.intercepts_),
        iterations=iterations,
        converged=iterations < MAX_ITERATIONS,
    )
