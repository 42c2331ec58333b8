"""Patches: the middle stages of the same backbone, averaged and joined as the paper says."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.models import resnet18

from lib.features import patch_embeddings
from lib.features.patch_embeddings import N_CHANNELS, grid, patch_features
from lib.features.resnet import load_backbone


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("random-init")


def pictures(count=3, side=64):
    return np.random.default_rng(0).integers(0, 255, (count, side, side, 3), dtype=np.uint8)


def test_they_are_the_second_and_third_stage_of_the_backbone(backbone, monkeypatch):
    monkeypatch.setattr(patch_embeddings, "BATCH", 2)
    images = pictures()
    found = patch_features(backbone, images, np.empty((3, 8, 8, N_CHANNELS), np.float16))
    net = resnet18(weights=None).eval()
    net.load_state_dict(backbone.model.body.state_dict(), strict=False)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(backbone.mean).view(3, 1, 1)) / torch.tensor(backbone.std).view(3, 1, 1)
    with torch.no_grad():
        x = net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x)))))
        second = net.layer2(x)
        third = net.layer3(second)
    averaged = []
    for stage in (second, third):
        around = F.pad(stage, (1, 1, 1, 1), value=float("nan")).unfold(2, 3, 1).unfold(3, 3, 1)
        averaged.append(around.flatten(4).nanmean(dim=4))
    large = F.interpolate(averaged[1], (8, 8), mode="bilinear", align_corners=False)
    for part, expected in ((found[..., :128], averaged[0]), (found[..., 128:], large)):
        unit = expected / expected.norm(dim=1, keepdim=True)
        np.testing.assert_allclose(part, unit.permute(0, 2, 3, 1), atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(found.astype(float), axis=-1), 2**0.5, atol=2e-3)


@pytest.mark.parametrize("side", [32, 60, 96])
def test_a_picture_has_a_patch_every_eight_pixels(backbone, side):
    out = np.empty((2, grid(side), grid(side), N_CHANNELS), np.float16)
    assert np.isfinite(patch_features(backbone, pictures(2, side), out)).all()
