"""Workers killed in the middle of a fold, and a cluster of two against one process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from lib.draem.training import read_checkpoint
from lib.execution.parallel import local_cluster
from lib.pipeline.detectors import training_history
from lib.pipeline.run import Run, open_run
from tests.faults.study import PROJECT, Tried, differences, digests, run

LONG = {"weights": "random-init", "draem_steps": 900}  # past the first checkpoint, at step 500


def long_folds(study: Path, scheduler: str = "") -> Run:
    """Return a small study whose DRAEMs save themselves in mid-training."""
    return open_run("deco_cap", "smoke", "", str(study), LONG, scheduler)


def weights(made: Run) -> dict[str, str]:
    """Return the digests of the trained DRAEMs."""
    return {name: made.store.digest(name) for name in made.store.names() if name.endswith(".safetensors")}


@contextmanager
def separate_cluster(workers: int = 2) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """Start a scheduler and workers as one would by hand, without nannies; yields the address and the workers."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-c", "from distributed.cli.dask_scheduler import main; main()"]
    work = [sys.executable, "-c", "from distributed.cli.dask_worker import main; main()"]
    scheduler = subprocess.Popen(
        [*start, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"],
        env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    children: list[subprocess.Popen[str]] = []
    try:
        assert scheduler.stderr is not None
        found = None
        while found is None:
            line = scheduler.stderr.readline()
            assert line, "the scheduler did not start"
            found = re.search(r"tcp://127\.0\.0\.1:\d+", line)
        address = found.group()
        threading.Thread(target=scheduler.stderr.read, daemon=True).start()
        command = [*work, address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        for _ in range(workers):
            children.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, text=True))
        from distributed import Client

        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)
        yield address, children
    finally:
        for child in [*children, scheduler]:
            child.kill()
            child.wait()


def kill_in_mid_fold(made: Run, victims: list[int]) -> tuple[threading.Thread, dict[str, float]]:
    """Kill, from a thread, the worker whose DRAEM saves itself first; returns what happened in a dictionary."""
    happened: dict[str, float] = {}

    def watch() -> None:
        folder = made.store.path("draem")
        for _ in range(6000):
            for file in sorted(folder.glob("*.resume.pt")):
                happened["step"] = read_checkpoint(file)["step"]
                time.sleep(0.5)
                busy = max((psutil.Process(pid) for pid in victims), key=lambda item: sum(item.cpu_times()[:2]))
                busy.kill()
                happened["pid"] = busy.pid
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread, happened


def lost_workers(folder: Path) -> list[Tried]:
    """Kill a worker in mid-fold on a LocalCluster and on a scheduler with workers of their own."""
    alone = long_folds(folder / "alone")
    training_history(alone)
    expected, rows = weights(alone), []

    def lose(name: str, scheduler: str, victims: list[int]) -> None:
        made = long_folds(folder / name, scheduler)
        thread, happened = kill_in_mid_fold(made, victims)
        training_history(made)
        thread.join()
        assert happened.get("pid"), "no worker was killed"
        wrong = differences(expected, weights(made))
        assert not list(made.store.path("draem").glob("*.resume.pt"))
        when = f"0.5 s after the checkpoint at step {happened['step']:.0f} of {LONG['draem_steps']}"
        rows.append(Tried(f"worker killed in mid-fold, {name}", 1, int(not wrong), when))

    before = set(psutil.Process().children(recursive=True))
    with local_cluster(2) as address:
        mine = [item for item in psutil.Process().children(recursive=True) if item not in before]
        workers = [item.pid for item in mine if "resource_tracker" not in " ".join(item.cmdline())]
        lose("LocalCluster of two", address, workers)
    with separate_cluster() as (address, children):
        lose("scheduler and two workers of their own", address, [child.pid for child in children])
    return rows


def workers_here(undisturbed: Path, folder: Path) -> list[Tried]:
    """Run the study again, and with `--workers 2`."""
    rows, expected = [], digests(undisturbed)
    for name, extra in (("the same command again", ()), ("with --workers 2", ("--workers", "2"))):
        status, said = run(folder / name.replace(" ", "-"), *extra)
        assert status == 0, said
        wrong = differences(expected, digests(folder / name.replace(" ", "-")))
        rows.append(Tried(f"{name}, new folder", 1, int(not wrong), f"{len(expected)} files"))
    return rows
