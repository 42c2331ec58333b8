"""Which device a study takes by itself, and what is done otherwise on an Apple GPU (pretended: none was at hand)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

from lib.config import Study, UsageError
from lib.draem import training
from lib.draem.inference import PIXELS_PER_BATCH
from lib.draem.training import TrainingSettings, train
from lib.pipeline import run as module
from lib.pipeline.run import open_run
from lib.torch_utils import allow_tf32, fast_layout

MPS = torch.device("mps")


@pytest.mark.parametrize(
    ("cuda", "system", "apple", "device"),
    [
        (True, "darwin", True, "cuda"),
        (False, "darwin", True, "mps"),
        (False, "darwin", False, "cpu"),
        (False, "linux", True, "cpu"),  # torch is not even asked
    ],
)
def test_the_first_device_there_is(monkeypatch, cuda, system, apple, device):
    monkeypatch.setattr(module, "cuda_available", lambda: cuda)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
    assert open_run("shaft", "smoke").device == device
    assert open_run("shaft", "smoke", overrides={"device": "mps"}).device == "mps"
    assert open_run("shaft", "smoke", overrides={"device": "cpu"}).device == "cpu"


def test_an_apple_gpu_has_no_bf16_here():
    with pytest.raises(UsageError, match="draem_precision=bf16 is for CUDA only, device=mps: leave it at auto"):
        Study.of("quick", {"device": "mps", "draem_precision": "bf16"})


def test_what_an_apple_gpu_does_otherwise(images, textures, monkeypatch):
    assert training._simulates_on(MPS).type == "cpu"
    assert fast_layout(MPS) == torch.contiguous_format != fast_layout(torch.device("cpu"))
    assert "mps" in _get_fused_kernels_supported_devices() and "mps" in PIXELS_PER_BATCH
    with allow_tf32(True):  # of no effect on it, but no error without CUDA either
        settings = TrainingSettings(2, 2, steps=3, batch=4, lr=1e-3)
        _, usual = train(images, textures, settings)
        monkeypatch.setattr(training, "fast_layout", lambda device: torch.contiguous_format)
        _, other = train(images, textures, settings)
    assert other.loss[0] == pytest.approx(usual.loss[0], rel=1e-4)
    assert other.loss[2] == pytest.approx(usual.loss[2], rel=5e-2)  # Adam amplifies rounding


def test_a_missing_operator_runs_on_the_cpu():
    """Torch reads the variable when it is imported, so it is set before; what a user set stays."""
    program = "import os, sys, lib; print('torch' in sys.modules, os.environ['PYTORCH_ENABLE_MPS_FALLBACK'])"
    about = {name: value for name, value in os.environ.items() if name != "PYTORCH_ENABLE_MPS_FALLBACK"}
    for own, expected in (({}, "False 1"), ({"PYTORCH_ENABLE_MPS_FALLBACK": "0"}, "False 0")):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=about | own,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert done.stdout.strip() == expected
