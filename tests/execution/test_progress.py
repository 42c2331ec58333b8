"""Progress: bars with the true counts of tasks and steps, and the event log with its reader."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lib.execution import progress
from lib.execution.parallel import run_tasks
from lib.execution.progress import BATCH, FOLDER, EventReader, format_duration, log, stage, step_bar, task_of


class Bar:
    """Stands in for tqdm: keeps what a reader would have seen."""

    def __init__(self, desc, total, bar_format, disable):
        self.desc, self.total, self.n, self.closed, self.disable = desc, total, 0, False, disable
        self.seen = []

    def set_postfix_str(self, text):
        self.seen.append((self.n, text))

    def update(self, more):
        self.n += more

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    made = []

    def make(**settings):
        made.append(Bar(**settings))
        return made[-1]

    monkeypatch.delenv(BATCH, raising=False)
    monkeypatch.setattr("tqdm.auto.tqdm", make)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    return made


def wait(true):
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_bar_follows_tasks_and_their_steps_in_whatever_process(tmp_path, bars, monkeypatch):
    root = tmp_path / "plates"
    with stage(root, "DRAEM", 2) as done:
        (bar,) = bars
        with task_of(root):
            report = step_bar("grouped-0, steps")
        with task_of(tmp_path / "other"):
            step_bar("grouped-0, steps")(9, 10)
        report(5, 20)
        wait(lambda: bar.seen[-1:] == [(0.25, "grouped-0, steps 5 of 20")])
        report(20, 20)
        done(1)
        wait(lambda: bar.seen[-1] == (1, ""))
        shutil.rmtree(tmp_path / FOLDER / "other")  # as the bar of the other data set would
    assert (bar.desc, bar.total, bar.closed) == ("DRAEM", 2, True)
    assert not list(tmp_path.iterdir())
    log(root, state="running")
    assert not list(tmp_path.iterdir()), "without a reader nothing is written"


def test_a_failed_stage_leaves_the_next_one_its_bar(tmp_path, bars):
    for function in (lambda *_: 1 / 0, lambda *_: 1):
        with suppress(ZeroDivisionError):
            run_tasks(function, [("f", 1)], label="DRAEM", shared_folder=tmp_path / "plates")
    assert [(bar.n, bar.closed) for bar in bars] == [(0, True), (1, True)]
    assert not list(tmp_path.iterdir())


def test_a_bar_removes_the_log_of_its_own_data_set_only(tmp_path, bars):
    with stage(tmp_path / "plates", "DRAEM", 1):
        with stage(tmp_path / "shaft", "DRAEM", 1):
            log(tmp_path / "plates", state="running")
        assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["plates"]
    assert not list(tmp_path.iterdir())


def test_steps_of_a_killed_run_are_not_under_way(tmp_path, bars):
    (tmp_path / FOLDER).mkdir()
    log(tmp_path / "plates", task="grouped-0, steps", done=5, of=20)
    with stage(tmp_path / "plates", "DRAEM", 2):
        pass
    assert bars[0].seen[-1] == (0, "")


def test_a_batch_has_no_bars(tmp_path, bars, monkeypatch):
    monkeypatch.setenv(BATCH, "1")
    run_tasks(lambda *_: 1, [("f", 1)], label="DRAEM", shared_folder=tmp_path / "plates")
    step_bar("images drawn")(1, 2)
    assert all(bar.disable for bar in bars)


def test_work_outside_a_task_has_a_bar_of_its_own(bars):
    report = step_bar("images drawn")
    assert bars == [], "no report, no bar"
    report(64, 100)
    report(100, 100)
    assert [(bar.desc, bar.total, bar.n, bar.closed) for bar in bars] == [("images drawn", 100, 100, True)]


def test_the_log_is_read_on_whatever_was_cut_short(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "WORTH_A_LINE", -1)
    root, folder = tmp_path / "shaft", tmp_path / FOLDER
    folder.mkdir()
    reader = EventReader(folder)
    log(root, state="running", notebook="01_draem_training")
    with stage(root, "DRAEM", 2) as done:
        done(1)
        log(root, task="grouped-1", done=3, of=9)
        (file,) = folder.rglob("*.jsonl")
        with file.open("a") as stream:
            stream.write('{"state": "fai')
        shaft = reader.update().datasets["shaft"]
        assert shaft["state"] == "running" and shaft["tasks"] == {"grouped-1": [3, 9]}
        assert (shaft["stage"]["done"], shaft["stage"]["of"]) == (1, 2)
    again = reader.update().datasets["shaft"]
    assert again["stage"] is None and again["tasks"] == {}, "a lost worker never says that it ended"
    (ended,) = again["ended"]
    assert (ended["notebook"], ended["stage"], ended["of"]) == ("01_draem_training", "DRAEM", 2)


def test_durations_in_words():
    assert [format_duration(s) for s in (42, 600, 2 * 3600, 3 * 86400)] == ["42 s", "10 min", "2.0 h", "3.0 days"]


def test_a_log_whose_folder_is_away_for_a_while_is_read_on(tmp_path, monkeypatch):
    (tmp_path / ".status" / "plates").mkdir(parents=True)
    reader = EventReader(tmp_path / ".status")

    def away(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", away)
        assert reader.update().datasets == {}
    log(tmp_path / "plates", state="running")
    assert reader.update().datasets["plates"]["state"] == "running"
