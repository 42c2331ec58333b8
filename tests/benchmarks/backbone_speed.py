"""CPU milliseconds an image of backbones, one thread, least of several turns: python -m tests.benchmarks.backbone_speed

Weights are random, as none of them changes how long it takes. `before`: torchvision's ResNet-18 as this project ran it
earlier, pooled features and patches in two passes, batch normalisation not folded.
"""

import argparse
import time

import torch
from torchvision.models import resnet18
from torchvision.models.feature_extraction import create_feature_extractor

from lib.features.backbone import load_backbone

BATCH, TURNS = 32, 5


def before(side: int):
    """ResNet-18's pooled features and its middle stages, in two passes."""
    net = resnet18(weights=None).eval().to(memory_format=torch.channels_last)
    whole = create_feature_extractor(net, ["avgpool"])
    middle = create_feature_extractor(net, ["layer2", "layer3"])
    return lambda images: (whole(images), middle(images))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", nargs="+", default=["efficientnet_lite0", "efficientnet_lite2", "resnet18"])
    parser.add_argument("--side", type=int, nargs="+", default=[96, 160, 224])
    options = parser.parse_args()
    torch.set_num_threads(1)
    for side in options.side:
        images = torch.rand(BATCH, 3, side, side).contiguous(memory_format=torch.channels_last)
        runs = {"before": before(side)}
        for name in options.backbone:
            net = load_backbone(name, "random-init", side)
            runs |= {name: net, f"{name}, pooled only": net.pooled}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(TURNS):
            for name, run in runs.items():
                with torch.inference_mode():
                    began = time.process_time()
                    run(images)
                    times[name].append((time.process_time() - began) / BATCH * 1e3)
        base = min(times["before"])
        for name, values in times.items():
            print(f"{side} px  {name:<36} {min(values):6.1f} ms  {base / min(values):5.2f} times as fast")


if __name__ == "__main__":
    main()
