"""Extended simulation: beside DRAEM's foreign textures, defects that look like the product and like real flaws.

Textures from elsewhere are easy to tell from a product. Networks that are trained for a few hundred steps only learn
more from anomalies that are hard to tell: drawn flaws, and the product itself where it does not belong.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.draem.simulation import NODES, Simulated, perlin_masks, simulate
from lib.synthetic.defects import KINDS, flawed
from lib.synthetic.noise import Draws, viewed

FLAWED, NEAR = 0.25, 0.15  # shares of the images; of the others, as many get a texture as make half of all
TEXTURED = 0.5
GREYED = 0.7  # share of the grey images whose anomaly is made grey too
COLOURLESS = 0.02  # largest difference between the channels of a grey image
COVERED = 0.3  # least coverage of a flaw that counts as anomalous
VISIBLE, REACH = (
    0.03,
    2,
)  # least change of a value that counts as anomalous, and how far around it the mask goes


def simulate_extended(
    images: Tensor, textures: Tensor, generator: torch.Generator, parts: tuple[str, ...]
) -> Simulated:
    """Return good images, some rotated, most of them with an anomaly; square images, else as `simulate` has it.

    With all `parts`: half get a texture, a quarter a drawn flaw ("flaws"), one in seven a part of themselves, moved or
    in other light ("near"), the rest nothing. On grey images most anomalies are grey too ("grey").
    """
    count, _, height, width = images.shape
    flawed_share, near_share = FLAWED * ("flaws" in parts), NEAR * ("near" in parts)
    share = TEXTURED / (1 - flawed_share - near_share)
    clean, augmented, mask = simulate(images, textures, generator, share)
    u = torch.rand(count, 2, generator=generator)

    def put(rows: Tensor, changed: Tensor, where: Tensor) -> None:
        good = clean[rows]
        seen = ((changed - good).abs().amax(1, keepdim=True) > VISIBLE).to(mask.dtype)
        augmented[rows] = changed
        mask[rows] = where * F.max_pool2d(seen, 2 * REACH + 1, 1, REACH)

    drawn = (u[:, 0] < flawed_share).nonzero().flatten()
    kinds = torch.randint(len(KINDS), (len(drawn),), generator=generator)
    for kind in kinds.unique().tolist():
        rows = drawn[kinds == kind].to(images.device)
        draws = Draws(len(rows), generator, images.shape[-1], images.device)
        changed, cover = flawed(clean[rows], list(KINDS)[kind], draws)
        put(rows, changed, (cover > COVERED).to(mask.dtype)[:, None])

    near = ((u[:, 0] >= flawed_share) & (u[:, 0] < flawed_share + near_share)).nonzero().flatten()
    if len(near):
        rows = near.to(images.device)
        draws = Draws(len(rows), generator, images.shape[-1], images.device)
        angles = torch.rand(len(rows), NODES, NODES, generator=generator) * (2 * torch.pi)
        cells = torch.rand(len(rows), 3, generator=generator)
        where = perlin_masks(angles.to(images.device), cells.to(images.device), (height, width))
        put(rows, *_near(clean[rows], where, draws))

    if "grey" in parts:
        grey = (clean.amax(1) - clean.amin(1)).amax((1, 2)) < COLOURLESS
        grey &= (u[:, 1] < GREYED).to(images.device)
        augmented = torch.where(grey[:, None, None, None], augmented.mean(1, keepdim=True), augmented)
    return Simulated(clean, augmented, mask)


def _near(good: Tensor, where: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Return images with a part of another view of themselves, or of themselves in other light, and that part."""
    other = torch.where(draws.chance(0.5).unsqueeze(1), viewed(good, draws), good)
    light, shade = draws.log_uniform(0.6, 1.6).unsqueeze(1), draws.uniform(-0.15, 0.15).unsqueeze(1)
    other = (other * light + shade).clamp(0, 1)
    return good + where * draws.uniform(0.4, 1.0).unsqueeze(1) * (other - good), where
