"""A small study as a process of its own, to be disturbed, and the digests of what it ends with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from lib.artifacts import MANIFEST, Store
from lib.batch.notebooks import WRITES
from tests.whole import CACHE

PROJECT = Path(__file__).parents[2]
DATASET = "deco_cap-synthetic"
PRESET = ("--preset", "smoke")
STUDY = ("--dataset", "deco_cap", "--weights", "random-init")
# Captions in .md and .html name what there is when a notebook is executed, and 00 may be executed again later.
ENDS = ("tables/*.csv", "*/tables/*.csv", "*/*.parquet", "*/predictions/*.parquet", "*/draem/*.safetensors",
        "*/draem/*.csv", "*/inspection/*/verdicts.csv", "*.onnx",
        "*/maps/*.npy", "*/features/*.npy", "*/images/*.npy")  # fmt: skip


class Tried(NamedTuple):
    """A row of the campaign's table: how often a fault was tried, how often the study survived it.

    Survived: the command that is repeated afterwards ends with 0, and its tables are the bytes of an undisturbed run.
    """

    what: str
    tried: int
    survived: int
    detail: str = ""


def start(
    output: Path,
    *arguments: str,
    study: Sequence[str] = STUDY,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    umask: int = -1,
) -> subprocess.Popen[str]:
    """Start run_all.py in a session of its own, by another command `prefix`; by default on drawn products."""
    return subprocess.Popen(
        [*prefix, sys.executable, "run_all.py", *study, *PRESET, "--output", str(output), *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ, "XDG_CACHE_HOME": CACHE, **(environment or {})},
        start_new_session=True,
        preexec_fn=_heed_signals,
        umask=umask,
    )


def _heed_signals() -> None:
    """Undo that a shell has its background jobs, such as this campaign, ignore Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a run; return its exit status and what it printed."""
    said, _ = process.communicate(timeout=1200)
    return process.returncode, said


def run(output: Path, *arguments: str, study: Sequence[str] = STUDY) -> tuple[int, str]:
    """Run the study to its end."""
    return finish(start(output, *arguments, study=study))


def digests(output: Path) -> dict[str, str]:
    """Return the SHA-256 of the final tables and of every artefact that they rest on."""
    study = output / "smoke"
    files = {file for pattern in ENDS for file in study.glob(pattern) if not file.name.startswith(".")}
    files = {file for file in files if not file.name.endswith(MANIFEST)}
    return {file.relative_to(study).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return the names of the files that are not the same, or are there once only."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def unmade(undisturbed: Path, work: Path, notebook: str) -> None:
    """Make `work` a copy of a finished study that lacks what one notebook makes; nothing is lacking for ''."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(undisturbed, work)
    name = next((name for name in WRITES if notebook and name.startswith(notebook)), "")
    prefixes = (*WRITES[name], f"notebooks/{name}") if name else ()
    for store in (Store(work / "smoke"), Store(work / "smoke" / DATASET)):
        for made in store.names():
            if prefixes and made.startswith(prefixes):
                store.path(made).unlink(missing_ok=True)
                store.path(made + MANIFEST).unlink()


def sound(output: Path) -> dict[str, str]:
    """Return what counts as done and is not as it was written: nothing half-done may count."""
    return {name: issue for name, issue in Store(output / "smoke").verify().items() if issue}


def repeated(work: Path, expected: dict[str, str], *arguments: str, study: Sequence[str] = STUDY) -> tuple[int, str]:
    """Repeat a command; assert that it ends well, with the bytes expected, and leaves nothing half-written."""
    status, said = run(work, *arguments, study=study)
    assert status == 0, said
    assert not (wrong := differences(expected, digests(work))), wrong
    assert not (left := [path.name for path in work.rglob(".*partial*")]), left
    assert not (faults := sound(work)), faults
    return status, said


def attempt(what: str, trial: Callable[..., object], *arguments: object) -> bool:
    """Tell whether a trial went well; says why not."""
    try:
        trial(*arguments)
    except Exception as error:
        print(f"LOST {what}: {type(error).__name__}: {str(error)[-3000:]}", file=sys.stderr, flush=True)
        return False
    return True


def after(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait so long; tells whether the run is still under way."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    return process.poll() is None


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that a run has started, at any remove."""
    try:
        return list(psutil.Process(process.pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def used(process: subprocess.Popen[str], seconds: float) -> float:
    """Wait until a run and its processes have used so many CPU seconds, or it has ended; returns what they used."""
    spent = dict[int, float]()
    while process.poll() is None:
        for one in [*family(process), *([psutil.Process(process.pid)] if process.poll() is None else [])]:
            with suppress(psutil.Error):
                times = one.cpu_times()
                spent[one.pid] = times.user + times.system
        if sum(spent.values()) >= seconds:
            break
        time.sleep(0.05)
    return sum(spent.values())


def kernel(process: subprocess.Popen[str]) -> psutil.Process | None:
    """Return the kernel at work for a run."""
    for child in family(process):
        try:
            if any("ipykernel" in part for part in child.cmdline()):
                return child
        except psutil.Error:
            continue
    return None


def gone(processes: list[psutil.Process], patience: float = 30.0) -> float:
    """Wait until all processes have ended; returns the seconds, raises TimeoutError with the survivors' names."""
    began = time.monotonic()
    alive = [item for item in psutil.wait_procs(processes, timeout=patience)[1] if item.is_running()]
    if alive:
        raise TimeoutError(f"still there after {patience:.0f} s: {[item.cmdline()[:4] for item in alive]}")
    return time.monotonic() - began


def reached(process: subprocess.Popen[str], output: Path, notebook: int) -> str:
    """Wait until the run is at work on the notebook with that number, or a later one; returns its name."""
    while process.poll() is None:
        try:
            about = json.loads((output / "smoke" / "status.json").read_text())
        except (OSError, ValueError):
            about = {}
        if about.get("pid") == process.pid and about.get("state") == "running":
            at_work = [item for item in about["datasets"].values() if item.get("state") == "running"]
            names = [item["notebook"] for item in at_work if item.get("notebook")]
            if names and int(names[-1][:2]) >= notebook:
                return str(names[-1])
        time.sleep(0.1)
    return "ended"
