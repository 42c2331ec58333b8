"""Notebooks of several data sets: what is logged, what fails, what is done again."""

import json
import sys
import time

import pytest

from lib.batch.notebooks import DatasetRun, NotebookError, run_datasets
from lib.execution.console import Console


class FakeJob:
    """A notebook that takes a moment, fails, dies, or is stopped."""

    def __init__(self, folder, notebook, how=""):
        self.folder, self.notebook, self.how = folder, notebook, how

    def done(self):
        return self.how == "proven"

    def run(self, *, verbose):
        if self.how == "fails":
            raise NotebookError("cell 3 failed: no such thing")
        if self.how == "dies":
            sys.exit(3)
        if self.how == "stopped":
            raise KeyboardInterrupt
        time.sleep(0.2)
        return 0.2


def part(study, name, *jobs):
    root = study / name
    root.mkdir(parents=True, exist_ok=True)
    made = tuple(FakeJob(root, *job) for job in jobs)
    return DatasetRun(root, made, {"01_draem_training": 60.0, "02_anomaly_maps": 30.0})


def watched(study, *parts, side_by_side=1, force=False):
    expected = {item.root.name: item.seconds for item in parts}
    with Console(study, "python run_all.py", expected, width=side_by_side, verbose=False) as shown:
        failures = run_datasets(parts, side_by_side, force=force, verbose=False)
        if failures:
            shown.fail(failures)
    return failures, json.loads((study / "status.json").read_text())


def test_proven_notebooks_are_passed_over_unless_forced(tmp_path, capsys):
    jobs = (("00_dataset", "proven"), ("01_draem_training",), ("02_anomaly_maps",))
    failures, status = watched(tmp_path, part(tmp_path, "shaft", *jobs))
    assert failures == [] and status["datasets"]["shaft"]["state"] == "done"
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "shaft 00_dataset proven, nothing to do"
    assert lines[1] == "shaft 01_draem_training 0.2 s about 0 s left for this data set", "at the pace so far"
    assert lines[2] == "shaft 02_anomaly_maps 0.2 s"
    ended = status["datasets"]["shaft"]["ended"]
    assert [item["notebook"] for item in ended] == [name for name, *_ in jobs]
    watched(tmp_path, part(tmp_path, "shaft", *jobs), force=True)
    assert "proven" not in capsys.readouterr().out


def test_data_sets_side_by_side_keep_their_status_apart(tmp_path):
    failures, status = watched(
        tmp_path,
        part(tmp_path, "a", ("01_draem_training",)),
        part(tmp_path, "b", ("01_draem_training",), ("02_anomaly_maps", "fails"), ("03_features",)),
        part(tmp_path, "c", ("01_draem_training", "dies")),
        side_by_side=2,
    )
    assert [text.split(":")[0] for text in sorted(failures)] == ["b", "c"]
    assert status["state"] == "failed" and "cell 3 failed: no such thing" in status["reason"]
    states = {name: about["state"] for name, about in status["datasets"].items()}
    assert states == {"a": "done", "b": "failed", "c": "failed"}
    assert "exit status 3" in status["datasets"]["c"]["reason"]
    assert [item["notebook"] for item in status["datasets"]["b"]["ended"]] == ["01_draem_training"]


@pytest.mark.parametrize("side_by_side", [1, 2])
def test_an_interrupt_goes_through_and_ends_the_processes(tmp_path, monkeypatch, side_by_side):
    parts = [
        part(tmp_path, "a", ("01_draem_training", "stopped")),
        part(tmp_path, "b", ("01_draem_training",)),
    ]
    if side_by_side == 2:  # in a process of its own the interrupt is the run's, not the part's
        monkeypatch.setattr("lib.batch.notebooks._in_own_process", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_datasets(parts, side_by_side, force=False, verbose=False)


def _interrupt(*_):
    raise KeyboardInterrupt
