"""Progress: bars with the true counts of tasks and steps, and the event log with its reader."""

import time

import pytest

from lib.execution import progress
from lib.execution.parallel import run_tasks
from lib.execution.progress import (
    BATCH,
    FOLDER,
    EventReader,
    format_duration,
    log,
    seconds_left,
    stage,
    step_bar,
    task_of,
    tasks_under_way,
)


class Bar:
    """Stands in for tqdm: keeps what a reader would have seen."""

    def __init__(self, desc, total, initial, bar_format):
        self.desc, self.total, self.n, self.initial, self.closed = desc, total, initial, initial, False
        self.seen = []

    def set_postfix_str(self, text, refresh):
        self.text = text

    def update(self, more):
        self.n += more
        self.seen.append((self.n, self.text))

    def refresh(self):
        pass

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
    return made


def work(folder, count, name):
    """Report `count` steps; none stands for proven work."""
    if count:
        report = step_bar(name)
        for done in range(1, count + 1):
            report(done, count)


def run(tmp_path, *counts, **settings):
    arguments = [("f", count, f"split {place}") for place, count in enumerate(counts)]
    run_tasks(work, arguments, label="DRAEM", shared_folder=tmp_path / "plates", **settings)


def test_the_bar_follows_tasks_and_steps(tmp_path, bars):
    run(tmp_path, 2, 4, 1)
    (bar,) = bars
    assert (bar.desc, bar.total, bar.initial, bar.closed) == ("DRAEM", 3, 0.5, True)
    assert bar.seen == [
        (0.5, "split 0 1 of 2"), (1, "split 0 2 of 2"), (1, ""),
        *((1 + done / 4, f"split 1 {done} of 4") for done in (1, 2, 3, 4)), (2, ""),
        (3, ""), (3, ""),
    ]  # fmt: skip


def test_what_is_proven_has_no_bar_and_counts_for_no_estimate(tmp_path, bars, monkeypatch):
    run(tmp_path, 0, 0, 0)
    assert bars == []
    run(tmp_path, 0, 0, 2)
    assert bars[0].initial == 2.5
    bars.clear()
    monkeypatch.setenv(BATCH, "1")
    run(tmp_path, 2, 2)
    step_bar("image features", alone=True)(1, 2)
    assert bars == []


def test_the_bar_follows_what_other_processes_do(bars, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.01)
    results = iter(progress.progress(range(2), "DRAEM", 2, lambda: 0.5))
    next(results)
    (bar,), deadline = bars, time.monotonic() + 20
    assert bar.initial == 0, "it is there before anything is done"
    while bar.n != 0.5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(results) == [1]
    assert bar.n == 2 and bar.closed


def test_work_outside_a_loop_has_a_bar_only_where_it_stands_alone(bars):
    step_bar("a worker's steps")(1, 2)
    report = step_bar("image features", alone=True)
    assert bars == [], "no report, no bar"
    report(64, 100)
    report(100, 100)
    assert bars[0].text == "100 of 100"
    assert [(bar.desc, bar.initial, bar.n, bar.closed) for bar in bars] == [("image features", 0.64, 1, True)]


def test_a_failed_loop_leaves_the_next_one_its_bar(tmp_path, bars):
    with pytest.raises(ZeroDivisionError) as kept:
        run_tasks(lambda *_: 1 / 0, [("f", 1)], label="fails", shared_folder=tmp_path)
    run(tmp_path, 2)
    assert [bar.desc for bar in bars] == ["DRAEM"]
    assert kept


def test_steps_in_other_processes_are_seen_in_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0)
    with tasks_under_way(tmp_path / "plates") as under_way:
        assert under_way() == 0
        with task_of(tmp_path / "plates"):
            report = step_bar("grouped-0, steps")
        with task_of(tmp_path / "other"):
            step_bar("grouped-0, steps")(9, 10)
        report(5, 20)
        assert under_way() == 0.25
        report(20, 20)
        assert under_way() == 0
    assert not list(tmp_path.iterdir())
    log(tmp_path / "plates", state="running")
    assert not list(tmp_path.iterdir()), "without a reader nothing is written"


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
        shaft = reader.update()["shaft"]
        assert shaft["state"] == "running" and shaft["tasks"] == {"grouped-1": [3, 9]}
        assert (shaft["stage"]["done"], shaft["stage"]["of"]) == (1, 2)
    again = reader.update()["shaft"]
    assert again["stage"] is None and again["tasks"] == {}, "a lost worker never says that it ended"
    (ended,) = again["ended"]
    assert (ended["notebook"], ended["stage"]) == ("01_draem_training", "DRAEM")
    assert ended["text"].endswith("s   DRAEM: 2 of 2")


def test_what_remains_is_the_stage_at_its_pace_and_the_notebooks_after_it():
    now = time.time()
    record = {"state": "running", "since": now - 50, "expected": 60, "left_after": 100}
    assert seconds_left(record) == pytest.approx(110, abs=0.2)
    record["stage"] = {"done": 1, "of": 4, "since": now - 40}
    assert seconds_left(record) == pytest.approx(220, abs=0.5)
    assert seconds_left(record | {"state": "waiting"}) == 100
    assert seconds_left(record | {"state": "done"}) == 0


def test_durations_in_words():
    assert [format_duration(s) for s in (42, 600, 2 * 3600, 3 * 86400)] == [
        "42 s",
        "10 min",
        "2.0 h",
        "3.0 days",
    ]
