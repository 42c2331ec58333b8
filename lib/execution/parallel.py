"""Runs a function over folds: in this process, in several on this machine, or on a Dask cluster.

Whichever it is, each call has the same number of threads, so that its results are the same bits.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil
from joblib import Parallel, cpu_count, delayed, parallel_config
from threadpoolctl import threadpool_limits

from lib.artifacts import is_read_only, write_text
from lib.execution.process_control import exit_with_parent
from lib.execution.progress import BATCH, progress
from lib.execution.source_code import library_digest
from lib.execution.status import WORTH_A_LINE, stage, steps_seen

Result = TypeVar("Result")
SHARE = "STUDY_CORES"  # set by run_all.py: the cores that a data set may keep busy
WORTH_PROCESSES = 15.0  # seconds of work in all: less is done before processes have started
RETRIES = 2  # of a task that failed on a cluster; what a lost worker did is done again besides, three times


class EngineError(RuntimeError):
    """The cluster cannot be used; the message says what to check."""


def report(line: str) -> None:
    """Print one line of progress at once."""
    print(line, file=sys.stdout, flush=True)


def run_tasks(
    function: Callable[..., Result],
    arguments: Sequence[tuple[Any, ...]],
    *,
    label: str,
    shared_folder: Path,
    scheduler: str = "",
    processes: int = 1,
    threads: int = 1,
    gpu: bool = False,
) -> list[Result]:
    """Return `function(*a)` for each `a` in `arguments`, in their order, each computed by `threads` threads.

    `scheduler` is a Dask address (tcp://host:8786); empty means this machine, with up to `processes` at work. Workers
    must see `shared_folder` under the same path and run the same code; raises `EngineError` where they don't, or where
    the scheduler does not answer. Where workers declare the resource GPU, calls with `gpu` take one each.
    """
    if not arguments:
        return []
    calls = [(function, values, threads) for values in arguments]
    at_once = 1 if is_read_only() else min(processes, len(calls))
    where = "cluster" if scheduler else "processes" if at_once > 1 else "here"
    found: dict[int, Result] = {}
    with stage(shared_folder, label, len(calls)) as done, ExitStack() as stack:
        start = time.perf_counter()
        results: Found[Result]
        if where == "cluster":
            results = _on_cluster(calls, shared_folder, scheduler, gpu)
        elif where == "processes":
            seen = stack.enter_context(steps_seen(shared_folder))
            results = progress(_side_by_side(calls, at_once, threads), label, len(calls), seen)
        else:
            results = progress(_in_turn(calls), label, len(calls))
        for number, result, seconds in results:
            found[number] = result
            done(len(found))
            if where == "cluster" or (os.environ.get(BATCH) and seconds > WORTH_A_LINE):
                after = "" if where == "here" else f", after {time.perf_counter() - start:.1f} s"
                name = arguments[number][-1]
                report(f"{label} {name}: {seconds:.1f} s{after} ({len(found)} of {len(calls)})")
    return [found[number] for number in range(len(calls))]


Call = tuple[Callable[..., Result], tuple[Any, ...], int]  # function, its arguments, threads
Found = Iterable[tuple[int, Result, float]]  # number of the call, what it returned, seconds


def max_parallel(seconds: float, count: int, memory: float, threads: int = 1) -> int:
    """Return how many of `count` calls, of `seconds` and `memory` bytes each, this machine should run side by side.

    One where the work is too little, else what the cores granted here and their share of the free memory allow.
    """
    if seconds * count < WORTH_PROCESSES:
        return 1
    mine = cores()
    room = 0.8 * psutil.virtual_memory().available * min(1.0, mine / int(cpu_count()))
    return max(1, min(count, mine // threads, int(room // max(1.0, memory))))


def cores() -> int:
    """Return how many cores this process may keep busy.

    That is the share of the data set (STUDY_CORES, set by run_all.py), else OMP_NUM_THREADS, else all that the system
    grants.
    """
    granted = (os.environ.get(SHARE) or os.environ.get("OMP_NUM_THREADS", "")).split(",")[0]
    return max(1, int(granted)) if granted.isdigit() else int(cpu_count())


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Let torch and the linear algebra under NumPy use exactly `threads` threads meanwhile."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def _called(number: int, call: Call[Result], parent: int = 0) -> tuple[int, Result, float]:
    """Carry out a call wherever it landed; a process of joblib's ends with the `parent` that started it."""
    if parent:
        exit_with_parent(parent)
    function, values, threads = call
    with limit_threads(threads):
        start = time.perf_counter()
        result = function(*values)
        return number, result, time.perf_counter() - start


def _in_turn(calls: Sequence[Call[Result]]) -> Found[Result]:
    return (_called(number, call) for number, call in enumerate(calls))


def _side_by_side(calls: Sequence[Call[Result]], processes: int, threads: int) -> Found[Result]:
    """Run the calls in processes of their own, which joblib keeps for the next time."""
    with parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=threads):
        tasks = (delayed(_called)(number, call, os.getpid()) for number, call in enumerate(calls))
        yield from Parallel(return_as="generator_unordered")(tasks)


def _on_cluster(calls: Sequence[Call[Result]], folder: Path, scheduler: str, gpu: bool) -> Found[Result]:
    from distributed import Client, KilledWorker, as_completed

    try:
        client = Client(scheduler, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"{scheduler}: no Dask scheduler answers there ({error}); check the address"
        ) from error
    with client, client.as_current():
        workers = _check_workers(client, folder, scheduler)
        devices = gpu and any("GPU" in about["resources"] for about in workers.values())
        futures = [
            client.submit(
                _called, number, call, retries=RETRIES, pure=False, resources={"GPU": 1} if devices else None
            )
            for number, call in enumerate(calls)
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        except KilledWorker as error:
            raise EngineError(
                f"{scheduler}: workers were lost again and again in one task, most likely for want of memory "
                f"({error}); give each more memory, or start fewer"
            ) from error


def _check_workers(client: Any, folder: Path, scheduler: str) -> dict[str, Any]:
    """Check that every worker reads what the driver writes below `folder`, and has its code; returns the workers."""
    workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise EngineError(f"{scheduler}: the cluster has no workers; start some and run again")
    token = folder / f".shared-{os.getpid()}"
    write_text(token, str(os.getpid()))
    try:
        seen = client.run(_reads, str(token), on_error="return")
    finally:
        token.unlink(missing_ok=True)
    lost = {address: found for address, found in seen.items() if not isinstance(found, tuple)}
    if lost:
        raise EngineError(
            f"{', '.join(sorted(lost))}: cannot run the project's code ({next(iter(lost.values()))!r}); start the "
            f"workers from the project's folder, in its environment"
        )
    blind = sorted(address for address, found in seen.items() if found[0] != str(os.getpid()))
    if blind:
        raise EngineError(
            f"{', '.join(blind)}: cannot read {folder}; workers and driver must share the study's folder "
            f"under the same path (choose one with --output)"
        )
    strange = sorted(address for address, found in seen.items() if found[1] != _software())
    if strange:
        raise EngineError(
            f"{', '.join(strange)}: other code than here, or another PyTorch, so other results; start the workers "
            f"from the same checkout and environment"
        )
    return workers


def _reads(path: str) -> tuple[str, str]:
    try:
        return Path(path).read_text(encoding="utf-8"), _software()
    except OSError as error:
        return str(error), ""


def _software() -> str:
    import torch

    return f"{library_digest()} {torch.__version__}"
