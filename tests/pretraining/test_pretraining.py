"""The int8 backbone: files, rounding, and what it is trained by."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.models import resnet18

from lib.features.resnet import load_embedded
from lib.pretraining import images, training
from lib.pretraining.defects import KINDS, flawed
from lib.pretraining.embedded import save_embedded
from lib.pretraining.images import PretrainSettings, Source
from lib.pretraining.recipes import recipe_surfaces
from lib.synthetic.noise import Draws

TINY = PretrainSettings(
    recipes=30,
    steps=6,
    batch=8,
    sides=((0.0, 32), (0.5, 64)),
    drawn_side=32,
    pool=32,
    fresh=4,
    checkpoint_every=2,
)


def test_a_state_comes_back_from_its_shards(tmp_path, monkeypatch):
    torch.manual_seed(0)
    state = resnet18(weights=None).state_dict()
    (tmp_path / "resnet18-formula-9-of-9.safetensors").write_bytes(b"of an earlier state")
    files = save_embedded(state, tmp_path, {"seed": 7})
    assert len(files) > 3 and all(file.stat().st_size < 3_000_000 for file in files)
    assert sum(file.stat().st_size for file in files) < 12_000_000
    back, sha256, about = load_embedded(tmp_path)
    assert about == {"seed": 7} and len(sha256) == 64
    assert set(back) == {
        k for k in state if not k.startswith("fc.") and not k.endswith("num_batches_tracked")
    }
    assert torch.equal(back["bn1.weight"], state["bn1.weight"])  # BatchNorm is not rounded
    weight = state["layer3.0.conv1.weight"]
    step = weight.flatten(1).abs().amax(1) / 127  # of each output channel
    off = (back["layer3.0.conv1.weight"] - weight).flatten(1).abs().amax(1)
    assert (off <= 0.51 * step + 1e-9).all()
    files[1].unlink()
    with pytest.raises(FileNotFoundError, match="files of the embedded backbone"):
        load_embedded(tmp_path)


def test_a_recipe_keeps_its_character_and_an_instance_its_own_noise():
    same = recipe_surfaces([4, 4, 34, 34], [0, 1, 0, 1], 64, seed=3)
    assert torch.equal(same, recipe_surfaces([4, 4, 34, 34], [0, 1, 0, 1], 64, seed=3))
    assert torch.equal(same[2:3], recipe_surfaces([34], [0], 64, seed=3))  # whatever the batch
    assert not torch.equal(same[0], same[1])
    with pytest.raises(ValueError, match="2 recipes, 1 instances"):
        recipe_surfaces([1, 2], [0], 32, seed=0)

    def spectra(recipe):
        grey = recipe_surfaces([recipe] * 12, list(range(12)), 64, seed=3).float().mean(1)
        power = torch.fft.rfft2(grey - grey.mean((1, 2), keepdim=True)).abs().flatten(1)
        return F.normalize(power, dim=1)

    one, other = spectra(7), spectra(22)  # two recipes of the same family
    within = (one @ one.T).sum().sub(12).div(132)
    assert within > (one @ other.T).mean() + 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_each_defect_is_seen_inside_its_cover_and_nowhere_else(kind):
    images = recipe_surfaces(list(range(15)), [0] * 15, 64, seed=1).float() / 255

    def draws():
        return Draws([np.random.default_rng((5, i)) for i in range(15)], 64)

    changed, cover = flawed(images, kind, draws())
    assert changed.shape == images.shape and cover.shape == (15, 64, 64)
    assert cover.min() >= 0 and cover.max() <= 1
    differs = (changed - images).abs().amax(1)
    assert (differs[cover == 0] == 0).all()
    assert ((differs > 0.02).flatten(1).sum(1) >= 3).float().mean() > 0.8  # to be seen on most surfaces
    assert torch.equal(changed, flawed(images, kind, draws())[0])
    with pytest.raises(ValueError, match="unknown defect 'rust'"):
        flawed(images, "rust", draws())


def test_a_batch_depends_on_its_step_alone():
    source = Source(TINY)
    batches = [source.batch(step) for step in range(5)]
    late = Source(TINY)
    again = late.batch(4)
    assert torch.equal(again.images, batches[4].images) and torch.equal(again.recipes, batches[4].recipes)
    assert torch.equal(late.batch(1).images, batches[1].images)  # and back
    assert not torch.equal(batches[0].images, batches[1].images)
    assert batches[0].images.shape == (8, 3, 32, 32) and batches[4].images.shape == (8, 3, 64, 64)
    assert batches[0].images.min() >= 0 and batches[0].images.max() <= 1
    assert ((batches[0].defects > 0).sum(), batches[0].recipes.max() < 30) == (4, True)
    bare = Source(replace(TINY, defects=False, located=False)).batch(0)
    assert (bare.defects == 0).all() and (bare.cells == 0).all()


def test_cells_say_where_the_defect_is(monkeypatch):
    monkeypatch.setattr(images, "photographed", lambda images, draws: images)
    settings = replace(TINY, batch=96, pool=96, sides=((0.0, 64),))
    batch = Source(settings).batch(0)
    bare = Source(replace(settings, defects=False, located=False)).batch(0)
    assert batch.cells.shape == (96, 4, 4)
    assert (batch.cells[batch.defects == 0] == 0).all()
    flawed = batch.defects > 0
    found = batch.cells[flawed].flatten(1)
    assert ((found == 0) | (found == batch.defects[flawed][:, None])).all()  # the image's own kind
    seen = (found > 0).any(1)
    assert seen.float().mean() > 0.7  # a flaw can lie outside the image
    differs = F.max_pool2d((batch.images - bare.images).abs().amax(1, keepdim=True), 16)[:, 0]
    assert (differs[~flawed] == 0).all()
    assert (differs[batch.cells > 0] > 0.01).float().mean() > 0.9
    assert (differs[flawed][batch.cells[flawed] == 0] == 0).float().mean() > 0.8  # the rest: faint rims


def test_the_few_flawed_cells_weigh_as_much_as_the_clean_ones():
    logits, cells = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    cells[0, 0, 0] = 2
    logits[:, 0] = 3.0  # "clean" everywhere: right 15 times, wrong once
    each = F.cross_entropy(logits, cells, reduction="none")
    expected = 0.5 * each[0, 0, 0] + 0.5 * each[0, 3, 3]
    torch.testing.assert_close(training.located_loss(logits, cells), expected)
    torch.testing.assert_close(training.located_loss(logits, cells * 0), each[0, 3, 3])


def test_pretraining_resumes_to_the_same_weights(tmp_path):
    whole, history = training.pretrain(TINY)
    assert history.step.tolist() == [1, 2, 3, 4, 5, 6] and history.side.tolist() == [32, 32, 32, 64, 64, 64]

    class Killed(Exception):
        pass

    def kill(row):
        if row["step"] == 5:
            raise Killed

    with pytest.raises(Killed):
        training.pretrain(TINY, checkpoint=tmp_path / "run.pt", progress=kill)
    seen = []
    resumed, _ = training.pretrain(
        TINY, checkpoint=tmp_path / "run.pt", progress=lambda row: seen.append(row["step"])
    )
    assert seen == [5, 6]
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    with pytest.raises(ValueError, match="with other settings"):
        training.pretrain(replace(TINY, lr=1.0), checkpoint=tmp_path / "run.pt")


@pytest.mark.slow
def test_pretraining_learns():
    settings = replace(
        TINY, recipes=15, drawn_side=64, steps=120, batch=32, pool=512, sides=((0.0, 64),), lr=1e-3
    )
    _, history = training.pretrain(settings)
    assert history.recipe_accuracy.tail(20).mean() > 0.16  # fifteen recipes: chance is 0.067


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"fresh": 99}, "fresh=99 is more than pool=32"),
        ({"sides": ((0.5, 32),)}, "sides must begin at share 0"),
        ({"sides": ((0.0, 48),)}, "sides must be multiples of 32"),
        ({"defects": False}, "located=True needs defects=True"),
    ],
)
def test_wrong_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)
