"""One run at a time on a study's folder."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

try:
    import fcntl
except ImportError:  # Windows: the record alone must do
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


class LockedError(RuntimeError):
    """Another run is at work on the study; the message names it."""


@contextmanager
def study_lock(folder: Path, command: str) -> Iterator[None]:
    """Hold the study's folder while the block runs; raises `LockedError` at once where another run holds it.

    The file `.lock` in it says who: pid, host, start, command. The system lets go of it when the process ends, however
    it ends; on file systems that cannot lock, and across hosts, the record counts: a record of a process of this host
    that is gone (or whose pid another process has now) is stale and replaced.
    """
    path = folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as stream:
        held = _seize(stream.fileno())
        stream.seek(0)
        before = _record(stream.read())
        if not held or (before is not None and _at_work(before)):
            raise LockedError(_refusal(before or {}, path))
        me = psutil.Process()
        record = {
            "pid": me.pid,
            "host": socket.gethostname(),
            "started": me.create_time(),
            "since": datetime.now().astimezone().isoformat(timespec="seconds"),
            "command": command,
        }
        stream.seek(0)
        stream.truncate()
        stream.write(json.dumps(record))
        stream.flush()
        try:
            yield
        finally:
            stream.seek(0)
            stream.truncate()  # the file stays: removing it would let a third run lock another one


def _seize(descriptor: int) -> bool:
    """Take the system's lock on an open file; False where another process has it, True also where there is none."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True


def _record(text: str) -> dict[str, Any] | None:
    """Return what the lock file says, None where it says nothing that can be read."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _at_work(record: dict[str, Any]) -> bool:
    """Tell whether the process of the record may still run: on another host nobody here can know."""
    if record.get("host") != socket.gethostname():
        return True
    pid = record.get("pid")
    return isinstance(pid, int) and pid != os.getpid() and same_process(pid, record.get("started"))


def same_process(pid: int, started: Any) -> bool:
    """Tell whether the process `pid` runs and is the one that started then (seconds since 1970)."""
    try:
        return isinstance(started, int | float) and abs(psutil.Process(pid).create_time() - started) < 1
    except psutil.Error:
        return False


def _refusal(record: dict[str, Any], path: Path) -> str:
    known = {key: record.get(key, "unknown") for key in ("pid", "host", "since", "command")}
    text = "{pid} on {host}, since {since}: {command}".format(**known)
    if record.get("host") not in (None, socket.gethostname()):
        remedy = f"if that process is gone, remove {path} and run again"
    else:
        remedy = "wait for it, or stop it"
    return f"{path.parent}: another run is at work on this study, process {text}\n{remedy}; or choose another --study"
