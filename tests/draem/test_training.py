import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.draem import training
from lib.draem.losses import focal_loss, ssim_loss
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.draem.simulation import Simulated
from lib.draem.training import TrainingSettings, panel, train

TINY = TrainingSettings(2, 2, steps=12, batch=4, lr=1e-2, seed=3, checkpoint_every=4)


class Killed(Exception):
    pass


def weights(trained):
    return torch.cat([value.double().flatten() for value in trained[0].state_dict().values()])


def kill_after(step):
    def progress(done, steps, losses):
        if done == step:
            raise Killed

    return progress


@pytest.fixture(scope="module")
def whole(images, textures):
    return train(images, textures, TINY)


@pytest.mark.parametrize("step", [4, 6, 11])
def test_a_killed_run_resumes_to_the_same_bits(images, textures, whole, tmp_path, step):
    checkpoint = tmp_path / "run.pt"
    with pytest.raises(Killed):
        train(images, textures, TINY, checkpoint=checkpoint, progress=kill_after(step))
    seen = []
    resumed = train(images, textures, TINY, checkpoint=checkpoint, progress=lambda done, *_: seen.append(done))
    assert seen[0] == {4: 1, 6: 5, 11: 9}[step]  # killed before the save at 4; after it; after the one at 8
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed[1].equals(whole[1])


def test_a_finished_checkpoint_trains_no_more(images, textures, whole, tmp_path, monkeypatch):
    train(images, textures, TINY, checkpoint=tmp_path / "run.pt")
    monkeypatch.setattr(training, "simulate", None)
    assert torch.equal(weights(train(images, textures, TINY, checkpoint=tmp_path / "run.pt")), weights(whole))


def test_with_a_damaged_checkpoint_training_begins_anew(images, textures, whole, tmp_path, capsys):
    checkpoint = tmp_path / "run.pt"
    with pytest.raises(Killed):
        train(images, textures, TINY, checkpoint=checkpoint, progress=kill_after(6))
    written = checkpoint.read_bytes()
    position = len(written) // 2  # PyTorch itself would go on from altered weights without a word
    for damaged in (written[:5000], written[:position] + bytes([written[position] ^ 4]) + written[position + 1 :]):
        checkpoint.write_bytes(damaged)
        assert torch.equal(weights(train(images, textures, TINY, checkpoint=checkpoint)), weights(whole))
        said = capsys.readouterr().out
        assert "run.pt is not a readable training checkpoint" in said and "done anew" in said


def test_a_run_saves_itself_after_a_minute_too(images, textures, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1)
    with pytest.raises(Killed):
        train(images, textures, TINY, checkpoint=tmp_path / "run.pt", progress=kill_after(6))
    assert training.read_checkpoint(tmp_path / "run.pt")["step"] == 5


def test_training_is_the_plain_loop(images, textures, monkeypatch):
    """The losses of five steps are those of a written-out loop (same layout and optimiser: Adam amplifies rounding)."""
    generator = torch.Generator().manual_seed(0)
    batch = Simulated(
        torch.rand(4, 3, 32, 32, generator=generator),
        torch.rand(4, 3, 32, 32, generator=generator),
        (torch.rand(4, 1, 32, 32, generator=generator) > 0.7).float(),
    )
    monkeypatch.setattr(training, "simulate", lambda *_: batch)
    initial = []
    for name in ("ReconstructiveNetwork", "DiscriminativeNetwork"):
        network_class = getattr(training, name)
        monkeypatch.setattr(training, name, lambda *a, c=network_class, **k: initial.append(c(*a, **k)) or initial[-1])
    run = training._Run(images, textures, replace(TINY, steps=5, lr=1e-3), torch.device("cpu"))
    reconstructive = ReconstructiveNetwork(2).to(memory_format=torch.channels_last)
    discriminative = DiscriminativeNetwork(2).to(memory_format=torch.channels_last)
    shown = batch.augmented.contiguous(memory_format=torch.channels_last)
    reconstructive.load_state_dict(initial[0].state_dict())
    discriminative.load_state_dict(initial[1].state_dict())
    run.go(None, None)
    optimiser = torch.optim.Adam([*reconstructive.parameters(), *discriminative.parameters()], lr=1e-3, fused=True)
    rates = (1e-3, 1e-3, 1e-3, 1e-3, 4e-5)  # int(4.0) and int(4.5) are both 4
    for row, lr in zip(run.rows, rates, strict=True):
        optimiser.param_groups[0]["lr"] = lr
        optimiser.zero_grad()
        reconstruction = reconstructive(shown)
        logits = discriminative(torch.cat((reconstruction, shown), dim=1))
        losses = (
            torch.nn.functional.mse_loss(reconstruction, batch.clean),
            ssim_loss(reconstruction, batch.clean),
            focal_loss(logits, batch.mask),
        )
        sum(losses).backward()
        optimiser.step()
        assert row[1:4] == pytest.approx([loss.item() for loss in losses], rel=1e-5)
        assert row[5] == pytest.approx(lr)


def test_each_epoch_shows_each_image_once(textures, monkeypatch):
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
    seen = []
    real = training.simulate
    monkeypatch.setattr(
        training,
        "simulate",
        lambda batch, *rest: seen.extend((batch[:, 0, 0, 0] * 255).round().int().tolist()) or real(batch, *rest),
    )
    train(images, textures, replace(TINY, steps=9))
    epochs = np.array(seen).reshape(6, 6)  # batches of 4 run over the epochs' ends
    assert (np.sort(epochs, axis=1) == np.arange(6)).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) > 1


def test_the_seed_decides_the_weights_and_no_global_state_moves(images, textures, whole):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert torch.equal(weights(train(images, textures, TINY)), weights(whole))
    assert torch.equal(before[0], torch.get_rng_state()) and (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
    assert not torch.equal(weights(train(images, textures, replace(TINY, seed=4))), weights(whole))


def test_history_has_few_rows_and_their_sum_and_resumes(images, textures, whole, tmp_path, monkeypatch):
    draem, history = whole
    assert history.columns.tolist() == ["step", "l2", "ssim", "focal", "loss", "lr"]
    assert history.loss.tolist() == pytest.approx(history[["l2", "ssim", "focal"]].sum(axis=1).tolist())
    monkeypatch.setattr(training, "HISTORY_ROWS", 5)
    _, windows = train(images, textures, TINY)
    assert windows.step.tolist() == [3, 6, 9, 12]
    with pytest.raises(Killed):  # in the middle of a window: the last checkpoint is of step 4
        train(images, textures, TINY, checkpoint=tmp_path / "run.pt", progress=kill_after(6))
    assert train(images, textures, TINY, checkpoint=tmp_path / "run.pt")[1].equals(windows)
    assert windows.l2[1] == pytest.approx(history.l2[3:6].mean(), rel=1e-5)
    assert not any(layer.training for layer in draem.modules())


def test_oblong_images_train_and_make_a_panel(textures):
    textures = textures.repeat(1, 1, 1, 2)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 64, 3), dtype=np.uint8)
    draem, _ = train(images, textures, replace(TINY, steps=2))
    arrays = panel(draem, images, textures, replace(TINY, seed=5), n=4)
    assert {name: array.shape for name, array in arrays.items()} == {
        "image": (4, 32, 64, 3),
        "simulated": (4, 32, 64, 3),
        "reconstruction": (4, 32, 64, 3),
        "mask": (4, 32, 64),
        "map": (4, 32, 64),
    }
    assert all(array.min() >= 0 and array.max() <= 1 and array.dtype == np.float32 for array in arrays.values())
    assert arrays["mask"].any(axis=(1, 2)).all()  # the examples that show something come first
    outside = arrays["mask"] == 0
    assert (arrays["image"][outside] == arrays["simulated"][outside]).all()
    again = panel(draem, images, textures, replace(TINY, seed=5), n=4)
    assert all((arrays[name] == again[name]).all() for name in arrays)


def test_a_full_gpu_says_what_to_set(images, textures, monkeypatch):
    def full(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "simulate", full)
    with pytest.raises(RuntimeError, match=r"batch 4, 32x32 px, widths 2/2: set a smaller batch, image_size or widths"):
        train(images, textures, TINY)


def test_a_full_disk_says_what_to_do(images, textures, tmp_path):
    program = (  # in a process of its own, which may write no file of more than 9 kB
        "import resource, signal, sys, torch; from pathlib import Path; from lib.draem import training\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (9000, -1))\n"
        "import numpy as np; images = np.zeros((1, 32, 32, 3), np.uint8)\n"
        "textures = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)\n"
        "run = training._Run(images, textures, training.TrainingSettings(2, 2), torch.device('cpu'))\n"
        "try: run.save(Path(sys.argv[1]))\n"
        "except OSError as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "run.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert "free some space, then run the same command again" in done.stdout, done.stderr
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_stops_the_run(images, textures):
    with pytest.raises(FloatingPointError, match="lower lr"):
        train(images, textures, replace(TINY, lr=1e30))


def test_bf16_is_for_cuda(images, textures):
    with pytest.raises(ValueError, match="bf16' is for CUDA only, got device cpu"):
        train(images, textures, replace(TINY, precision="bf16"))


def test_the_learning_rate_falls_twice():
    def rates(steps, at):
        return [replace(TINY, steps=steps).lr_at(step) / TINY.lr for step in at]

    assert rates(20, range(14, 20)) == pytest.approx([1, 1, 0.2, 0.2, 0.04, 0.04])
    assert rates(105, (0, 83, 84, 94)) == pytest.approx([1, 1, 0.2, 0.04])
    assert rates(1, [0]) == [1]  # the first step of any training


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "within"), [("float32", 2e-4), ("auto", 2e-3), ("bf16", 3e-2)])
def test_a_gpu_starts_with_the_losses_of_the_cpu(images, textures, whole, precision, within):
    draem, history = train(images, textures, replace(TINY, precision=precision), device="cuda")
    assert history.loss.iloc[0] == pytest.approx(whole[1].loss.iloc[0], rel=within)
    assert next(draem.parameters()).dtype == torch.float32


@pytest.mark.gpu
def test_a_gpu_run_resumes(images, textures, tmp_path):
    with pytest.raises(Killed):
        train(images, textures, TINY, device="cuda", checkpoint=tmp_path / "run.pt", progress=kill_after(6))
    _, history = train(images, textures, TINY, device="cuda", checkpoint=tmp_path / "run.pt")
    assert history.step.tolist() == list(range(1, 13))
