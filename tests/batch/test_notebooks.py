"""The notebooks keep to the house style, take what run_all.py gives them, and fail loudly."""

import ast
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import papermill
import pytest

from lib.artifacts import Store
from lib.batch.notebooks import WRITES, NotebookError, NotebookJob, execute, run_datasets
from lib.execution.kernels import Kernels
from lib.execution.progress import console
from lib.reporting.html_pages import NOTEBOOKS

FOLDER = Path(__file__).parents[2] / "notebooks"
ALL = sorted(FOLDER.glob("*.ipynb"))
PARAMETERS = ["PRESET", "DATA_DIR", "OUTPUT_DIR", "OVERRIDES", "SCHEDULER"]


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_the_series_is_complete():
    assert {path.stem for path in ALL} >= set(NOTEBOOKS) == set(WRITES)


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_notebook_style(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(path)
    lines = [len(cell.source.splitlines()) for cell in cells]
    assert len(cells) <= 20
    assert sum(lines) <= 120
    assert max(lines) <= 25
    assert not any(cell.outputs or cell.execution_count for cell in cells), "strip the outputs (nbstripout)"
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in cells:
        kinds = {type(node) for node in ast.walk(ast.parse(cell.source))}
        assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef}, "what is used twice lives in lib/"
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_one_parameter_per_line(path):
    tagged = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for line in tagged[0].source.splitlines():
        declaration, _, comment = line.partition("  # ")
        assert re.fullmatch(r"[A-Z_]+: (str|int|float|list|dict) = \S.*", declaration), line
        assert declaration.count("=") == 1
        assert len(comment) > 10, line


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_declare_what_run_all_gives(name):
    first = "DATASETS" if name == NOTEBOOKS[-1] else "DATASET"
    assert set(papermill.inspect_notebook(str(FOLDER / f"{name}.ipynb"))) >= {first, *PARAMETERS}


def write_notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"kernelspec": {"name": "python3", "display_name": "p", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)


def test_a_failing_cell_is_named_and_kept(tmp_path):
    source, target, failed = tmp_path / "n.ipynb", tmp_path / "out.ipynb", tmp_path / "n.failed.ipynb"
    write_notebook(source, "A: int = 1  # a number", "print(A)", "raise ValueError('broken %d' % A)")
    with pytest.raises(NotebookError, match=r"n\.ipynb failed: ValueError: broken 5"):
        execute(source, target, {"A": 5}, failed, Kernels())
    assert not target.exists()
    assert "broken 5" in failed.read_text()


def test_a_dead_kernel_is_a_failure(tmp_path):
    source, target, failed = tmp_path / "n.ipynb", tmp_path / "out.ipynb", tmp_path / "n.failed.ipynb"
    write_notebook(source, "A: int = 1  # a number", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "1")
    with pytest.raises(NotebookError, match="kernel"):
        execute(source, target, {}, failed, Kernels())
    assert not target.exists()


def test_a_kernel_that_does_not_start_is_a_failure(tmp_path, monkeypatch):
    def silent(*_, **__):
        raise RuntimeError("Kernel didn't respond in 180 seconds")

    monkeypatch.setattr("papermill.execute_notebook", silent)
    with pytest.raises(NotebookError, match=r"kernel of n\.ipynb died or did not start .*: Kernel didn't"):
        execute(tmp_path / "n.ipynb", tmp_path / "out.ipynb", {}, tmp_path / "n.failed.ipynb", Kernels())


def test_a_job_is_done_until_what_it_rests_on_changes(tmp_path, monkeypatch):
    source = tmp_path / "00_dataset.ipynb"
    write_notebook(source, "A: int = 1  # a number", "print(A)")
    monkeypatch.setattr(NotebookJob, "source", property(lambda self: source))
    folder = tmp_path / "study"
    store = Store(folder)
    store.make("maps/a.npy", {}, lambda path: path.write_text("map") and None)
    (folder / "figures").mkdir()
    job = NotebookJob("00_dataset", folder, {"A": 2}, (folder,))
    assert not job.done()
    kernels = Kernels()
    assert job.run(kernels) > 0
    page = (folder / "notebooks" / "00_dataset.html").read_text()
    assert "<details" in page
    assert job.done()
    assert not NotebookJob("00_dataset", folder, {"A": 3}, (folder,)).done()
    assert not NotebookJob("00_dataset", folder, {"A": 2}, (folder,), "other pictures").done()
    with monkeypatch.context() as patch:
        patch.setattr("lib.batch.notebooks.library_digest", lambda: "other code")
        assert not job.done()
    (folder / "notebooks" / "00_dataset.html").unlink()
    assert not job.done()
    job.run(kernels)
    assert job.done()
    store.make("maps/a.npy", {"other": 1}, lambda path: path.write_text("other map") and None)
    assert not job.done()
    store.path("maps/a.npy.manifest.json").write_text("{")  # of other settings perhaps, never to be made again
    job.run(kernels)
    assert job.done(), "what is damaged and not read must not have every run execute the notebook again"


class FakeJob:
    """A notebook that takes a moment, fails, or is stopped."""

    def __init__(self, folder, notebook, how=""):
        self.folder, self.notebook, self.how = folder, notebook, how

    def done(self):
        return self.how == "proven"

    def run(self, kernels, *, verbose):
        if self.how == "fails":
            raise NotebookError("cell 3 failed: no such thing")
        if self.how == "breaks":
            raise KeyError("of a library")
        if self.how == "waits":
            subprocess.run([sys.executable, "-c", "import time; time.sleep(60)", "ipykernel_launcher"])
            raise NotebookError("the kernel died")
        if self.how == "stopped":
            time.sleep(1)  # until the others are at work
            raise KeyboardInterrupt
        time.sleep(0.2)
        return 0.2


def watched(study, side_by_side=1, force=False, afterwards=lambda root: None, **jobs):
    parts = {study / name: [FakeJob(study / name, *job) for job in given] for name, given in jobs.items()}
    for root in parts:
        root.mkdir(parents=True, exist_ok=True)
    expected = {name: {"01_draem_training": 60.0, "02_anomaly_maps": 30.0} for name in jobs}
    with console(study, "python run_all.py", expected, width=side_by_side, verbose=False):
        failures = run_datasets(parts, side_by_side, Kernels(), force=force, verbose=False, afterwards=afterwards)
    return failures, json.loads((study / "status.json").read_text())


def test_proven_notebooks_are_passed_over(tmp_path, capsys):
    jobs = (("00_dataset", "proven"), ("01_draem_training",), ("02_anomaly_maps",))
    failures, status = watched(tmp_path, shaft=jobs)
    assert failures == [] and status["datasets"]["shaft"]["state"] == "done"
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "shaft 00_dataset proven, nothing to do"
    assert lines[1].startswith("shaft 01_draem_training 0.2 s"), lines
    ended = status["datasets"]["shaft"]["ended"]
    assert [item["notebook"] for item in ended] == [name for name, *_ in jobs]


def test_force_forgets_what_a_notebook_wrote_first(tmp_path):
    store = Store(tmp_path / "shaft")
    for name in ("maps/a", "draem/a", "notebooks/02_anomaly_maps"):
        store.make(name, {}, lambda path: path.write_text("x") and None)
    watched(tmp_path, force=True, shaft=[("02_anomaly_maps",)])
    assert store.names() == ["draem/a"]


def test_data_sets_side_by_side_keep_their_status_apart(tmp_path):
    failures, status = watched(
        tmp_path,
        2,
        a=[("01_draem_training",)],
        b=[("01_draem_training",), ("02_anomaly_maps", "fails"), ("03_features",)],
        c=[("01_draem_training",)],
    )
    assert failures == ["b: cell 3 failed: no such thing"]
    states = {name: about["state"] for name, about in status["datasets"].items()}
    assert states == {"a": "done", "b": "failed", "c": "done"}
    assert "cell 3" in status["datasets"]["b"]["reason"]
    assert [item["notebook"] for item in status["datasets"]["b"]["ended"]] == ["01_draem_training"]


def test_what_no_one_expected_stays_with_its_data_set(tmp_path, capsys):
    ended = []

    def afterwards(root):
        ended.append(root.name)
        if root.name == "c":
            raise OSError("disk full")

    failures, status = watched(
        tmp_path,
        afterwards=afterwards,
        a=[("01_draem_training", "breaks")],
        b=[("01_draem_training",)],
        c=[("01_draem_training", "fails")],
    )
    assert failures == ["a: KeyError: 'of a library'", "c: cell 3 failed: no such thing\nc: disk full"]
    assert [about["state"] for about in status["datasets"].values()] == ["failed", "done", "failed"]
    assert ended == ["a", "b", "c"]
    assert "raise KeyError" in capsys.readouterr().err


def test_an_interrupt_goes_through_and_ends_the_kernels(tmp_path):
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        watched(tmp_path, 2, a=[("01_draem_training", "stopped")], b=[("01_draem_training", "waits")])
    assert time.monotonic() - began < 30
    assert json.loads((tmp_path / "status.json").read_text())["datasets"]["b"]["state"] == "stopped"
