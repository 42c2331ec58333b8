"""PatchCore: anomaly maps by the distance of each patch of an image to the nearest patch of good images.

After Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (CVPR 2022): a greedy k-centre coreset of the
good images' patches, and the distance to the nearest of them. The images that the coreset is of look cleaner than any
other good image, so each half of a fold gets its maps from the other half's coreset.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor
from torch.nn import functional as F

from lib.anomaly_maps.detectors import Detector, FitTask
from lib.config import Study
from lib.features.backbone_weights import grid, size_of
from lib.torch_utils import Resize

FORMAT = "patchcore-1"
POOL = 30_000  # patches, drawn at random, that the coreset is chosen from
PROJECTED = 128  # dimensions in which they are compared while choosing (Johnson-Lindenstrauss)
ROWS = 8192  # patches compared with those kept at once
HELD_OUT = 100  # good images, at most, that the scale is set on
RARE = 0.995  # share of held-out good patches that lie nearer than the distance that becomes 0.5
MIDDLE = 0.1  # what the median of their distances becomes
STEEPEST = 50.0  # slope of the scale where good patches all lie equally far
ARITHMETIC = 3e10  # operations per second of one core in a product of matrices
MEMORY_BOUND = 5e9  # and of a matrix and a vector


@dataclass(frozen=True)
class PatchCore:
    """Patches of good images (M, C), the side of the maps in pixels, and their scale (see `to_unit_interval`)."""

    patches: Tensor
    scale_distance: float
    slope: float
    side: int
    device: str = "cpu"

    def distances(self, patches: np.ndarray) -> np.ndarray:
        """Return the distance of each patch (n, h, w, C) to the nearest one kept, float32 (n, h, w)."""
        flat = patches.reshape(-1, patches.shape[-1])
        found = np.empty(len(flat), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(flat), ROWS):
                rows = torch.from_numpy(flat[start : start + ROWS].astype(np.float32)).to(self.device)
                found[start : start + ROWS] = nearest(rows, self.patches).cpu().numpy()
        return found.reshape(patches.shape[:3])

    def maps(self, inputs: np.ndarray) -> np.ndarray:
        """Return the anomaly maps (n, side, side) float16 in [0, 1) of patches (n, h, w, C)."""
        scaled = to_unit_interval(torch.from_numpy(self.distances(inputs)), self.scale_distance, self.slope)
        maps = F.interpolate(scaled[:, None], (self.side, self.side), mode="bilinear", align_corners=False)
        return maps[:, 0].clamp(0, 1).half().numpy()

    def save(self, path: Path, header: dict[str, Any]) -> None:
        """Write the patches to a .safetensors file; the same patches and header give the same bytes."""
        scale = {"scale_distance": self.scale_distance, "slope": self.slope, "side": self.side}
        text = json.dumps({key: str(value) for key, value in header.items()} | scale, sort_keys=True)
        path.write_bytes(to_safetensors({"patches": self.patches.cpu().contiguous()}, {FORMAT: text}))

    def exported(self, places: int) -> Callable[[Tensor], Tensor]:
        """Return what makes maps (n, side, side) of patches (n, C, places, places) in an exported file."""
        known, resize = self.patches.cpu(), Resize(places, self.side, antialias=False)

        def maps(patches: Tensor) -> Tensor:
            distances = nearest(patches.flatten(2).transpose(1, 2).flatten(0, 1), known)
            scaled = to_unit_interval(distances, self.scale_distance, self.slope)
            return resize(scaled.reshape(-1, 1, places, places))[:, 0].clamp(0, 1)

        return maps

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> PatchCore:
        """Return what `save` wrote."""
        with safe_open(path, "pt") as file:
            header, patches = json.loads(file.metadata()[FORMAT]), file.get_tensor("patches").to(device)
        return cls(patches, header["scale_distance"], header["slope"], header["side"], device)


def fit(task: FitTask) -> tuple[PatchCore, dict[str, Any]]:
    """Keep `coreset_size` patches of the good images, of inputs (N, h, w, C); set the scale on those held out.

    The patches that the coreset is chosen from and one image are held at a time. Fewer are kept where there are fewer.
    `progress(kept, coreset_size)` is called now and then.
    """
    inputs, good, held_out, side = task.inputs, task.good, task.held_out, task.study.map_side
    places = int(np.prod(inputs.shape[1:3]))
    drawn = np.random.default_rng(task.seed).permutation(len(good) * places)[:POOL]
    drawn.sort()  # read from a file in its order
    image, place = np.divmod(drawn, places)
    flat = inputs.reshape(len(inputs), places, inputs.shape[3])
    pool = torch.from_numpy(flat[good[image], place].astype(np.float32))
    projected = _projected(pool, task.seed).to(task.device)
    chosen = greedy_coreset(projected, task.study.coreset_size, task.progress)
    fitted = PatchCore(pool[chosen.cpu()].to(task.device), 1.0, 1.0, side, task.device)
    rows = np.linspace(0, len(held_out) - 1, min(HELD_OUT, len(held_out))).round().astype(int)
    distances = np.concatenate([fitted.distances(inputs[held_out[row]][None]).ravel() for row in rows])
    middle, rare = (max(float(np.quantile(distances, share)), 1e-6) for share in (0.5, RARE))
    slope = min(math.log(1 / MIDDLE - 1) / math.log(max(rare / middle, 1 + 1e-6)), STEEPEST)
    kept = {"images": len(good), "offered": len(good) * places, "kept": len(chosen)}
    summary = kept | {"held out": len(held_out), "rare": round(rare, 6)}
    return replace(fitted, scale_distance=rare, slope=slope), summary


def nearest(rows: Tensor, known: Tensor) -> Tensor:
    """Return the distance of each row (n, C) to the nearest one known (M, C), float32 (n,)."""
    return torch.cdist(rows, known, compute_mode="use_mm_for_euclid_dist").amin(dim=1)


def to_unit_interval(distances: Tensor, scale_distance: float, slope: float) -> Tensor:
    """Return distances, at least 0, on a scale of [0, 1) that is the same for any coreset and product.

    `scale_distance`, which one in 200 good patches exceeds, becomes 0.5; by `slope` their median becomes `MIDDLE`.
    """
    powered = (distances / scale_distance) ** slope
    return powered / (1 + powered)


def greedy_coreset(points: Tensor, size: int, progress: Callable[..., None]) -> Tensor:
    """Return the rows of `size` of the points (n, d), each the one farthest from those before it, in turn.

    The first is the point farthest from the mean: no seed is needed. Two approximations of the smallest covering
    radius (Gonzalez 1985). All rows where there are no more than `size`; points equal to chosen ones are left out.
    """
    squares = (points**2).sum(dim=1)
    far = ((points - points.mean(dim=0)) ** 2).sum(dim=1)
    distance = torch.full_like(squares, torch.inf)
    chosen: list[Tensor] = []
    row = far.argmax()
    for count in range(min(size, len(points))):
        chosen.append(row)
        distance = torch.minimum(distance, squares + squares[row] - 2 * points @ points[row])
        distance[row] = 0
        row = distance.argmax()
        if count % 100 == 99:
            progress(count + 1, size)
        if distance[row] <= 0:
            break
    return torch.stack(chosen)


def _projected(points: Tensor, seed: int) -> Tensor:
    """Project points (n, d) at random to `PROJECTED` dimensions, where they have more; distances nearly stay."""
    if points.shape[1] <= PROJECTED:
        return points
    generator = torch.Generator().manual_seed(seed)
    return points @ (torch.randn(points.shape[1], PROJECTED, generator=generator) / PROJECTED**0.5)


def _map_seconds(study: Study) -> float:
    """Return the seconds in which the patches of one image are compared with those kept, on one core."""
    values = grid(study.feature_side) ** 2 * size_of(study.backbone).n_channels
    return 2 * values * study.coreset_size / ARITHMETIC


def _fit_cost(study: Study, n_good: int, sharing: int) -> tuple[float, float]:
    """Return the seconds of the coreset and of its scale on held-out images, and the bytes."""
    coreset = 2 * POOL * PROJECTED * study.coreset_size / MEMORY_BOUND
    return coreset + HELD_OUT * _map_seconds(study), 0.5e9


DETECTOR = Detector(
    inputs="patches",
    fit=fit,
    load=PatchCore.load,
    depends_on=lambda task: {"seed": task.seed, **task.study.values(("coreset_size", "image_size", "tiles"))},
    seed="memory",
    fit_cost=_fit_cost,
    map_seconds=_map_seconds,
    caption=lambda study: (
        f"maps: PatchCore of {study.coreset_size} patches at {study.feature_size} px, cross-fitted, "
        f"shown at {study.map_side} px"
    ),
)
