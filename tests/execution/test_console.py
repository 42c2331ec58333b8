"""What a batch run shows while it runs: lines, a live line on a terminal, `status.json`."""

import json
import sys
import time

import pytest

from lib.execution import console
from lib.execution.console import Console
from lib.execution.progress import FOLDER, log, stage


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "LOOK_EVERY", 0.05)
    return tmp_path / "study"


def notebook(root, seconds=0.6):
    """Do what a notebook with one stage of two tasks logs."""
    log(root, state="running", notebook="01_draem_training", since=time.time(), expected=60, left_after=30)
    with stage(root, "DRAEM", 2) as done:
        done(1)
        log(root, task="grouped-1", done=120, of=250)
        time.sleep(seconds)
        done(2)
    log(root, ended={"text": "    0.7 s   done", "seconds": 0.7})
    log(root, state="done", stage=None)


def watched(study, *names):
    with Console(study, "python run_all.py", dict.fromkeys(names, 90.0), width=1, verbose=False):
        for name in names:
            notebook(study / name)


def test_a_line_per_notebook_and_stage_and_no_more(study, capsys):
    watched(study, "shaft")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [line.split(" ", 2)[1] for line in lines] == ["01_draem_training"] * 2
    assert lines[0].endswith("s DRAEM: 2 of 2") and lines[1].endswith("0.7 s done")
    assert not (study / FOLDER).exists()


def test_a_terminal_gets_a_live_line_that_goes_again(study, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    watched(study, "shaft")
    out = capsys.readouterr().out
    assert "shaft 01 DRAEM 1/2 (grouped-1 120 of 250) · about" in out
    visible = [line.rsplit("\x1b[2K", 1)[-1] for line in out.split("\n")]
    assert [line.split()[:2] for line in visible] == [["shaft", "01_draem_training"]] * 2 + [[]]


def test_the_status_names_task_and_remaining_time_while_it_runs(study, monkeypatch):
    monkeypatch.setattr(console, "LOOK_EVERY", 99)
    with Console(
        study, "python run_all.py", {"shaft": 90.0, "shavers": 9.0}, width=1, verbose=False
    ) as shown:
        log(study / "shaft", state="running", notebook="01", since=time.time(), expected=60, left_after=30)
        log(study / "shaft", stage={"stage": "DRAEM", "done": 1, "of": 2, "since": time.time()})
        log(study / "shaft", task="grouped-1", done=120, of=250)
        shown.refresh()
        record = json.loads((study / "status.json").read_text())
        shaft = record["datasets"]["shaft"]
        assert (record["state"], shaft["state"], shaft["notebook"]) == ("running", "running", "01")
        assert shaft["stage"]["done"] == 1 and shaft["tasks"] == {"grouped-1": [120, 250]}
        assert 80 < shaft["left_seconds"] <= 90
        assert record["left_seconds"] == pytest.approx(shaft["left_seconds"] + 9, abs=0.2)
        assert record["pid"] > 0 and record["seconds"] < 60
    record = json.loads((study / "status.json").read_text())
    assert (record["state"], record["left_seconds"]) == ("done", 0)


@pytest.mark.parametrize(("error", "state", "reason"), [
    (KeyboardInterrupt(), "stopped", "Ctrl-C"), (ValueError("broken"), "failed", "broken"),
])  # fmt: skip
def test_a_run_that_ends_early_says_so(study, error, state, reason):
    with pytest.raises(type(error)), Console(study, "", {"shaft": 9}, width=1, verbose=False):
        log(study / "shaft", state="running")
        raise error
    record = json.loads((study / "status.json").read_text())
    assert record["state"] == record["datasets"]["shaft"]["state"] == state
    assert record["reason"] == reason


def test_a_status_that_cannot_be_written_stops_nothing(study, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    with Console(study, "", {"shaft": 9}, width=1, verbose=False):
        monkeypatch.setattr(console.Path, "write_text", full)
        monkeypatch.setattr(console.Path, "open", full)
        notebook(study / "shaft", 0.1)
        monkeypatch.undo()
    assert not list(study.rglob(".*.json.*"))
