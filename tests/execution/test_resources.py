"""Memory that is left: the machine's own word, and every limit that the process's control groups set."""

import sys

import pytest

from lib.execution.resources import memory_free

GIB = 2**30


@pytest.fixture
def system(tmp_path):
    """Make a /proc and a /sys/fs/cgroup with 8 GiB available; returns a function that adds files below them."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("proc/meminfo", f"MemTotal: {16 * 2**20} kB\nMemAvailable: {8 * 2**20} kB\n")
    return write


def free(tmp_path):
    return memory_free(tmp_path / "proc", tmp_path / "groups")


def test_without_limits_it_is_what_the_machine_has(system, tmp_path):
    assert free(tmp_path) == 8 * GIB
    system("proc/self/cgroup", "0::/\n")
    system("groups/memory.max", "max\n")
    system("groups/memory.current", "5\n")
    assert free(tmp_path) == 8 * GIB


def test_the_limit_of_an_outer_group_counts_and_its_caches_are_free(system, tmp_path):
    system("proc/self/cgroup", "0::/box/inner\n")
    system("groups/box/inner/memory.max", "max\n")
    system("groups/box/memory.max", f"{4 * GIB}\n")
    system("groups/box/memory.current", f"{3 * GIB}\n")
    assert free(tmp_path) == GIB
    system("groups/box/memory.stat", f"anon 7\ninactive_file {GIB}\nactive_file {GIB}\n")
    assert free(tmp_path) == 3 * GIB


def test_the_older_groups(system, tmp_path):
    system("proc/self/cgroup", "9:cpu:/\n4:memory:/box\n0::/\n")
    system("groups/memory/box/memory.limit_in_bytes", f"{2 * GIB}\n")
    system("groups/memory/box/memory.usage_in_bytes", f"{GIB}\n")
    assert free(tmp_path) == GIB


def test_a_system_that_does_not_tell(tmp_path):
    assert free(tmp_path) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_this_machine_has_some():
    assert memory_free() > 2**20
