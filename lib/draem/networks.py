"""DRAEM's two networks, with the official layer names so that official weights load as they are."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ReconstructiveNetwork(nn.Module):
    """Autoencoder without skips that replaces anomalies by what a good image would have there.

    Maps images (N,3,H,W) in [0,1] to reconstructions (N,3,H,W), linear, so unbounded; H and W are multiples of 32.
    `seed` is for the initial weights. Zavrtanik et al. 2021; official `ReconstructiveSubNetwork` has width 128.
    """

    def __init__(self, width: int = 128, *, seed: int = 0) -> None:
        super().__init__()
        self.encoder = _Encoder(3, width, (1, 2, 4, 8, 8))
        stages = {"1": (8, 8, 8, 8, 4), "2": (4, 4, 4, 4, 2), "3": (2, 2, 2, 2, 1), "4": (1, 1, 1, 1, 1)}
        self.decoder = _Decoder(stages, width, outputs=3)
        initialise(self, seed)

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images (N,3,H,W) in [0,1]."""
        return self.decoder(self.encoder(images)[-1])


class DiscriminativeNetwork(nn.Module):
    """U-Net that compares a reconstruction with its image and segments where they differ.

    Maps `cat(reconstruction, image)` (N,6,H,W) to logits (N,2,H,W); the anomaly map is softmax[1]. H and W are
    multiples of 32. `seed` is for the initial weights. Official `DiscriminativeSubNetwork` has width 64.
    """

    def __init__(self, width: int = 64, *, seed: int = 0) -> None:
        super().__init__()
        self.encoder_segment = _Encoder(6, width, (1, 2, 4, 8, 8, 8))
        stages = {"1": (8, 4, 12, 4, 4), "2": (4, 2, 6, 2, 2), "3": (2, 1, 3, 1, 1), "4": (1, 1, 2, 1, 1)}
        self.decoder_segment = _Decoder({"_b": (8, 8, 16, 8, 8), **stages}, width, outputs=2)
        initialise(self, seed)

    def forward(self, pairs: Tensor) -> Tensor:
        """Logits (N,2,H,W) of good and anomalous for pairs (N,6,H,W)."""
        *skips, innermost = self.encoder_segment(pairs)
        return self.decoder_segment(innermost, skips)


def initialise(network: nn.Module, seed: int) -> None:
    """Set convolutions to N(0, 0.02), BatchNorm weights to N(1, 0.02), all biases to 0, from `seed` alone."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d)):
            mean = 0.0 if isinstance(layer, nn.Conv2d) else 1.0
            nn.init.normal_(layer.weight, mean, 0.02, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class _Encoder(nn.Module):
    """Blocks of two convolutions with 2x2 max pooling between; returns every block's output."""

    def __init__(self, channels: int, width: int, factors: tuple[int, ...]) -> None:
        super().__init__()
        for number, factor in enumerate(factors, start=1):
            self.add_module(f"block{number}", _double(channels, factor * width, factor * width))
            channels = factor * width

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = []
        for block in self.children():
            outputs.append(block(nn.functional.max_pool2d(outputs[-1], 2) if outputs else x))
        return outputs


class _Decoder(nn.Module):
    """Upsampling and two convolutions per stage, with the encoder's output of that size beside where there are skips.

    `stages` names each and gives its channels, in units of `width`: below, upsampled, joined, between, above.
    """

    def __init__(self, stages: dict[str, tuple[int, int, int, int, int]], width: int, outputs: int) -> None:
        super().__init__()
        self.names = list(stages)
        for name, channels in stages.items():
            below, upsampled, joined, between, above = (width * factor for factor in channels)
            upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.add_module(f"up{name}", nn.Sequential(upsample, *_normalised(below, upsampled)))
            self.add_module(f"db{name}", _double(joined, between, above))
        self.fin_out = nn.Sequential(_convolution(width, outputs))

    def forward(self, x: Tensor, skips: Sequence[Tensor] = ()) -> Tensor:
        """Decode the innermost output; `skips` are the encoder's others, the smallest last."""
        for number, name in enumerate(self.names, start=1):
            x = self.get_submodule(f"up{name}")(x)
            x = self.get_submodule(f"db{name}")(torch.cat((x, skips[-number]), dim=1) if skips else x)
        return self.fin_out(x)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    # skip_init: the layers' default initialisation would draw from torch's global generator.
    return nn.utils.skip_init(nn.Conv2d, inputs, outputs, kernel_size=3, padding=1)


def _normalised(inputs: int, outputs: int) -> list[nn.Module]:
    return [_convolution(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _double(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_normalised(inputs, middle), *_normalised(middle, outputs))
