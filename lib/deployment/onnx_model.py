"""The exported pipeline as one torch module: images in, probabilities, maps and distances out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lib.deployment.onnx_graph import Dense, GuidedPooling, MapPicture, MapStatistics, Nearest, as_stored
from lib.draem.losses import image_score
from lib.features.patch_embeddings import PatchExtractor
from lib.features.resnet import Backbone

# What a chain gives for n pictures; the file's outputs have these names.
OUTPUTS = {
    "probabilities": "(n, classes), in the order of the metadata's classes; rows sum to 1",
    "score": "(n,) 1 - p(good) by the model that decides, in [0, 1]",
    "map": "(n, side, side) anomaly map in [0, 1]",
    "map_score": "(n,) the map's own score in [0, 1]",
    "embedding": "(n, 512) the backbone's features of the picture",
    "distance": "(n,) of the embedding from the nearest labelled image's",
}


@dataclass(frozen=True)
class Sides:
    """Sides in pixels at which a chain sees a picture: the map's, the backbone's, and that of patches."""

    image: int
    feature: int
    patch: int


class MapMaker(nn.Module):
    """The models of one map source; a new picture's map is the mean of theirs, as a test image's is."""

    def __init__(self, models: Sequence[nn.Module], sees: str) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.sees = sees  # images or patches

    def forward(self, seen: Tensor) -> Tensor:
        """Return maps (n, side, side) of what the source sees."""
        total = sum((model(seen) for model in self.models), start=torch.zeros(()))
        return as_stored(total / len(self.models))


class OnnxPipeline(nn.Module):
    """From pictures to everything in `OUTPUTS`.

    `maker`: the map source of the study. `sources`: where the classifier's columns come from, in the order in which
    they are counted. `binary`: the classifier that decides, where it is not the multiclass one.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        sides: Sides,
        maker: MapMaker,
        sources: Sequence[str],
        nearest: Nearest,
        multiclass: Dense,
        binary: Dense | None = None,
        pooling: GuidedPooling | None = None,
        encoding: str = "raw",
    ) -> None:
        super().__init__()
        self.sides, self.sources = sides, tuple(sources)
        self.backbone = backbone.model
        self.maker = maker
        self.needs_patches = pooling is not None or maker.sees == "patches"
        self.extractor = PatchExtractor(backbone) if self.needs_patches else None
        self.picture = MapPicture(sides.image, sides.feature, encoding)
        self.statistics = MapStatistics(sides.image)
        self.pooling, self.nearest, self.multiclass, self.binary = pooling, nearest, multiclass, binary
        self.register_buffer("mean", torch.tensor(backbone.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).view(3, 1, 1))
        self.eval()

    @property
    def inputs(self) -> tuple[int, ...]:
        """The sides at which a picture is asked for, ascending: one input (n, side, side, 3) uint8 each."""
        wanted = {self.sides.feature}
        if self.needs_patches:
            wanted.add(self.sides.patch)
        if self.maker.sees == "images":
            wanted.add(self.sides.image)
        return tuple(sorted(wanted))

    def forward(self, *pictures: Tensor) -> tuple[Tensor, ...]:
        """Return what `OUTPUTS` names, in its order, of the same n pictures at each of the `inputs`."""
        pixels = {
            side: given.float().permute(0, 3, 1, 2) / 255
            for side, given in zip(self.inputs, pictures, strict=True)
        }
        embedding = self.backbone(self._normalised(pixels[self.sides.feature]))
        seen = {"images": pixels.get(self.sides.image)}
        if self.extractor is not None:
            seen["patches"] = as_stored(self.extractor(self._normalised(pixels[self.sides.patch])))
        maps = self.maker(seen[self.maker.sees])
        map_score = image_score(maps)
        parts = [self._columns(source, embedding, maps, map_score, seen) for source in self.sources]
        columns = torch.cat(parts, dim=1)
        probabilities = self.multiclass(columns)
        deciding = probabilities if self.binary is None else self.binary(columns)
        return (
            probabilities,
            1 - deciding[:, 0],
            maps,
            map_score,
            embedding,
            self.nearest(embedding),
        )

    def _columns(
        self,
        source: str,
        embedding: Tensor,
        maps: Tensor,
        map_score: Tensor,
        seen: dict[str, Tensor | None],
    ) -> Tensor:
        if source == "image":
            return embedding
        if source == "map":
            return self.backbone(self._normalised(self.picture(maps)))
        if source == "stats":
            return self.statistics(maps)
        if source == "score":
            return map_score[:, None]
        if source == "guided" and self.pooling is not None:
            return self.pooling(seen["patches"], maps)
        raise ValueError(f"a chain knows no columns {source!r}")

    def _normalised(self, pictures: Tensor) -> Tensor:
        return (pictures - self.mean) / self.std
