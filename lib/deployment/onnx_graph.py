"""The study's steps as torch modules that can be exported.

They call the study's own functions where it has them in torch: DRAEM's networks, jet, guided pooling. What it computes
with NumPy (map statistics, classifiers, distances) is written here a second time, as is resizing, in which runtimes
differ; `lib.deployment.onnx_export` compares the whole with the study before a file counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lib.anomaly_maps.map_statistics import AREA_THRESHOLDS, PERCENTILES
from lib.classification.classifiers import Fitted
from lib.features.embeddings import jet, jet_colours
from lib.features.map_guided_pooling import Pooling, pool_places
from lib.inspection.decisions import TrainingReference
from lib.torch_utils import Resize


class MapImages(nn.Module):
    """Maps (n, old, old) in [0, 1] to the images (n, 3, new, new) in [0, 1] that the backbone gets."""

    colours: Tensor

    def __init__(self, old: int, new: int, encoding: str) -> None:
        super().__init__()
        self.encoding = encoding
        self.resize = Resize(old, new, antialias=True)
        self.register_buffer("colours", jet_colours())

    def forward(self, maps: Tensor) -> Tensor:
        """Encode, then resize."""
        images = maps[:, None] if self.encoding == "raw" else jet(maps, self.colours)
        return self.resize(images).expand(-1, 3, -1, -1)


class MapStatistics(nn.Module):
    """Maps (n, side, side) to their summary (n, S), columns as in `map_statistics.STATISTICS`."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.count = side * side
        self.places = [percent / 100 * (self.count - 1) for percent in PERCENTILES]

    def forward(self, maps: Tensor) -> Tensor:
        """Interpolate percentiles between neighbours in the order of the largest pixels."""
        pixels = maps.flatten(1)
        largest = pixels.topk(self.count - math.floor(min(self.places)), dim=1).values  # falling
        columns = [largest[:, 0], pixels.mean(dim=1)]
        for place in self.places:
            below = math.floor(place)
            low, high = largest[:, self.count - 1 - below], largest[:, self.count - 1 - math.ceil(place)]
            columns.append(low + (high - low) * (place - below))
        columns += [(pixels > threshold).float().mean(dim=1) for threshold in AREA_THRESHOLDS]
        return torch.stack(columns, dim=1)


class GuidedPooling(nn.Module):
    """Patches (n, C, h, w) averaged where maps (n, side, side) are highest, (n, averages * C), by `pool_places`."""

    reference: Tensor | None

    def __init__(self, side: int, places: int, reference: Tensor | None, pooling: Pooling) -> None:
        super().__init__()
        self.pooling = pooling
        self.resize = Resize(side, places, antialias=True)
        self.register_buffer("reference", None if reference is None else reference.flatten(0, 1))

    def forward(self, patches: Tensor, maps: Tensor) -> Tensor:
        """Bring the maps to the patches' places, and pool."""
        at_places = self.resize(maps[:, None]).flatten(1)
        return pool_places(patches.flatten(2).transpose(1, 2), at_places, self.reference, self.pooling)


class Dense(nn.Module):
    """A fitted classifier from all columns (n, d) to probabilities (n, classes): its columns, scaler and layers."""

    columns: Tensor
    mean: Tensor
    scale: Tensor
    places: Tensor

    def __init__(self, columns: Sequence[int], fitted: Fitted) -> None:
        super().__init__()
        used, known = len(columns), list(fitted.fitted_classes)
        self.register_buffer("columns", torch.as_tensor(list(columns), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(used) if fitted.mean is None else _float(fitted.mean))
        self.register_buffer("scale", torch.ones(used) if fitted.scale is None else _float(fitted.scale))
        self.register_buffer("places", torch.eye(len(fitted.classes))[known])
        layers: list[nn.Module] = []
        for weights, bias in zip(fitted.weights, fitted.biases, strict=True):
            layer = nn.Linear(*weights.shape)
            layer.weight.data, layer.bias.data = _float(weights).T.contiguous(), _float(bias)
            layers += [layer, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, columns: Tensor) -> Tensor:
        """Standardise, go through the layers, and give classes without training rows probability 0."""
        logits = self.layers((columns[:, self.columns] - self.mean) / self.scale)
        if logits.shape[1] == 1:  # two classes share one output
            logits = torch.cat((-logits, logits), dim=1) / 2
        return logits.softmax(dim=1) @ self.places


class Nearest(nn.Module):
    """Embeddings (n, d) to the distance (n,) from the nearest labelled image's."""

    known: Tensor
    squares: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, reference: TrainingReference) -> None:
        super().__init__()
        self.register_buffer("known", _float(reference.embeddings))
        self.register_buffer("squares", (self.known**2).sum(dim=1))
        self.register_buffer("centre", _float(reference.centre))
        self.register_buffer("spread", _float(reference.spread))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Find the nearest by products, then subtract it: rounding would hide a distance of nothing."""
        own = (embeddings - self.centre) / self.spread
        squares = self.squares - 2 * own @ self.known.T
        return ((own - self.known[squares.argmin(dim=1)]) ** 2).mean(dim=1).sqrt()


def _float(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
