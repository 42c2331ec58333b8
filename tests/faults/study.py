"""A small study as a process of its own, to be disturbed, and the digests of what it ends with."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.whole import CACHE

PROJECT = Path(__file__).parents[2]
COMMAND = ("--preset", "smoke", "--weights", "random-init")
# Captions in .md and .html name what there is when a notebook is executed, and 00 may be executed again later.
ENDS = ("tables/*.csv", "*/tables/*.csv", "*/*.parquet", "*/predictions/*.parquet", "*/draem/*.safetensors",
        "*/draem/*.csv",
        "*/maps/*.npy", "*/features/*.npy", "*/images/*.npy")  # fmt: skip


def start(output: Path, *arguments: str, dataset: tuple[str, ...] = ("deco_cap",)) -> subprocess.Popen[str]:
    """Start run_all.py on a stand-in in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "run_all.py", "--dataset", *dataset, *COMMAND, "--output", str(output), *arguments],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ, "XDG_CACHE_HOME": CACHE},
        start_new_session=True,
        preexec_fn=_heed_signals,
    )


def _heed_signals() -> None:
    """Undo that a shell has its background jobs, such as this campaign, ignore Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a run; return its exit status and what it printed."""
    said, _ = process.communicate(timeout=1200)
    return process.returncode, said


def run(output: Path, *arguments: str, dataset: tuple[str, ...] = ("deco_cap",)) -> tuple[int, str]:
    """Run the study to its end."""
    return finish(start(output, *arguments, dataset=dataset))


def digests(output: Path) -> dict[str, str]:
    """Return the SHA-256 of the final tables and of every artefact that they rest on."""
    study = output / "smoke"
    files = {file for pattern in ENDS for file in study.glob(pattern) if not file.name.startswith(".")}
    files = {file for file in files if not file.name.endswith(".manifest.json")}
    return {
        file.relative_to(study).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return the names of the files that are not the same, or are there once only."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that a run has started, at any remove."""
    try:
        return list(psutil.Process(process.pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def kernel(process: subprocess.Popen[str]) -> psutil.Process | None:
    """Return the kernel at work for a run."""
    for child in family(process):
        try:
            if any("ipykernel" in part for part in child.cmdline()):
                return child
        except psutil.Error:
            continue
    return None


def gone(processes: list[psutil.Process], patience: float = 15.0) -> float:
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
