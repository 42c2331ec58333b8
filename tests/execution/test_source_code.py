"""What an artefact's code version notices: what its code says, in all modules that it reaches, and nothing else."""

import ast
import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from lib.config import MAP_SOURCES
from lib.execution import source_code
from lib.execution.source_code import LIBRARY, code_digest, imported_modules, library_digest
from lib.pipeline.features import BLOCKS

STEPS = {
    "draem": ("lib.draem.training", "lib.draem.inference", "lib.synthetic.textures"),
    "maps": ("lib.draem.inference", "lib.anomaly_maps.cross_fitting"),
    "features": ("lib.features.embeddings",),
    "predictions": ("lib.classification.cross_validation",),
}


@pytest.fixture
def library(tmp_path):
    return Path(shutil.copytree(LIBRARY, tmp_path / "lib", ignore=shutil.ignore_patterns("weights", "__pycache__")))


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
    assert not {name for name in found if name.startswith(("lib.reporting", "lib.classification", "lib.artifacts"))}


def test_an_unknown_module_is_named():
    with pytest.raises(FileNotFoundError, match=r"lib\.nothing"):
        code_digest("lib.nothing")


def assigned(function):
    """Return by name what is assigned in a function, and the functions within it."""
    known = {}
    for one in ast.walk(function):
        targets = getattr(one, "targets", [one.target] if isinstance(one, ast.AnnAssign) else [])
        for name in {ast.unparse(getattr(target, "value", target)) for target in targets}:
            known[name] = [*known.get(name, []), one.value]  # made["code"] is a part of made
        if isinstance(one, ast.FunctionDef):
            known[one.name] = [one]
    return known


def parts(node, known, seen=()):
    """Yield an expression's parts, those of the `known` names in it among them."""
    for part in ast.walk(node):
        yield part
        if isinstance(part, ast.Name) and part.id in known and part.id not in seen:
            for value in known[part.id]:
                yield from parts(value, known, (*seen, part.id))


MAKERS = [path for path in LIBRARY.rglob("*.py") if "store.make(" in path.read_text(encoding="utf-8")]
MAKERS = [path for path in MAKERS if path.stem != "notebooks"]  # executed notebooks rest on the whole library
NO_STEPS = ("lib.execution", "lib.pipeline.", "lib.artifacts", "lib.config")  # see `IGNORED_MODULES`


@pytest.mark.parametrize("path", MAKERS, ids=lambda path: path.stem)
def test_every_fingerprint_holds_the_code_that_makes_its_artefact(path):
    """Its own module, and what the function that writes it takes from other modules, earlier artefacts aside."""
    name = ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts)
    module = vars(import_module(name)) | {"code_digest": lambda *names: set(names)}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    origins = [one for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)]
    pairs = {alias.name: (one.module, f"{one.module}.{alias.name}") for one in origins for alias in one.names}
    origin = {key: whole if source_code._files(whole, LIBRARY) else of for key, (of, whole) in pairs.items()}
    functions = {one.name: [one] for one in tree.body if isinstance(one, ast.FunctionDef)}
    steps = {key for key, (one,) in functions.items() if "store.make(" in ast.unparse(one)}
    helpers = {key: one for key, one in functions.items() if key not in steps}
    for step in steps:
        (function,) = functions[step]
        own = assigned(function)
        within = {key: value for key, value in own.items() if isinstance(value[0], ast.FunctionDef) and key != step}
        for call in ast.walk(function):
            if not (isinstance(call, ast.Call) and ast.unparse(call.func).endswith("store.make")):
                continue
            _, inputs, write = call.args
            digests = {ast.unparse(one) for one in parts(inputs, own | helpers) if isinstance(one, ast.Call)}
            named = set()
            for digest in [one for one in digests if one.startswith("code_digest(")]:
                for source in MAP_SOURCES:
                    for block in BLOCKS:
                        named |= eval(digest, module | {"source": source, "block": block})
            assert name in named, f"{path}, {step}: the fingerprint lacks {name}"
            names = [one.id for one in parts(write, helpers | within) if isinstance(one, ast.Name)]
            used = {origin[one] for one in names if origin.get(one, "").startswith("lib.")}
            used = {one for one in used if not one.startswith(NO_STEPS)}
            assert used <= imported_modules(tuple(named)), f"{path}, {step}: the fingerprint lacks code"
