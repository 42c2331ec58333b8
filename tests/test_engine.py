"""Folds in this process and on a Dask cluster give the same results in the same order."""

import os
import time

import pytest

from lib.engine import BATCH, EngineError, local_cluster, run_tasks


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
