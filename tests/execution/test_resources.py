"""Cores granted, and memory that is left: the machine's own word, and every limit of the process's control groups."""

import os

import psutil
import pytest

from lib.execution.parallel import cores, memory_free

GIB = 2**30


@pytest.mark.parametrize(("granted", "count"), [("1", 1), ("3", 3), ("4,2", 4)])
def test_cores_are_those_that_the_variables_grant(monkeypatch, granted, count):
    monkeypatch.delenv("STUDY_CORES", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", granted)
    assert cores() == count
    monkeypatch.setenv("STUDY_CORES", "7")
    assert cores() == 7


def test_without_the_variables_the_cores_are_the_machines(monkeypatch):
    monkeypatch.delenv("STUDY_CORES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= cores() <= os.cpu_count()


@pytest.fixture
def free(tmp_path, monkeypatch):
    """Return a function: the memory free on a machine with 8 GiB available, given the files of its control groups."""
    monkeypatch.setattr(psutil, "virtual_memory", Memory)

    def find(group=None, **limits):
        proc, groups = tmp_path / "proc/self", tmp_path / "groups"
        proc.mkdir(parents=True, exist_ok=True)
        if group:
            (proc / "cgroup").write_text(f"9:cpu:/\n0::{group}\n")
        for folder, (limit, used, cached) in limits.items():
            place = groups / folder.replace("_", "/")
            place.mkdir(parents=True, exist_ok=True)
            (place / "memory.max").write_text(f"{limit}\n")
            (place / "memory.current").write_text(f"{used}\n")
            (place / "memory.stat").write_text(f"anon 7\ninactive_file {cached}\nactive_file {cached}\n")
        return memory_free(tmp_path / "proc", groups)

    return find


class Memory:
    available = 8 * GIB


def test_memory_without_limits_is_what_the_machine_has(free):
    assert free() == 8 * GIB, "a system without control groups"
    assert free("/box", box=("max", 5, 0)) == 8 * GIB


def test_the_limit_of_an_outer_group_counts_and_its_caches_are_free(free):
    limits = {"box_inner": ("max", 5, 0), "box": (4 * GIB, 3 * GIB, 0)}
    assert free("/box/inner", **limits) == GIB
    assert free("/box/inner", box=(4 * GIB, 3 * GIB, GIB // 2)) == 2 * GIB
    assert free("/box/inner", box=(4 * GIB, 5 * GIB, 0)) == 0
