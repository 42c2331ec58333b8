"""The numbered notebooks: which there are, how one is executed for a data set, what proves that it was."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from lib.artifacts import Store, file_sha256, write_text
from lib.execution.source_code import library_digest
from lib.pipeline.dataset import FINAL
from lib.pipeline.run import PROJECT
from lib.reporting.html_pages import NOTEBOOKS, notebook_html

WRITES: dict[str, tuple[str, ...]] = {  # what `--force` makes a notebook's step do again
    "00_dataset": ("index.parquet", "folds.parquet", "images/"),
    "01_draem_training": ("draem/", "patchcore/"),
    "02_anomaly_maps": ("maps/",),
    "03_features": ("features/", "patches/"),
    "04_classification": (
        "predictions/classification",
        "predictions/calibration",
        "predictions/compare_map_fit",
        "predictions/compare_map_source",
    ),
    "05_imbalance_study": ("predictions/imbalance",),
    "06_statistics": (),
}


class NotebookError(RuntimeError):
    """A notebook failed; the message says which cell, why, and where the evidence lies."""


@dataclass(frozen=True)
class NotebookJob:
    """One notebook to execute with its parameters; results go below `folder`."""

    notebook: str
    folder: Path
    parameters: Mapping[str, Any]
    artefacts: tuple[Path, ...]  # folders whose artefacts the notebook reads or writes
    external: str = ""  # fingerprint of what lies outside: pictures, weights, textures

    @property
    def target(self) -> Path:
        """The executed notebook."""
        return self.folder / "notebooks" / f"{self.notebook}.ipynb"

    @property
    def source(self) -> Path:
        """The notebook in the repository."""
        return PROJECT / "notebooks" / f"{self.notebook}.ipynb"

    def inputs(self) -> dict[str, Any]:
        """Return what the executed notebook depends on, beside the artefacts."""
        parameters = {k: v for k, v in self.parameters.items() if k != "SCHEDULER"}
        return {
            "source": file_sha256(self.source),
            "library": library_digest(),
            "parameters": parameters,
            "external": self.external,
        }

    def done(self) -> bool:
        """Tell whether the executed notebook and everything that it rests on stand unaltered."""
        store = Store(self.folder)
        name = f"notebooks/{self.notebook}.ipynb"
        if not store.proven(name, self.inputs()):
            return False
        record = store.manifest(name) or {}
        return all(
            {name: Store(Path(folder)).digest_or_none(name) for name in known} == known
            for folder, known in record["summary"]["artefacts"].items()
        )

    def run(self, *, verbose: bool = False) -> float:
        """Execute the notebook, render it as HTML, prove both; returns seconds; raises `NotebookError`."""
        try:
            return self._run(verbose)
        except OSError as error:
            raise NotebookError(f"{self.source.name}: {error}") from error

    def _run(self, verbose: bool) -> float:
        check_parameters(self.source, self.parameters)
        start, began = time.perf_counter(), time.time()
        store, failed = Store(self.folder), self.target.with_suffix(".failed.ipynb")
        failed.unlink(missing_ok=True)

        def write(path: Path) -> dict[str, Any]:
            execute(self.source, path, self.parameters, failed, verbose=verbose)
            page = notebook_html(path, self.notebook, self.folder.name)
            write_text(self.target.with_suffix(".html"), page)
            return {
                "files": [
                    file
                    for kind in ("tables", "figures", "notebooks")
                    for file in sorted((self.folder / kind).glob("[!.]*"))
                    if file.suffix in (".csv", ".md", ".html", ".png", ".svg")
                    and file.stat().st_mtime >= began - 1
                    and (kind != "notebooks" or file.stem == self.notebook)
                ],
                "artefacts": {
                    str(folder): snapshot(folder, inspecting=self.notebook not in NOTEBOOKS)
                    for folder in self.artefacts
                },
            }

        store.forget(f"notebooks/{self.notebook}.ipynb")
        store.make(f"notebooks/{self.notebook}.ipynb", self.inputs(), write)
        return time.perf_counter() - start


def snapshot(folder: Path, *, inspecting: bool = False) -> dict[str, str]:
    """Return the digest of every sound artefact below `folder`, executed notebooks and inspections' results aside.

    What is fitted for inspections counts where one is `inspecting`: a study neither reads nor writes it.
    """
    store, aside = Store(folder), ("notebooks/", "inspection/")
    names = [name for name in store.names() if not name.startswith(aside)]
    if not inspecting:
        names = [
            name
            for name in names
            if not name.startswith(("production_model/", "unseen")) and FINAL not in name
        ]
    return {name: digest for name in names if (digest := store.digest_or_none(name))}


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Raise `NotebookError` for a parameter that the notebook does not declare, or that is no plain JSON value."""
    declared = papermill.inspect_notebook(str(notebook))
    unknown = sorted(set(parameters) - set(declared))
    if unknown:
        raise NotebookError(
            f"{notebook.name}: declares no {', '.join(unknown)}; it declares {', '.join(declared)}"
        )
    for name, value in parameters.items():
        if not _is_json(value):
            raise NotebookError(
                f"{notebook.name}: {name}={value!r} is {type(value).__name__}, not a JSON value"
            )


def execute(
    source: Path, target: Path, parameters: Mapping[str, Any], failed: Path, *, verbose: bool = False
) -> None:
    """Execute `source` into `target`; where it fails, keep what ran as `failed` and raise `NotebookError`."""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(PROJECT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    )
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # beside other work, spinning threads cost twice the time
    try:
        with TemporaryDirectory(prefix="kernel-") as sockets:
            papermill.execute_notebook(
                _literal(source),
                _literal(target),
                parameters=dict(parameters),
                kernel_name="python3",
                progress_bar=False,
                stdout_file=sys.stdout if verbose else None,
                stderr_file=sys.stderr if verbose else None,
                start_timeout=180,
                config=_private(sockets),
            )
    except (PapermillExecutionError, DeadKernelError) as error:
        if target.exists():
            target.replace(failed)
        if isinstance(error, PapermillExecutionError):
            reason = f"cell {error.cell_index + 1} of {source.name} failed: {error.ename}: {error.evalue}"
        else:
            reason = f"the kernel of {source.name} died (killed, or out of memory): {error}"
        raise NotebookError(f"{reason}\nWhat ran is kept as {failed}") from error


def _literal(path: Path) -> str:
    """Return the path as papermill wants it, which reads braces as places to fill in."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _private(folder: str) -> Config:
    """Let kernels talk over sockets in a folder of the user's own instead of open ports, where the system can."""
    return Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/k"}} if os.name == "posix" else {})


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_json(item) for item in value)
    return value is None or type(value) in (str, int, float, bool)
