"""Stacking: a logistic regression on the logits of another and on a few scores, as one logistic regression.

A single regression gives a few strong scores little weight among hundreds of columns. Stacked (Wolpert 1992), the
columns first become a logit per class, predicted out of fold, so that scores and logits are of like number.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.classification.classifiers import LOGISTIC_REGRESSION, Fitted, fit


def fit_stacked(X: ArrayLike, y: ArrayLike, classes: Sequence[str], beside: NDArray, part: NDArray) -> Fitted:
    """Return a logistic regression on X (n, d), fitted in two stages to y (n,), names out of `classes`.

    beside (d,) bool: columns that are scores; the first stage sees the others. part (n,): the inner fold of each row,
    whose logits are of a first stage fitted on the other folds. Where these lack a class, it would have no logit, so
    a single regression is fitted to X; so too where there is one fold. Both stages are linear, so the result is one
    layer: the second stage's weights of the logits, times the first stage's weights.
    """
    values, labels = np.asarray(X, dtype=np.float32), np.asarray(y)
    many, scores = values[:, ~beside], values[:, beside]
    rests = [part != number for number in np.unique(part)]
    if any(len(np.unique(labels[rest])) < len(np.unique(labels)) for rest in rests):
        return fit(values, labels, classes, hidden=LOGISTIC_REGRESSION)
    first = fit(many, labels, classes, hidden=LOGISTIC_REGRESSION)
    outside = np.empty((len(values), len(first.biases[0])))
    for rest in rests:
        other = fit(many[rest], labels[rest], classes, hidden=LOGISTIC_REGRESSION)
        outside[~rest] = _logits(other, many[~rest])
    second = fit(np.concatenate([outside, scores], axis=1), labels, classes, hidden=LOGISTIC_REGRESSION)
    n = outside.shape[1]
    (mean, scale), weights = np.empty((2, values.shape[1])), np.empty((values.shape[1], n))
    mean[~beside], mean[beside] = first.mean, second.mean[n:]
    scale[~beside], scale[beside] = first.scale, second.scale[n:]
    of_logits = second.weights[0][:n] / second.scale[:n, None]
    weights[~beside], weights[beside] = first.weights[0] @ of_logits, second.weights[0][n:]
    biases = (second.biases[0] + (first.biases[0] - second.mean[:n]) @ of_logits,)
    converged = first.converged and second.converged
    return replace(second, mean=mean, scale=scale, weights=(weights,), biases=biases, converged=converged)


def _logits(model: Fitted, X: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return a regression's logits of X (n, d): one for each class, of two classes one."""
    return np.asarray((X - model.mean) / model.scale @ model.weights[0] + model.biases[0])
