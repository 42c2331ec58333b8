"""Runs a function over folds: in this process, in several on this machine, or on a Dask cluster."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from joblib import Parallel, cpu_count, delayed, parallel_config

from lib.progress import BATCH, progress
from lib.store import write_text

Result = TypeVar("Result")
WORTH_A_LINE = 0.5  # seconds; what is proven already takes less


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
) -> list[Result]:
    """Return `function(*a)` for each `a` in `arguments`, in their order.

    `scheduler` is a Dask address (tcp://host:8786); empty means this machine, with up to `processes` at work, of one
    thread each. Workers must see `shared_folder` under the same path; raises `EngineError` where they don't, or where
    the scheduler does not answer.
    """
    if scheduler and arguments:
        return _on_cluster(function, arguments, label, shared_folder, scheduler)
    if min(processes, len(arguments)) > 1:
        return _side_by_side(function, arguments, label, min(processes, len(arguments)))
    results = []
    for number, values in enumerate(progress(arguments, label), start=1):
        start = time.perf_counter()
        results.append(function(*values))
        seconds = time.perf_counter() - start
        if os.environ.get(BATCH) and seconds > WORTH_A_LINE:
            report(f"{label} {values[-1]}: {seconds:.1f} s ({number} of {len(arguments)})")
    return results


def cores() -> int:
    """Return how many cores this process may keep busy: OMP_NUM_THREADS where set, else those that the system grants.

    run_all.py shares the cores out among data sets by that variable.
    """
    granted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return max(1, int(granted)) if granted.isdigit() else int(cpu_count())


@contextmanager
def local_cluster(workers: int) -> Iterator[str]:
    """Start a Dask cluster with `workers` processes on this machine and yield its address; none for 0 workers.

    The cores are shared out, so that the workers' torch threads do not fight.
    """
    if not workers:
        yield ""
        return
    import dask
    from distributed import LocalCluster

    threads = str(max(1, (os.cpu_count() or 1) // workers))
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": environment}),
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
    ):
        yield cluster.scheduler_address


def _side_by_side(
    function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], label: str, processes: int
) -> list[Result]:
    """Run the calls in processes of their own, which joblib keeps for the next time."""
    start, found = time.perf_counter(), {}
    with parallel_config(backend="loky", n_jobs=processes, inner_max_num_threads=1):
        calls = (delayed(_numbered)(number, function, values) for number, values in enumerate(arguments))
        done = Parallel(return_as="generator_unordered")(calls)
        for number, result in progress(done, label, len(arguments)):
            found[number] = result
            if os.environ.get(BATCH):
                seconds, name = time.perf_counter() - start, arguments[number][-1]
                report(f"{label} {name}: after {seconds:.1f} s ({len(found)} of {len(arguments)})")
    return [found[number] for number in range(len(arguments))]


def _numbered(number: int, function: Callable[..., Result], values: tuple[Any, ...]) -> tuple[int, Result]:
    return number, function(*values)


def _on_cluster(
    function: Callable[..., Result],
    arguments: Sequence[tuple[Any, ...]],
    label: str,
    shared_folder: Path,
    scheduler: str,
) -> list[Result]:
    from distributed import Client, as_completed

    try:
        client = Client(scheduler, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"{scheduler}: no Dask scheduler answers there ({error}); check the address"
        ) from error
    with client, client.as_current():
        _check_shared(client, shared_folder, scheduler)
        start = time.perf_counter()
        futures = [client.submit(function, *values, retries=2, pure=False) for values in arguments]
        names = {future.key: values[-1] for future, values in zip(futures, arguments, strict=True)}
        for number, future in enumerate(as_completed(futures), start=1):
            future.result()
            seconds = time.perf_counter() - start
            report(f"{label} {names[future.key]}: after {seconds:.1f} s ({number} of {len(futures)})")
        return list(client.gather(futures))


def _check_shared(client: Any, folder: Path, scheduler: str) -> None:
    """Check that every worker reads what the driver writes below `folder`."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise EngineError(f"{scheduler}: the cluster has no workers; start some and run again")
    token = folder / f".shared-{os.getpid()}"
    write_text(token, str(os.getpid()))
    try:
        seen = client.run(_reads, str(token))
    finally:
        token.unlink(missing_ok=True)
    blind = sorted(address for address, text in seen.items() if text != str(os.getpid()))
    if blind:
        raise EngineError(
            f"{', '.join(blind)}: cannot read {folder}; workers and driver must share the study's folder "
            f"under the same path (choose one with --output)"
        )


def _reads(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        return str(error)
