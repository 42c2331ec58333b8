"""Drawn surfaces as cameras would have them: plainer, in other light, with blur and noise."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.synthetic.noise import Draws


def softened(images: Tensor, draws: Draws) -> Tensor:
    """Images (B,3,H,W), half of them with less contrast than they had, down to a tenth: plain surfaces."""
    mean = images.mean((2, 3), keepdim=True)
    contrast = torch.where(draws.chance(0.5), 1.0, draws.log_uniform(0.1, 1.0)).unsqueeze(1)
    return mean + contrast * (images - mean)


def photographed(images: Tensor, draws: Draws) -> Tensor:
    """Images in [0,1] as cameras would have them: grey for many, other light, contrast, gamma, blur and noise."""
    grey = (images * torch.tensor([0.3, 0.59, 0.11], device=images.device).view(3, 1, 1)).sum(1, keepdim=True)
    colour = torch.where(draws.chance(0.4), 0.0, draws.uniform(0.2, 1.0)).unsqueeze(1)
    images = grey + colour * (images - grey)
    soft = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    sharpness = torch.where(draws.chance(0.7), 1.0, draws.uniform(0.3, 1.5)).unsqueeze(1)
    images = soft + sharpness * (images - soft)
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + draws.log_uniform(0.75, 1.3).unsqueeze(1) * (images - mean)
    images = images * draws.log_uniform(0.8, 1.25).unsqueeze(1) + draws.uniform(-0.05, 0.05).unsqueeze(1)
    images = images.clamp(1e-4, 1.0) ** draws.log_uniform(0.8, 1.25).unsqueeze(1)
    noise = draws.white().unsqueeze(1) * torch.where(draws.chance(0.6), 0.0, draws.uniform(0.0, 0.03)).unsqueeze(1)
    return (images + noise).clamp(0.0, 1.0)
