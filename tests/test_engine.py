"""Folds in this process, in several, and on a Dask cluster give the same results in the same order."""

import os
import time

import pytest

from lib.cluster import local_cluster
from lib.engine import BATCH, EngineError, cores, run_tasks


def slow_first(folder, number):
    time.sleep(0.2 if number == 0 else 0)
    return number, os.getpid()


@pytest.mark.parametrize("batch", [True, False])
def test_in_process_keeps_order_and_reports(tmp_path, capsys, monkeypatch, batch):
    monkeypatch.setattr("lib.engine.WORTH_A_LINE", 0.1)
    monkeypatch.setenv(BATCH, "1") if batch else monkeypatch.delenv(BATCH, raising=False)
    results = run_tasks(slow_first, [("f", 0), ("f", 1)], label="fold", shared_folder=tmp_path)
    assert results == [(0, os.getpid()), (1, os.getpid())]
    printed = capsys.readouterr().out
    assert ("fold 0:" in printed) == batch
    assert "fold 1:" not in printed, "what took no time was proven already: no line"


@pytest.mark.parametrize("batch", [True, False])
def test_in_several_processes_keeps_order_and_reports(tmp_path, capsys, monkeypatch, batch):
    monkeypatch.setenv(BATCH, "1") if batch else monkeypatch.delenv(BATCH, raising=False)
    results = run_tasks(
        slow_first, [("f", 0), ("f", 1), ("f", 2)], label="fold", shared_folder=tmp_path, processes=2
    )
    assert [number for number, _ in results] == [0, 1, 2]
    assert os.getpid() not in {pid for _, pid in results}
    assert ("fold 0: after" in capsys.readouterr().out) == batch


def one_thread_each(folder, number):
    return os.environ["OMP_NUM_THREADS"], os.getpid()


def test_processes_share_the_cores_out(tmp_path):
    found = run_tasks(
        one_thread_each, [("f", i) for i in range(8)], label="", shared_folder=tmp_path, processes=2
    )
    assert {threads for threads, _ in found} == {"1"}
    assert len({pid for _, pid in found}) <= 2


def test_one_task_or_one_process_stays_here(tmp_path):
    for processes, count in ((1, 2), (2, 1)):
        arguments = [("f", number) for number in range(count)]
        results = run_tasks(slow_first, arguments, label="", shared_folder=tmp_path, processes=processes)
        assert {pid for _, pid in results} == {os.getpid()}


def refuse(folder, number):
    raise FileNotFoundError(f"fold {number} lacks its features")


def test_what_a_process_raises_arrives_as_it_was(tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks its features"):
        run_tasks(refuse, [("f", 0), ("f", 1)], label="fold", shared_folder=tmp_path, processes=2)


@pytest.mark.parametrize(("granted", "count"), [("1", 1), ("3", 3), ("4,2", 4)])
def test_cores_are_those_that_the_variable_grants(monkeypatch, granted, count):
    monkeypatch.setenv("OMP_NUM_THREADS", granted)
    assert cores() == count


def test_without_the_variable_the_cores_are_the_machines(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= cores() <= os.cpu_count()


def test_on_a_cluster_keeps_order_and_uses_workers(tmp_path, capsys):
    with local_cluster(2) as address:
        results = run_tasks(
            slow_first,
            [("f", 0), ("f", 1), ("f", 2)],
            label="fold",
            shared_folder=tmp_path,
            scheduler=address,
        )
    assert [number for number, _ in results] == [0, 1, 2]
    assert os.getpid() not in {pid for _, pid in results}
    assert "(3 of 3)" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_no_workers_asked_for_starts_none():
    with local_cluster(0) as address:
        assert address == ""


def test_a_silent_scheduler_is_named(tmp_path):
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9"):
        run_tasks(slow_first, [("f", 0)], label="fold", shared_folder=tmp_path, scheduler="tcp://127.0.0.1:9")
