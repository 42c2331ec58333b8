"""The paper's largest data set at its image size passes through the study in 4 GiB of memory."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LIMIT = 4 * 2**30


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts what it should on Linux")
def test_the_largest_product_passes_in_4_gib(tmp_path, capsys):
    """4,249 images at 256 px, ten folds, the bank of 400 textures; the smallest networks, as they are not the question.

    The system refuses any process of the run more than 4 GiB of private memory (RLIMIT_DATA), so that it would die.
    """
    settings = {
        "image_size": 256, "synthetic_side": 256, "synthetic_scale": 1.0, "folds": 10, "draem_steps": 2,
        "reconstructive_width": 1, "discriminative_width": 1, "feature_size": 32, "keep": "1.0", "mlp": "16,8",
        "weights": "random-init",
    }  # fmt: skip
    command = [sys.executable, "run_all.py", "--dataset", "shaft", "--output", str(tmp_path)]
    command += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    run = subprocess.run(
        command,
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    with capsys.disabled():
        print(f"\n{run.stdout[-1500:]}\nlargest resident set, files mapped into it included: {peak / 2**30:.2f} GiB")
    assert run.returncode == 0
