"""scikit-learn's MLPClassifier, written for several models at once in PyTorch: what the study would gain by it."""

from itertools import pairwise

import numpy as np
import torch
from sklearn.utils import shuffle
from torch import Tensor

RATE, PENALTY, BATCH, TOLERANCE, PATIENCE = 1e-3, 1e-4, 200, 1e-4, 10  # scikit-learn's defaults
BETAS, EPSILON = (0.9, 0.999), 1e-8


def fit_predict_batched(
    train: list[np.ndarray], codes: np.ndarray, test: list[np.ndarray], hidden: tuple[int, ...], seed: int
) -> tuple[list[np.ndarray], list[int]]:
    """Fit a model per array (n, d) of `train`, all at once; return probabilities of `test` and passes, per model.

    Starting weights, order of the rows, Adam, penalty and stopping rule are MLPClassifier's. A model that has stopped
    leaves the batch. `codes` (n,) are the classes, from 0.
    """
    generator, n_classes = np.random.RandomState(seed), int(codes.max()) + 1  # as scikit-learn's
    sizes = [train[0].shape[1], *hidden, n_classes]
    weights, biases = _start(sizes, len(train), generator)
    parameters = weights + biases
    moments = [[torch.zeros_like(p) for p in parameters] for _ in BETAS]
    X, targets = torch.from_numpy(np.stack(train)), torch.eye(n_classes)[torch.from_numpy(codes)]
    active, order, step = list(range(len(train))), np.arange(len(codes)), 0
    best, idle = np.full(len(train), np.inf), np.zeros(len(train), int)
    passes, fitted = [0] * len(train), {}
    while active:
        order, total = shuffle(order, random_state=generator), np.zeros(len(active))
        for start in range(0, len(order), min(BATCH, len(order))):
            rows, step = torch.from_numpy(order[start : start + BATCH]), step + 1
            loss = _step(parameters, moments, X[:, rows], targets[rows], step)
            total += loss.numpy() * len(rows)
        for place, model in enumerate(active):
            loss_now = total[place] / len(order)
            idle[model] = idle[model] + 1 if loss_now > best[model] - TOLERANCE else 0
            best[model], passes[model] = min(best[model], loss_now), passes[model] + 1
            if idle[model] > PATIENCE:
                fitted[model] = [p[place].clone() for p in parameters]
        going = [place for place, model in enumerate(active) if model not in fitted]
        if len(going) < len(active):
            active = [active[place] for place in going]
            parameters = [p[going] for p in parameters]
            moments = [[p[going] for p in moment] for moment in moments]
            X = X[going]
    return [_probabilities(fitted[i], rows) for i, rows in enumerate(test)], passes


def _start(sizes: list[int], models: int, generator: np.random.RandomState) -> tuple[list[Tensor], list[Tensor]]:
    weights, biases = [], []
    for fan_in, fan_out in pairwise(sizes):
        bound = np.sqrt(6 / (fan_in + fan_out))
        for found, shape in ((weights, (fan_in, fan_out)), (biases, (1, fan_out))):
            values = generator.uniform(-bound, bound, shape).astype(np.float32)
            found.append(torch.from_numpy(values).repeat(models, 1, 1))
    return weights, biases


def _step(parameters: list[Tensor], moments: list[list[Tensor]], X: Tensor, targets: Tensor, step: int) -> Tensor:
    """Take one step of Adam with every model of the batch, in place; return their losses (models,)."""
    layers, n = len(parameters) // 2, X.shape[1]
    weights, biases = parameters[:layers], parameters[layers:]
    outputs = [X]
    for layer in range(layers):
        values = torch.baddbmm(biases[layer], outputs[-1], weights[layer])
        outputs.append(values.relu_() if layer < layers - 1 else values.softmax(2))
    loss = -(outputs[-1].clamp(1e-7, 1).log() * targets).sum((1, 2)) / n
    loss += 0.5 * PENALTY / n * sum((w * w).sum((1, 2)) for w in weights)
    error = outputs[-1] - targets
    rate = RATE * np.sqrt(1 - BETAS[1] ** step) / (1 - BETAS[0] ** step)
    for layer in reversed(range(layers)):
        gradients = torch.bmm(outputs[layer].transpose(1, 2), error).add_(weights[layer], alpha=PENALTY).div_(n)
        before = torch.bmm(error, weights[layer].transpose(1, 2)).mul_(outputs[layer] > 0) if layer else error
        for place, gradient in ((layer, gradients), (layers + layer, error.mean(1, keepdim=True))):
            first, second = (moment[place] for moment in moments)
            first.mul_(BETAS[0]).add_(gradient, alpha=1 - BETAS[0])
            second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            parameters[place].addcdiv_(first, second.sqrt().add_(EPSILON), value=-rate)
        error = before
    return loss


def _probabilities(parameters: list[Tensor], rows: np.ndarray) -> np.ndarray:
    layers, values = len(parameters) // 2, torch.from_numpy(rows)
    for layer in range(layers):
        values = values @ parameters[layer] + parameters[layers + layer]
        values = values.relu() if layer < layers - 1 else values.softmax(1)
    return values.numpy()
