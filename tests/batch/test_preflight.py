"""What is checked before a study starts costs no more than it must."""

import subprocess
import sys

from lib.pipeline.run import PROJECT


def test_a_backbone_whose_weights_are_known_is_not_loaded(tmp_path):
    code = f"""
import sys
from lib.batch.preflight import check_inputs
from lib.pipeline.run import open_run

run = open_run("deco_cap", "smoke", "", {str(tmp_path)!r}, {{"weights": sys.argv[1]}})
print(check_inputs([run], "", fits=True), *sys.modules)
"""
    for weights in ("random-init", "auto"):
        command = [sys.executable, "-c", code, weights]
        result = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=True)
        issues, *modules = result.stdout.split()
        assert issues == "[]" and not {"torch", "timm", "torchvision"} & set(modules)
