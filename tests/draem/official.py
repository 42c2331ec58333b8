"""Networks as the official code writes and reads them: two pickles, for BGR images."""

from pathlib import Path

import torch

from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork


def export_official(
    folder: Path, name: str, reconstructive: ReconstructiveNetwork, discriminative: DiscriminativeNetwork
) -> tuple[Path, Path]:
    """Write `name.pckl` and `name_seg.pckl`, and return their paths."""
    first, second = dict(reconstructive.state_dict()), dict(discriminative.state_dict())
    for key, axis in (("encoder.block1.0.weight", 1), ("decoder.fin_out.0.weight", 0), ("decoder.fin_out.0.bias", 0)):
        first[key] = first[key].flip(axis)
    key = "encoder_segment.block1.0.weight"
    second[key] = second[key][:, [2, 1, 0, 5, 4, 3]]
    paths = folder / f"{name}.pckl", folder / f"{name}_seg.pckl"
    for path, state in zip(paths, (first, second), strict=True):
        torch.save(state, path)
    return paths
