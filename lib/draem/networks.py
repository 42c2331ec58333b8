"""DRAEM's two networks, with the official layer names so that official weights load as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

SIDE_MULTIPLE = 32  # five 2x2 poolings


class ReconstructiveNetwork(nn.Module):
    """Autoencoder without skips that paints anomalies over with what a good image would show.

    Maps images (N,3,H,W) in [0,1] to reconstructions (N,3,H,W), linear, so unbounded. H and W must be
    multiples of 32, else ValueError. `seed` is an integer or a CPU generator for the initial weights.
    Zavrtanik et al. 2021; official `ReconstructiveSubNetwork` has width 128.
    """

    def __init__(self, width: int = 128, *, seed: int | torch.Generator = 0) -> None:
        super().__init__()
        self.encoder = _Encoder(3, width, (1, 2, 4, 8, 8))
        self.decoder = _ReconstructiveDecoder(width)
        initialise(self, seed)

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images (N,3,H,W) in [0,1]."""
        check_sides(images.shape[-2:])
        return self.decoder(self.encoder(images)[-1])


class DiscriminativeNetwork(nn.Module):
    """U-Net that compares a reconstruction with its image and segments where they differ.

    Maps `cat(reconstruction, image)` (N,6,H,W) to logits (N,2,H,W); the anomaly map is softmax[1]. H and W
    must be multiples of 32, else ValueError. `seed` is an integer or a CPU generator for the initial weights.
    Zavrtanik et al. 2021; official `DiscriminativeSubNetwork` has width 64.
    """

    def __init__(self, width: int = 64, *, seed: int | torch.Generator = 0) -> None:
        super().__init__()
        self.encoder_segment = _Encoder(6, width, (1, 2, 4, 8, 8, 8))
        self.decoder_segment = _SegmentDecoder(width)
        initialise(self, seed)

    def forward(self, pairs: Tensor) -> Tensor:
        """Logits (N,2,H,W) of good and anomalous for pairs (N,6,H,W)."""
        check_sides(pairs.shape[-2:])
        return self.decoder_segment(*self.encoder_segment(pairs))


def check_sides(sides: Sequence[int]) -> None:
    """Raise ValueError unless height and width, in pixels, are positive multiples of 32."""
    height, width = sides
    if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE or not height * width:
        raise ValueError(
            f"DRAEM needs sides divisible by {SIDE_MULTIPLE}, got {height}x{width}: resize or pad"
        )


def initialise(network: nn.Module, seed: int | torch.Generator) -> None:
    """Set convolutions to N(0, 0.02), BatchNorm weights to N(1, 0.02), all biases to 0, from `seed` alone."""
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0.0, 0.02, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02, generator=generator)
            nn.init.zeros_(layer.bias)


def widths_of(state_dict: Mapping[str, Tensor]) -> int:
    """Return the base width of either network from its state_dict; KeyError if it belongs to neither."""
    for prefix in ("encoder.", "encoder_segment."):
        weight = state_dict.get(f"{prefix}block1.0.weight")
        if weight is not None:
            return weight.shape[0]
    raise KeyError(
        "not a DRAEM state_dict: neither encoder.block1.0.weight nor encoder_segment.block1.0.weight"
    )


class _Encoder(nn.Module):
    """Blocks of two convolutions with 2x2 max pooling between; returns every block's output."""

    def __init__(self, channels: int, width: int, factors: tuple[int, ...]) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.depth = len(factors)
        for number, factor in enumerate(factors, start=1):
            self.add_module(f"block{number}", _double(channels, factor * width, factor * width))
            channels = factor * width

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = []
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"block{number}")(self.pool(x) if outputs else x)
            outputs.append(x)
        return outputs


class _ReconstructiveDecoder(nn.Module):
    def __init__(self, w: int) -> None:
        super().__init__()
        self.up1, self.db1 = _upsampled(8 * w, 8 * w), _double(8 * w, 8 * w, 4 * w)
        self.up2, self.db2 = _upsampled(4 * w, 4 * w), _double(4 * w, 4 * w, 2 * w)
        self.up3, self.db3 = _upsampled(2 * w, 2 * w), _double(2 * w, 2 * w, w)
        self.up4, self.db4 = _upsampled(w, w), _double(w, w, w)
        self.fin_out = nn.Sequential(_convolution(w, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.db1(self.up1(x))
        x = self.db2(self.up2(x))
        x = self.db3(self.up3(x))
        x = self.db4(self.up4(x))
        return self.fin_out(x)


class _SegmentDecoder(nn.Module):
    def __init__(self, v: int) -> None:
        super().__init__()
        self.up_b, self.db_b = _upsampled(8 * v, 8 * v), _double(16 * v, 8 * v, 8 * v)
        self.up1, self.db1 = _upsampled(8 * v, 4 * v), _double(12 * v, 4 * v, 4 * v)
        self.up2, self.db2 = _upsampled(4 * v, 2 * v), _double(6 * v, 2 * v, 2 * v)
        self.up3, self.db3 = _upsampled(2 * v, v), _double(3 * v, v, v)
        self.up4, self.db4 = _upsampled(v, v), _double(2 * v, v, v)
        self.fin_out = nn.Sequential(_convolution(v, 2))

    def forward(self, b1: Tensor, b2: Tensor, b3: Tensor, b4: Tensor, b5: Tensor, b6: Tensor) -> Tensor:
        x = self.db_b(torch.cat((self.up_b(b6), b5), dim=1))
        x = self.db1(torch.cat((self.up1(x), b4), dim=1))
        x = self.db2(torch.cat((self.up2(x), b3), dim=1))
        x = self.db3(torch.cat((self.up3(x), b2), dim=1))
        x = self.db4(torch.cat((self.up4(x), b1), dim=1))
        return self.fin_out(x)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    # skip_init: the layers' default initialisation would draw from torch's global generator.
    return nn.utils.skip_init(nn.Conv2d, inputs, outputs, kernel_size=3, padding=1)


def _normalised(inputs: int, outputs: int) -> list[nn.Module]:
    return [_convolution(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _double(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_normalised(inputs, middle), *_normalised(middle, outputs))


def _upsampled(inputs: int, outputs: int) -> nn.Sequential:
    upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return nn.Sequential(upsample, *_normalised(inputs, outputs))
