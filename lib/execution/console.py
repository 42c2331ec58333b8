"""What a batch run shows: a line per notebook and stage, a live line on a terminal, and `status.json`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from lib.execution.progress import FOLDER, EventReader, format_duration, say, seconds_left, timestamp

LOOK_EVERY = 0.5


class Console:
    """Follows the event logs of a study in a thread of its own, prints what ended, writes `status.json`.

    `expected`: seconds by data set; `width` of them run at one time. A live line needs a terminal, not `verbose`.
    """

    def __init__(
        self, study_dir: Path, command: str, expected: Mapping[str, float], *, width: int, verbose: bool
    ) -> None:
        self.study_dir, self.width, self.began = study_dir, width, time.time()
        self.live = not verbose and sys.stdout.isatty()
        self.head: dict[str, Any] = {
            "state": "running", "reason": "", "pid": os.getpid(), "command": command, "started": timestamp()
        }  # fmt: skip
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._folder = study_dir / FOLDER
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._reader, self._printed = EventReader(self._folder), dict[str, int]()
        for name, seconds in expected.items():
            waiting = {"state": "waiting", "left_after": round(seconds, 1)}
            self._reader.datasets[name] = {"tasks": {}, "ended": [], **waiting}

    def __enter__(self) -> Console:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.head["state"] == "running":
            stopped = isinstance(error, KeyboardInterrupt)
            self.head["state"] = "stopped" if stopped else "failed" if error else "done"
            if error:
                self.head["reason"] = str(error) or ("Ctrl-C" if stopped else type(error).__name__)
        self._ended.set()
        self._thread.join()
        self.refresh()
        shutil.rmtree(self._folder, ignore_errors=True)

    def fail(self, reasons: Sequence[str]) -> None:
        """Say in the status that the run failed, and why."""
        self.head |= {"state": "failed", "reason": "\n".join(reasons)}

    def refresh(self) -> None:
        """Print what ended since the last time, and write the status."""
        over = self.head["state"] != "running"
        found = self._reader.update()
        self._show_live("")
        for name, record in found.items():
            for item in record["ended"][self._printed.get(name, 0) :]:
                say(f"{name:<24} {item['notebook']:<20} {item['text']}")
            self._printed[name] = len(record["ended"])
            if over and record.get("state") == "running":
                record["state"] = self.head["state"]
            record["left_seconds"] = seconds_left(record)
        lefts = [record["left_seconds"] for record in found.values()]
        left = 0.0 if over else max([sum(lefts) / max(1, self.width), *lefts])
        now = {"updated": timestamp(), "seconds": round(time.time() - self.began, 1)}
        status = self.head | now | {"left_seconds": round(left, 1), "datasets": found}
        partial = self.study_dir / f".status.json.{os.getpid()}"
        with suppress(OSError):  # without room on the disk; nor need it survive a power cut
            try:
                partial.write_text(json.dumps(status, indent=1) + "\n", encoding="utf-8")
                partial.replace(self.study_dir / "status.json")
            finally:
                partial.unlink(missing_ok=True)
        if not over:
            self._show_live(_live_line(found, left))

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            self.refresh()

    def _show_live(self, text: str) -> None:
        """Replace the live line on a terminal."""
        if self.live:
            say("\r\x1b[2K" + text[: shutil.get_terminal_size().columns - 1], end="")


def _live_line(found: Mapping[str, Mapping[str, Any]], left: float) -> str:
    """Return what is being done for each data set at work, and the time that seems left; empty where nothing is."""
    parts = []
    for name, record in found.items():
        if record.get("state") == "running":
            now = record.get("stage") or {}
            stage = f" {now['stage']} {now['done']}/{now['of']}" if now else ""
            steps = ", ".join(f"{task} {done} of {total}" for task, [done, total] in record["tasks"].items())
            parts.append(f"{name} {record.get('notebook', '')[:2]}{stage}{f' ({steps})' if steps else ''}")
    return " · ".join([*parts, f"about {format_duration(left)} left"]) if parts else ""
