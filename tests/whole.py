"""Runs of the whole series through run_all.py on preset smoke, made once and shared by the tests that look at them."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
CACHE = str(Path(tempfile.gettempdir()) / "anomaly-map-study-tests")  # a busy machine's speed is not the user's
HOSTILE = "<script>alert(1)</script>".replace("/", "∕")  # a folder's name cannot hold a slash
QUOTED = "=d'é\"faut {x}"  # in a spreadsheet it would be a formula
ODD_FOLDER = 'it\'s my "plates" {x}\nü&b'


def run_all(*arguments, check=True):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": CACHE}
    done = subprocess.run(
        [sys.executable, "run_all.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment,
        timeout=900,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


def draw_products(folder, count=8):
    """Draw grey plates: good ones, and two kinds of defects under names that try to break a page."""
    rng = np.random.default_rng(0)
    for label, value in (("good", None), (HOSTILE, 255), (QUOTED, 0)):
        (folder / label).mkdir(parents=True)
        for k in range(count):
            plate = rng.normal(128, 12, (40, 56, 3)).clip(0, 255).astype(np.uint8)
            if value is not None:
                row, column = rng.integers(4, 26), rng.integers(4, 42)
                plate[row : row + 9, column : column + 9] = value
            Image.fromarray(plate).save(folder / label / f"{k}.png")
