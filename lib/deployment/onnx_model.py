"""The exported pipeline as one torch module: images in, probabilities, maps and distances out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lib.anomaly_maps.detectors import detector
from lib.config import Study
from lib.deployment.onnx_graph import Dense, GuidedPooling, MapImages, MapStatistics, Nearest
from lib.draem.losses import image_score
from lib.features.map_guided_pooling import Pooling
from lib.features.patch_embeddings import PatchExtractor, grid
from lib.features.resnet import Backbone
from lib.torch_utils import as_stored

# the file's outputs, in this order
OUTPUTS = {
    "probabilities": "(n, classes), in the order of the metadata's classes; rows sum to 1",
    "score": "(n,) 1 - p(good) by the model that decides, in [0, 1]",
    "map": "(n, side, side) anomaly map in [0, 1]",
    "map_score": "(n,) the map's own score in [0, 1]",
    "embedding": "(n, 512) the backbone's features of the image",
    "distance": "(n,) of the embedding from the nearest labelled image's",
}


class OnnxPipeline(nn.Module):
    """From images to everything in `OUTPUTS`, by a study's settings.

    `map_modules` make the maps, one for each model of the map source: an image's map is the mean of theirs. `blocks`
    are the classifiers' columns in order; `binary` decides, where it is not the multiclass one. `good_mean` (h, w, C)
    is what guided pooling compares with, if anything.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        study: Study,
        backbone: Backbone,
        map_modules: Sequence[nn.Module],
        blocks: Sequence[str],
        nearest: Nearest,
        multiclass: Dense,
        binary: Dense | None = None,
        good_mean: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.study, self.blocks = study, tuple(blocks)
        self.from_images = detector(study.map_source).inputs == "images"
        self.backbone, self.map_modules = backbone.model, nn.ModuleList(map_modules)
        needs_patches = "guided" in blocks or not self.from_images
        self.extractor = PatchExtractor(backbone) if needs_patches else None
        self.map_images = MapImages(study.image_size, study.feature_size, study.map_encoding)
        self.statistics = MapStatistics(study.image_size)
        pooling = Pooling(study.guided_patches, study.guided_baseline)
        self.pooling = GuidedPooling(study.image_size, grid(study.patch_size), good_mean, pooling)
        self.nearest, self.multiclass, self.binary = nearest, multiclass, binary
        self.register_buffer("mean", torch.tensor(backbone.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).view(3, 1, 1))
        self.eval()

    @property
    def inputs(self) -> tuple[int, ...]:
        """The sides at which an image is asked for, ascending: one input (n, side, side, 3) uint8 each."""
        patches = {self.study.patch_size} if self.extractor is not None else set()
        maps = {self.study.image_size} if self.from_images else set()
        return tuple(sorted({self.study.feature_size} | patches | maps))

    def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
        """Return what `OUTPUTS` names, in its order, of the same n images at each of the `inputs`."""
        given = dict(zip(self.inputs, images, strict=True))
        pixels = {side: stack.float().permute(0, 3, 1, 2) / 255 for side, stack in given.items()}
        embedding = self.backbone(self._normalised(pixels[self.study.feature_size]))
        patches = torch.zeros(0)
        if self.extractor is not None:
            patches = as_stored(self.extractor(self._normalised(pixels[self.study.patch_size])))
        inputs = pixels[self.study.image_size] if self.from_images else patches
        maps = as_stored(torch.stack([module(inputs) for module in self.map_modules]).mean(dim=0))
        map_score = image_score(maps)
        compute: dict[str, Callable[[], Tensor]] = {
            "image": lambda: embedding,
            "map": lambda: self.backbone(self._normalised(self.map_images(maps))),
            "stats": lambda: self.statistics(maps),
            "score": lambda: map_score[:, None],
            "guided": lambda: self.pooling(patches, maps),
        }
        columns = torch.cat([compute[name]() for name in self.blocks], dim=1)
        probabilities = self.multiclass(columns)
        deciding = probabilities if self.binary is None else self.binary(columns)
        return probabilities, 1 - deciding[:, 0], maps, map_score, embedding, self.nearest(embedding)

    def _normalised(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std
