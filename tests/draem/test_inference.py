import numpy as np
import pytest
import torch

from lib.draem.inference import Draem
from lib.draem.losses import image_score
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork


@pytest.fixture(scope="module")
def networks():
    """Networks with statistics as after training: far from mean 0 and variance 1."""
    pair = ReconstructiveNetwork(4, seed=1), DiscriminativeNetwork(4, seed=2)
    generator = torch.Generator().manual_seed(3)
    for network in pair:
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, generator=generator)
            elif isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.normal_(0, 0.1, generator=generator)
                layer.running_var.uniform_(0.5, 3.0, generator=generator)
                layer.weight.data.uniform_(0.5, 1.5, generator=generator)
                layer.bias.data.normal_(0, 0.2, generator=generator)
        network.eval()
    return pair


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 32, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(networks, images):
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        return networks[1](torch.cat((networks[0](x), x), dim=1)).softmax(dim=1)[:, 1]


def test_folded_networks_give_the_same_outputs(networks, images):
    draem, x = Draem(*networks), torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    folded = draem.exported()
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in folded.modules())
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), draem(x), atol=1e-5, rtol=1e-5)
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in draem.modules())


@pytest.mark.parametrize("batch", [0, 1, 3, 100])
def test_maps_and_scores_are_those_of_the_networks(networks, images, expected, batch):
    out, scores = Draem(*networks).maps_and_scores(images, batch)
    assert expected.std() > 1e-3  # a map that could be wrong
    np.testing.assert_allclose(out, expected.numpy(), atol=1e-3)
    np.testing.assert_allclose(scores, image_score(expected).numpy(), atol=1e-5)  # from float32, not from `out`
    assert scores.dtype == np.float32


@pytest.mark.parametrize("room", [2, 0])
def test_a_full_gpu_halves_the_batch_or_says_what_to_set(networks, images, expected, room, monkeypatch):
    draem = Draem(*networks)
    folded = draem.exported()

    def small(batch):
        if len(batch) > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return folded(batch)

    folded_in = torch.nn.Module()
    folded_in.forward = small
    monkeypatch.setattr(draem, "exported", lambda: folded_in)
    if room:
        np.testing.assert_allclose(draem.maps(images), expected.numpy(), atol=1e-3)
    else:
        with pytest.raises(RuntimeError, match=r"one image of 32x64 px: set a smaller image_size, or device=cpu"):
            draem.maps(images)


@pytest.mark.gpu
def test_a_gpu_makes_the_same_maps(networks, images, expected):
    out, scores = Draem(*networks, "cuda").maps_and_scores(images)
    np.testing.assert_allclose(out, expected.numpy(), atol=5e-3)
    np.testing.assert_allclose(scores, image_score(expected).numpy(), atol=5e-3)
