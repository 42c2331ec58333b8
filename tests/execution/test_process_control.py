"""Processes end with the run that started them; signals end a run in an orderly way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).parents[2]
CHILD = "import sys, time; from lib.execution.process_control import follow; follow(int(sys.argv[1])); time.sleep(60)"
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""
STOPPED = """
import sys, time
from lib.execution.process_control import Stopped, stop_on_signals
stop_on_signals()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt as stop:
    print(type(stop).__name__, stop, flush=True)
    sys.exit(128 + stop.number if isinstance(stop, Stopped) else 1)
"""


def start(source, before=None):
    return subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        preexec_fn=before,
    )


def test_a_process_on_the_leash_ends_with_its_parent():
    parent = start(PARENT)
    child = psutil.Process(int(parent.stdout.readline()))
    time.sleep(1)
    assert child.is_running(), "it must live as long as the parent does"
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([child], timeout=5)[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_run_as_ctrl_c_does(number):
    process = start(STOPPED, lambda: signal.signal(number, signal.SIG_DFL))  # whatever these tests run under
    process.stdout.readline()
    process.send_signal(number)
    said, _ = process.communicate(timeout=10)
    assert said == f"Stopped {number.name}\n"
    assert process.returncode == 128 + number


def test_nohup_keeps_a_run_going():
    process = start(STOPPED, lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.kill()
    process.communicate()
