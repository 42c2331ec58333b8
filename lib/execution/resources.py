"""What this machine has to give: cores and memory."""

from __future__ import annotations

import os
from pathlib import Path

SHARE = "STUDY_CORES"  # set by run_all.py: the cores that a data set may keep busy
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


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
