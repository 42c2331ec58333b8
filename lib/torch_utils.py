"""How torch computes meanwhile, files of tensors read without running code, tiles, modules that ONNX can hold."""

import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from lib.config import overlap_of


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Treat denormal floats as zero on the CPU meanwhile: they can slow a step tenfold."""
    tiny = torch.tensor([1e-310], dtype=torch.float64)
    before = bool((tiny * 1.0 == 0).item())
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def allow_tf32(allowed: bool) -> Iterator[None]:
    """Let CUDA's convolutions and matrix products round their inputs to TensorFloat-32 meanwhile, or not.

    PyTorch lets convolutions do so unless told otherwise. Three digits are enough for training, and too few where a
    line on a CPU is to say what the study said: probabilities were 5e-3 apart with this rounding, 7e-6 without it.
    """
    backends = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


def fast_layout(device: torch.device) -> torch.memory_format:
    """Return the layout of images: channels_last, 1.3 times as fast on a CPU and on CUDA; on MPS the default one."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def load_weights_only(path: Path) -> Any:
    """Return what `torch.save` wrote, with weights_only=True; ValueError for all that is not plain.

    Damaged bytes make torch's reader raise nearly anything, so all is caught. Its own text on a refused file goes on
    to advise the unsafe reading, so only the blocked name is told.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong is raised
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as records:
                    if sum(record.file_size for record in records.infolist()) > path.stat().st_size:
                        raise ValueError("more bytes in it than the file has, as if packed")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if blocked := re.search(r"GLOBAL (\S+)", str(error)):
            issue = f"refused, as it may run code: it holds {blocked[1]} beside tensors"
            raise ValueError(f"{path}: {issue}; give plain tensors") from error
        raise _damaged(path, error) from error


def load_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors by name of a `.safetensors` file or of what `torch.save` wrote; raises ValueError."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except Exception as error:  # safetensors' own errors, and whatever the system says of the file
            raise _damaged(path, error) from error
    state = load_weights_only(path)
    items = state.items() if isinstance(state, dict) else [(None, state)]
    if not all(isinstance(name, str) and isinstance(value, Tensor) for name, value in items):
        issue = f"expected a state_dict (names to tensors), got {type(state).__name__} of other things"
        raise ValueError(f"{path}: {issue}; save model.state_dict()")
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.numel() > value.untyped_storage().size():
            raise ValueError(f"{path}: {name} is sparse, expanded or quantized; save plain tensors")
    return state


def _damaged(path: Path, error: Exception) -> ValueError:
    said = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
    return ValueError(f"{path}: damaged or no file of tensors ({said}); restore it")


def as_stored(values: Tensor) -> Tensor:
    """Return values rounded to half precision, as the study stores maps and patches, in float32."""
    return values.half().float()


def cut(images: Tensor, tile: int, tiles: int) -> Tensor:
    """Return the squares of images (n, C, S, S) with S = `whole_side`, row by row: (n * tiles**2, C, tile, tile)."""
    if tiles == 1:
        return images
    starts = [place * (tile - overlap_of(tile)) for place in range(tiles)]
    rows = torch.stack([images[:, :, start : start + tile] for start in starts], dim=1)
    squares = torch.stack([rows[..., start : start + tile] for start in starts], dim=2)
    return squares.flatten(0, 2)


def join(fields: Tensor, tile: int, tiles: int) -> Tensor:
    """Return the whole of what was made of `cut` tiles: fields (n * tiles**2, C, h, h) to (n, C, H, H).

    The pixels of a tile per cell of its field divide 8. Of an overlap each tile gives the half nearer to its centre.
    """
    if tiles == 1:
        return fields
    side = fields.shape[-1]
    shared = overlap_of(tile) * side // tile
    first, end = shared - shared // 2, side - shared // 2
    kept = [slice(first * (at > 0), end if at < tiles - 1 else side) for at in range(tiles)]
    squares = fields.unflatten(0, (-1, tiles, tiles))
    rows = torch.cat([squares[:, :, place, ..., part] for place, part in enumerate(kept)], dim=-1)
    return torch.cat([rows[:, place, :, part] for place, part in enumerate(kept)], dim=-2)


def some_at_once(model: Callable[[Tensor], Any], images: Tensor, most: int) -> Any:
    """Return what a model makes of images (n, ...), a tensor or several, at most so many at once; exported, of all."""
    if torch.compiler.is_exporting() or len(images) <= most:
        return model(images)
    parts = [model(part) for part in images.split(most)]
    one = isinstance(parts[0], Tensor)
    return torch.cat(parts) if one else tuple(torch.cat(part) for part in zip(*parts, strict=True))


class Resize(nn.Module):
    """Squares (n, c, old, old) to (n, c, new, new), bilinear, by matrix products, in which runtimes agree."""

    rows: Tensor

    def __init__(self, old: int, new: int, *, antialias: bool) -> None:
        super().__init__()
        rows = torch.eye(old)[None, None]
        if new != old:
            rows = F.interpolate(rows, (new, old), mode="bilinear", antialias=antialias, align_corners=False)
        self.same = new == old
        self.register_buffer("rows", rows[0, 0])

    def forward(self, images: Tensor) -> Tensor:
        """Resize both axes."""
        return images if self.same else self.rows @ images @ self.rows.T
