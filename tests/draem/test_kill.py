"""A training run killed at random moments, by the system, ends with the weights of one left alone."""

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lib.draem.inference import Draem
from lib.draem.training import read_checkpoint

PROJECT = Path(__file__).parents[2]
SCRIPT = """
import sys
from pathlib import Path
import numpy as np, torch
from lib.draem.training import TrainingSettings, train
device, out = sys.argv[1], Path(sys.argv[2])
torch.set_num_threads(1)
torch.use_deterministic_algorithms(device == "cpu")
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
textures = torch.from_numpy(rng.integers(0, 256, (20, 3, 64, 64), dtype=np.uint8))
settings = TrainingSettings(8, 8, steps=120, batch=8, checkpoint_every=7)
draem, _ = train(images, textures, settings, device=device, checkpoint=out.with_suffix(".resume.pt"),
                 progress=lambda step, *_: print(step, flush=True))
draem.save(out, {"test": "kill"})
"""


def start(device: str, out: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, device, str(out)], stdout=subprocess.PIPE, text=True, env=environment
    )


def maps_of(path: Path) -> np.ndarray:
    """Maps of the pictures it was trained on: biases before a batch norm wander freely, and change nothing in them."""
    images = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    return Draem.load(path).maps(images).astype(np.float32)


@pytest.mark.parametrize(
    "device", [pytest.param("cpu", marks=pytest.mark.slow), pytest.param("cuda", marks=pytest.mark.gpu)]
)
def test_five_kills_leave_the_weights_as_they_would_be(device, tmp_path, capsys):
    left_alone, disturbed = tmp_path / "left_alone.safetensors", tmp_path / "disturbed.safetensors"
    whole = start(device, left_alone)
    whole.communicate()
    assert whole.returncode == 0
    moments = sorted(random.sample(range(8, 119), 5))
    for moment in moments:
        child = start(device, disturbed)
        assert any(int(line) >= moment for line in child.stdout), f"ended before step {moment}"
        time.sleep(random.uniform(0, 0.05))  # anywhere within the step that follows
        child.kill()
        child.communicate()
        assert child.returncode != 0
        reached = read_checkpoint(disturbed.with_suffix(".resume.pt"))["step"]
        assert moment - 7 <= reached <= moment + 7
    last = start(device, disturbed)
    said, _ = last.communicate()
    assert last.returncode == 0
    assert int(said.split()[0]) == reached + 1  # it went on, and did not begin anew
    paths = (left_alone, disturbed)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    with capsys.disabled():
        print(f"\nkilled after steps {moments} of 120; SHA-256 {digests[0]}, {digests[1]}")
    if device == "cpu":
        assert digests[0] == digests[1]
    else:  # sums come in any order on a GPU, and Adam amplifies the last bits: as far as two runs left alone
        start(device, again := tmp_path / "again.safetensors").communicate()
        whole_maps, again_maps, disturbed_maps = (maps_of(path) for path in (left_alone, again, disturbed))
        usual, found = (np.abs(maps - whole_maps).mean() for maps in (again_maps, disturbed_maps))
        with capsys.disabled():
            print(f"maps differ by {found:.2e} on average, those of two runs left alone by {usual:.2e}")
        assert found <= 3 * usual + 1e-4
