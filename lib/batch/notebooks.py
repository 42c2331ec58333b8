"""The numbered notebooks: how one is executed for a data set, what proves that it was, and data sets side by side."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lib.artifacts import Store, file_sha256, write_text
from lib.batch.provenance import write_provenance
from lib.execution.parallel import exit_with_parent, stop_on_signals
from lib.execution.progress import BATCH, format_duration, log
from lib.execution.resources import SHARE
from lib.execution.source_code import library_digest
from lib.pipeline.dataset import FINAL
from lib.pipeline.run import PROJECT, Run
from lib.reporting.html_pages import NOTEBOOKS, notebook_html

WRITES: dict[str, tuple[str, ...]] = {  # what `--force` makes a notebook's step do again
    "00_dataset": ("index.parquet", "folds.parquet", "images/"),
    "01_draem_training": ("draem/", "patchcore/"),
    "02_anomaly_maps": ("maps/",),
    "03_features": ("features/", "patches/"),
    "04_classification": (
        "predictions/classification",
        "predictions/calibration",
        "predictions/compare_map_",
    ),
    "05_imbalance_study": ("predictions/imbalance",),
    "06_statistics": (),
}
PATIENCE = 15.0  # seconds that a data set's process gets to stop its notebook


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
        code = {"source": file_sha256(self.source), "library": library_digest()}
        parameters = {k: v for k, v in self.parameters.items() if k != "SCHEDULER"}
        return code | {"parameters": parameters, "external": self.external}

    def done(self) -> bool:
        """Tell whether the executed notebook and everything that it rests on stand unaltered."""
        store, name = Store(self.folder), f"notebooks/{self.notebook}.ipynb"
        record = store.manifest(name) if store.proven(name, self.inputs()) else None
        return record is not None and all(
            Store(Path(folder)).digest_or_none(name) == digest
            for folder, known in record["summary"]["artefacts"].items()
            for name, digest in known.items()
        )

    def run(self, *, verbose: bool = False) -> float:
        """Execute the notebook, render it as HTML, prove both; returns seconds; raises `NotebookError`."""
        start, began, store = time.perf_counter(), time.time(), Store(self.folder)
        failed, name = self.target.with_suffix(".failed.ipynb"), f"notebooks/{self.notebook}.ipynb"

        def write(path: Path) -> dict[str, Any]:
            execute(self.source, path, self.parameters, failed, verbose=verbose)
            page = self.target.with_suffix(".html")
            write_text(page, notebook_html(path, self.notebook, self.folder.name))
            files = [
                file
                for kind in ("tables", "figures")
                for file in sorted((self.folder / kind).glob("[!.]*"))
                if file.suffix in (".csv", ".md", ".html", ".png", ".svg")
                and file.stat().st_mtime >= began - 1
            ] + [page]
            inspecting = self.notebook not in NOTEBOOKS
            found = {str(folder): snapshot(folder, inspecting=inspecting) for folder in self.artefacts}
            return {"files": files, "artefacts": found}

        try:
            failed.unlink(missing_ok=True)
            store.forget(name)
            store.make(name, self.inputs(), write)
        except OSError as error:
            raise NotebookError(f"{self.source.name}: {error}") from error
        return time.perf_counter() - start


def snapshot(folder: Path, *, inspecting: bool = False) -> dict[str, str]:
    """Return the digest of every sound artefact below `folder`, executed notebooks and inspections' results aside.

    What is fitted for inspections counts only where one is `inspecting`.
    """
    store = Store(folder)
    aside = ("notebooks/", "inspection/", *(() if inspecting else ("production_model/", "unseen")))
    names = [name for name in store.names() if not name.startswith(aside)]
    read = [name for name in names if inspecting or FINAL not in name]
    return {name: digest for name in read if (digest := store.digest_or_none(name))}


def execute(
    source: Path, target: Path, parameters: Mapping[str, Any], failed: Path, *, verbose: bool = False
) -> None:
    """Execute `source` into `target`; where it fails, keep what ran as `failed` and raise `NotebookError`.

    Raises it also for a parameter that the notebook does not declare.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    declared = papermill.inspect_notebook(str(source))
    if unknown := sorted(set(parameters) - set(declared)):
        what = f"declares no {', '.join(unknown)}; it declares {', '.join(declared)}"
        raise NotebookError(f"{source.name}: {what}")
    inherited = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *inherited])
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # beside other work, spinning threads cost twice the time
    try:
        with TemporaryDirectory(prefix="kernel-") as folder:
            # kernels talk over sockets in a folder of the user's own instead of open ports, where the system can
            sockets = {"transport": "ipc", "ip": f"{folder}/k"} if os.name == "posix" else {}
            papermill.execute_notebook(
                *(str(path).replace("{", "{{").replace("}", "}}") for path in (source, target)),
                parameters=dict(parameters),
                kernel_name="python3",
                progress_bar=False,
                stdout_file=sys.stdout if verbose else None,
                stderr_file=sys.stderr if verbose else None,
                start_timeout=180,
                config=Config({"KernelManager": sockets}),
            )
    except (PapermillExecutionError, DeadKernelError) as error:
        if target.exists():
            target.replace(failed)
        if isinstance(error, PapermillExecutionError):
            reason = f"cell {error.cell_index + 1} of {source.name} failed: {error.ename}: {error.evalue}"
        else:
            reason = f"the kernel of {source.name} died (killed, or out of memory): {error}"
        raise NotebookError(f"{reason}\nWhat ran is kept as {failed}") from error


@dataclass(frozen=True)
class DatasetRun:
    """What is to be done for one data set, or after all of them: notebooks, and the seconds that each may take."""

    root: Path  # its artefacts' folder, or for what comes last any name beside those
    jobs: tuple[NotebookJob, ...]
    expected: Mapping[str, float]
    run: Run | None = None

    @property
    def seconds(self) -> float:
        """What the notebooks may take in all."""
        return sum(self.expected.get(job.notebook, 0) for job in self.jobs)


def environment(cores: int, threads: int) -> None:
    """Tell this process's children that this is a batch, how many cores each data set has, and a task's threads."""
    os.environ |= {BATCH: "1", SHARE: str(max(1, cores)), "OMP_NUM_THREADS": str(threads)}


def run_notebooks(part: DatasetRun, *, force: bool, verbose: bool) -> str:
    """Execute the part's notebooks in turn; returns why it failed, or an empty text."""
    spent = predicted = 0.0
    root, left = part.root, part.seconds
    try:
        for job in part.jobs:
            expected = part.expected.get(job.notebook, 0)
            left -= expected
            pace = spent / predicted if predicted else 1
            times = {"expected": round(expected * pace, 1), "left_after": round(left * pace, 1)}
            log(root, state="running", notebook=job.notebook, stage=None, since=time.time(), **times)
            if not force and job.done():
                log(root, ended={"text": "proven, nothing to do"})
                continue
            if force:
                Store(job.folder).forget(*WRITES[job.notebook], f"notebooks/{job.notebook}")
            seconds = job.run(verbose=verbose)
            spent, predicted = spent + seconds, predicted + expected
            rest = f"about {format_duration(left * spent / (predicted or spent))} left for this data set"
            if job is part.jobs[-1]:
                rest = "this data set is done" if part.run is not None else ""
            text = f"{seconds:7.1f} s   {rest}".rstrip()
            log(root, stage=None, ended={"text": text, "seconds": round(seconds, 1)})
        if part.run is not None:
            write_provenance(part.run)
    except (NotebookError, OSError) as error:
        log(root, state="failed", reason=str(error), stage=None)
        return f"{root.name}: {error}"
    log(root, state="done", stage=None)
    return ""


def run_datasets(parts: Sequence[DatasetRun], side_by_side: int, *, force: bool, verbose: bool) -> list[str]:
    """Carry out the parts, `side_by_side` at once, each in a process of its own; returns why some failed."""
    if side_by_side < 2:
        return list(filter(None, [run_notebooks(part, force=force, verbose=verbose) for part in parts]))
    running: list[BaseProcess] = []
    pool = ThreadPoolExecutor(side_by_side)  # each thread waits for a process
    try:
        found = pool.map(lambda part: _in_own_process(part, force, verbose, running), parts)
        return list(filter(None, found))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        stopped, running[:] = list(running), []
        for process in stopped:
            process.terminate()
        for process in stopped:
            process.join(PATIENCE)
            process.kill()


def _in_own_process(part: DatasetRun, force: bool, verbose: bool, running: list[BaseProcess]) -> str:
    """Carry out the part in a new process, kept in `running` meanwhile; returns why it failed, or an empty text."""
    context = get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send_outcome, args=(part, force, verbose, os.getpid(), theirs))
    process.start()
    running.append(process)
    theirs.close()
    try:
        return str(mine.recv())
    except EOFError:
        process.join()
        reason = f"{part.root.name}: its process died (exit status {process.exitcode}); run again to go on"
        if process in running:  # else it was stopped with the run
            log(part.root, state="failed", reason=reason, stage=None)
        return reason
    finally:
        process.join()
        running[:] = [other for other in running if other is not process]


def _send_outcome(
    part: DatasetRun, force: bool, verbose: bool, parent: int, outcome: connection.Connection
) -> None:
    exit_with_parent(parent)
    stop_on_signals()
    try:
        outcome.send(run_notebooks(part, force=force, verbose=verbose))
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # the run says so
