import pytest
import torch

from lib.draem.losses import focal_loss, image_score, ssim_loss


def test_ssim_is_the_official_loss(official):
    loss = ssim_loss(official["ssim_a"], official["ssim_b"])
    assert loss.item() == pytest.approx(official["ssim_loss"].item(), abs=1e-6)


def test_focal_is_the_official_loss(official):
    loss = focal_loss(official["focal_logits"], official["focal_mask"])
    assert loss.item() == pytest.approx(official["focal_loss"].item(), abs=1e-6)


def test_image_score_is_the_official_one(official):
    small = official["score_map"]
    height, width = small.shape[-2:]
    shown = torch.nn.functional.pad(small, (0, 256 - width, 0, 256 - height))  # as its padding, at the side of 21 px
    torch.testing.assert_close(image_score(shown), official["score_value"], atol=1e-12, rtol=0)


def test_gradients_are_right():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 1, 3, 14, 12, dtype=torch.float64, generator=generator)
    a.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: torch.nn.functional.mse_loss(x, b) + ssim_loss(x, b), a)
    logits = torch.randn(1, 2, 4, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = (torch.rand(1, 1, 4, 4, generator=generator) > 0.5).double()
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, mask), logits)


def test_background_carries_focal_loss():
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    focal_loss(logits, torch.zeros(1, 1, 4, 4)).backward()
    assert (logits.grad[:, 0] < 0).all() and (logits.grad[:, 1] > 0).all()


def test_equal_images_have_no_loss():
    image = torch.rand(2, 3, 32, 64)
    assert ssim_loss(image, image).item() == pytest.approx(0, abs=1e-5)
    assert ssim_loss(image, 1 - image).item() > 0.5


@pytest.mark.parametrize(
    ("sides", "window"), [((256, 256), 21), ((64, 64), 5), ((32, 32), 3), ((512, 256), 21), ((512, 512), 43)]
)
def test_window_follows_the_side(sides, window):
    spot = torch.zeros(1, *sides)
    spot[0, 5, 7] = 1.0
    assert image_score(spot).item() == pytest.approx(1 / window**2)
