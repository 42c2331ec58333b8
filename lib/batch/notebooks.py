"""The numbered notebooks: how one is executed for a data set, what proves that it was, and data sets side by side."""

import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import psutil

from lib.artifacts import Store, file_sha256, write_text
from lib.execution.kernels import AT_START, Kernels
from lib.execution.parallel import SHARE
from lib.execution.progress import log
from lib.execution.source_code import library_digest
from lib.pipeline.dataset import FINAL
from lib.pipeline.run import PROJECT
from lib.reporting.html_pages import NOTEBOOKS, notebook_html

WRITES: dict[str, tuple[str, ...]] = {  # what `--force` makes a notebook's step do again
    "00_dataset": ("synthetic.txt", "index.parquet", "folds.parquet", "images/", "image-facts.parquet"),
    "01_draem_training": ("draem/", "patchcore/"),
    "02_anomaly_maps": ("maps/",),
    "03_features": ("features/",),
    "04_classification": ("predictions/classification", "predictions/calibration"),
    "05_imbalance_study": ("predictions/imbalance",),
    "06_statistics": (),
}
# nbformat's import would parse this grammar for three seconds; no notebook needs it
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


class NotebookError(RuntimeError):
    """A notebook failed; the message says which cell, why, and where the failed notebook is."""


@dataclass(frozen=True)
class NotebookJob:
    """One notebook to execute with its parameters; results go below `folder`."""

    notebook: str
    folder: Path
    parameters: Mapping[str, Any]
    artefacts: tuple[Path, ...]  # folders whose artefacts the notebook reads or writes
    external: str = ""  # fingerprint of what lies outside: images, weights, textures
    datasets: tuple[str, ...] = ()  # folders of the study's data sets, whose pages it links

    @property
    def target(self) -> Path:
        """The executed notebook."""
        return self.folder / self.name

    @property
    def source(self) -> Path:
        """The notebook in the repository."""
        return PROJECT / self.name

    @property
    def name(self) -> str:
        """What the executed notebook is called among the artefacts of its folder."""
        return f"notebooks/{self.notebook}.ipynb"

    def inputs(self) -> dict[str, Any]:
        """Return what the executed notebook depends on, beside the artefacts."""
        code = {"source": file_sha256(self.source), "library": library_digest()}
        parameters = {k: v for k, v in self.parameters.items() if k != "SCHEDULER"}
        return code | {"parameters": parameters, "external": self.external}

    def done(self) -> bool:
        """Tell whether the executed notebook and everything that it depends on are unaltered."""
        store = Store(self.folder)
        known = store.manifest(self.name) if store.proven(self.name, self.inputs()) else None
        return known is not None and all(
            Store(Path(folder)).digest_or_none(name) == digest
            for folder, digests in known["summary"]["artefacts"].items()
            for name, digest in digests.items()
        )

    def _tables_and_figures(self) -> dict[Path, tuple[int, int]]:
        """Return the tables and figures there, each with what tells whether it was written since."""
        found = [file for kind in ("tables", "figures") for file in (self.folder / kind).glob("[!.]*")]
        return {file: ((stat := file.stat()).st_ino, stat.st_mtime_ns) for file in found}

    def run(self, kernels: Kernels, *, verbose: bool = False) -> float:
        """Execute the notebook, render it as HTML, prove both; returns seconds; raises `NotebookError`."""
        start, store, before = time.perf_counter(), Store(self.folder), self._tables_and_figures()
        failed = self.target.with_suffix(".failed.ipynb")

        def write(path: Path) -> dict[str, Any]:
            execute(self.source, path, self.parameters, failed, kernels, verbose=verbose)
            page = self.target.with_suffix(".html")
            write_text(page, notebook_html(path, self.notebook, self.folder.name, datasets=self.datasets))
            made = self._tables_and_figures().items()  # by their inodes: a clock may be set back meanwhile
            files = [page, *sorted(file for file, version in made if version != before.get(file))]
            inspecting = self.notebook not in NOTEBOOKS
            found = {str(folder): snapshot(folder, inspecting=inspecting) for folder in self.artefacts}
            return {"files": files, "artefacts": found}

        try:
            failed.unlink(missing_ok=True)
            store.forget(self.name)
            store.make(self.name, self.inputs(), write)
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
    source: Path, target: Path, parameters: Mapping[str, Any], failed: Path, kernels: Kernels, verbose: bool = False
) -> None:
    """Execute `source` into `target`; where it fails, keep what ran as `failed` and raise `NotebookError`."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        with kernels.one() as kernel:
            papermill.execute_notebook(
                *(str(path).replace("{", "{{").replace("}", "}}") for path in (source, target)),
                parameters=dict(parameters),
                kernel_name="python3",
                progress_bar=False,
                stdout_file=sys.stdout if verbose else None,
                stderr_file=sys.stderr if verbose else None,
                start_timeout=180,
                km=kernel,
                extra_arguments=list(AT_START),
            )
    except (PapermillExecutionError, RuntimeError) as error:
        if target.exists():
            target.replace(failed)
        if isinstance(error, PapermillExecutionError):
            reason = f"cell {error.cell_index + 1} of {source.name} failed: {error.ename}: {error.evalue}"
        else:
            reason = f"the kernel of {source.name} died or did not start (killed, or out of memory): {error}"
        raise NotebookError(f"{reason}\nWhat ran is kept as {failed}") from error


def environment(cores: int, threads: int) -> None:
    """Tell this process's children where the library is, and which cores and threads to use."""
    inherited = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    os.environ |= {
        SHARE: str(max(1, cores)),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), *inherited]),
    }
    # beside other work, spinning threads cost twice the time
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def run_datasets(
    jobs: Mapping[Path, Sequence[NotebookJob]],
    side_by_side: int,
    kernels: Kernels,
    *,
    force: bool,
    verbose: bool,
    afterwards: Callable[[Path], None] = lambda root: None,
) -> list[str]:
    """Carry out the jobs of each data set, by its folder, `side_by_side` data sets at once; returns why some failed.

    `afterwards` is called with the folder of each data set where its jobs have ended, well or not.
    """
    stopped = Event()

    def run_notebooks(root: Path) -> None:
        for job in jobs[root]:
            if stopped.is_set():
                return
            log(root, state="running", notebook=job.notebook, stage=None, since=time.time())
            if force:
                Store(job.folder).forget(*WRITES[job.notebook], f"notebooks/{job.notebook}")
            done = {} if job.done() else {"seconds": round(job.run(kernels, verbose=verbose), 1)}
            log(root, stage=None, ended={"notebook": job.notebook, **done})
        log(root, state="done", stage=None)

    def issues(root: Path) -> str:
        found = []
        for step in (run_notebooks, afterwards):
            try:
                if not stopped.is_set():
                    step(root)
            except Exception as error:  # whatever it is, it stays with its data set
                reason = str(error)
                if not isinstance(error, (NotebookError, OSError)):
                    reason = f"{type(error).__name__}: {error}"
                    traceback.print_exc()
                if not stopped.is_set():
                    log(root, state="failed", reason=reason, stage=None)
                found.append(f"{root.name}: {reason}")
        return "\n".join(found)

    with ThreadPoolExecutor(side_by_side) as pool:  # each thread waits for a kernel
        parts = [pool.submit(issues, root) for root in jobs]
        try:
            return list(filter(None, [part.result() for part in parts]))
        finally:
            stopped.set()
            while not all(part.done() or part.cancel() for part in parts):
                for child in psutil.Process().children():
                    with suppress(psutil.Error):
                        if "ipykernel_launcher" in child.cmdline():
                            child.kill()
                time.sleep(0.1)
