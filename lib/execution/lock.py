"""One run at a time on a study's folder."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lib.artifacts import remove_leftovers
from lib.execution.progress import timestamp

LOCK, RECORD = ".lock", ".lock.json"


class LockedError(RuntimeError):
    """Another run is at work on the study; the message names it."""


@contextmanager
def study_lock(folder: Path, command: str) -> Iterator[None]:
    """Hold the study's folder, tidied, while the block runs; raises `LockedError` at once where another run holds it.

    The system lets go of the lock when the process ends, however it ends. Who holds it is kept beside it: pid, host,
    start, command. Locks may not reach across hosts, so the record of another host counts until it is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, here = folder / RECORD, socket.gethostname()
    try:
        (folder / LOCK).touch()  # with the user's own umask: others of the group may go on with the study
        held = FileLock(folder / LOCK).acquire(timeout=0)
    except Timeout as error:
        raise LockedError(_refusal(folder, _read(path), "wait for it, or stop it")) from error
    with held:
        before = _read(path)
        if before.get("host", here) != here:
            remedy = f"if that process is gone, remove {path} and run again"
            raise LockedError(_refusal(folder, before, remedy))
        record = {"pid": os.getpid(), "host": here, "since": timestamp(), "command": command}
        path.write_text(json.dumps(record), encoding="utf-8")
        try:
            remove_leftovers(folder)
            yield
        finally:
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _refusal(folder: Path, record: dict[str, Any], remedy: str) -> str:
    known = {key: record.get(key, "unknown") for key in ("pid", "host", "since", "command")}
    process = "process {pid} on {host}, since {since}: {command}".format(**known)
    return f"{folder}: another run is at work on this study, {process}\n{remedy}; or choose another --study"
