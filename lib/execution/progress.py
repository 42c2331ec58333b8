"""How far a study is: an event log, and by it progress bars, or a batch's lines and `status.json`.

While a study is at work its folder holds `.status/DATASET/HOST.jsonl`: a line of JSON per event, appended by the
process where it happened (a file per host, as lines appended over a network may be lost). Nothing here may stop a
run: what cannot be written is left out.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

from lib.artifacts import HOST, write_text

BATCH = "STUDY_BATCH"  # set by run_all.py: plain lines instead of progress bars
FOLDER = ".status"
EVERY = 1.0  # seconds between two notes on a task's steps, and between two looks at them
WORTH_A_LINE = 0.5  # seconds; a stage that took less was proven already
FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} so far, {remaining} left{postfix}"

_root: Path | None = None  # the artefacts of the data set that the task at work in this process belongs to


def _bar(label: str, total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(desc=label, total=total, bar_format=FORMAT, disable=bool(os.environ.get(BATCH)))


def step_bar(label: str) -> Callable[..., None]:
    """Return what reports steps, `report(done, all, ...)`: of a task in the log, of other work on a bar of its own."""
    root, last, bar = _root, 0.0, None

    def report(done: int, total: int, *_: Any) -> None:
        nonlocal last, bar
        if root is None:
            bar = _bar(label, total) if bar is None else bar
            bar.update(done - bar.n)
            if done == total:
                bar.close()
        elif total > 1 and (done == total or time.monotonic() - last >= EVERY):
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
    """Yield a function that logs how many of the stage's tasks are done; outside a batch a bar follows the log."""
    began = time.time()

    def note(done: int) -> None:
        log(root, stage={"stage": label, "done": done, "of": total, "since": began})

    with nullcontext() if os.environ.get(BATCH) else _bar_over(root, label, total):
        log(root, stage=None)  # what a killed run left is not under way
        note(0)
        yield note
    seconds = round(time.time() - began, 1)
    ended = {"stage": label, "of": total, "seconds": seconds}
    if (root.parent / FOLDER / root.name).is_dir():  # of others, not of the bar that has gone
        log(root, stage=None, ended=ended if seconds > WORTH_A_LINE else None)


@contextmanager
def _bar_over(root: Path, label: str, total: int) -> Iterator[None]:
    bar = _bar(label, total)

    def move(reader: EventReader) -> None:
        record = reader.datasets.get(root.name, {"tasks": {}})
        under_way = sum(done / of for done, of in record["tasks"].values())
        bar.n = min(total, (record.get("stage") or {"done": 0})["done"] + under_way)
        bar.set_postfix_str(steps_at_work(record))

    try:
        with event_log(root.parent, move, root.name):
            yield
    finally:
        bar.close()


@contextmanager
def event_log(study_dir: Path, look: Callable[[EventReader], None], dataset: str = "") -> Iterator[EventReader]:
    """Have an event log below a study's folder meanwhile, and `look` at what it says now and then, and at the end.

    It is removed again if it was made here: that of one `dataset`, or of all.
    """
    folder, ended = study_dir / FOLDER, Event()
    own = folder / dataset
    ours = not own.exists()
    with suppress(OSError):
        own.mkdir(parents=True, exist_ok=True)
    reader = EventReader(folder)

    def follow() -> None:
        while not ended.wait(EVERY):
            look(reader.update())

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        ended.set()
        thread.join()
        look(reader.update())
        if ours:
            shutil.rmtree(own, ignore_errors=True)
            with suppress(OSError):  # others are at work
                folder.rmdir()


@contextmanager
def console(
    study_dir: Path, command: str, expected: Mapping[str, Mapping[str, float]], *, width: int, verbose: bool
) -> Iterator[None]:
    """Follow the event log of a study meanwhile: print what ended, and write `status.json`.

    `expected`: seconds of each notebook, by data set; `width` data sets run at one time. A live line needs a terminal,
    not `verbose`.
    """
    clear = "\r\x1b[2K" if not verbose and sys.stdout.isatty() else ""
    printed, began = Counter[str](), time.time()
    head = {"state": "running", "reason": "", "pid": os.getpid(), "command": command, "started": timestamp()}

    def refresh(reader: EventReader) -> None:
        running = head["state"] == "running"
        for name, record in reader.datasets.items():
            if record["state"] == "running":
                record["state"] = head["state"]
            record["left_seconds"] = seconds_left(record, expected.get(name, {})) if running else 0.0
            for item in record["ended"][printed[name] :]:
                say(f"{clear}{name:<24} {item['notebook']:<20} {_said(item, record)}".rstrip())
            printed[name] = len(record["ended"])
        lefts = [record["left_seconds"] for record in reader.datasets.values()]
        left = round(max(sum(lefts) / width, *lefts, 0.0), 1)
        times = {"updated": timestamp(), "seconds": round(time.time() - began, 1), "left_seconds": left}
        status = head | times | {"datasets": reader.datasets}
        with suppress(OSError):  # without room on the disk
            write_text(study_dir / "status.json", json.dumps(status, indent=1) + "\n")
        if clear:
            line = " · ".join([*_at_work(reader.datasets), f"about {format_duration(left)} left"])
            say(clear + line[: shutil.get_terminal_size().columns - 1] * running, end="")

    shutil.rmtree(study_dir / FOLDER, ignore_errors=True)  # of a run that was killed
    with event_log(study_dir, refresh) as reader:
        reader.datasets |= {name: {"state": "waiting", "tasks": {}, "ended": []} for name in expected}
        try:
            yield
            head["state"] = "done"
        except BaseException as error:
            names = ("stopped", "Ctrl-C") if isinstance(error, KeyboardInterrupt) else ("failed", type(error).__name__)
            head |= {"state": names[0], "reason": str(error) or names[1]}
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
    if "seconds" not in item:
        return "proven, nothing to do"
    left = record["left_seconds"]
    text = f"about {format_duration(left)} left for this data set" if left else ""
    if "stage" in item:
        text = item["stage"] + (f": {item['of']} of {item['of']}" if item["of"] > 1 else "")
    return f"{item['seconds']:7.1f} s   {text}"


def _at_work(datasets: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, record in datasets.items():
        if record["state"] == "running":
            now, steps = record.get("stage"), steps_at_work(record)
            stage = f" {now['stage']} {now['done']}/{now['of']}" if now else ""
            yield f"{name} {record.get('notebook', '')[:2]}{stage}{f' ({steps})' if steps else ''}"


class EventReader:
    """The state of each data set by the event logs below `folder`.

    `datasets` has by name what was logged last of each key, the `tasks` under way as [steps done, steps], and what has
    `ended`: notebooks and stages, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._offsets = folder, dict[Path, int]()
        self.datasets: dict[str, dict[str, Any]] = {}

    def update(self) -> EventReader:
        """Read what was logged since the last time."""
        logs: list[Path] = []
        with suppress(OSError):  # a network folder may be away for a while
            logs = sorted(self.folder.glob("*/*.jsonl"))
        for path in logs:
            with suppress(OSError), path.open("rb") as stream:
                offset = stream.seek(self._offsets.get(path, 0))
                lines = stream.read().rpartition(b"\n")[0]
                self._offsets[path] = offset + len(lines)
                for line in lines.splitlines():
                    with suppress(ValueError, TypeError):  # cut short on a full disk
                        self._take(path.parent.name, **json.loads(line))
        return self

    def _take(self, name: str, task: str = "", ended: Mapping[str, Any] | None = None, **event: Any) -> None:
        record = self.datasets.setdefault(name, {"state": "", "tasks": {}, "ended": []})
        if task:
            record["tasks"][task] = [event["done"], event["of"]]
            if event["done"] == event["of"]:
                del record["tasks"][task]
        else:
            if event.get("stage", ...) is None:
                record["tasks"].clear()
            record.update(event)
        if ended:
            record["ended"].append({"notebook": record.get("notebook", ""), **ended})


def steps_at_work(record: Mapping[str, Any]) -> str:
    """Return how far the tasks of a data set's record by `EventReader` are, in words; empty where none is at work."""
    return ", ".join(f"{task} {done} of {total}" for task, (done, total) in record["tasks"].items())


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
