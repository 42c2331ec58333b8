"""Artefacts count only when proven."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from lib.artifacts import (
    HOST,
    MANIFEST,
    Store,
    atomic,
    fingerprint,
    listing_digest,
    new_array,
    peak_memory,
    remove_leftovers,
    write_text,
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def writer(text, calls):
    def write(path):
        calls.append(text)
        path.write_text(text)
        return {"length": len(text)}

    return write


def test_a_proven_artefact_is_not_made_again(store):
    calls = []
    first = store.make("a/x.txt", {"k": 1}, writer("one", calls))
    second = store.make("a/x.txt", {"k": 1}, writer("two", calls))
    assert calls == ["one"]
    assert first == second
    assert first["summary"]["length"] == 3
    assert store.path("a/x.txt").read_text() == "one"
    assert store.digest("a/x.txt") == first["sha256"]


def test_what_is_made_and_what_is_read_come_in_the_same_order(store):
    def write(path):
        path.write_text("x")
        return {"rows": [{"step": 1, "loss": 0.5}]}

    made = store.make("x", {}, write)["summary"]
    read = store.make("x", {}, write)["summary"]
    assert list(made["rows"][0]) == list(read["rows"][0])


def test_other_inputs_make_it_again(store):
    calls = []
    store.make("x", {"k": 1}, writer("one", calls))
    store.make("x", {"k": 2}, writer("two", calls))
    assert calls == ["one", "two"]


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove", "manifest"])
def test_harm_is_noticed_and_mended(store, harm):
    calls = []
    store.make("x.txt", {}, writer("abcdef", calls))
    path = store.path("x.txt")
    if harm == "truncate":
        path.write_text("abc")
    elif harm == "flip":
        stat = path.stat()
        path.write_text("abcdeX")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    elif harm == "remove":
        path.unlink()
    else:
        store.path("x.txt.manifest.json").write_text("{")
    assert store.verify()["x.txt"]
    store.make("x.txt", {}, writer("abcdef", calls))
    assert calls == ["abcdef", "abcdef"]
    assert store.verify() == {"x.txt": ""}


def test_a_failed_write_leaves_nothing_that_counts(store):
    store.make("x", {"k": 1}, writer("old", []))

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.make("x", {"k": 2}, fail)
    assert not store.proven("x", {"k": 2})
    assert not store.proven("x", {"k": 1})
    assert [p.name for p in store.root.iterdir()] == ["x"]


def test_forget_makes_the_chosen_ones_again(store):
    for name in ("maps/a", "maps/b", "draem/a"):
        store.make(name, {}, writer(name, []))
    store.forget("maps/")
    assert store.names() == ["draem/a"]


def test_digest_of_what_is_not_there_says_so(store):
    with pytest.raises(FileNotFoundError, match="nothing"):
        store.digest("nothing")


def test_atomic_replaces_only_on_success(tmp_path):
    target = tmp_path / "t.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="no"), atomic(target) as partial:
        partial.write_text("new")
        raise ValueError("no")
    assert target.read_text() == "old"
    with atomic(target) as partial:
        partial.write_text("new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_listing_digest_notices_names_sizes_and_times(tmp_path):
    (tmp_path / "a").write_text("1")
    seen = {listing_digest(tmp_path)}
    os.utime(tmp_path / "a", ns=(1, 1))
    seen.add(listing_digest(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    seen.add(listing_digest(tmp_path))
    assert len(seen) == 3


def test_listing_digest_passes_what_may_not_be_read_and_notices_it_still(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    scan = os.scandir

    def forbidden(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    seen = {listing_digest(tmp_path)}
    (tmp_path / "circle").rename(tmp_path / "ring")
    seen.add(listing_digest(tmp_path))
    (tmp_path / "shut").rename(tmp_path / "still-shut")
    seen.add(listing_digest(tmp_path))
    assert len(seen) == 3


def test_a_flip_that_leaves_size_and_time_is_noticed(store):
    """As a failing disk leaves it; in this process too, which remembers hashes."""
    calls = []
    store.make("x.txt", {}, writer("abcdef", calls))
    stat = store.path("x.txt").stat()
    with store.path("x.txt").open("rb+") as stream:
        stream.write(b"X")
    os.utime(store.path("x.txt"), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert store.path("x.txt").stat().st_mtime_ns == stat.st_mtime_ns
    assert not store.proven("x.txt", {})


def test_a_flip_anywhere_in_a_manifest_is_noticed_and_mended(store):
    store.make("x.txt", {"k": 1}, writer("abcdef", []))
    path = store.path("x.txt" + MANIFEST)
    sound = path.read_bytes()
    harmless = 0
    for position in range(len(sound)):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :])
        try:
            same = json.loads(path.read_bytes()) == json.loads(sound)
        except ValueError:
            same = False
        harmless += same
        assert bool(store.issue("x.txt")) != same, f"byte {position}"
    assert harmless < len(sound) / 4, "only layout may differ without being noticed"
    path.write_bytes(sound.replace(b'"length": 6', b'"length": 7'))
    assert store.make("x.txt", {"k": 1}, writer("abcdef", []))["summary"]["length"] == 6


def test_a_manifest_without_seal_or_code_does_not_count(store):
    """As earlier versions wrote them: nothing says which code made the artefact."""
    store.make("x.txt", {"k": 1}, writer("old", []))
    record = store.manifest("x.txt")
    write_text(store.path("x.txt" + MANIFEST), json.dumps(record))
    assert store.issue("x.txt") == "no readable manifest"
    record["seal"] = fingerprint(record)
    write_text(store.path("x.txt" + MANIFEST), json.dumps(record))
    assert store.proven("x.txt", {"k": 1})
    assert not store.proven("x.txt", {"k": 1, "code": "of today"})


@pytest.mark.parametrize("harm", ["gone", "altered"])
def test_what_was_written_besides_is_proven_with_it(store, harm):
    def write(path):
        path.write_text("notebook")
        write_text(store.path("tables/t.csv"), "1")
        return {"files": [store.path("tables/t.csv")]}

    store.make("notebooks/n", {}, write)
    assert store.manifest("notebooks/n")["files"].keys() == {"../tables/t.csv"}
    assert Store(store.root.parent).issue(f"{store.root.name}/notebooks/n") == ""
    store.path("tables/t.csv").unlink() if harm == "gone" else store.path("tables/t.csv").write_text("2")
    assert "t.csv" in store.issue("notebooks/n")
    store.make("notebooks/n", {}, write)
    assert store.issue("notebooks/n") == ""


def test_a_manifest_says_how_long_it_took_and_how_much_memory(store):
    summary = store.make("x", {}, writer("one", []))["summary"]
    assert summary["seconds"] >= 0
    assert 10e6 < summary["peak_bytes"] <= peak_memory()


KILLED = """
import sys, time
from pathlib import Path
from lib.artifacts import atomic
with atomic(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("half", flush=True)
    time.sleep(60)
"""


def test_only_leftovers_of_dead_processes_are_removed(tmp_path):
    project = str(Path(__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "maps" / "a.npy")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": project},
    )
    process.stdout.readline()
    (half,) = (tmp_path / "maps").iterdir()
    remove_leftovers(tmp_path)
    assert half.exists()
    process.kill()
    process.wait()
    reused = tmp_path / f".b.{HOST}.{os.getpid()}.partial.npy"  # left by a process whose pid is ours now
    young, old = (tmp_path / f".{name}.elsewhere.1.partial.npy" for name in ("young", "old"))
    other = tmp_path / ".c.partial.npy"
    for path in (reused, young, old, other):
        path.write_text("half")
    os.utime(reused, (0, psutil.Process().create_time() - 10))
    os.utime(old, (0, time.time() - 90_000))
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.rglob("*.npy")} == {young.name, other.name}


def test_a_full_disk_leaves_nothing_half_and_says_what_to_do(store):
    """The system refuses files beyond 10 kB, as a full disk does; see `make faults` for a disk that is full."""
    store.make("sound", {}, writer("old", []))
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        for write in (
            lambda path: path.write_bytes(bytes(20_000)),
            lambda path: new_array(path, np.uint8, (20_000,)) is None,
        ):
            with pytest.raises(OSError, match="free some space, then run the same command again") as error:
                store.make("big", {}, write)
            assert error.value.errno == errno.EFBIG
            assert not store.proven("big", {})
            assert sorted(path.name for path in store.root.iterdir()) == ["sound", "sound" + MANIFEST]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    store.make("big", {}, lambda path: path.write_bytes(bytes(20_000)) and None)
    assert store.verify() == {"big": "", "sound": ""}


def test_a_new_array_has_its_space_reserved(tmp_path):
    array = new_array(tmp_path / "a.npy", np.uint8, (100, 1000))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 100_000
    array[3] = 7
    array.flush()
    assert np.load(tmp_path / "a.npy")[3].tolist() == [7] * 1000
