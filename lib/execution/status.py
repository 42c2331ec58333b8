"""What a batch run is doing, while it does it: `outputs/<study>/status.json`.

While run_all.py is at work, the study's folder holds `.status/` with a file per data set, written in turn by the
process that executes its notebooks and by the notebook itself, and a file per DRAEM in training, written wherever
that is. The run merges them twice a second. Nothing here may stop a run: what cannot be written is left out.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

FOLDER, STEPS = ".status", "steps"
EVERY = 1.0  # seconds between two notes on the same training
WORTH_A_LINE = 0.5  # seconds; a stage that took less was proven already


def file_of(root: Path) -> Path:
    """Return the file on the data set whose artefacts live below `root`."""
    return root.parent / FOLDER / f"{root.name}.json"


def read(path: Path) -> dict[str, Any]:
    """Return what a status file says, nothing where it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Replace a status file in one go, if its folder is there and has room; it need not survive a power cut."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)


def change(root: Path, **values: Any) -> None:
    """Change entries of the data set's status."""
    path = file_of(root)
    if path.parent.is_dir():
        write(path, read(path) | values)


def event(root: Path, **values: Any) -> None:
    """Note that a notebook or a stage of it has ended."""
    path = file_of(root)
    if path.parent.is_dir():
        record = read(path)
        write(path, record | {"events": [*record.get("events", []), values], "stage": None})


@contextmanager
def stage(root: Path, label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that notes how many of the stage's tasks are done; at the end the stage becomes an event."""
    began = time.time()

    def note(done: int) -> None:
        change(root, stage={"stage": label, "done": done, "of": total, "since": began})

    note(0)
    yield note
    seconds = time.time() - began
    if seconds > WORTH_A_LINE:
        notebook = read(file_of(root)).get("notebook", "")
        event(root, notebook=notebook, stage=label, done=total, of=total, seconds=round(seconds, 1))
    else:
        change(root, stage=None)


@contextmanager
def steps_of(root: Path, name: str) -> Iterator[Callable[[int, int, Mapping[str, float]], None]]:
    """Yield a function of (step, steps, losses) that notes how far the training `name` is, once a second."""
    path = root.parent / FOLDER / STEPS / f"{root.name} {name}.json"
    last = 0.0

    def note(step: int, steps: int, losses: Mapping[str, float]) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY and path.parent.is_dir():
            last = time.monotonic()
            write(path, {"step": step, "steps": steps, "loss": losses.get("loss")})

    try:
        yield note
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def steps_seen(root: Path) -> Iterator[Callable[[], float]]:
    """Yield a function that tells how much of the trainings at work is done, in trainings: 1.5 is one and a half.

    Trainings in other processes leave their notes meanwhile, also where no run_all.py is at work.
    """
    folder = root.parent / FOLDER / STEPS
    ours = not folder.parent.exists()
    folder.mkdir(parents=True, exist_ok=True)

    def seen() -> float:
        notes = (read(file) for file in folder.glob(f"{glob.escape(root.name)} *.json"))
        return sum(note["step"] / note["steps"] for note in notes if note.get("steps"))

    try:
        yield seen
    finally:
        if ours:
            shutil.rmtree(folder.parent, ignore_errors=True)


def merged(study_dir: Path) -> dict[str, dict[str, Any]]:
    """Return the status of each data set (06, over all, under its own name), with the seconds that seem left."""
    folder = study_dir / FOLDER
    steps: dict[str, dict[str, str]] = {}
    for file in sorted((folder / STEPS).glob("[!.]*.json")):
        name, _, draem = file.stem.partition(" ")
        if found := read(file):
            steps.setdefault(name, {})[draem] = f"step {found['step']} of {found['steps']}"
    found = {file.stem: read(file) for file in sorted(folder.glob("[!.]*.json"))}
    return {
        name: record | {"training": steps.get(name, {}), "left_seconds": _left(record)}
        for name, record in found.items()
    }


def _left(record: Mapping[str, Any]) -> float:
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
