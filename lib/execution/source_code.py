"""What makes artefacts: its source code, as a digest of what that says; versions of software, and devices."""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lib.artifacts import Store

LIBRARY = Path(__file__).resolve().parents[1]
# How artefacts are kept, named and scheduled changes nothing in them; nor does anything in `lib.execution`. A step of
# `lib.pipeline` counts where it is named, without what it imports: it imports what its other artefacts need, too.
IGNORED_MODULES = ("lib", "lib.artifacts", "lib.config", "lib.pipeline.run")
ASIDE = ("notebooks/", "inspection/", "production_model/", "unseen")  # no result depends on these
UNKNOWN = "software"  # of artefacts made before it was recorded


@cache
def code_digest(*modules: str, library: Path = LIBRARY) -> str:
    """Return a digest of modules such as `lib.draem.training` and of everything in `lib` that they import.

    Comments, docstrings, layout and `IGNORED_MODULES` do not count. Raises FileNotFoundError for an unknown module.
    """
    digest = hashlib.sha256()
    for name in sorted(imported_modules(modules, library)):
        digest.update(f"{name}\x1f{_parsed(_files(name, library)[0])[0]}\x1e".encode())
    return digest.hexdigest()


def library_digest(library: Path = LIBRARY) -> str:
    """Return a digest of every file of the library, templates included, byte for byte."""
    digest = hashlib.sha256()
    for path in sorted(library.rglob("*")):
        if path.is_file() and path.suffix in (".py", ".html", ".css", ".js", ".j2", ".sha256"):
            digest.update(f"{path.relative_to(library).as_posix()}\x1f".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def imported_modules(modules: tuple[str, ...], library: Path = LIBRARY) -> set[str]:
    """Return the modules themselves and all of `lib` that they import, at any remove, `IGNORED_MODULES` aside."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        ignored = name in IGNORED_MODULES or name.startswith(("lib.execution", "lib.pipeline."))
        if name in found or (ignored and name not in modules):
            continue
        if not (files := _files(name, library)):
            raise FileNotFoundError(f"{name}: no such module below {library}")
        found.add(name)
        if not name.startswith("lib.pipeline."):  # what is no module is a name within one
            waiting += [wanted for wanted in _parsed(files[0])[1] if _files(wanted, library)]
    return found


def _files(name: str, library: Path) -> list[Path]:
    path = library.parent / Path(*name.split("."))
    return [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]


@cache
def _parsed(path: Path) -> tuple[str, frozenset[str]]:
    """Return a module's code without comments, docstrings and layout, and the names that it imports from `lib`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lib":
            imported |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names if alias.name.split(".")[0] == "lib"}
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree), frozenset(imported)


def made_with(manifests: Iterable[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """Return how many artefacts were made with each version of a package, and on each device, by package."""
    found: dict[str, Counter[str]] = {}
    for manifest in manifests:
        known = manifest.get("made_with", {UNKNOWN: "versions not recorded"})
        for name, version in known.items() if not manifest["artefact"].startswith(ASIDE) else ():
            found.setdefault(name, Counter())[version] += 1
    return found


def mixture(stores: Iterable[Store], now: Mapping[str, str] | None = None) -> str:
    """Say with which different versions and devices a study's artefacts were made; an empty text where none differ.

    `now`: the versions that would make more of them.
    """
    found = made_with(filter(None, (store.manifest(name) for store in stores for name in store.names())))
    for name, version in (now or {}).items():
        found.setdefault(name, Counter())[version] += 0
    parts = []
    for name, counts in found.items():
        if len(counts) > 1 or (name == UNKNOWN and len(found) > 1):
            each = (f"{number or 'from now on'} with {version}" for version, number in counts.items())
            parts.append(f"{name} ({', '.join(each)})")
    told = f"Artefacts of this study differ in what made them, which may change figures: {'; '.join(parts)}."
    remedy = "--force makes all of them anew, another --study leaves these as they are."
    return f"{told} {remedy}" if parts else ""
