"""Runs a function side by side: in this process, in as many as this machine has room for, or on a Dask cluster.

Whichever it is, each call has the same number of threads, so that its results are the same bits. Processes end with
the one that started them; signals end a run in an orderly way.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from lib.artifacts import READ_ONLY, write_text
from lib.execution.progress import stage, task_of
from lib.execution.source_code import library_digest

Result = TypeVar("Result")
Found = tuple[int, Result]  # number of the call, what it returned
WORTH_PROCESSES = 15.0  # seconds of work in all: less is done before processes have started
SHARE = "STUDY_CORES"  # set by run_all.py: the cores that a data set may keep busy
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
UNREADABLE = "unreadable"  # what a worker answers that cannot read the study's folder
ANSWERS = 10  # seconds in which a scheduler must
RETRIES = 2  # of a task that failed on a cluster; what a lost worker did is done again besides, three times


class EngineError(RuntimeError):
    """The cluster cannot be used; the message says what to check."""


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
    call, calls = partial(_called, function, threads, shared_folder), list(enumerate(arguments))
    at_once = 1 if READ_ONLY.get() else min(processes, len(calls))
    found: dict[int, Result] = {}
    with stage(shared_folder, label, len(calls)) as done:
        results: Iterable[Found[Result]] = (call(*each) for each in calls)
        if scheduler:
            results = _on_cluster(call, calls, shared_folder, scheduler, gpu)
        elif at_once > 1:  # in processes, which joblib keeps for the next time
            from joblib import Parallel, delayed, parallel_config

            with parallel_config(backend="loky", n_jobs=at_once, inner_max_num_threads=threads):
                own = delayed(partial(call, parent=os.getpid()))
                results = Parallel(return_as="generator_unordered")(own(*each) for each in calls)
        for number, result in results:
            found[number] = result
            done(len(found))
    return [found[number] for number in range(len(calls))]


def max_parallel(seconds: float, count: int, memory: float, threads: int = 1) -> int:
    """Return how many of `count` calls, of `seconds` and `memory` bytes each, this machine should run side by side."""
    if seconds * count < WORTH_PROCESSES:
        return 1
    mine = cores()
    room = 0.8 * memory_free() * min(1.0, mine / machine_cores())
    return max(1, min(count, mine // threads, int(room // max(1.0, memory))))


def cores() -> int:
    """Return how many cores this process may use: STUDY_CORES, else OMP_NUM_THREADS, else all granted."""
    granted = (os.environ.get(SHARE) or os.environ.get("OMP_NUM_THREADS", "")).split(",")[0]
    return max(1, int(granted)) if granted.isdigit() else machine_cores()


def machine_cores() -> int:
    """Return how many cores the system grants this process."""
    from joblib import cpu_count  # knows of control groups and affinity

    return int(cpu_count())


def memory_free(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Return the bytes that a new process may take without pushing others out, or meeting a container's limit.

    The least that the machine and each control group (version 2) of the process have left, or in caches.
    """
    import psutil

    free = [int(psutil.virtual_memory().available)]
    try:
        inside = (proc / "self" / "cgroup").read_text().partition("0::/")[2].strip()
    except OSError:
        return free[0]
    for folder in [cgroups / inside, *(cgroups / part for part in Path(inside).parents)]:
        try:
            limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            caches = sum(int(stat.get(kind, 0)) for kind in ("inactive_file", "active_file"))
        except (OSError, ValueError):  # not there, or no limit ("max")
            continue
        free.append(max(0, limit - used + caches))
    return min(free)


@contextmanager
def limit_threads(threads: int) -> Iterator[None]:
    """Let torch and the linear algebra under NumPy use exactly `threads` threads meanwhile."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def _called(
    function: Callable[..., Result], threads: int, folder: Path, number: int, values: Iterable[Any], parent: int = 0
) -> Found[Result]:
    """Carry out a call wherever it landed; a process of joblib's ends with the `parent` that started it."""
    if parent:
        exit_with_parent(parent)
    with limit_threads(threads), task_of(folder):
        return number, function(*values)


@contextmanager
def local_cluster(workers: int) -> Iterator[str]:
    """Start a Dask cluster with `workers` processes on this machine and yield its address; none for 0 workers.

    Each takes one task at a time. The first ones hold a GPU each, where there are any, and get the tasks for a GPU.
    """
    if not workers:
        yield ""
        return
    import torch
    from distributed import LocalCluster
    from distributed.system import MEMORY_LIMIT

    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    gpus = seen.split(",")[:count] if seen else [str(number) for number in range(count)]

    class Workers(LocalCluster):  # the first ones with a GPU each
        def new_worker_spec(self) -> dict[Any, Any]:
            ((number, spec),) = super().new_worker_spec().items()
            if number < len(gpus):
                own = {"env": {"CUDA_VISIBLE_DEVICES": gpus[number]}, "resources": {"GPU": 1}}
                spec = spec | {"options": spec["options"] | own}
            return {number: spec}

    with Workers(
        n_workers=0, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
        memory_limit=MEMORY_LIMIT // workers, silence_logs=logging.WARNING,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    ) as cluster:  # fmt: skip
        cluster.scale(workers)
        cluster.wait_for_workers(workers)
        yield str(cluster.scheduler_address)


def _on_cluster(
    call: Callable[..., Found[Result]], calls: Iterable[Any], folder: Path, scheduler: str, gpu: bool
) -> Iterable[Found[Result]]:
    from distributed import Client, KilledWorker, as_completed

    try:
        client = Client(scheduler, timeout=ANSWERS, set_as_default=False)
    except (OSError, ValueError) as error:
        how = "start one, or correct the address"
        raise EngineError(f"{scheduler}: no Dask scheduler answers there ({error}); {how}") from error
    with client, client.as_current():
        workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise EngineError(f"{scheduler}: the cluster has no workers; start some and run again")
        _check_workers(client, folder)
        has_gpus = any("GPU" in each["resources"] for each in workers.values())
        how_often = {"retries": RETRIES, "pure": False, "resources": {"GPU": 1} if gpu and has_gpus else None}
        try:
            for future in as_completed([client.submit(call, *each, **how_often) for each in calls]):
                yield future.result()
        except KilledWorker as error:
            why = f"workers were lost again and again in one task, most likely for want of memory ({error})"
            raise EngineError(f"{scheduler}: {why}; give each more memory, or start fewer") from error


def _check_workers(client: Any, folder: Path) -> None:
    token = folder / f".shared-{os.getpid()}"
    write_text(token, "")
    try:
        seen = client.run(_reads, str(token), on_error="return")
    finally:
        token.unlink(missing_ok=True)
    faults: dict[str, list[str]] = {}
    for address, found in sorted(seen.items()):
        if found == UNREADABLE:
            issue = f"cannot read {folder}; share the study's folder under the same path, or choose another --output"
        elif isinstance(found, OSError):  # of the connection
            issue = f"does not answer ({found!r}); see that it runs and can be reached, then run again"
        elif found != _software():  # or the error for which it could not even be asked
            told = "other code than here, or another PyTorch" if isinstance(found, str) else repr(found)
            issue = f"cannot run the project's code ({told}); start it from the same checkout and environment"
        else:
            continue
        faults.setdefault(issue, []).append(address)
    if faults:
        raise EngineError("\n".join(f"{', '.join(those)}: {issue}" for issue, those in faults.items()))


def _reads(path: str) -> str:
    try:
        Path(path).read_text(encoding="utf-8")
    except OSError:
        return UNREADABLE
    return _software()


def _software() -> str:
    import torch

    return f"{library_digest()} {torch.__version__}"


def stop_on_signals() -> None:
    """Raise `KeyboardInterrupt` of the signal's name in the main thread on SIGTERM and SIGHUP, except under nohup."""

    def stop(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough
        raise KeyboardInterrupt(signal.Signals(number).name)

    for name in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(name) is not signal.SIG_IGN:
            signal.signal(name, stop)


@cache  # a process watches once
def exit_with_parent(parent: int) -> None:
    """End this process soon after its parent has gone; Linux's own signal comes when the parent's *thread* ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
