"""What a batch run shows: a line per notebook and stage, a live line on a terminal, and `status.json`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lib.execution.progress import (
    FOLDER,
    EventReader,
    event_log,
    format_duration,
    say,
    steps_at_work,
    timestamp,
)


@contextmanager
def console(
    study_dir: Path, command: str, expected: Mapping[str, Mapping[str, float]], *, width: int, verbose: bool
) -> Iterator[None]:
    """Follow the event log of a study meanwhile: print what ended, and write `status.json`.

    `expected`: seconds of each notebook, by data set; `width` data sets run at one time. A live line needs a terminal,
    not `verbose`.
    """
    live, printed, began = not verbose and sys.stdout.isatty(), dict[str, int](), time.time()
    head = {"state": "running", "reason": "", "pid": os.getpid(), "command": command, "started": timestamp()}

    def refresh(reader: EventReader) -> None:
        for name, record in reader.datasets.items():
            if head["state"] != "running" == record["state"]:
                record["state"] = head["state"]
            left = seconds_left(record, expected.get(name, {}))
            record["left_seconds"] = left if head["state"] == "running" else 0.0
            for item in record["ended"][printed.get(name, 0) :]:
                say("\r\x1b[2K" * live + f"{name:<24} {item['notebook']:<20} {_said(item, record)}".rstrip())
            printed[name] = len(record["ended"])
        lefts = [record["left_seconds"] for record in reader.datasets.values()]
        left = round(max(sum(lefts) / width, *lefts, 0.0), 1)
        times = {"updated": timestamp(), "seconds": round(time.time() - began, 1), "left_seconds": left}
        status = head | times | {"datasets": reader.datasets}
        partial = study_dir / ".status.json"
        with suppress(OSError):  # without room on the disk; nor need it survive a power cut
            try:
                partial.write_text(json.dumps(status, indent=1) + "\n", encoding="utf-8")
                partial.replace(study_dir / "status.json")
            finally:
                partial.unlink(missing_ok=True)
        if live:
            line = " · ".join([*_at_work(reader.datasets), f"about {format_duration(left)} left"])
            shown = line[: shutil.get_terminal_size().columns - 1] if head["state"] == "running" else ""
            say(f"\r\x1b[2K{shown}", end="")

    shutil.rmtree(study_dir / FOLDER, ignore_errors=True)  # of a run that was killed
    with event_log(study_dir, refresh) as reader:
        reader.datasets |= {name: {"state": "waiting", "tasks": {}, "ended": []} for name in expected}
        try:
            yield
            head["state"] = "done"
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            head["state"] = "stopped" if stopped else "failed"
            head["reason"] = str(error) or ("Ctrl-C" if stopped else type(error).__name__)
            raise


def seconds_left(record: Mapping[str, Any], expected: Mapping[str, float]) -> float:
    """Estimate what remains of a data set: the stage at its present pace, then its notebooks as `expected`."""
    if record["state"] not in ("waiting", "running"):
        return 0.0
    ended = {item["notebook"] for item in record["ended"] if "stage" not in item}
    left = {name: seconds for name, seconds in expected.items() if name not in ended}
    now = time.time()
    rest = left.pop(record.get("notebook", ""), 0.0) - (now - record.get("since", now))
    if (stage := record.get("stage")) and stage["done"]:
        rest = max(rest, (now - stage["since"]) * (stage["of"] / stage["done"] - 1))
    return round(max(0.0, rest) + sum(left.values()), 1)


def _said(item: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Return what a line says of a notebook or stage that ended."""
    if "seconds" not in item:
        return "proven, nothing to do"
    left = record["left_seconds"]
    text = f"about {format_duration(left)} left for this data set" if left else ""
    if "stage" in item:
        text = item["stage"] + (f": {item['of']} of {item['of']}" if item["of"] > 1 else "")
    return f"{item['seconds']:7.1f} s   {text}"


def _at_work(datasets: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is being done for each data set at work."""
    for name, record in datasets.items():
        if record["state"] == "running":
            now, steps = record.get("stage"), steps_at_work(record)
            stage = f" {now['stage']} {now['done']}/{now['of']}" if now else ""
            yield f"{name} {record.get('notebook', '')[:2]}{stage}{f' ({steps})' if steps else ''}"
