"""Training with the next batch simulated beside each step: what a CUDA device does, tried on the CPU."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lib.draem import ahead, training
from lib.draem.simulation import Simulated, marred
from lib.draem.training import TrainingSettings, train

from .test_training import Killed, kill_after, weights

TINY = TrainingSettings(2, 2, steps=12, batch=4, lr=1e-2, seed=3, checkpoint_every=4)
WAITING = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2"}


@pytest.fixture
def one_ahead(monkeypatch):
    """Training on the CPU as on CUDA, with fixed shapes."""

    class Run(training._Run):
        def __init__(self, *args):
            super().__init__(*args)
            self.ahead = True

    monkeypatch.setattr(training, "_Run", Run)
    monkeypatch.setattr(training, "marred", lambda *args: marred(*args, fixed=True))


@pytest.mark.parametrize("simulation", ["paper", "extended"])
def test_the_numbers_are_those_of_one_step_after_the_other(images, textures, simulation, request):
    settings = replace(TINY, simulation=simulation)
    draem, history = train(images, textures, settings)
    request.getfixturevalue("one_ahead")
    again, its_history = train(images, textures, settings)
    assert history.equals(its_history)
    assert torch.equal(weights((draem,)), weights((again,)))


@pytest.mark.parametrize("step", [4, 6, 11])
def test_a_run_killed_with_a_batch_ahead_resumes_to_the_same_bits(images, textures, one_ahead, tmp_path, step):
    whole = train(images, textures, TINY)
    with pytest.raises(Killed):
        train(images, textures, TINY, checkpoint=tmp_path / "run.pt", progress=kill_after(step))
    resumed = train(images, textures, TINY, checkpoint=tmp_path / "run.pt")
    assert torch.equal(weights(resumed), weights(whole)) and resumed[1].equals(whole[1])


def test_nothing_in_a_step_waits_for_the_device(images, textures):
    class NoWaiting(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            assert function._schema.name.removeprefix("aten::") not in WAITING
            return function(*args, **(kwargs or {}))

    run = training._Run(images, textures, TINY, torch.device("cpu"))
    run.draem.train()
    both = run._ahead()
    both.simulate = lambda pixels, drawn: marred(training._floats(pixels), run.textures, drawn, 0.5, fixed=True)
    following = run._inputs(1)
    with NoWaiting():
        both.step(following)
        with pytest.raises(AssertionError):
            run.sums[0].item()


def test_what_cannot_be_captured_is_done_step_by_step(monkeypatch, capsys):
    class Refused:
        def __init__(self, *_, **__):
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    learnt = []
    monkeypatch.setattr(torch.cuda, "graph", Refused)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", object)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    both = ahead.Ahead(
        lambda batch: learnt.append(batch.clean.item()), lambda x: Simulated(x.clone(), x.clone(), x.clone()),
        torch.device("cpu"), (torch.tensor(0),), capture=True,
    )  # fmt: skip
    both._capture()
    assert "goes on without (operation not permitted when stream is capturing)" in capsys.readouterr().out
    for number in range(1, 4):
        both.step((torch.tensor(number),))
    assert learnt == [0, 1, 2] and both.batch.clean.item() == 3


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "auto", "bf16"])
def test_a_graph_trains_as_single_steps_do(images, textures, precision):
    settings = replace(TINY, lr=1e-3, precision=precision, graph=True)
    _, graph = train(images, textures, settings, device="cuda")
    _, eager = train(images, textures, replace(settings, graph=False), device="cuda")
    within = 3e-2 if precision == "bf16" else 5e-3  # sums come in any order
    assert graph.loss.tolist() == pytest.approx(eager.loss.tolist(), rel=within)


@pytest.mark.gpu
def test_a_graph_is_captured_and_nothing_waits(images, textures, capsys):
    run = training._Run(images, textures, replace(TINY, graph=True), torch.device("cuda"))
    run.draem.train()
    both = run._ahead()
    for step in range(8):
        following = run._inputs(step + 1)
        if step == ahead.WARM + 1:  # until then, tables are made and the graph is captured
            torch.cuda.set_sync_debug_mode("error")
        both.step(following)
    torch.cuda.set_sync_debug_mode("default")
    assert both.graph is not None and "no CUDA graph" not in capsys.readouterr().out
    assert run.sums.isfinite().all()
