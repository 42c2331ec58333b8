"""A Dask cluster on this machine, for `--workers N`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def local_cluster(workers: int) -> Iterator[str]:
    """Start a Dask cluster with `workers` processes on this machine and yield its address; none for 0 workers.

    Cores and memory are shared out evenly; each worker takes one task at a time. Where there are GPUs, as many
    workers as there are hold one each, and tasks for a GPU go to those.
    """
    if not workers:
        yield ""
        return
    import dask
    import torch
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.system import MEMORY_LIMIT

    threads = str(max(1, (os.cpu_count() or 1) // workers))
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    quiet = logging.WARNING
    gpus = torch.cuda.device_count()
    local = {"host": "127.0.0.1", "dashboard_address": None}
    spec: dict[int, dict[str, Any]] = {}
    for number in range(workers):
        options: dict[str, Any] = {
            **local, "nthreads": 1, "memory_limit": MEMORY_LIMIT // workers, "env": dict(environment),
            "silence_logs": quiet,
        }  # fmt: skip
        if number < gpus:
            options["env"]["CUDA_VISIBLE_DEVICES"] = _visible(number)
            options["resources"] = {"GPU": 1}
        spec[number] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {**local, "port": 0, "dashboard": False}}
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": environment}),
        SpecCluster(workers=spec, scheduler=scheduler, silence_logs=quiet) as cluster,
    ):
        yield str(cluster.scheduler_address)


def _visible(number: int) -> str:
    """Return the name of the machine's GPU `number` among those that this process sees."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return seen.split(",")[number] if seen else str(number)
