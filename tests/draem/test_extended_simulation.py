import pytest
import torch

from lib.draem.simulation import COLOURLESS, VISIBLE, simulate_extended
from lib.draem.training import TrainingSettings, panel

SIDE, COUNT = 32, 1200
ALL = {"flaws": "FLAWED", "near": "NEAR", "grey": "GREYED"}  # what it adds to DRAEM's own, and how much of it


def simulated(parts=tuple(ALL), seed=1, grey=False):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(COUNT, 3, SIDE, SIDE, generator=generator) * 0.6 + 0.2
    if grey:
        images = images.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    textures = torch.randint(0, 256, (20, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    before = images.clone()
    with pytest.MonkeyPatch.context() as patch:
        for part in set(ALL) - set(parts):
            patch.setattr(f"lib.draem.simulation.{ALL[part]}", 0.0)
        found = simulate_extended(images, textures, torch.Generator().manual_seed(seed))
    assert torch.equal(images, before)  # inputs are left alone
    return found


def marked_share(found):
    return (found.mask.amax((1, 2, 3)) > 0).float().mean().item()


@pytest.mark.parametrize("parts", [tuple(ALL), ("flaws",), ("near",), ("grey",)])
def test_what_is_not_marked_is_nearly_as_it_was(parts):
    clean, augmented, mask = simulated(parts)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert augmented.min() >= 0 and augmented.max() <= 1
    off = ((augmented - clean).abs().amax(1, keepdim=True) > VISIBLE) & (mask == 0)
    assert off.float().mean() < 0.01  # the faint edges of a flaw
    marked = (mask > 0).flatten(1).any(1)
    assert ((augmented - clean).abs().amax((1, 2, 3)) > VISIBLE)[marked].float().mean() > 0.97


def test_each_part_adds_its_share():
    alone = {part: marked_share(simulated((part,))) for part in ALL}
    everything = marked_share(simulated())
    assert alone["grey"] == pytest.approx(0.5, abs=0.06)  # DRAEM's own half; some of its masks are empty
    assert alone["near"] == pytest.approx(0.63, abs=0.06)
    assert alone["flaws"] == pytest.approx(0.73, abs=0.06)
    assert everything == pytest.approx(0.87, abs=0.06)


def test_colour_does_not_betray_most_anomalies_on_grey_images():
    def coloured(parts):
        _, augmented, mask = simulated(parts, grey=True)
        marked = (mask > 0).flatten(1).any(1)
        return ((augmented.amax(1) - augmented.amin(1)).amax((1, 2)) > COLOURLESS)[marked].float().mean()

    assert coloured(("flaws", "near")) > 0.5
    assert coloured(tuple(ALL)) < 0.5 * coloured(("flaws", "near"))
    assert torch.equal(simulated(("flaws",)).augmented, simulated(("flaws", "grey")).augmented)  # none is grey


def test_the_generator_decides_everything():
    one, same, other = simulated(seed=4), simulated(seed=4), simulated(seed=5)
    torch.manual_seed(9)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.augmented, other.augmented)


def test_the_figure_shows_what_training_sees(images, textures, trained):
    settings = TrainingSettings(2, 2, seed=5, simulation="extended")
    textures = textures[:0]  # of which a flaw needs none
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lib.draem.simulation.TEXTURED", 0.0)
        patch.setattr("lib.draem.simulation.NEAR", 0.0)
        shown = panel(trained, images, textures, settings, n=2)
    assert (shown["mask"].max((1, 2)) == 1).all()


@pytest.mark.gpu
def test_a_gpu_simulates_what_the_cpu_does():
    images = torch.rand(64, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    textures = torch.randint(0, 256, (9, 3, 64, 64), dtype=torch.uint8)
    here = simulate_extended(images, textures, torch.Generator().manual_seed(1))
    there = simulate_extended(images.cuda(), textures.cuda(), torch.Generator().manual_seed(1))
    assert (there.mask.cpu() != here.mask).float().mean() < 2e-3
    same = (there.mask.cpu() == here.mask).expand_as(here.clean)
    assert ((there.augmented.cpu() - here.augmented)[same].abs() > 2 / 255).float().mean() < 5e-3
