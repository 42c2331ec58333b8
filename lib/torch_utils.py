"""How torch computes meanwhile: with denormal floats or without, and how exactly on a CUDA card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
    line on a CPU is to say what the study said: with this rounding imitated on a CPU, the probabilities of a small
    study and of its exported line, on image features alone, were 5e-3 apart; without it, 7e-6.
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
