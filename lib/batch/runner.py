"""The notebooks of several data sets, in turn or side by side, each data set's in a line."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, cast

from lib.artifacts import Store
from lib.batch.notebooks import WRITES, NotebookError, NotebookJob
from lib.batch.provenance import write_provenance
from lib.execution import status
from lib.execution.parallel import BATCH, SHARE
from lib.execution.process_control import exit_with_parent, stop_on_signals
from lib.pipeline.run import Run

PATIENCE = 15.0  # seconds that a data set's process gets to stop its notebook


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
        for number, job in enumerate(part.jobs, start=1):
            expected = part.expected.get(job.notebook, 0)
            left -= expected
            pace = spent / predicted if predicted else 1
            now: dict[str, Any] = {"notebook": job.notebook, "since": time.time(), "stage": None}
            status.change(
                root,
                state="running",
                **now,
                expected=round(expected * pace, 1),
                left_after=round(left * pace, 1),
            )
            if not force and job.done():
                status.event(root, notebook=job.notebook, text="proven, nothing to do")
                continue
            if force:
                Store(job.folder).forget(*WRITES[job.notebook], f"notebooks/{job.notebook}")
            seconds = job.run(verbose=verbose)
            spent, predicted = spent + seconds, predicted + expected
            rest = status.format_duration(left * (spent / predicted if predicted else 1))
            last = "this data set is done" if part.run is not None else ""
            more = f"about {rest} left for this data set" if number < len(part.jobs) else last
            status.event(
                root,
                notebook=job.notebook,
                text=f"{seconds:7.1f} s   {more}".rstrip(),
                seconds=round(seconds, 1),
            )
        if part.run is not None:
            write_provenance(part.run)
    except (NotebookError, OSError) as error:
        status.change(root, state="failed", reason=str(error), stage=None)
        return f"{root.name}: {error}"
    status.change(root, state="done", stage=None)
    return ""


def run_datasets(parts: Sequence[DatasetRun], side_by_side: int, *, force: bool, verbose: bool) -> list[str]:
    """Carry out the parts, `side_by_side` at once, each in a process of its own; returns why some failed."""
    if side_by_side < 2:
        found = [run_notebooks(part, force=force, verbose=verbose) for part in parts]
        return [reason for reason in found if reason]
    context, waiting = get_context("spawn"), list(parts)
    running: dict[int, tuple[SpawnProcess, connection.Connection, DatasetRun]] = {}
    failures: list[str] = []
    try:
        while waiting or running:
            while waiting and len(running) < side_by_side:
                part = waiting.pop(0)
                mine, theirs = context.Pipe(duplex=False)
                process = context.Process(
                    target=_in_process, args=(part, force, verbose, os.getpid(), theirs)
                )
                process.start()
                theirs.close()
                running[process.sentinel] = (process, mine, part)
            for sentinel in cast(list[int], connection.wait(list(running))):
                process, mine, part = running.pop(sentinel)
                process.join()
                failures.append(_outcome(process, mine, part))
    finally:
        for process, _, _ in running.values():
            process.terminate()
        for process, _, _ in running.values():
            process.join(PATIENCE)
            process.kill()
    return [reason for reason in failures if reason]


def _outcome(process: SpawnProcess, said: connection.Connection, part: DatasetRun) -> str:
    try:
        reason = str(said.recv()) if said.poll() else None
    except EOFError:
        reason = None
    if reason is None:
        reason = f"{part.root.name}: its process died (exit status {process.exitcode}); run again to go on"
        status.change(part.root, state="failed", reason=reason, stage=None)
    return reason


def _in_process(
    part: DatasetRun, force: bool, verbose: bool, parent: int, said: connection.Connection
) -> None:
    exit_with_parent(parent)
    stop_on_signals()
    try:
        said.send(run_notebooks(part, force=force, verbose=verbose))
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # the run says so
