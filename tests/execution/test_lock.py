"""One run at a time on a study, whoever held it before and however that ended."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lib.execution import lock
from lib.execution.lock import NAME, LockedError, study_lock

PROJECT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from lib.execution.lock import study_lock
with study_lock(Path(sys.argv[1]), "python run_all.py --first"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_run_is_refused_at_once_and_the_first_is_named(holder, tmp_path):
    began = time.monotonic()
    with pytest.raises(LockedError) as refused, study_lock(tmp_path, "second"):
        pass
    assert time.monotonic() - began < 1
    for part in (f"process {holder.pid} on {socket.gethostname()}", "since 20", "run_all.py --first"):
        assert part in str(refused.value)
    assert "first" in (tmp_path / NAME).read_text(), "the refused run must not change the record"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_killed_run_is_stale(holder, tmp_path, number):
    holder.send_signal(number)
    holder.wait()
    assert "first" in (tmp_path / NAME).read_text()
    with study_lock(tmp_path, "second"):
        assert json.loads((tmp_path / NAME).read_text())["command"] == "second"
    assert (tmp_path / NAME).read_text() == ""


def test_a_run_in_this_process_holds_it_too(tmp_path):
    with study_lock(tmp_path, "one"), pytest.raises(LockedError), study_lock(tmp_path, "two"):
        pass
    with study_lock(tmp_path, "three"):
        pass


def record(**changes):
    parent = psutil.Process().parent()
    known = {"pid": parent.pid, "host": socket.gethostname(), "started": parent.create_time()}
    return json.dumps(known | {"since": "then", "command": "it"} | changes)


def test_without_locks_of_the_file_system_the_record_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    (tmp_path / NAME).write_text(record())
    with pytest.raises(LockedError, match="since then: it"), study_lock(tmp_path, "me"):
        pass
    (tmp_path / NAME).write_text(record(started=1.0))  # the pid has another process now
    with study_lock(tmp_path, "me"):
        pass


def test_a_run_on_another_host_is_believed_and_the_way_out_named(tmp_path):
    (tmp_path / NAME).write_text(record(host="elsewhere"))
    with pytest.raises(LockedError, match=r"on elsewhere.*\n.*remove .*\.lock"), study_lock(tmp_path, "me"):
        pass


@pytest.mark.parametrize("text", ["{", "[]", '{"host": ', "\x00\x00"])
def test_a_record_cut_short_is_stale(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with study_lock(tmp_path, "me"):
        pass
