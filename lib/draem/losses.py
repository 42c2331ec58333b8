"""DRAEM's training losses, besides the mean squared error, and its image score."""

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for a dynamic range of 1
FOCAL_GAMMA, FOCAL_SMOOTHING = 2.0, 1e-5


def ssim_loss(reconstruction: Tensor, clean: Tensor) -> Tensor:
    """Return 1 - mean SSIM of two batches (N,C,H,W) in [0,1] as a scalar in [0,2].

    Gaussian window 11, sigma 1.5, zero padding, dynamic range 1 (official `loss.py`, SSIM). `clean` gets no
    gradient. The separable window is applied as two banded matrix products, which suits few channels.
    """
    rows, columns = (_blur_matrix(size, clean.dtype, clean.device) for size in clean.shape[-2:])
    with torch.no_grad():
        mean_b, square_b = (rows @ torch.stack((clean, clean * clean)) @ columns).unbind()
        variance_b = square_b - mean_b**2
    x = torch.stack((reconstruction, reconstruction * reconstruction, reconstruction * clean.detach()))
    mean_a, square_a, product = (rows @ x @ columns).unbind()
    means = mean_a * mean_b
    numerator = (2 * means + SSIM_C1) * (2 * (product - means) + SSIM_C2)
    squares = mean_a**2
    denominator = (squares + mean_b**2 + SSIM_C1) * (square_a - squares + variance_b + SSIM_C2)
    return 1 - (numerator / denominator).mean()


def focal_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the focal loss of logits (N,2,H,W) against a mask (N,1,H,W) of 0 and 1, as a scalar.

    Gamma 2, both classes weighted alike, one-hot target clamped to [1e-5, 1 - 1e-5] (official `loss.py`).
    """
    good, anomalous = logits.softmax(dim=1).unbind(dim=1)
    target = mask.squeeze(1).to(logits.dtype)
    is_anomalous = target.clamp(FOCAL_SMOOTHING, 1 - FOCAL_SMOOTHING)
    is_good = (1 - target).clamp(FOCAL_SMOOTHING, 1 - FOCAL_SMOOTHING)
    p = is_good * good + is_anomalous * anomalous + FOCAL_SMOOTHING
    return -((1 - p) ** FOCAL_GAMMA * p.log()).mean()


def image_score(maps: Tensor, tiles: int = 1) -> Tensor:
    """Return scores (N,) of anomaly maps (N,H,W): the maximum of a zero-padded, stride-1 window mean.

    The window has 21 px at a side of 256, as the official `test_DRAEM.py`, and at others in proportion to the shorter
    side, odd and at least 3: the score means the same share of the image at every resolution. Where images are of
    tiles x tiles tiles, it is the share of a tile: over a whole image's, a small defect would be lost again.
    """
    reach = max(1, min(maps.shape[-2:]) * 21 // (2 * 256 * tiles))
    window = 2 * reach + 1
    rows = F.avg_pool2d(maps[:, None], (window, 1), stride=1, padding=(reach, 0))
    return F.avg_pool2d(rows, (1, window), stride=1, padding=(0, reach)).amax(dim=(1, 2, 3))


@lru_cache(maxsize=16)
def _blur_matrix(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Symmetric (size,size) matrix that blurs a signal by the SSIM window, zeros assumed outside."""
    positions = torch.arange(size, dtype=torch.float64)
    distances = (positions[:, None] - positions).abs()
    offsets = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    total = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA**2)).sum()
    matrix = torch.exp(-(distances**2) / (2 * SSIM_SIGMA**2)) / total
    return matrix.masked_fill(distances > SSIM_WINDOW // 2, 0.0).to(device, dtype)
