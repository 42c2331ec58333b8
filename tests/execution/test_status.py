"""What a batch run says while it runs: a line per notebook and stage, `status.json`, `provenance.json`."""

import json
import sys
import time
from dataclasses import replace

import pytest

from lib.batch.notebooks import NotebookError
from lib.batch.provenance import write_provenance
from lib.batch.runner import DatasetRun, run_datasets, run_notebooks
from lib.execution import console, status
from lib.execution.console import Console
from lib.execution.parallel import run_tasks
from lib.pipeline.run import open_run


class FakeJob:
    """A notebook that trains two folds, or fails, or dies."""

    def __init__(self, folder, notebook, how="", done=False):
        self.folder, self.notebook, self.how, self.proven = folder, notebook, how, done

    def done(self):
        return self.proven

    def run(self, *, verbose):
        if self.how == "fails":
            raise NotebookError("cell 3 failed: no such thing")
        if self.how == "dies":
            sys.exit(3)
        run_tasks(time.sleep, [(0.3,), (0.4,)], label="DRAEM", shared_folder=self.folder)
        return 0.7


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(console, "LOOK_EVERY", 0.05)
    return tmp_path / "study"


def part(study, name, *jobs):
    root = study / name
    root.mkdir(parents=True, exist_ok=True)
    made = tuple(FakeJob(root, *job) for job in jobs)
    return DatasetRun(root, made, {"01_draem_training": 60.0, "02_anomaly_maps": 30.0})


def watched(study, *parts, side_by_side=1):
    waiting = [(item.root, item.seconds) for item in parts]
    with Console(study, "python run_all.py", waiting, width=side_by_side, verbose=False) as shown:
        failures = run_datasets(parts, side_by_side, force=False, verbose=False)
        if failures:
            shown.fail(failures)
    return failures


def said(study):
    return json.loads((study / "status.json").read_text())


def test_a_line_per_notebook_and_stage_and_no_more(study, capsys):
    jobs = (("00_dataset", "", True), ("01_draem_training",), ("02_anomaly_maps",))
    assert watched(study, part(study, "shaft", *jobs)) == []
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert [line.split(" ", 2)[1] for line in lines] == [
        "00_dataset", *["01_draem_training"] * 2, *["02_anomaly_maps"] * 2
    ]  # fmt: skip
    assert lines[0].endswith("proven, nothing to do")
    assert lines[1].endswith("s DRAEM: 2 of 2") and lines[3].endswith("s DRAEM: 2 of 2")
    assert "left for this data set" in lines[2]
    assert not (study / status.FOLDER).exists()


def test_ci_gets_a_line_per_notebook(study, capsys, monkeypatch):
    monkeypatch.setenv("CI", "true")
    watched(study, part(study, "shaft", ("01_draem_training",)))
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_terminal_gets_a_live_line_that_goes_again(study, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    watched(study, part(study, "shaft", ("01_draem_training",)))
    out = capsys.readouterr().out
    assert "shaft 01 DRAEM 1/2" in out
    visible = [line.rsplit("\x1b[2K", 1)[-1] for line in out.split("\n")]
    assert [line.split()[:2] for line in visible] == [["shaft", "01_draem_training"]] * 2 + [[]]


def test_the_status_names_fold_and_remaining_time_while_it_runs(study, monkeypatch):
    seen = []
    write = status.write

    def spy(path, record):
        if path.name == "status.json":
            seen.append(json.loads(json.dumps(record)))
        write(path, record)

    monkeypatch.setattr(status, "write", spy)
    watched(study, part(study, "shaft", ("01_draem_training",), ("02_anomaly_maps",)))
    assert {record["state"] for record in seen} == {"running", "done"}
    at_work = [record for record in seen if (record["datasets"]["shaft"].get("stage") or {}).get("done") == 1]
    assert at_work, "one fold of two was done for 0.4 s"
    record = at_work[0]
    shaft = record["datasets"]["shaft"]
    assert shaft["notebook"] == "01_draem_training"
    assert shaft["stage"]["stage"] == "DRAEM" and shaft["stage"]["of"] == 2
    assert 30 < shaft["left_seconds"] <= 90
    assert record["left_seconds"] == shaft["left_seconds"]
    assert record["pid"] > 0 and record["seconds"] < 60
    assert said(study)["datasets"]["shaft"]["state"] == "done"
    assert said(study)["left_seconds"] == 0


def test_data_sets_side_by_side_keep_their_status_apart(study):
    failures = watched(
        study,
        part(study, "b", ("01_draem_training",), ("02_anomaly_maps", "fails")),
        part(study, "c", ("01_draem_training", "dies")),
        side_by_side=2,
    )
    assert [text.split(":")[0] for text in sorted(failures)] == ["b", "c"]
    record = said(study)
    assert record["state"] == "failed" and "cell 3 failed: no such thing" in record["reason"]
    states = {name: about["state"] for name, about in record["datasets"].items()}
    assert states == {"b": "failed", "c": "failed"}
    assert "exit status 3" in record["datasets"]["c"]["reason"]
    assert [event["notebook"] for event in record["datasets"]["b"]["ended"]] == ["01_draem_training"]


def test_a_stopped_run_says_so(study):
    shaft = part(study, "shaft", ("01_draem_training",))
    with pytest.raises(KeyboardInterrupt), Console(study, "", [(shaft.root, 9)], width=1, verbose=False):
        status.change(shaft.root, state="running")
        raise KeyboardInterrupt
    assert said(study)["state"] == said(study)["datasets"]["shaft"]["state"] == "stopped"
    assert said(study)["reason"] == "Ctrl-C"


def test_a_status_that_cannot_be_written_stops_nothing(study, monkeypatch, capsys):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    shaft = part(study, "shaft", ("01_draem_training",))
    with Console(study, "", [(shaft.root, 9)], width=1, verbose=False):
        monkeypatch.setattr(status.Path, "write_text", full)
        assert run_notebooks(shaft, force=False, verbose=False) == ""
        monkeypatch.undo()
    assert not list(study.rglob(".*.json.*"))


def test_the_steps_of_a_training_are_seen_while_it_lasts(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "EVERY", 0)
    root = tmp_path / "shaft"
    status.change(root, state="running")
    assert not list(tmp_path.iterdir()), "outside a batch run nothing is written"
    (tmp_path / status.FOLDER / status.STEPS).mkdir(parents=True)
    status.change(root, state="running")
    with status.steps_of(root, "grouped-0") as note:
        note(120, 250, {"loss": 0.5})
        assert status.merged(tmp_path)["shaft"]["training"] == {"grouped-0": "step 120 of 250"}
    assert status.merged(tmp_path)["shaft"]["training"] == {}


def test_provenance_says_what_made_what(tmp_path):
    run = open_run("deco_cap", "smoke", "", str(tmp_path), {"weights": "random-init", "seed": 3})
    run.store.make("draem/a", {"k": 1}, lambda path: path.write_text("a") and None)
    run.store.make("draem/b", {"k": 1}, lambda path: path.write_text("b") and time.sleep(0.05))
    record = json.loads(write_provenance(run).read_text())
    assert record["seed"] == record["settings"]["seed"] == 3
    assert set(record["artefacts"]) == {"draem/a", "draem/b"}
    assert record["artefacts"]["draem/a"]["sha256"] == run.store.digest("draem/a")
    assert record["seconds"]["draem"] >= 0.05
    assert record["peak_bytes"] > 10e6
    assert record["versions"]["torch"] and record["versions"]["python"].startswith("3.")
    assert record["machine"]["cores"] >= 1 and record["machine"]["memory_bytes"] > 1e8
    other = replace(run, study=replace(run.study, seed=4))
    assert json.loads(write_provenance(other).read_text())["seed"] == 4
