"""The house: which packages there are, which way imports run, how large it is, what a first import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "lib"
LOOSE = {"artifacts", "cli", "config", "torch_utils"}  # modules of no package
# From the bottom to the top: a package may import what stands before it. `pretraining` stands apart: no study uses it.
LAYERS = (
    "config", "artifacts", "torch_utils", "execution", "datasets", "synthetic", "features", "anomaly_maps",
    "draem", "classification", "evaluation", "pipeline", "inspection", "deployment", "reporting", "batch", "cli",
    "pretraining",
)  # fmt: skip
MOST_LINES = 15_850  # of the library without its pretraining
# What each may not load when it is imported, as whole commands or most notebooks do without.
HEAVY = ("torch", "torchvision", "sklearn", "scipy.stats", "statsmodels", "seaborn", "matplotlib", "distributed",
         "IPython", "papermill", "nbconvert")  # fmt: skip
LIGHT = {
    "lib.cli": (*HEAVY, "pandas", "numpy"),
    "lib.pipeline.run": (*HEAVY, "pandas"),
    "lib.reporting.display": HEAVY,
    "lib.datasets.image_io": (*HEAVY, "pandas"),
    "lib.deployment.onnx_predict": (*HEAVY, "pandas"),
    "lib.batch.preflight": HEAVY,
    "lib.batch.notebooks, nbformat": (*HEAVY, "rfc3987_syntax.syntax_helpers"),
}


def modules():
    return sorted(path for path in LIBRARY.rglob("*.py"))


def home_of(path):
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imported(path):
    """Yield the part of the library that each import names, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name.startswith("lib."))


def test_imports_run_downwards_only():
    wrong = {
        f"{path.relative_to(LIBRARY)} imports lib.{name}"
        for path in modules()
        for name in imported(path)
        if name != home_of(path) and (LAYERS.index(name) > LAYERS.index(home_of(path)) or name == "pretraining")
    }
    assert not wrong


def test_every_package_stands_in_the_layers_and_says_what_it_is_for():
    packages = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    assert packages | LOOSE == set(LAYERS)
    assert {path.stem for path in LIBRARY.glob("*.py")} == LOOSE | {"__init__"}
    for package in packages:
        text = ast.get_docstring(ast.parse((LIBRARY / package / "__init__.py").read_text(encoding="utf-8"))) or ""
        for part in ("in:", "out:", "may import"):
            assert part in text.lower(), f"lib/{package}/__init__.py: say what goes in, comes out, may be imported"


def test_the_library_stays_thin():
    lines = {
        path: path.read_text(encoding="utf-8").count("\n") for path in modules() if "pretraining" not in path.parts
    }
    assert sum(lines.values()) <= MOST_LINES, "something must go before more comes"
    assert not {path: n for path, n in lines.items() if n > 350}, "one idea a module"


@pytest.mark.parametrize("module", LIGHT)
def test_a_first_import_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=LIBRARY.parent, check=True
    )
    assert not set(LIGHT[module]) & set(result.stdout.split())
