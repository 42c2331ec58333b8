"""A study whose predictions are up to date is read without the libraries that computed it."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
READ = """
import sys
from lib.pipeline.classification import calibration, predictions
from lib.pipeline.run import open_run
run = open_run("deco_cap", "smoke", "", sys.argv[1], {settings})
print(len(predictions(run, "imbalance")[0]), len(calibration(run)), {{"torch", "sklearn"}} & set(sys.modules))
"""


def test_predictions_that_are_proven_need_neither_torch_nor_sklearn(tmp_path):
    settings = {"weights": "random-init", "leak_check": "none", "baselines": False, "guided": False}
    read = [sys.executable, "-c", READ.format(settings=settings), str(tmp_path)]
    first, again = (subprocess.run(read, cwd=PROJECT, capture_output=True, text=True, check=True) for _ in range(2))
    made, proven = (run.stdout.splitlines()[-1].split(maxsplit=2) for run in (first, again))
    assert made[:2] == proven[:2]
    assert proven[2] == "set()", "libraries that only computing needs"
