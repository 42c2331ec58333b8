"""Artefacts count only when proven."""

import os

import pytest

from lib.store import Store, atomic, listing_digest


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
    assert store.fault("x.txt")
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
    assert store.forget("maps/") == ["maps/a", "maps/b"]
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
