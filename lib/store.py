"""The one place that knows where artefacts live, what proves them, and how they are written.

An artefact counts when its manifest stands beside it (`NAME.manifest.json`, written last) with the fingerprint
of what it was made from and the SHA-256 of its bytes. Anything else is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lib

MANIFEST = ".manifest.json"


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """Return the SHA-256 of `inputs` as canonical JSON."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


_HASHES: dict[tuple[str, int, int], str] = {}


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256, remembered for as long as its size and modification time stay."""
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns)
    if key not in _HASHES:
        with path.open("rb") as stream:
            _HASHES[key] = hashlib.file_digest(stream, "sha256").hexdigest()
    return _HASHES[key]


def listing_digest(folder: Path) -> str:
    """Return a digest of the names, sizes and modification times below `folder`: cheap, notices any change."""
    digest = hashlib.sha256()
    found = _files(str(folder), "") if folder.is_dir() else ()
    for name, stat in sorted(found, key=lambda file: file[0].split("/")):
        line = f"{name}\x1f{stat.st_size}\x1f{stat.st_mtime_ns}\x1e"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files(folder: str, before: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every file below `folder` by its name from there; scandir, as each step of the study asks again.

    A folder that may not be read and a link in a circle stand for themselves: who needs them says what is wrong.
    """
    try:
        entries = os.scandir(folder)
    except PermissionError:
        yield before, os.stat(folder)  # noqa: PTH116 (as fast as scandir's own)
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{before}{entry.name}/")
                continue
            try:
                known = entry.stat() if entry.is_file() else None
            except OSError:
                known = entry.stat(follow_symlinks=False)
            if known:
                yield before + entry.name, known


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and renamed, else removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(path.parent, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write bytes atomically."""
    with atomic(path) as partial:
        partial.write_bytes(data)


@dataclass(frozen=True)
class Store:
    """The artefacts of one data set in one study, below `root`."""

    root: Path

    def path(self, name: str) -> Path:
        """Return where the artefact `name` lives."""
        return self.root / name

    def manifest(self, name: str) -> dict[str, Any] | None:
        """Return the artefact's manifest, or None where there is none that can be read."""
        try:
            record = json.loads((self.root / (name + MANIFEST)).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) else None

    def fault(self, name: str) -> str:
        """Say why the artefact does not count as it stands on disk, or return an empty text."""
        record, path = self.manifest(name), self.path(name)
        if record is None:
            return "no readable manifest"
        if not path.is_file():
            return "missing"
        if path.stat().st_size != record.get("bytes"):
            return f"{path.stat().st_size} bytes instead of {record.get('bytes')}"
        return "" if file_sha256(path) == record.get("sha256") else "its SHA-256 is not the manifest's"

    def proven(self, name: str, inputs: Mapping[str, Any]) -> bool:
        """Tell whether the artefact exists unaltered and was made from exactly `inputs`."""
        record = self.manifest(name)
        return (
            record is not None and record.get("fingerprint") == self._print(inputs) and not self.fault(name)
        )

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a written artefact, for the fingerprints of what is made from it."""
        record = self.manifest(name)
        if record is None:
            raise FileNotFoundError(
                f"{self.path(name)}: not there or not proven; run the notebook that writes it"
            )
        return str(record["sha256"])

    def digest_or_none(self, name: str) -> str | None:
        """Return the SHA-256 of an artefact that stands unaltered on disk, else None."""
        record = self.manifest(name)
        return str(record["sha256"]) if record and not self.fault(name) else None

    def make(
        self, name: str, inputs: Mapping[str, Any], write: Callable[[Path], Mapping[str, Any] | None]
    ) -> dict[str, Any]:
        """Return the proven artefact's manifest, calling `write(temporary path)` first where it is not proven.

        What `write` returns is kept in the manifest as its `summary`, with the seconds it took.
        """
        if self.proven(name, inputs):
            record = self.manifest(name)
            assert record is not None
            return record
        path, manifest = self.path(name), self.root / (name + MANIFEST)
        manifest.unlink(missing_ok=True)
        start = time.perf_counter()
        with atomic(path) as partial:
            summary = dict(write(partial) or {})
        record = {
            "artefact": name,
            "fingerprint": self._print(inputs),
            "inputs": dict(inputs),
            "sha256": file_sha256(path),
            "bytes": path.stat().st_size,
            "summary": summary | {"seconds": round(time.perf_counter() - start, 3)},
        }
        write_text(manifest, json.dumps(record, indent=1, sort_keys=True) + "\n")
        return record

    def names(self) -> list[str]:
        """Return the names of all artefacts with a manifest."""
        found = self.root.rglob("*" + MANIFEST)
        return sorted(p.relative_to(self.root).as_posix().removesuffix(MANIFEST) for p in found)

    def verify(self) -> dict[str, str]:
        """Return the fault of every artefact with a manifest, empty where it is sound."""
        return {name: self.fault(name) for name in self.names()}

    def forget(self, *prefixes: str) -> list[str]:
        """Remove the manifests of the artefacts under the given prefixes, so that they are made again."""
        gone = [name for name in self.names() if name.startswith(prefixes)]
        for name in gone:
            (self.root / (name + MANIFEST)).unlink()
        return gone

    def disk_free(self) -> int:
        """Return the free bytes where the artefacts live."""
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free

    @staticmethod
    def _print(inputs: Mapping[str, Any]) -> str:
        return fingerprint({"version": lib.__version__, **inputs})
