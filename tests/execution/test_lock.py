"""One run at a time on a study, whoever held it before and however that ended."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.execution.lock import RECORD, LockedError, study_lock

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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_run_is_refused_until_the_first_ends_however_it_does(holder, tmp_path, number):
    began = time.monotonic()
    with pytest.raises(LockedError) as refused, study_lock(tmp_path, "second"):
        pass
    assert time.monotonic() - began < 1
    for part in (f"process {holder.pid} on {socket.gethostname()}", "since 20", "run_all.py --first"):
        assert part in str(refused.value)
    assert "first" in (tmp_path / RECORD).read_text(), "the refused run must not change the record"
    holder.send_signal(number)
    holder.wait()
    with study_lock(tmp_path, "second"):
        assert json.loads((tmp_path / RECORD).read_text())["command"] == "second"
    assert not (tmp_path / RECORD).exists()


def test_a_run_in_this_process_holds_it_too(tmp_path):
    with study_lock(tmp_path, "one"), pytest.raises(LockedError), study_lock(tmp_path, "two"):
        pass
    with pytest.raises(KeyError), study_lock(tmp_path, "three"):
        raise KeyError
    with study_lock(tmp_path, "four"):
        pass


def test_a_run_on_another_host_counts_until_its_record_is_removed(tmp_path):
    (tmp_path / RECORD).write_text(json.dumps({"pid": 7, "host": "elsewhere", "since": "then", "command": "it"}))
    message = r"process 7 on elsewhere, since then: it\n.*remove .*\.lock\.json"
    for _ in range(2):
        with pytest.raises(LockedError, match=message), study_lock(tmp_path, "me"):
            pass
    (tmp_path / RECORD).unlink()
    with study_lock(tmp_path, "me"):
        pass


@pytest.mark.parametrize("text", ["{", "[]", "\x00\x00"])
def test_a_record_cut_short_counts_for_nothing(tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    with study_lock(tmp_path, "me"):
        pass
