"""Tasks here, in processes and on a Dask cluster give the same results in the same order; how processes end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from threadpoolctl import threadpool_info

from lib.execution import parallel
from lib.execution.parallel import EngineError, local_cluster, max_parallel, run_tasks

PROJECT = Path(__file__).parents[2]
CHILD = """
import sys, time
from lib.execution.parallel import exit_with_parent
exit_with_parent(int(sys.argv[1]))
time.sleep(60)
"""
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, str(os.getpid())], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""
STOPPED = """
import sys, time
from lib.execution.parallel import stop_on_signals
stop_on_signals()
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt as stop:
    print(type(stop).__name__, stop, flush=True)
    sys.exit(7)
"""


def slow_first(folder, number):
    time.sleep(0.2 if number == 0 else 0)
    return number, os.getpid()


@pytest.mark.parametrize("processes", [1, 2])
def test_here_and_in_processes_keeps_order(tmp_path, processes):
    calls = [("f", 0), ("f", 1), ("f", 2)]
    results = run_tasks(slow_first, calls, label="fold", shared_folder=tmp_path, processes=processes)
    assert [number for number, _ in results] == [0, 1, 2]
    assert (os.getpid() in {pid for _, pid in results}) == (processes == 1)


def test_one_task_stays_here(tmp_path):
    (result,) = run_tasks(slow_first, [("f", 0)], label="", shared_folder=tmp_path, processes=2)
    assert result == (0, os.getpid())


def refuse(folder, number):
    raise FileNotFoundError(f"fold {number} lacks its features")


def test_what_a_process_raises_arrives_as_it_was(tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks its features"):
        run_tasks(refuse, [("f", 0), ("f", 1)], label="fold", shared_folder=tmp_path, processes=2)


@pytest.fixture(scope="module")
def cluster():
    """Two workers on a machine that is told it has one GPU, named 5."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cuda.device_count", lambda: 1)
        patch.setenv("CUDA_VISIBLE_DEVICES", "5")
        with local_cluster(2) as address:
            yield address


def test_on_a_cluster_keeps_order_and_uses_workers(tmp_path, cluster):
    calls = [("f", 0), ("f", 1), ("f", 2)]
    results = run_tasks(slow_first, calls, label="fold", shared_folder=tmp_path, scheduler=cluster)
    assert [number for number, _ in results] == [0, 1, 2]
    assert os.getpid() not in {pid for _, pid in results}
    assert len({pid for _, pid in results}) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_silent_scheduler_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("lib.execution.parallel.ANSWERS", 1)
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
    monkeypatch.setattr("lib.execution.parallel.machine_cores", lambda: 16)
    monkeypatch.setattr("lib.execution.parallel.memory_free", lambda: 100e9)
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
    with pytest.raises(EngineError, match=r"cannot run the project's code .*start it from"):
        run_tasks(slow_first, [("f", 0)], label="", shared_folder=tmp_path, scheduler=cluster)


def unreachable(path):
    raise ConnectionError("closed")


@pytest.mark.parametrize(("answer", "said"), [
    (lambda path: "unreadable", "cannot read .*share the study's folder"), (unreachable, "does not answer .*closed"),
])  # fmt: skip
def test_workers_with_the_same_fault_are_named_together(tmp_path, monkeypatch, cluster, answer, said):
    monkeypatch.setattr("lib.execution.parallel._reads", answer)
    with pytest.raises(EngineError, match=rf"^tcp://\S+, tcp://\S+: {said}"):
        run_tasks(slow_first, [("f", 0)], label="", shared_folder=tmp_path, scheduler=cluster)


def test_a_folder_that_a_worker_cannot_read_is_an_answer(tmp_path):
    assert parallel._reads(str(tmp_path / "none")) == parallel.UNREADABLE


def test_a_gpu_is_one_workers_and_tasks_for_it_go_there(tmp_path, cluster):
    calls = [("f", number) for number in range(4)]
    found = run_tasks(visible, calls, label="", shared_folder=tmp_path, scheduler=cluster, gpu=True)
    assert set(found) == {"5"}


def visible(folder, number):
    return os.environ["CUDA_VISIBLE_DEVICES"]


def start(source, before=None):
    return subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        preexec_fn=before,
    )


def test_a_process_ends_with_its_parent():
    parent = start(PARENT)
    child = psutil.Process(int(parent.stdout.readline()))
    time.sleep(1)
    assert child.is_running(), "it must live as long as the parent does"
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([child], timeout=15)[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_run_as_ctrl_c_does(number):
    process = start(STOPPED, lambda: signal.signal(number, signal.SIG_DFL))  # whatever these tests run under
    process.stdout.readline()
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert said == f"KeyboardInterrupt {number.name}\n"
    assert process.returncode == 7


def test_nohup_keeps_a_run_going():
    process = start(STOPPED, lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.kill()
    process.communicate()
