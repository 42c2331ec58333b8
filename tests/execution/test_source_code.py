"""What an artefact's code version notices: what its code says, in all modules that it reaches, and nothing else."""

import re
import shutil
from pathlib import Path

import pytest

from lib.execution import source_code
from lib.execution.source_code import LIBRARY, code_digest, imported_modules, library_digest

STEPS = {
    "draem": ("lib.draem.training", "lib.draem.inference", "lib.synthetic.textures"),
    "maps": ("lib.draem.inference", "lib.anomaly_maps.cross_fitting"),
    "features": ("lib.features.embeddings",),
    "predictions": ("lib.classification.cross_validation",),
}


@pytest.fixture
def library(tmp_path):
    return Path(
        shutil.copytree(LIBRARY, tmp_path / "lib", ignore=shutil.ignore_patterns("weights", "__pycache__"))
    )


def versions(library):
    source_code._parsed.cache_clear()
    code_digest.cache_clear()
    return {step: code_digest(*modules, library=library) for step, modules in STEPS.items()}


@pytest.mark.parametrize(
    ("file", "redone"),
    [
        ("draem/simulation.py", {"draem"}),
        ("draem/networks.py", {"draem", "maps"}),
        ("draem/losses.py", {"draem", "maps"}),
        ("synthetic/noise.py", {"draem"}),
        ("features/backbone.py", {"features"}),
        ("classification/classifiers.py", {"predictions"}),
        ("reporting/paper_tables.py", set()),
        ("artifacts.py", set()),
    ],
)
def test_a_change_redoes_what_it_makes_and_nothing_else(library, file, redone):
    before, whole = versions(library), library_digest(library)
    (library / file).write_text((library / file).read_text() + "\nMORE = 1\n")
    after = versions(library)
    assert {step for step in STEPS if before[step] != after[step]} == redone
    assert library_digest(library) != whole, "notebooks are executed again after any change"


def test_comments_docstrings_and_layout_redo_nothing(library):
    before = versions(library)
    path = library / "draem" / "training.py"
    text = re.sub(r"  # .*", "  # other words", path.read_text())
    path.write_text(text.replace('"""Train DRAEM on', '"""Teach DRAEM on').replace("\n\n\n", "\n\n\n\n"))
    assert path.read_text() != (LIBRARY / "draem" / "training.py").read_text()
    assert versions(library) == before


def test_draem_reaches_what_it_is_made_of_and_no_report():
    found = imported_modules(STEPS["draem"])
    assert {"lib.draem.losses", "lib.draem.simulation", "lib.synthetic.noise"} <= found
    assert not {
        name for name in found if name.startswith(("lib.reporting", "lib.classification", "lib.artifacts"))
    }


def test_an_unknown_module_is_named():
    with pytest.raises(FileNotFoundError, match=r"lib\.nothing"):
        code_digest("lib.nothing")
