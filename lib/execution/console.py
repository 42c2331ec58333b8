"""What a batch run shows: a line per notebook and stage, a live line on a terminal, and `status.json`."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lib.execution import status

LOOK_EVERY = 0.5


class Console:
    """Watches the status files of a study from a thread of its own, prints what ended, writes `status.json`.

    Stages get lines unless `CI` is set; the live line needs a terminal as well, and no `--verbose`.
    """

    def __init__(
        self,
        study_dir: Path,
        command: str,
        expected: Sequence[tuple[Path, float]],
        *,
        width: int,
        verbose: bool,
    ) -> None:
        self.study_dir, self.width = study_dir, width
        self.began, self.printed = time.time(), dict[str, int]()
        self.stages = not os.environ.get("CI")
        self.live = self.stages and not verbose and sys.stdout.isatty()
        self.head: dict[str, Any] = {
            "state": "running", "reason": "", "pid": os.getpid(), "command": command, "started": status.timestamp()
        }  # fmt: skip
        self._ended = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="console")
        folder = study_dir / status.FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        (folder / status.STEPS).mkdir(parents=True, exist_ok=True)
        for root, seconds in expected:
            status.write(status.file_of(root), {"state": "waiting", "left_after": round(seconds, 1)})

    def __enter__(self) -> Console:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.head["state"] == "running":
            stopped = isinstance(error, KeyboardInterrupt)
            self.head["state"] = "stopped" if stopped else "failed"
            self.head["reason"] = str(error) or ("Ctrl-C" if stopped else type(error).__name__)
        elif error is None and self.head["state"] == "running":
            self.head["state"] = "done"
        self._ended.set()
        self._thread.join()
        self.look()
        shutil.rmtree(self.study_dir / status.FOLDER, ignore_errors=True)

    def fail(self, reasons: Sequence[str]) -> None:
        """Say in the status that the run failed, and why."""
        self.head |= {"state": "failed", "reason": "\n".join(reasons)}

    def look(self) -> None:
        """Print what ended since the last look, and write the status."""
        with self._turn:
            found = status.merged(self.study_dir)
            self._show(None)
            for name, record in found.items():
                events = record.pop("events", [])
                for item in events[self.printed.get(name, 0) :]:
                    if item.get("stage") is None:
                        say(f"{name:<24} {item['notebook']:<20} {item['text']}")
                    elif self.stages:
                        label = item["stage"] + (
                            f": {item['done']} of {item['of']}" if item["of"] > 1 else ""
                        )
                        say(f"{name:<24} {item['notebook']:<20} {item['seconds']:7.1f} s   {label}")
                self.printed[name] = len(events)
                record["ended"] = [item for item in events if item.get("stage") is None]
            over = self.head["state"] != "running"
            lefts = [record["left_seconds"] for record in found.values()]
            left = 0.0 if over else max([sum(lefts) / max(1, self.width), *lefts])
            if over:
                for record in found.values():
                    if record.get("state") == "running":
                        record["state"] = self.head["state"]
            status.write(
                self.study_dir / "status.json",
                self.head
                | {
                    "updated": status.timestamp(),
                    "seconds": round(time.time() - self.began, 1),
                    "left_seconds": round(left, 1),
                    "datasets": found,
                },
            )
            if not over:
                self._show(_line(found, left))

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            self.look()

    def _show(self, text: str | None) -> None:
        """Replace the live line on a terminal."""
        if self.live:
            columns = shutil.get_terminal_size().columns - 1
            _put("\r\x1b[2K" + (text or "")[:columns])


def _line(found: dict[str, dict[str, Any]], left: float) -> str:
    parts = []
    for name, record in found.items():
        if record.get("state") == "running":
            now = record.get("stage") or {}
            tasks = f" {now['stage']} {now['done']}/{now['of']}" if now else ""
            training = ", ".join(record["training"].values())
            parts.append(
                f"{name} {record.get('notebook', '')[:2]}{tasks}{f' ({training})' if training else ''}"
            )
    return " · ".join([*parts, f"about {status.format_duration(left)} left"]) if parts else ""


def say(line: str) -> None:
    """Print a line at once."""
    _put(line + "\n")


def _put(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError):  # the terminal was closed
        pass
