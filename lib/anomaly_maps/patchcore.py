"""Anomaly maps from a memory of good patches: how far is each patch of a picture from all that was seen on good ones?

After Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (CVPR 2022): a greedy k-centre coreset of the
good images' patches, and the distance to the nearest of them. A memory shows the images that it was filled from as
cleaner than any other good image, so each half of a fold is judged by the memory of the other half.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor
from torch.nn import functional as F

from lib.anomaly_maps.detectors import Detector, FitTask
from lib.artifacts import write_bytes
from lib.config import Study

FORMAT = "patch-memory-1"
POOL = 30_000  # patches, drawn at random, that the coreset is chosen from
PROJECTED = 128  # dimensions in which they are compared while choosing (Johnson-Lindenstrauss)
ROWS = 8192  # patches compared with the memory at once
HELD_OUT = 100  # good images, at most, that the scale is set on
RARE = 0.995  # share of held-out good patches that lie nearer than the distance shown as 0.5
MIDDLE = 0.1  # how the distance of the middle one of them is shown
STEEPEST = 50.0  # of the scale, where good patches all lie equally far
ARITHMETIC = 3e10  # operations per second of one core in a product of matrices
MEMORY_BOUND = 5e9  # and of a matrix and a vector

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class PatchCore:
    """Patches of good images (M, C), the side of the maps in pixels, and their scale (see `shown`)."""

    patches: Tensor
    rare: float
    steepness: float
    side: int
    device: str = "cpu"

    @classmethod
    def fit(
        cls,
        seen: np.ndarray,
        good: np.ndarray,
        held_out: np.ndarray,
        *,
        size: int,
        side: int,
        seed: int,
        device: str = "cpu",
        progress: Progress | None = None,
    ) -> PatchCore:
        """Keep `size` patches of the good images, rows `good` of `seen` (N, h, w, C); set the scale on rows `held_out`.

        `seen` may be memory-mapped: the patches that the coreset is chosen from and one image are held at a time. Fewer
        are kept where there are fewer. `progress(kept, size)` is called now and then. Raises ValueError where there is
        no good image, or none held out.
        """
        if not len(good) or not len(held_out):
            raise ValueError(f"{len(good)} good images and {len(held_out)} held out: a memory needs both")
        places = int(np.prod(seen.shape[1:3]))
        drawn = np.random.default_rng(seed).permutation(len(good) * places)[:POOL]
        drawn.sort()  # read from a file in its order
        image, place = np.divmod(drawn, places)
        flat = seen.reshape(len(seen), places, seen.shape[3])
        pool = torch.from_numpy(flat[np.asarray(good)[image], place].astype(np.float32))
        chosen = greedy_coreset(_projected(pool, seed).to(device), size, progress)
        memory = cls(pool[chosen.cpu()].to(device), 1.0, 1.0, side, device)
        rows = np.linspace(0, len(held_out) - 1, min(HELD_OUT, len(held_out))).round().astype(int)
        distances = np.concatenate([memory.distances(seen[held_out[row]][None]).ravel() for row in rows])
        middle, rare = (max(float(np.quantile(distances, share)), 1e-6) for share in (0.5, RARE))
        ratio = max(rare / middle, 1 + 1e-6)
        steepness = min(math.log(1 / MIDDLE - 1) / math.log(ratio), STEEPEST)
        return cls(memory.patches, rare, steepness, side, device)

    def distances(self, patches: np.ndarray) -> np.ndarray:
        """Return the distance of each patch (n, h, w, C) to the nearest in memory, float32 (n, h, w)."""
        flat = patches.reshape(-1, patches.shape[-1])
        found = np.empty(len(flat), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(flat), ROWS):
                rows = torch.from_numpy(flat[start : start + ROWS].astype(np.float32)).to(self.device)
                nearest = torch.cdist(rows, self.patches).amin(dim=1)
                found[start : start + ROWS] = nearest.cpu().numpy()
        return found.reshape(patches.shape[:3])

    def maps(self, seen: np.ndarray) -> np.ndarray:
        """Return the anomaly maps (n, side, side) float16 in [0, 1) of patches (n, h, w, C)."""
        scaled = to_unit_interval(torch.from_numpy(self.distances(seen)), self.rare, self.steepness)
        maps = F.interpolate(scaled[:, None], (self.side, self.side), mode="bilinear", align_corners=False)
        return maps[:, 0].clamp(0, 1).half().numpy()

    def save(self, path: Path, header: dict[str, Any]) -> None:
        """Write the memory to a .safetensors file; the same memory and header give the same bytes."""
        told = {key: str(value) for key, value in header.items()} | {
            "rare": self.rare,
            "steepness": self.steepness,
            "side": self.side,
        }
        kept = {"patches": self.patches.cpu().contiguous()}
        write_bytes(path, to_safetensors(kept, {FORMAT: json.dumps(told, sort_keys=True)}))

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> PatchCore:
        """Read a memory; FileNotFoundError where there is none, ValueError for a file that is none."""
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such PatchCore; fit it first")
        try:
            with safe_open(path, "pt") as file:
                told = json.loads((file.metadata() or {})[FORMAT])
                patches = file.get_tensor("patches").to(device)
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{path}: not a PatchCore ({error}); delete it and fit again") from error
        return cls(patches, float(told["rare"]), float(told["steepness"]), int(told["side"]), device)


def to_unit_interval(distances: Tensor, rare: float, steepness: float) -> Tensor:
    """Bring distances, at least 0, to [0, 1), to one scale for any memory and product.

    `rare`, which one in 200 good patches exceeds, becomes 0.5; by `steepness` the middle one becomes `MIDDLE`.
    """
    powered = (distances / rare) ** steepness
    return powered / (1 + powered)


def greedy_coreset(points: Tensor, size: int, progress: Progress | None = None) -> Tensor:
    """Choose `size` of the points (n, d), each the one farthest from those before it; returns their rows, in turn.

    The first is the point farthest from the mean: no seed is needed. Two approximations of the smallest covering
    radius (Gonzalez 1985). All rows where there are no more than `size`; points equal to chosen ones are left out.
    """
    if size < 1:
        raise ValueError(f"size={size}: at least one point")
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
        if progress is not None and count % 100 == 99:
            progress(count + 1, size)
        if distance[row] <= 0:
            break
    return torch.stack(chosen)


def _projected(points: Tensor, seed: int) -> Tensor:
    """Project points (n, d) at random to `PROJECTED` dimensions, where they have more; distances stay, nearly."""
    if points.shape[1] <= PROJECTED:
        return points
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(points.shape[1], PROJECTED, generator=generator) / PROJECTED**0.5
    return points @ directions


def _fit(task: FitTask) -> tuple[PatchCore, dict[str, Any]]:
    study = task.study
    memory = PatchCore.fit(
        task.inputs,
        task.good,
        task.held_out,
        size=study.coreset_size,
        side=study.image_size,
        seed=task.seed,
        device=task.device,
        progress=task.progress,
    )
    offered = len(task.good) * int(np.prod(task.inputs.shape[1:3]))
    kept = {"images": len(task.good), "offered": offered, "kept": len(memory.patches)}
    return memory, kept | {"held out": len(task.held_out), "rare": round(memory.rare, 6)}


def _map_seconds(study: Study) -> float:
    """Return the seconds in which the patches of one image are compared with those in memory, on one core."""
    from lib.features.patch_embeddings import N_CHANNELS, grid

    return 2 * grid(study.patch_size) ** 2 * N_CHANNELS * study.coreset_size / ARITHMETIC


def _fit_cost(study: Study, n_good: int, sharing: int) -> tuple[float, float]:
    """Return the seconds of the coreset and of its scale on held-out images, and the bytes."""
    coreset = 2 * POOL * PROJECTED * study.coreset_size / MEMORY_BOUND
    return coreset + HELD_OUT * _map_seconds(study), 0.5e9


DETECTOR = Detector(
    inputs="patches",
    fit=_fit,
    load=PatchCore.load,
    depends_on=lambda task: {"seed": task.seed, **task.study.values(("coreset_size", "image_size"))},
    seed="memory",
    fit_cost=_fit_cost,
    map_seconds=_map_seconds,
    caption=lambda study: (
        f"maps: PatchCore of {study.coreset_size} patches at {study.patch_size} px, cross-fitted, "
        f"shown at {study.image_size} px"
    ),
)
