from dataclasses import replace

import pytest
import torch

from lib.artifacts import Store
from lib.config import Study
from lib.draem.pretrained import check_weights
from lib.pretraining import __main__ as command
from lib.pretraining.objects import placed
from lib.synthetic.noise import Draws


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(command, "CHUNK", 10)
    monkeypatch.setattr(command, "TEXTURES", 20)
    monkeypatch.setattr(command, "STAGES", {"4/2": ((32, 8, 1), (64, 8, 1))})


def pretrain(folder, images=24, times=1.0):
    return command.pretrain(Store(folder), "4/2", images, times, 3, "cpu")


def test_it_writes_weights_that_a_study_can_start_from(short, tmp_path):
    path = pretrain(tmp_path)
    given = {"draem_weights": str(path), "reconstructive_width": 4, "discriminative_width": 2}
    check_weights(Study.of("quick", given))
    once = path.read_bytes()
    assert pretrain(tmp_path / "again").read_bytes() == once
    assert not list(tmp_path.glob("*.resume.pt"))
    # as many steps on other images are another training, in the same folder too
    other = pretrain(tmp_path, images=48, times=0.5).read_bytes()
    assert other == pretrain(tmp_path / "other", images=48, times=0.5).read_bytes() != once


def test_killed_it_goes_on_from_where_it_was(short, tmp_path, monkeypatch):
    whole, drawn = pretrain(tmp_path / "whole").read_bytes(), []
    train, chunk = command.train, command._chunk

    def stopped(good, textures, settings, device, checkpoint, progress):
        def tell(*told):
            if told[0] == 2:
                raise KeyboardInterrupt

        return train(good, textures, replace(settings, checkpoint_every=1), device, checkpoint, tell)

    def counted(*given):
        drawn.append(given)
        return chunk(*given)

    monkeypatch.setattr(command, "_chunk", counted)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(command, "train", stopped)
        pretrain(tmp_path)
    assert list(tmp_path.glob("draem-4-2-32.safetensors.*.resume.pt")) and len(drawn) == 3
    assert pretrain(tmp_path).read_bytes() == whole
    assert len(drawn) == 6 == len(set(drawn))  # none twice
    images = command.drawn_images(Store(tmp_path), 24, 32, 3)
    assert images.shape == (24, 32, 32, 3) and images.std((1, 2, 3)).min() > 1


def test_objects_lie_on_a_plainer_ground():
    draws = Draws(200, torch.Generator().manual_seed(1), 64)
    images = placed(torch.full((200, 3, 64, 64), 0.9), torch.rand(200, 3, 64, 64) * 0.2, draws)
    covered = ((images.mean(1) > 0.35).float().mean((1, 2)) > 0.02).float().mean()
    corners = images[..., :3, :3].mean((1, 2, 3))
    assert covered > 0.9 and corners.median() < 0.3


@pytest.mark.parametrize(
    ("given", "said"),
    [("--widths 7/7", "16/8"), ("--images 0", "above 0"), ("--times nan", "above 0"), ("--seed -1", "at least 0")],
)
def test_wrong_options_are_refused(given, said, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["lib.pretraining", *given.split()])
    with pytest.raises(SystemExit):
        command.main()
    assert said in capsys.readouterr().err
