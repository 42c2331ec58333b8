"""The presets: what a study's settings are before any is named."""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    # Tests: every code path in seconds; the figures mean nothing. At a lower rate four steps leave constant maps.
    "smoke": dict(
        image_size=32, reconstructive_width=4, discriminative_width=4, draem_steps=4, draem_lr=1e-2, folds=2,
        synthetic_scale=0.01, synthetic_side=64, feature_size=32, mlp=(16, 8), keep=(0.5, 1.0),
        inner_folds=2, patch_size=32, coreset_size=50,
    ),
    # Two CPU cores, no network: the three stand-ins under ten minutes in all.
    "quick": dict(),
    # One GPU, or a patient CPU (which gets `CPU_STANDARD`).
    "standard": dict(
        image_size=256, reconstructive_width=128, discriminative_width=64, draem_steps=5000, folds=5,
        synthetic_scale=0.5, synthetic_side=256, feature_size=224, patch_size=224, coreset_size=2000, leak_check="all",
        draem_lr=1e-4,
    ),
    # The paper's own: 700 epochs, ten folds, full counts.
    "paper": dict(
        image_size=256, reconstructive_width=128, discriminative_width=64, draem_steps=0, draem_epochs=700,
        folds=10, synthetic_scale=1.0, synthetic_side=256, feature_size=224, patch_size=224, coreset_size=2000,
        leak_check="all", draem_lr=1e-4,
    ),
}  # fmt: skip

CPU_STANDARD: dict[str, Any] = dict(
    image_size=128, reconstructive_width=32, discriminative_width=16, draem_steps=1500, synthetic_side=128,
    synthetic_scale=0.25, leak_check="image", draem_lr=3e-4,
)  # fmt: skip


def of_this_machine(preset: str) -> tuple[str, ...]:
    """Return the settings whose value in the preset depends on the machine: a study names them with its overrides."""
    return tuple(CPU_STANDARD) if preset == "standard" else ()


def preset_values(preset: str) -> dict[str, Any]:
    """Return the preset's values on this machine: `standard` is smaller where there is no CUDA device."""
    if preset != "standard":
        return PRESETS[preset]
    import torch

    return PRESETS[preset] if torch.cuda.is_available() else PRESETS[preset] | CPU_STANDARD
