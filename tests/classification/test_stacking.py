"""Stacking: the one layer says what the two stages say, and no row is judged by a first stage that saw it."""

import numpy as np
import pytest

from lib.classification import stacking
from lib.classification.classifiers import fit
from lib.classification.stacking import fit_stacked

CLASSES = ("good", "dent", "scratch")
N, D = 90, 12


def case(classes=CLASSES, seed=0):
    draw = np.random.default_rng(seed)
    labels = np.array(classes)[np.arange(N) % len(classes)]
    X = draw.standard_normal((N, D)).astype(np.float32)
    X[:, :4] += (labels != "good")[:, None]
    X[:, -2:] += 2 * np.eye(len(classes), 3)[:, 1:][np.arange(N) % len(classes)]  # a score for each defect class
    beside = np.arange(D) >= D - 2
    return X, labels, beside, np.arange(N) // 3 % 3


def in_two_stages(X, labels, beside, part, classes):
    """The probabilities of all rows, stage after stage."""
    first = fit(X[:, ~beside], labels, classes, hidden=())

    def logits(model, rows):
        return (X[rows][:, ~beside] - model.mean) / model.scale @ model.weights[0] + model.biases[0]

    outside = np.empty((N, first.weights[0].shape[1]))
    for number in range(3):
        rest = fit(X[part != number][:, ~beside], labels[part != number], classes, hidden=())
        outside[part == number] = logits(rest, part == number)
    second = fit(np.hstack([outside, X[:, beside]]), labels, classes, hidden=())
    return second.probabilities(np.hstack([logits(first, slice(None)), X[:, beside]]))


@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:2]])
def test_one_layer_says_what_the_two_stages_say(classes):
    X, labels, beside, part = case(classes)
    model = fit_stacked(X, labels, classes, beside=beside, part=part)
    assert len(model.weights) == 1 and model.weights[0].shape[0] == D
    expected = in_two_stages(X, labels, beside, part, classes)
    np.testing.assert_allclose(model.probabilities(X), expected, atol=1e-5)


def test_scores_are_not_drowned_by_many_columns():
    X, labels, beside, part = case()
    noise = np.random.default_rng(1).standard_normal((N, 300)).astype(np.float32)
    X, beside = np.hstack([noise, X]), np.r_[np.zeros(300, bool), beside]
    new, truth, *_ = case(seed=2)
    new = np.hstack([np.random.default_rng(3).standard_normal((N, 300)).astype(np.float32), new])

    def right(model):
        return (np.array(CLASSES)[model.probabilities(new).argmax(axis=1)] == truth).mean()

    plain = fit(X, labels, CLASSES, hidden=())
    assert right(fit_stacked(X, labels, CLASSES, beside=beside, part=part)) > right(plain) + 0.05


def test_no_row_is_judged_by_a_first_stage_that_saw_it(monkeypatch):
    X, labels, beside, part = case()
    seen = []
    real = stacking._logits

    def spy(model, rows):
        seen.append((model, rows))
        return real(model, rows)

    monkeypatch.setattr(stacking, "_logits", spy)
    fit_stacked(X, labels, CLASSES, beside=beside, part=part)
    assert len(seen) == 3
    for number, (model, rows) in enumerate(seen):
        mine = part == number
        np.testing.assert_array_equal(rows, X[mine][:, ~beside])
        other = fit(X[~mine][:, ~beside], labels[~mine], CLASSES, hidden=())
        np.testing.assert_array_equal(model.weights[0], other.weights[0])


@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:2]])
def test_a_class_that_lies_in_one_fold_is_told_from_good(classes):
    X, labels, beside, part = case(classes)
    part = np.where(labels == classes[-1], 0, part)
    model = fit_stacked(X, labels, classes, beside=beside, part=part)
    new, truth, *_ = case(classes, seed=5)
    score = model.probabilities(new)[:, -1]
    own, good = score[truth == classes[-1]], score[truth == "good"]
    assert (own[:, None] > good[None]).mean() > 0.9
    np.testing.assert_array_equal(model.weights[0], fit(X, labels, classes, hidden=()).weights[0])
