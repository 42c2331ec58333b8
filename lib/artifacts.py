"""Artefacts: where they are, what proves them, how they are written.

An artefact counts when it has a manifest (`NAME.manifest.json`, written last) with the fingerprint
of what it was made from (inputs, settings, seed, code) and the SHA-256 of its bytes, under a seal over the manifest
itself. Anything else is made again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import platform
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lib

if TYPE_CHECKING:
    import numpy as np

MANIFEST = ".manifest.json"
HOST = re.sub(r"\W+", "-", socket.gethostname())[:40]
PARTIAL = re.compile(r"^\..+\.(?P<host>[\w-]+)\.(?P<pid>\d+)\.partial")
FOREIGN_LEFTOVER = 86_400.0  # seconds without a write after which another host's temporary file is a leftover


@cache
def software() -> dict[str, str]:
    """Return the versions of Python and of the packages that figures come from; none of these is imported."""
    from importlib.metadata import version

    packages = ("torch", "scikit-learn", "numpy")
    return {"Python": platform.python_version()} | {name: version(name) for name in packages}


@cache
def device_name(device: str) -> str:
    """Return what a GPU, or this machine's processor, is called: figures may differ between kinds."""
    if device != "cpu":
        import torch

        # workers may have a GPU where this process has none
        return torch.cuda.get_device_name(device) if torch.cuda.is_available() else device
    with suppress(OSError, StopIteration):  # where Linux says it
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """Return the SHA-256 of `inputs` as canonical JSON."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256, remembered in this process for as long as the file is not written or replaced."""
    stat = path.stat()
    return _sha256_of(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@cache
def _sha256_of(path: Path, *identity: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def walk_linked(
    folder: Path, onerror: Callable[[OSError], object] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what os.walk does, in linked folders too; a link that leads in a circle stands among the files."""
    for at, inner, files in os.walk(folder, onerror=onerror, followlinks=True):
        above = [path for path in (Path(at), *Path(at).parents) if path.is_relative_to(folder)]
        for name in [name for name in inner if Path(at, name).is_symlink()]:
            if any(path.resolve().is_relative_to(Path(at, name).resolve()) for path in above):
                inner.remove(name)
                files.append(name)
        yield at, inner, files


def listing_digest(folder: Path) -> str:
    """Return a digest of the names, sizes and modification times below `folder`: cheap, notices any change."""
    digest = hashlib.sha256()
    for path in sorted(Path(at, one) for at, *names in walk_linked(folder) for one in chain(*names)):
        try:
            stat = path.stat()
        except OSError:  # a link in a circle, or one that leads nowhere
            stat = path.lstat()
        about = "" if path.is_dir() else f"\x1f{stat.st_size}\x1f{stat.st_mtime_ns}"
        line = f"{path.relative_to(folder).as_posix()}{about}\x1e"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def absolute(path: Path) -> Path:
    """Return the path from the root, links followed; where they lead in a circle, as it was written."""
    return Path(os.path.realpath(path))


def study_folder(output: Path, name: str, issues: list[str]) -> Path:
    """Return where the study `name` lives below `output`, having added an issue where that is no plain name."""
    if Path(name).name != name or name in ("", ".."):
        issues.append(f"--study {name!r}: must be a plain folder name")
    return absolute(output) / name


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`, then flushed and renamed, or removed; OSError with a way out on a full disk."""
    partial = path.with_name(f".{path.stem}.{HOST}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        if is_full(error):
            remedy = "free some space, then run the same command again to go on from here"
            issue = f"{error.strerror or 'disk full'}; nothing half-written counts: {remedy}"
            raise OSError(error.errno, issue, str(path)) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def is_full(error: OSError) -> bool:
    """Tell whether the error says that the disk, the quota or the largest allowed file is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def new_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> np.memmap:
    """Create a .npy file on disk and return it memory-mapped, its space reserved: writing cannot meet a full disk."""
    import numpy as np

    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as stream:
            try:
                os.posix_fallocate(stream.fileno(), 0, max(1, path.stat().st_size))
            except OSError as error:
                if is_full(error):
                    raise
    return array


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed processes left below `folder`.

    A file of this host counts as left when no process has its pid, or one that started after the file's last write;
    another host's, when nothing was written to it for a day.
    """
    import psutil

    began = {process.pid: process.info["create_time"] for process in psutil.process_iter(["create_time"])}
    for path in folder.rglob(".*.partial*"):
        if (found := PARTIAL.match(path.name)) and path.is_file():
            written = path.stat().st_mtime
            dead = (began.get(int(found["pid"]), math.inf) or 0.0) > written + 1
            old = time.time() - written > FOREIGN_LEFTOVER
            if dead if found["host"] == HOST else old:
                path.unlink(missing_ok=True)


def peak_memory() -> int:
    """Return the most memory that this process has held at once, in bytes."""
    import resource  # not on Windows, where an exported model may run

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def write_text(path: Path, text: str) -> None:
    """Write text atomically."""
    with atomic(path) as partial:
        partial.write_bytes(text.encode())


READ_ONLY = ContextVar("read_only", default=False)  # whether nothing may be made


class StaleError(RuntimeError):
    """What stands there is not what would be made now, and nothing may be made."""


@contextmanager
def read_only() -> Iterator[None]:
    """Let `Store.make` raise `StaleError` meanwhile where it would make something; no task leaves this process."""
    token = READ_ONLY.set(True)
    try:
        yield
    finally:
        READ_ONLY.reset(token)


@dataclass(frozen=True)
class Store:
    """The artefacts of one data set in one study, below `root`."""

    root: Path

    def path(self, name: str) -> Path:
        """Return where the artefact `name` lives."""
        return self.root / name

    def manifest(self, name: str) -> dict[str, Any] | None:
        """Return the artefact's manifest, or None where there is none, or one that is not as it was written."""
        try:
            record = json.loads((self.root / (name + MANIFEST)).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        seal = record.pop("seal", None) if isinstance(record, dict) else None
        return record if seal and seal == fingerprint(record) else None

    def issue(self, name: str) -> str:
        """Say why the artefact does not count as it stands on disk, or return an empty text."""
        record, path = self.manifest(name), self.path(name)
        if record is None:
            return "no readable manifest"
        if not path.is_file():
            return "missing"
        if path.stat().st_size != record.get("bytes"):
            return f"{path.stat().st_size} bytes instead of {record.get('bytes')}"
        if file_sha256(path) != record.get("sha256"):
            return "its SHA-256 is not the manifest's"
        for other, known in record.get("files", {}).items():
            beside = path.parent / other
            if not beside.is_file() or file_sha256(beside) != known:
                return f"{beside} was made with it and is missing or altered"
        return ""

    def proven(self, name: str, inputs: Mapping[str, Any]) -> bool:
        """Tell whether the artefact exists unaltered and was made from exactly `inputs`."""
        record = self.manifest(name) or {}
        return record.get("fingerprint") == _made_from(inputs) and not self.issue(name)

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a written artefact, for the fingerprints of what is made from it."""
        record = self.manifest(name)
        if record is None:
            raise FileNotFoundError(f"{self.path(name)}: no proven artefact; run the notebook that makes it")
        return str(record["sha256"])

    def digest_or_none(self, name: str) -> str | None:
        """Return the SHA-256 of an artefact that stands unaltered on disk, else None."""
        return None if self.issue(name) else self.digest(name)

    def make(
        self, name: str, inputs: Mapping[str, Any], write: Callable[[Path], Mapping[str, Any] | None]
    ) -> dict[str, Any]:
        """Return the proven artefact's manifest, calling `write(temporary path)` first where it is not proven.

        Within `read_only` raises `StaleError` instead. What `write` returns is the manifest's `summary`, with the
        seconds and peak memory in bytes; its entry `files`, of what was written besides, is proven with the artefact;
        of its `device` the name is kept beside the versions of the software, which prove nothing.
        """
        known = self.manifest(name)
        if known and self.proven(name, inputs):
            return known
        if READ_ONLY.get():
            raise StaleError(f"{self.path(name)}: not as it would be made now")
        path, manifest = self.path(name), self.root / (name + MANIFEST)
        manifest.unlink(missing_ok=True)
        start = time.perf_counter()
        with atomic(path) as partial:
            summary = dict(write(partial) or {})
            sha256 = file_sha256(partial)
        summary |= {"seconds": round(time.perf_counter() - start, 3), "peak_bytes": peak_memory()}
        ran_on = {"device": device_name(summary["device"])} if "device" in summary else {}
        beside = [Path(file) for file in summary.pop("files", ())]
        record = {
            "artefact": name,
            "fingerprint": _made_from(inputs),
            "inputs": dict(inputs),
            "sha256": sha256,
            "bytes": path.stat().st_size,
            "files": {os.path.relpath(file, path.parent): file_sha256(file) for file in beside},
            "host": HOST,
            "made_with": software() | ran_on,
            "summary": summary,
        }
        record = json.loads(json.dumps(record, sort_keys=True))  # as it will be read: in the same order too
        sealed = record | {"seal": fingerprint(record)}
        write_text(manifest, json.dumps(sealed, indent=1, sort_keys=True) + "\n")
        return record

    def keep_text(self, name: str, text: str) -> Path:
        """Write a text as an artefact where it is not proven, and return its file."""
        inputs = {"text": hashlib.sha256(text.encode()).hexdigest()}
        self.make(name, inputs, lambda path: write_text(path, text))
        return self.path(name)

    def names(self) -> list[str]:
        """Return the names of all artefacts with a manifest."""
        found = self.root.rglob("*" + MANIFEST)
        return sorted(p.relative_to(self.root).as_posix().removesuffix(MANIFEST) for p in found)

    def verify(self) -> dict[str, str]:
        """Return the fault of every artefact with a manifest, empty where it is sound."""
        return {name: self.issue(name) for name in self.names()}

    def forget(self, *prefixes: str) -> None:
        """Remove the manifests of the artefacts under the given prefixes, so that they are made again."""
        for name in self.names():
            if name.startswith(prefixes):
                (self.root / (name + MANIFEST)).unlink()


def _made_from(inputs: Mapping[str, Any]) -> str:
    return fingerprint({"version": lib.__version__, **inputs})
