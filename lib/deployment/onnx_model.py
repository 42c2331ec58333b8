"""What is exported, as one torch module: images in, probabilities, maps and distances out.

It calls the study's own functions where it has them in torch: maps, jet, guided pooling. What the study computes with
NumPy (map statistics, classifiers, distances) is written here a second time, as is resizing, in which runtimes differ;
`lib.deployment.onnx_export` compares the whole with the study before a file counts.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lib.anomaly_maps.detectors import detector
from lib.anomaly_maps.map_statistics import AREA_THRESHOLDS, PERCENTILES
from lib.classification.classifiers import Fitted
from lib.config import Study
from lib.draem.losses import image_score
from lib.features.backbone import Backbone
from lib.features.backbone_weights import grid
from lib.features.embeddings import jet, jet_colours
from lib.features.map_guided_pooling import pool_places
from lib.inspection.decisions import TrainingReference
from lib.torch_utils import Resize, as_stored

# the file's outputs, in this order
OUTPUTS = {
    "probabilities": "(n, classes), in the order of the metadata's classes; rows sum to 1",
    "score": "(n,) 1 - p(good) by the model that decides, in [0, 1]",
    "map": "(n, side, side) anomaly map in [0, 1]",
    "map_score": "(n,) the map's own score in [0, 1]",
    "embedding": "(n, d) the backbone's features of the image",
    "distance": "(n,) of the embedding from the nearest labelled image's",
}
Layer = Callable[[Tensor], Tensor]


class OnnxPipeline(nn.Module):
    """From images to everything in `OUTPUTS`, by a study's settings.

    `source` makes the maps. `blocks` are the classifiers' columns in order; `binary` decides, where it is not the
    multiclass one. `good_mean` (h, w, C) is what guided pooling compares with; `patch_scores` scores patches (n, p, C).
    """

    def __init__(
        self,
        study: Study,
        backbone: Backbone,
        source: Layer,
        blocks: Sequence[str],
        distance: Layer,
        multiclass: Layer,
        binary: Layer | None = None,
        good_mean: Tensor | None = None,
        patch_scores: Layer | None = None,
    ) -> None:
        super().__init__()
        self.study, self.blocks = study, tuple(blocks)
        self.from_images = detector(study.map_source).inputs == "images"
        self.backbone, self.source = backbone, source
        self.colours = jet_colours()
        self.to_features = Resize(study.map_side, study.feature_side, antialias=True)
        self.to_places = Resize(study.map_side, grid(study.feature_side), antialias=True)
        self.good_mean = None if good_mean is None else good_mean.flatten(0, 1)
        self.distance, self.multiclass, self.binary = distance, multiclass, binary
        self.patch_scores = patch_scores
        self.eval()

    @property
    def inputs(self) -> tuple[int, ...]:
        """The sides at which an image is asked for, ascending: one input (n, side, side, 3) uint8 each."""
        maps = {self.study.map_side} if self.from_images else set()
        return tuple(sorted({self.study.feature_side} | maps))

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Return what `OUTPUTS` names, in its order, of the same n images at each of the `inputs`."""
        given = dict(zip(self.inputs, images, strict=True))
        pixels = {side: stack.float().permute(0, 3, 1, 2) / 255 for side, stack in given.items()}
        embedding, patches = self.backbone(pixels[self.study.feature_side])
        patches = as_stored(patches)
        inputs = pixels[self.study.map_side] if self.from_images else patches
        maps = as_stored(self.source(inputs))
        map_score = image_score(maps, self.study.tiles)
        compute: dict[str, Callable[[], Tensor]] = {
            "image": lambda: embedding,
            "map": lambda: self.backbone.pooled(self.shown(maps)),
            "stats": lambda: statistics(maps),
            "score": lambda: map_score[:, None],
            "guided": lambda: self.pooled(patches, maps),
            "patch": lambda: self.scored(patches),
        }
        columns = torch.cat([compute[name]() for name in self.blocks], dim=1)
        probabilities = self.multiclass(columns)
        deciding = probabilities if self.binary is None else self.binary(columns)
        return probabilities, 1 - deciding[:, 0], maps, map_score, embedding, self.distance(embedding)

    def shown(self, maps: Tensor) -> Tensor:
        """Return maps (n, side, side) in [0, 1] as the images (n, 3, new, new) in [0, 1] that the backbone gets."""
        images = maps[:, None] if self.study.map_encoding == "raw" else jet(maps, self.colours)
        return self.to_features(images).expand(-1, 3, -1, -1)

    def scored(self, patches: Tensor) -> Tensor:
        """Return the patch classifier's scores (n, defect classes) of patches (n, C, h, w)."""
        assert self.patch_scores is not None
        return self.patch_scores(patches.flatten(2).transpose(1, 2))

    def pooled(self, patches: Tensor, maps: Tensor) -> Tensor:
        """Return patches (n, C, h, w) averaged where maps (n, side, side) are highest, (n, averages * C)."""
        assert self.good_mean is not None
        places, at_places = patches.flatten(2).transpose(1, 2), self.to_places(maps[:, None]).flatten(1)
        return pool_places(places, at_places, self.good_mean, self.study.guided_patches)


def statistics(maps: Tensor) -> Tensor:
    """Return the summary (n, S) of maps (n, side, side), columns as in `map_statistics.STATISTICS`."""
    pixels = maps.flatten(1)
    last = pixels.shape[1] - 1
    places = [percent / 100 * last for percent in PERCENTILES]
    largest = pixels.topk(last + 1 - math.floor(min(places)), dim=1).values  # falling
    columns = [largest[:, 0], pixels.mean(dim=1)]
    for place in places:  # between two pixels in their order
        low, high = largest[:, last - math.floor(place)], largest[:, last - math.ceil(place)]
        columns.append(low + (high - low) * (place - math.floor(place)))
    columns += [(pixels > threshold).float().mean(dim=1) for threshold in AREA_THRESHOLDS]
    return torch.stack(columns, dim=1)


def classifier(columns: Sequence[int], fitted: Fitted) -> Layer:
    """Return a fitted classifier on some of the columns as a function of all (n, d) to probabilities (n, classes)."""
    mean, scale = _float(fitted.mean), _float(fitted.scale)
    layers = [(_float(weights), _float(bias)) for weights, bias in zip(fitted.weights, fitted.biases, strict=True)]
    used, places = torch.tensor(list(columns)), torch.eye(len(fitted.classes))[list(fitted.fitted_classes)]

    def probabilities(blocks: Tensor) -> Tensor:
        values = (blocks[:, used] - mean) / scale
        for number, (weights, bias) in enumerate(layers):
            values = torch.addmm(bias, values.relu() if number else values, weights)
        if values.shape[1] == 1:  # two classes share one output
            values = torch.cat((-values, values), dim=1) / 2
        return values.softmax(dim=1) @ places  # classes without training rows get 0

    return probabilities


def nearest_distance(reference: TrainingReference) -> Layer:
    """Return a function of embeddings (n, d) to the distance (n,) from the nearest labelled image's."""
    known, centre, spread = map(_float, (reference.embeddings, reference.centre, reference.spread))
    squares = (known**2).sum(dim=1)

    def distance(embeddings: Tensor) -> Tensor:
        own = (embeddings - centre) / spread
        nearest = (squares - 2 * own @ known.T).argmin(dim=1)
        # subtracted, as the product's rounding would hide a distance of nothing
        return ((own - known[nearest]) ** 2).mean(dim=1).sqrt()

    return distance


def _float(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
