"""Fetch the public magnetic tile images, proven file by file against a manifest before they are used."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import stat
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

COMMIT = "cc4eb530b57b9cb7225bf76023873043ffd50655"
URL = (
    f"https://github.com/abin24/Magnetic-tile-defect-datasets./archive/{COMMIT}.zip"  # the dot is in the name
)
MANIFEST = Path(__file__).with_name("magnetic_tile.sha256")
LARGEST_ARCHIVE = 200 * 2**20  # bytes; the images take 50 MiB
LARGEST_FILE = 5 * 2**20
LARGEST_TOTAL = 200 * 2**20
LONGEST = 900.0  # seconds for the whole download, however slowly it trickles
CHUNK = 2**16
SHOWN = 10
WAY_OUT = "download the images by hand and name their folder with --data DIR"


class DownloadError(Exception):
    """The images could not be fetched or are not the published ones; the message says what to do."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)

    def __str__(self) -> str:
        return f"magnetic_tile: {self.args[0]}; {WAY_OUT}"


def fetch_magnetic_tile(destination: Path, *, url: str = URL, timeout: float = 10.0) -> Path:
    """Download, unpack and verify the magnetic tile images; return `destination`, which then holds them.

    The archive is read over HTTPS (plain HTTP from this very computer only), giving up after `timeout`
    seconds without a byte. Only the files of the manifest are unpacked, each must have its SHA-256, and the
    folder appears under its name when all are there; nothing is left behind otherwise. A complete
    `destination` is returned as it is. Raises DownloadError for everything that goes wrong.
    """
    destination = Path(destination)
    manifest = read_manifest(MANIFEST)
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        if differing := _differing(destination, manifest):
            raise DownloadError(f"{destination} exists, but {_listed(differing)}; remove it")
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{destination.name}-"
    for leftover in destination.parent.glob(f"{prefix}*"):
        if time.time() - leftover.stat().st_mtime > 2 * LONGEST:  # of a run that was killed
            shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=destination.parent) as scratch:
        archive, folder = Path(scratch, "archive.zip"), Path(scratch, "images")
        _download(url, archive, timeout)
        _unpack(archive, folder, manifest)
        if differing := _differing(folder, manifest):
            raise DownloadError(f"the archive at {url} is not the published one: {_listed(differing)}")
        if destination.exists():
            destination.rmdir()  # it is empty; Windows does not rename over it
        folder.rename(destination)
    return destination


def read_manifest(path: Path) -> dict[str, str]:
    """Read lines of `<sha256>  <relative path>` as {relative path: sha256}."""
    pairs = (line.split("  ", 1) for line in path.read_text(encoding="utf-8").splitlines() if line)
    return {name: digest for digest, name in pairs}


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects only to addresses that would be accepted themselves."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not local:
        raise DownloadError(f"{url} is not an https address")


def _download(url: str, target: Path, timeout: float) -> None:
    _check_address(url)
    opener = urllib.request.build_opener(_SafeRedirects)
    deadline = time.monotonic() + LONGEST
    try:
        with opener.open(url, timeout=timeout) as response, target.open("wb") as file:

            def write(chunk: bytes) -> None:
                if time.monotonic() > deadline:
                    raise DownloadError(f"{url} did not arrive within {LONGEST:g} s")
                file.write(chunk)

            announced = response.length  # None where the server does not say
            size = _copy(response, write, LARGEST_ARCHIVE, url)
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"{url} answers HTTP {error.code} ({error.reason})") from error
    except TimeoutError as error:
        raise DownloadError(f"{url} sent nothing for {timeout:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DownloadError(f"{url} could not be fetched ({reason})") from error
    if announced is not None and size != announced:
        raise DownloadError(f"{url} broke off after {size:,} of {announced:,} bytes")


def _copy(source: IO[bytes], write: Callable[[bytes], object], limit: int, name: str) -> int:
    """Copy in chunks and return the number of bytes; raise DownloadError above `limit`."""
    size = 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > limit:
            raise DownloadError(f"{name} is larger than {limit:,} bytes")
        write(chunk)
    return size


def _unpack(archive: Path, folder: Path, manifest: dict[str, str]) -> None:
    """Unpack the manifest's files from below its top folder; refuse an archive with any odd entry."""
    total = 0
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            for entry in entries:
                _check_entry(entry)
            for entry in entries:
                name = "/".join(entry.filename.split("/")[1:])
                if name not in manifest:
                    continue
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                limit = min(LARGEST_FILE, LARGEST_TOTAL - total)
                with packed.open(entry) as source, target.open("wb") as file:
                    total += _copy(source, file.write, limit, entry.filename)
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, ValueError, zlib.error) as error:
        raise DownloadError(f"the archive cannot be unpacked ({error})") from error


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise DownloadError(f"the archive holds {name!r}, which leads out of its folder")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DownloadError(f"the archive holds {name!r}, which is a link")


def _differing(folder: Path, manifest: dict[str, str]) -> list[str]:
    """Return what is missing or has another SHA-256, one phrase per file."""
    problems = []
    for name, digest in manifest.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            problems.append(f"{name} has another SHA-256")
    return problems


def _listed(problems: list[str]) -> str:
    more = f" and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
    return f"{', '.join(problems[:SHOWN])}{more}"
