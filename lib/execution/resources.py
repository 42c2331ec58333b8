"""What this machine still has to give: memory, as Linux tells it for the machine and for the process's group."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def memory_free(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return the bytes that a new process may take without pushing others out, None where the system does not tell.

    The least of what the machine has free (with what it can drop from its caches) and of what each control group that
    the process is in leaves below its limit, so that a container's limit counts.
    """
    try:
        meminfo = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
        free = [int(meminfo["MemAvailable"].split()[0]) * 1024]
    except (OSError, KeyError, ValueError):
        return None
    for folder in _groups(proc, cgroups):
        limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
        if limit is not None and used is not None:
            free.append(max(0, limit - used + _droppable(folder / "memory.stat")))
    return min(free)


def _groups(proc: Path, cgroups: Path) -> list[Path]:
    """Return the folders of the process's memory control groups, of either version, up to the root."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    folders = []
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and "memory" not in controllers.split(","):
            continue
        root = cgroups / "memory" if controllers else cgroups
        inside = PurePosixPath(path.lstrip("/"))
        folders += [root / part for part in (inside, *inside.parents)]
    return folders


def _number(*files: Path) -> int | None:
    for file in files:
        try:
            return int(file.read_text())
        except (OSError, ValueError):  # not there, or "max"
            continue
    return None


def _droppable(stat: Path) -> int:
    """Return the bytes of files in memory that the group counts as used and the system can drop."""
    try:
        entries = dict(line.split() for line in stat.read_text().splitlines())
        return int(entries.get("inactive_file", 0)) + int(entries.get("active_file", 0))
    except (OSError, ValueError):
        return 0
