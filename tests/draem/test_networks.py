import pytest
import torch
from safetensors.torch import load_file

from lib.draem.losses import focal_loss, ssim_loss
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork

from .conftest import FIXTURES, load_arrays


def official_networks(dtype):
    networks = ReconstructiveNetwork(8), DiscriminativeNetwork(8)
    for network, name in zip(networks, ("reconstructive", "discriminative"), strict=True):
        network.load_state_dict(load_file(FIXTURES / f"{name}_w8.safetensors"))
        network.to(dtype)
    return networks


def test_official_weights_give_the_official_outputs():
    arrays = load_arrays(FIXTURES / "networks.npz")
    reconstructive, discriminative = (network.eval() for network in official_networks(torch.float32))
    images = arrays["net_image"].float()
    with torch.inference_mode():
        reconstruction = reconstructive(images)
        logits = discriminative(torch.cat((reconstruction, images), dim=1))
    torch.testing.assert_close(reconstruction.double(), arrays["net_reconstruction"], atol=1e-5, rtol=0)
    torch.testing.assert_close(logits.double(), arrays["net_logits"], atol=1e-5, rtol=0)
    torch.testing.assert_close(logits.softmax(1)[:, 1].double(), arrays["net_map"], atol=1e-5, rtol=0)


def test_a_training_step_has_the_official_losses_and_gradients():
    arrays = load_arrays(FIXTURES / "networks.npz")
    reconstructive, discriminative = (network.train() for network in official_networks(torch.float64))
    reconstruction = reconstructive(arrays["net_image"])
    logits = discriminative(torch.cat((reconstruction, arrays["net_image"]), dim=1))
    losses = torch.stack(
        (
            torch.nn.functional.mse_loss(reconstruction, arrays["step_target"]),
            ssim_loss(reconstruction, arrays["step_target"]),
            focal_loss(logits, arrays["step_mask"]),
        )
    )
    losses.sum().backward()
    norms = torch.stack(
        [
            reconstructive.encoder.block1[0].weight.grad.norm(),
            discriminative.encoder_segment.block1[0].weight.grad.norm(),
            discriminative.decoder_segment.fin_out[0].weight.grad.norm(),
        ]
    )
    torch.testing.assert_close(losses.detach(), arrays["step_losses"], atol=1e-6, rtol=0)
    torch.testing.assert_close(norms, arrays["step_grad_norms"], atol=0, rtol=1e-5)


def test_full_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        networks = ReconstructiveNetwork(seed=0), DiscriminativeNetwork(seed=0)
    millions = [sum(parameter.numel() for parameter in network.parameters()) / 1e6 for network in networks]
    assert millions == pytest.approx([69.05, 28.37], abs=0.005)


def test_initial_weights_follow_the_seed_and_nothing_else():
    state = torch.get_rng_state()
    first, again, other = (DiscriminativeNetwork(8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    weight = first.encoder_segment.block5[0].weight
    assert torch.equal(weight, again.encoder_segment.block5[0].weight)
    assert not torch.equal(weight, other.encoder_segment.block5[0].weight)
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    norms = torch.cat([p for name, p in first.named_parameters() if p.ndim == 1 and name.endswith("weight")])
    assert norms.mean().item() == pytest.approx(1, abs=0.01) and norms.std().item() == pytest.approx(0.02, rel=0.2)
    assert all((p == 0).all() for name, p in first.named_parameters() if name.endswith("bias"))
