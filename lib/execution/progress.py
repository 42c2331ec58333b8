"""How far the tasks of a data set are: progress bars in JupyterLab and terminals, an event log in batch.

While run_all.py is at work the study's folder holds `.status/DATASET/HOST.jsonl`: a line of JSON per event, appended by
the process where it happened (a file per host, as lines appended over a network may be lost). Nothing here may stop a
run: what cannot be written is left out.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from lib.artifacts import HOST

BATCH = "STUDY_BATCH"  # set by run_all.py: plain lines instead of progress bars
FOLDER = ".status"
EVERY = 1.0  # seconds between two notes on a task's steps, and between two looks at those of other processes
WORTH_A_LINE = 0.5  # seconds; a stage that took less was proven already
FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} so far, {remaining} left{postfix}"


class Bar:
    """A bar over the tasks of a loop, with the steps of the task at work behind it; it appears when it first moves."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.finished, self.lock = label, total, 0, Lock()
        self.bar: Any = None

    def move(self, under_way: float = 0.0, steps: str = "") -> None:
        """Move it to the finished tasks and the share of those under way; its estimate counts from the first move."""
        from tqdm.auto import tqdm

        with self.lock:
            at = min(self.finished + under_way, self.total)
            if self.bar is None:
                self.bar = tqdm(desc=self.label, total=self.total, initial=at, bar_format=FORMAT)
            self.bar.set_postfix_str(steps, refresh=False)
            self.bar.update(at - self.bar.n)

    def close(self) -> None:
        """Leave it as it is."""
        if self.bar is not None:
            self.bar.refresh()
            self.bar.close()


_loop: Bar | None = None  # the bar of the loop at work in this process
_root: Path | None = None  # the artefacts of the data set that the task at work in this process belongs to


def progress(
    items: Iterable[Any], label: str, total: int, elsewhere: Callable[[], float] | None = None
) -> Iterator[Any]:
    """Yield the `total` items, with a bar as soon as `step_bar`'s report is called within one; in batch without.

    Items made in other processes have it from the start; `elsewhere` returns how much is under way there, in items.
    """
    global _loop
    if os.environ.get(BATCH):
        yield from items
        return
    bar, ended = Bar(label, total), Event()

    def follow(elsewhere: Callable[[], float]) -> None:
        while not ended.wait(EVERY):
            bar.move(elsewhere())

    if elsewhere is not None:
        bar.move()
        Thread(target=follow, args=(elsewhere,), daemon=True).start()
    _loop = bar
    try:
        for item in items:
            yield item
            bar.finished += 1
            if bar.bar is not None:
                bar.move()
    finally:
        ended.set()
        if _loop is bar:  # no later loop has begun
            _loop = None
        bar.close()


def step_bar(label: str, *, alone: bool = False) -> Callable[..., None]:
    """Return what reports the steps of the task at work, `report(done, all, ...)`: on its loop's bar, and in the log.

    Without a loop in this process no bar is shown, unless the work stands `alone`: it belongs to no loop.
    """
    root, last = _root, 0.0
    bar = None if os.environ.get(BATCH) else Bar(label, 1) if alone else _loop

    def report(done: int, total: int, *_: Any) -> None:
        nonlocal last
        if bar is not None:
            steps = f"{done} of {total}" if alone else f"{label} {done} of {total}"
            bar.move(done / total, steps if total > 1 else "")
            if alone and done == total:
                bar.close()
        if root is not None and total > 1 and (done == total or time.monotonic() - last >= EVERY):
            last = time.monotonic()
            log(root, task=label, done=done, of=total)

    return report


@contextmanager
def task_of(root: Path) -> Iterator[None]:
    """Let `step_bar` log the steps meanwhile, for the data set whose artefacts live below `root`."""
    global _root
    before, _root = _root, root
    try:
        yield
    finally:
        _root = before


def log(root: Path, **event: Any) -> None:
    """Append an event to the log of the data set whose artefacts live below `root`, if there is one to read it."""
    folder = root.parent / FOLDER
    if folder.is_dir():
        with suppress(OSError):
            (folder / root.name).mkdir(exist_ok=True)
            with (folder / root.name / f"{HOST}.jsonl").open("a", encoding="utf-8") as stream:
                stream.write(f"\n{json.dumps(event)}\n")  # on its own line, whatever was cut short before


@contextmanager
def stage(root: Path, label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that logs how many of the stage's tasks are done; at the end the stage becomes an event."""
    began = time.time()

    def note(done: int) -> None:
        log(root, stage={"stage": label, "done": done, "of": total, "since": began})

    note(0)
    yield note
    seconds = round(time.time() - began, 1)
    text = f"{seconds:7.1f} s   {label}" + (f": {total} of {total}" if total > 1 else "")
    ended = {"text": text, "stage": label, "seconds": seconds}
    log(root, stage=None, ended=ended if seconds > WORTH_A_LINE else None)


@contextmanager
def tasks_under_way(root: Path) -> Iterator[Callable[[], float]]:
    """Yield a function that returns how much of the tasks at work is done, in tasks; run_all.py is not needed."""
    folder = root.parent / FOLDER
    ours = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    reader = EventReader(folder)

    def under_way() -> float:
        tasks = reader.update().get(root.name, {}).get("tasks", {})
        return sum(done / total for done, total in tasks.values())

    try:
        yield under_way
    finally:
        if ours:
            shutil.rmtree(folder, ignore_errors=True)


class EventReader:
    """The state of each data set by the event logs below `folder`.

    `datasets` has by name what was logged last of each key, the `tasks` under way as [steps done, steps], and what has
    `ended`: notebooks and stages, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._offsets = folder, dict[Path, int]()
        self.datasets: dict[str, dict[str, Any]] = {}

    def update(self) -> dict[str, dict[str, Any]]:
        """Read what was logged since the last time; returns `datasets`."""
        for path in sorted(self.folder.glob("*/*.jsonl")):
            with suppress(OSError), path.open("rb") as stream:
                offset = stream.seek(self._offsets.get(path, 0))
                lines = stream.read().rpartition(b"\n")[0]
                self._offsets[path] = offset + len(lines)
                for line in lines.splitlines():
                    with suppress(ValueError, TypeError):  # cut short on a full disk
                        self._take(path.parent.name, **json.loads(line))
        return self.datasets

    def _take(self, name: str, task: str = "", ended: Mapping[str, Any] | None = None, **event: Any) -> None:
        record = self.datasets.setdefault(name, {"tasks": {}, "ended": []})
        if task and event["done"] < event["of"]:
            record["tasks"][task] = [event["done"], event["of"]]
        elif task:
            record["tasks"].pop(task, None)
        else:
            if "stage" in event and event["stage"] is None:
                record["tasks"].clear()
            record.update(event)
        if ended:
            record["ended"].append({"notebook": record.get("notebook", ""), **ended})


def seconds_left(record: Mapping[str, Any]) -> float:
    """Estimate what remains of a data set: the stage at its present pace, then the notebooks as calibrated."""
    after, stage_now = float(record.get("left_after", 0)), record.get("stage")
    if record.get("state") != "running":
        return after if record.get("state") == "waiting" else 0.0
    now = time.time()
    rest = float(record.get("expected", 0)) - (now - record.get("since", now))
    if stage_now and stage_now["done"]:
        elapsed = now - stage_now["since"]
        rest = max(rest, elapsed / stage_now["done"] * stage_now["of"] - elapsed)
    return round(after + max(0.0, rest), 1)


def format_duration(seconds: float) -> str:
    """Return a duration in words: 42 s, 7 min, 3.1 h, 2.4 days, 3 years."""
    for limit, divisor, unit in ((100, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}" if divisor < 3600 else f"{seconds / divisor:.1f} {unit}"
    days = seconds / 86400
    return f"{days:.1f} days" if days < 365 else f"{days / 365:.0f} years"


def timestamp() -> str:
    """Return the time of day with its date and zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def say(text: str, end: str = "\n") -> None:
    """Print at once; nothing where the terminal was closed."""
    with suppress(OSError, ValueError):
        print(text, end=end, file=sys.stdout, flush=True)
