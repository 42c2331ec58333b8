"""Folds in this process, in several, and on a Dask cluster give the same results in the same order."""

import os
import time

import psutil
import pytest
import torch
from threadpoolctl import threadpool_info

from lib.execution.cluster import local_cluster
from lib.execution.parallel import BATCH, EngineError, cores, max_parallel, run_tasks


def slow_first(folder, number):
    time.sleep(0.2 if number == 0 else 0)
    return number, os.getpid()


@pytest.mark.parametrize("batch", [True, False])
def test_in_process_keeps_order_and_reports(tmp_path, capsys, monkeypatch, batch):
    monkeypatch.setattr("lib.execution.parallel.WORTH_A_LINE", 0.1)
    monkeypatch.setenv(BATCH, "1") if batch else monkeypatch.delenv(BATCH, raising=False)
    results = run_tasks(slow_first, [("f", 0), ("f", 1)], label="fold", shared_folder=tmp_path)
    assert results == [(0, os.getpid()), (1, os.getpid())]
    printed = capsys.readouterr().out
    assert ("fold 0:" in printed) == batch
    assert "fold 1:" not in printed, "what took no time was proven already: no line"


@pytest.mark.parametrize("batch", [True, False])
def test_in_several_processes_keeps_order_and_reports(tmp_path, capsys, monkeypatch, batch):
    monkeypatch.setattr("lib.execution.parallel.WORTH_A_LINE", -1)
    monkeypatch.setenv(BATCH, "1") if batch else monkeypatch.delenv(BATCH, raising=False)
    results = run_tasks(
        slow_first, [("f", 0), ("f", 1), ("f", 2)], label="fold", shared_folder=tmp_path, processes=2
    )
    assert [number for number, _ in results] == [0, 1, 2]
    assert os.getpid() not in {pid for _, pid in results}
    assert ("(3 of 3)" in capsys.readouterr().out) == batch


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


@pytest.fixture(scope="module")
def cluster():
    """Two workers on a machine that is told it has one GPU, named 5."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.device_count", lambda: 1)
        patch.setenv("CUDA_VISIBLE_DEVICES", "5")
        with local_cluster(2) as address:
            yield address


def test_on_a_cluster_keeps_order_and_uses_workers(tmp_path, capsys, cluster):
    calls = [("f", 0), ("f", 1), ("f", 2)]
    results = run_tasks(slow_first, calls, label="fold", shared_folder=tmp_path, scheduler=cluster)
    assert [number for number, _ in results] == [0, 1, 2]
    assert os.getpid() not in {pid for _, pid in results}
    assert len({pid for _, pid in results}) == 2
    assert "(3 of 3)" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_no_workers_asked_for_starts_none():
    with local_cluster(0) as address:
        assert address == ""


def test_a_silent_scheduler_is_named(tmp_path):
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9"):
        run_tasks(slow_first, [("f", 0)], label="fold", shared_folder=tmp_path, scheduler="tcp://127.0.0.1:9")


def threads_here(folder, number):
    return torch.get_num_threads(), {pool["num_threads"] for pool in threadpool_info()}


@pytest.mark.parametrize("engine", ["here", "processes", "cluster"])
def test_a_task_has_the_same_threads_whatever_the_engine(tmp_path, engine, cluster):
    before = torch.get_num_threads()
    found = run_tasks(
        threads_here,
        [("f", 0), ("f", 1)],
        label="",
        shared_folder=tmp_path,
        scheduler=cluster if engine == "cluster" else "",
        processes=2 if engine == "processes" else 1,
        threads=2,
    )
    assert found == [(2, {2})] * 2
    assert torch.get_num_threads() == before


def test_as_many_tasks_at_once_as_cores_and_memory_allow(monkeypatch):
    monkeypatch.setenv("STUDY_CORES", "8")
    monkeypatch.setattr("lib.execution.parallel.cpu_count", lambda: 16)
    free = psutil.virtual_memory()._replace(available=100e9)
    monkeypatch.setattr("lib.execution.parallel.psutil.virtual_memory", lambda: free)
    assert max_parallel(60, 5, 1e9) == 5
    assert max_parallel(60, 20, 1e9) == 8
    assert max_parallel(60, 20, 1e9, threads=3) == 2
    assert max_parallel(60, 20, 13e9) == 3, "its half of 80 % of the free memory"
    assert max_parallel(60, 20, 1e12) == 1
    assert max_parallel(1, 5, 1e9) == 1, "done before processes have started"


def test_workers_with_other_code_are_refused(tmp_path, monkeypatch, cluster):
    monkeypatch.setattr("lib.execution.parallel._software", lambda: "other")
    with pytest.raises(EngineError, match="other code than here"):
        run_tasks(slow_first, [("f", 0)], label="", shared_folder=tmp_path, scheduler=cluster)


def test_workers_without_the_code_are_refused(tmp_path, monkeypatch, cluster):
    monkeypatch.setattr("lib.execution.parallel._reads", refuse)
    with pytest.raises(EngineError, match=r"cannot run the project's code .*start the workers from"):
        run_tasks(slow_first, [("f", 0)], label="", shared_folder=tmp_path, scheduler=cluster)


def test_a_gpu_is_one_workers_and_tasks_for_it_go_there(tmp_path, cluster):
    calls = [("f", number) for number in range(4)]
    found = run_tasks(visible, calls, label="", shared_folder=tmp_path, scheduler=cluster, gpu=True)
    assert set(found) == {"5"}


def visible(folder, number):
    return os.environ["CUDA_VISIBLE_DEVICES"]
