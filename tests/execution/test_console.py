"""What a batch run shows while it runs: lines, a live line on a terminal, `status.json`."""

import json
import sys
import time

import pytest

from lib.execution import progress
from lib.execution.progress import FOLDER, log, seconds_left, stage
from lib.execution.progress import console as watch


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    return tmp_path / "study"


def notebook(root, seconds=0.6):
    """Do what a notebook with one stage of two tasks logs."""
    log(root, state="running", notebook="01_draem_training", since=time.time())
    with stage(root, "DRAEM", 2) as done:
        done(1)
        log(root, task="grouped-1", done=120, of=250)
        time.sleep(seconds)
        done(2)
    log(root, ended={"seconds": 0.7})
    log(root, notebook="02_anomaly_maps", since=time.time())
    log(root, ended={"notebook": "02_anomaly_maps"})
    log(root, state="done", stage=None)


def watched(study, *names):
    expected = {"01_draem_training": 60.0, "02_anomaly_maps": 30.0, "03_features": 30.0}
    with watch(study, "python run_all.py", dict.fromkeys(names, expected), width=1, verbose=False):
        for name in names:
            notebook(study / name)


def test_a_line_per_notebook_and_stage_and_no_more(study, capsys):
    watched(study, "shaft")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [line.split(" ", 2)[1] for line in lines] == [*["01_draem_training"] * 2, "02_anomaly_maps"]
    assert lines[0].endswith("s DRAEM: 2 of 2")
    assert lines[1].startswith("shaft 01_draem_training 0.7 s")
    assert lines[2].endswith("proven, nothing to do")
    assert not (study / FOLDER).exists()


def test_a_terminal_gets_a_live_line_that_goes_again(study, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    watched(study, "shaft")
    out = capsys.readouterr().out
    assert "shaft 01 DRAEM 1/2 (grouped-1 120 of 250) · about" in out
    visible = [line.rsplit("\x1b[2K", 1)[-1] for line in out.split("\n")]
    first = [line.split()[:2] for line in visible]
    assert first == [["shaft", "01_draem_training"]] * 2 + [["shaft", "02_anomaly_maps"], []]


def test_the_status_names_task_and_remaining_time_while_it_runs(study, capsys):
    expected = {"shaft": {"01": 60.0, "02": 30.0}, "shavers": {"01": 9.0}}

    def status(until):
        """Return the status as soon as it is so; a record that is being replaced is read again."""
        deadline = time.monotonic() + 20
        while True:
            assert time.monotonic() < deadline
            time.sleep(0.05)
            if (study / "status.json").exists():
                record = json.loads((study / "status.json").read_text())
                if until(record["datasets"]["shaft"]):
                    return record

    with watch(study, "python run_all.py", expected, width=1, verbose=False):
        log(study / "shaft", state="running", notebook="01", since=time.time())
        log(study / "shaft", stage={"stage": "DRAEM", "done": 1, "of": 2, "since": time.time()})
        log(study / "shaft", task="grouped-1", done=120, of=250)
        record = status(lambda shaft: shaft["tasks"])
        shaft = record["datasets"]["shaft"]
        assert (record["state"], shaft["state"], shaft["notebook"]) == ("running", "running", "01")
        assert shaft["stage"]["done"] == 1 and shaft["tasks"] == {"grouped-1": [120, 250]}
        assert 80 < shaft["left_seconds"] <= 90
        assert record["left_seconds"] == pytest.approx(shaft["left_seconds"] + 9, abs=0.2)
        assert record["pid"] > 0 and record["seconds"] < 60
        log(study / "shaft", stage=None, ended={"seconds": 3.0})
        status(lambda shaft: shaft["ended"])
        assert capsys.readouterr().out.endswith("    3.0 s   about 30 s left for this data set\n")
        for name in expected:
            log(study / name, state="done")
    record = json.loads((study / "status.json").read_text())
    assert (record["state"], record["left_seconds"]) == ("done", 0)


@pytest.mark.parametrize(("error", "state", "reason"), [
    (KeyboardInterrupt(), "stopped", "Ctrl-C"), (ValueError("broken"), "failed", "broken"),
])  # fmt: skip
def test_a_run_that_ends_early_says_so(study, error, state, reason):
    expected = {"shaft": {"01": 60.0}, "shavers": {"01": 9.0}}
    with pytest.raises(type(error)), watch(study, "", expected, width=1, verbose=False):
        log(study / "shaft", state="running")
        raise error
    record = json.loads((study / "status.json").read_text())
    assert record["state"] == record["datasets"]["shaft"]["state"] == state
    assert record["reason"] == reason
    assert record["left_seconds"] == record["datasets"]["shavers"]["left_seconds"] == 0


def test_a_status_that_cannot_be_written_stops_nothing(study, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    with watch(study, "", {"shaft": {}}, width=1, verbose=False):
        monkeypatch.setattr(progress.Path, "write_bytes", full)
        monkeypatch.setattr(progress.Path, "open", full)
        notebook(study / "shaft", 0.1)
        monkeypatch.undo()
        monkeypatch.setattr(progress.Path, "replace", full)
        time.sleep(0.2)
    assert not list(study.glob(".status*"))
    monkeypatch.undo()
    with watch(study, "", {}, width=1, verbose=False):
        pass
    assert json.loads((study / "status.json").read_text())["state"] == "done"


def test_what_remains_is_the_stage_at_its_pace_and_the_notebooks_after_it():
    now, expected = time.time(), {"00": 20.0, "01": 60.0, "02": 70.0, "03": 30.0}
    ended = [{"notebook": "00", "seconds": 1.0}, {"notebook": "01", "seconds": 1.0, "stage": "DRAEM"}]
    record = {"state": "running", "notebook": "01", "since": now - 50, "ended": ended}
    assert seconds_left(record, expected) == pytest.approx(110, abs=0.2)
    record["stage"] = {"done": 1, "of": 4, "since": now - 40}
    assert seconds_left(record, expected) == pytest.approx(220, abs=0.5)
    assert seconds_left({"state": "waiting", "ended": []}, expected) == 180
    assert seconds_left(record | {"state": "done"}, expected) == 0
