"""What the study does to pictures and maps with NumPy and torch, batch by batch, as modules that can be exported.

A second way to the same numbers, on purpose: `lib.deployment.onnx_export` compares both before a file counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.anomaly_maps.map_statistics import AREA_THRESHOLDS, PERCENTILES
from lib.anomaly_maps.patchcore import PatchCore
from lib.classification.classifiers import Fitted
from lib.draem.inference import Draem, fold_batchnorm
from lib.features.map_guided_pooling import Pooling, round_to_grid


def as_stored(values: Tensor) -> Tensor:
    """Round to half precision, as which the study stores maps and patches, and go on in float32."""
    return values.half().float()


class Resize(nn.Module):
    """Squares (n, c, old, old) to (n, c, new, new), bilinear: two products with a matrix of torch's own weights.

    Runtimes read the standard's antialiased resizing differently; a matrix product they do not.
    """

    rows: Tensor

    def __init__(self, old: int, new: int, *, antialias: bool) -> None:
        super().__init__()
        rows = torch.eye(old)[None, None]
        if new != old:
            rows = F.interpolate(rows, (new, old), mode="bilinear", antialias=antialias, align_corners=False)
        self.same = new == old
        self.register_buffer("rows", rows[0, 0])

    def forward(self, pictures: Tensor) -> Tensor:
        """Resize both axes."""
        return pictures if self.same else self.rows @ pictures @ self.rows.T


class DraemMaps(nn.Module):
    """A DRAEM from pictures (n, 3, side, side) in [0, 1] to maps (n, side, side), BatchNorm folded in."""

    def __init__(self, draem: Draem, _places: int = 0) -> None:
        super().__init__()
        self.first, self.second = fold_batchnorm(draem.reconstructive), fold_batchnorm(draem.discriminative)

    def forward(self, pictures: Tensor) -> Tensor:
        """Reconstruct, compare, and return the anomalous class's probability at each pixel."""
        logits = self.second(torch.cat((self.first(pictures), pictures), dim=1))
        return as_stored(logits.softmax(dim=1)[:, 1])


class PatchCoreMaps(nn.Module):
    """A PatchCore from patches (n, C, h, w) to maps (n, side, side)."""

    known: Tensor
    squares: Tensor

    def __init__(self, memory: PatchCore, places: int) -> None:
        super().__init__()
        known = memory.patches.cpu().float()
        self.register_buffer("known", known.T.contiguous())
        self.register_buffer("squares", (known**2).sum(dim=1))
        self.scale_distance, self.slope, self.places = memory.scale_distance, memory.slope, places
        self.resize = Resize(places, memory.side, antialias=False)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the distance to the nearest patch in memory, scaled so that `scale_distance` becomes 0.5."""
        rows = patches.flatten(2).transpose(1, 2).reshape(-1, self.known.shape[0])
        apart = (rows**2).sum(dim=1, keepdim=True) + (self.squares - 2 * rows @ self.known)
        nearest = apart.amin(dim=1).clamp(min=0).sqrt()
        powered = (nearest / self.scale_distance) ** self.slope
        shown = (powered / (1 + powered)).reshape(-1, 1, self.places, self.places)
        return as_stored(self.resize(shown)[:, 0].clamp(0, 1))


# by map source: what makes its maps, of a fitted detector and the number of patches along a side
MAP_MODULES: dict[str, Callable[[Any, int], nn.Module]] = {"draem": DraemMaps, "patchcore": PatchCoreMaps}


class MapPicture(nn.Module):
    """Maps (n, old, old) in [0, 1] to the pictures (n, 3, new, new) in [0, 1] that the backbone is shown."""

    colours: Tensor

    def __init__(self, old: int, new: int, encoding: str) -> None:
        super().__init__()
        self.encoding = encoding
        self.resize = Resize(old, new, antialias=True)
        colours = torch.tensor(matplotlib.colormaps["jet"](range(256)), dtype=torch.float32)
        self.register_buffer("colours", colours[:, :3])

    def forward(self, maps: Tensor) -> Tensor:
        """Repeat the value in three channels (raw), or stretch each map to itself and colour it (jet)."""
        if self.encoding == "raw":
            return self.resize(maps[:, None]).expand(-1, 3, -1, -1)
        lowest, highest = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
        extent = highest - lowest
        stretched = (maps - lowest) / torch.where(extent > 0, extent, torch.ones_like(extent))
        steps = (stretched * len(self.colours)).to(torch.int64).clamp(max=len(self.colours) - 1)
        return self.resize(self.colours[steps].permute(0, 3, 1, 2))


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
    """Patches (n, C, h, w) pooled where maps (n, side, side) are highest, to (n, averages * C).

    `usual` (h, w, C) is what good images show, or None.
    """

    usual: Tensor

    def __init__(self, side: int, places: int, usual: Tensor | None, pooling: Pooling) -> None:
        super().__init__()
        self.pooling = pooling
        self.counts = [min(count, places * places) for count in pooling.patches]
        self.resize = Resize(side, places, antialias=True)
        none = torch.zeros(0)
        self.register_buffer("usual", none if usual is None else usual.flatten(0, 1)[None])  # (1, h*w, C)

    def forward(self, patches: Tensor, maps: Tensor) -> Tensor:
        """Take off what good images show at each place, then average by weights from the map."""
        anomaly = as_stored(self.resize(maps[:, None])).flatten(1)
        flat = patches.flatten(2).transpose(1, 2)
        if self.usual.numel():
            flat = flat - self.usual
        weights = self._weights(anomaly)
        pooled = weights @ flat
        if self.pooling.baseline == "own_background":
            others = (1 - weights / weights.amax(dim=2, keepdim=True)).clamp(min=0)
            pooled = round_to_grid(pooled - (others / others.sum(dim=2, keepdim=True).clamp(min=1)) @ flat)
        return pooled.flatten(1)

    def _weights(self, anomaly: Tensor) -> Tensor:
        """Return the weights (n, averages, places) of anomaly (n, places)."""
        # of equals the first: so ONNX defines it, while torch's own takes any
        if torch.onnx.is_in_onnx_export():
            order = anomaly.topk(max(self.counts), dim=1).indices
        else:
            order = anomaly.argsort(dim=1, descending=True, stable=True)
        places = torch.arange(anomaly.shape[1], device=anomaly.device)
        parts = [(order[:, :count, None] == places).float().sum(dim=1) / count for count in self.counts]
        return torch.stack(parts, dim=1)


class Dense(nn.Module):
    """A fitted classifier from all columns (n, d) to probabilities (n, classes): its columns, scaler and layers."""

    columns: Tensor
    mean: Tensor
    scale: Tensor
    places: Tensor

    def __init__(self, columns: Sequence[int], fitted: Fitted) -> None:
        super().__init__()
        used = len(columns)
        self.register_buffer("columns", torch.as_tensor(list(columns), dtype=torch.int64))
        self.register_buffer("mean", _float(fitted.mean) if fitted.mean is not None else torch.zeros(used))
        self.register_buffer("scale", _float(fitted.scale) if fitted.scale is not None else torch.ones(used))
        layers: list[nn.Module] = []
        for weights, bias in zip(fitted.weights, fitted.biases, strict=True):
            layer = nn.Linear(*weights.shape)
            layer.weight.data, layer.bias.data = _float(weights).T.contiguous(), _float(bias)
            layers += [layer, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        places = torch.zeros(len(fitted.fitted_classes), len(fitted.classes))
        places[torch.arange(len(fitted.fitted_classes)), list(fitted.fitted_classes)] = 1
        self.register_buffer("places", places)

    def forward(self, columns: Tensor) -> Tensor:
        """Standardise, go through the layers, and give classes without training rows probability 0."""
        logits = self.layers((columns[:, self.columns] - self.mean) / self.scale)
        if logits.shape[1] == 1:  # two classes share one output
            logits = torch.cat((-logits, logits), dim=1) / 2
        return logits.softmax(dim=1) @ self.places


class Nearest(nn.Module):
    """Embeddings (n, d) to the distance (n,) from the nearest labelled image's, scaled as these (m, d) are."""

    known: Tensor
    squares: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, known: Tensor, centre: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("known", known)
        self.register_buffer("squares", (known**2).sum(dim=1))
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Find the nearest by products, then subtract it: rounding would hide a distance of nothing."""
        mine = (embeddings - self.centre) / self.spread
        apart = self.squares - 2 * mine @ self.known.T
        return ((mine - self.known[apart.argmin(dim=1)]) ** 2).mean(dim=1).sqrt()


def _float(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
