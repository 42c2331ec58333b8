import subprocess
import sys

import numpy as np
import pytest
import torch

from lib.config import Study
from lib.draem.inference import Draem
from lib.draem.pretrained import check_weights
from lib.pretraining import __main__ as command
from lib.pretraining.objects import placed
from lib.synthetic.noise import SharedDraws


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(command, "CHUNK", 10)
    monkeypatch.setattr(command, "TEXTURES", 20)
    monkeypatch.setattr(command, "STAGES", {"4/2": ((32, 8, 1), (64, 8, 1))})


def test_it_writes_weights_that_a_study_can_start_from(short, tmp_path):
    path = command.pretrain("4/2", 24, 1.0, 3, "cpu", tmp_path)
    given = {"draem_weights": str(path), "reconstructive_width": 4, "discriminative_width": 2}
    check_weights(Study.of("quick", given))
    once = {name: value.clone() for name, value in Draem.load(path).state_dict().items()}
    path.unlink()
    again = Draem.load(command.pretrain("4/2", 24, 1.0, 3, "cpu", tmp_path)).state_dict()
    assert all(torch.equal(once[name], value) for name, value in again.items())


def test_killed_it_goes_on_from_where_it_was(short, tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(command, "train", stopped)
        command.pretrain("4/2", 24, 1.0, 3, "cpu", tmp_path)
    drawn = np.load(tmp_path / "images-32-3.npy").copy()
    with monkeypatch.context() as patch:
        patch.setattr(command, "_chunk", stopped)  # what is drawn is not drawn again
        assert np.array_equal(command.drawn_images(24, 32, 3, tmp_path / "images-32-3.npy"), drawn)
    assert drawn.shape == (24, 32, 32, 3) and drawn.std((1, 2, 3)).min() > 1
    (tmp_path / "images-32-3.done").write_text("20")  # as where it was killed in the third chunk
    assert np.array_equal(command.drawn_images(24, 32, 3, tmp_path / "images-32-3.npy"), drawn)


def test_objects_lie_on_a_plainer_ground():
    draws = SharedDraws(200, torch.Generator().manual_seed(1), 64)
    images = placed(torch.full((200, 3, 64, 64), 0.9), torch.rand(200, 3, 64, 64) * 0.2, draws)
    covered = ((images.mean(1) > 0.35).float().mean((1, 2)) > 0.02).float().mean()
    corners = images[..., :3, :3].mean((1, 2, 3))
    assert covered > 0.9 and corners.median() < 0.3


def test_the_command_says_what_it_takes():
    said = subprocess.run(
        [sys.executable, "-m", "lib.pretraining", "--widths", "7/7"], capture_output=True, text=True
    )
    assert said.returncode == 2 and "16/8" in said.stderr
