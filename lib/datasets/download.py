"""Verified downloads: a file by its SHA-256, and the magnetic tile images by the SHA-256 of each file."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tempfile
import threading
import urllib.error
import urllib.request
import uuid
import zipfile
import zlib
from concurrent.futures import Future, wait
from pathlib import Path

from lib.datasets.errors import first_few

COMMIT = "cc4eb530b57b9cb7225bf76023873043ffd50655"
URL = f"https://github.com/abin24/Magnetic-tile-defect-datasets./archive/{COMMIT}.zip"  # with that dot
MANIFEST = Path(__file__).with_name("magnetic_tile.sha256")
TIMEOUT = 10.0  # seconds until the server must answer, name resolution included, and for each later pause
REMEDY = "download the images by hand and name their folder with --data DIR"


class DownloadError(Exception):
    """A file could not be downloaded, or is not the published one."""


def download_file(url: str, destination: Path, sha256: str | None = None) -> Path:
    """Download `url` to the file `destination`, whole and with this SHA-256 or not at all; return `destination`.

    Processes may download the same file at once. Raises DownloadError, naming the address and the reason.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = destination.with_name(f"{destination.name}.{uuid.uuid4().hex}.partial")
    try:
        with _open(url) as response, partial.open("xb") as file:
            expected = response.length  # None where the server does not say
            shutil.copyfileobj(response, file)
        if expected is not None and partial.stat().st_size != expected:
            raise DownloadError(f"{url}: {partial.stat().st_size:,} of {expected:,} bytes arrived")
        if sha256 is not None and (found := _sha256(partial)) != sha256:
            raise DownloadError(f"{url}: SHA-256 begins {found[:8]}, expected {sha256[:8]}")
        partial.replace(destination)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: download failed ({error or type(error).__name__})") from error
    finally:
        partial.unlink(missing_ok=True)
    return destination


def fetch_magnetic_tile(destination: Path) -> Path:
    """Download, unpack and verify the magnetic tile images; return the folder `destination`, which then holds them.

    Only the manifest's files are unpacked, and the folder appears when all are there and right. A complete one is
    returned as it is. Raises DownloadError for all that goes wrong.
    """
    lines = MANIFEST.read_text(encoding="utf-8").splitlines()  # each `<sha256>  <relative path>`
    manifest = {name: digest for digest, name in (line.split("  ", 1) for line in lines if line)}
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        if differing := _differing(destination, manifest):
            raise DownloadError(f"magnetic_tile: {destination} exists, but {differing}; remove it; {REMEDY}")
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as scratch:
        try:
            archive = download_file(URL, Path(scratch, "archive.zip"))
            folder = _unpack(archive, Path(scratch, "images"), manifest)
            if differing := _differing(folder, manifest):
                raise DownloadError(f"the archive at {URL} is not the published one: {differing}")
        except DownloadError as error:
            raise DownloadError(f"magnetic_tile: {error}; {REMEDY}") from error
        try:
            if destination.exists():
                destination.rmdir()  # it is empty; Windows does not rename over it
            folder.rename(destination)
        except OSError:  # another process was faster
            if _differing(destination, manifest):
                raise
    return destination


def _open(url: str) -> http.client.HTTPResponse:
    """Open an address within `TIMEOUT` seconds in all.

    urllib's own timeout starts anew with each address of a host and leaves out name resolution, so a daemon thread
    connects, for which neither this call nor the end of the program waits.
    """
    answer: Future[http.client.HTTPResponse] = Future()

    def connect() -> None:
        try:
            answer.set_result(urllib.request.urlopen(url, timeout=TIMEOUT))
        except Exception as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            answer.set_exception(error)

    threading.Thread(target=connect, daemon=True).start()
    if not wait([answer], TIMEOUT).done:
        raise TimeoutError(f"no answer within {TIMEOUT:g} s")
    return answer.result()


def _unpack(archive: Path, folder: Path, manifest: dict[str, str]) -> Path:
    """Unpack the manifest's files to below `folder`; return the archive's top folder there."""
    try:
        with zipfile.ZipFile(archive) as packed:
            names = packed.namelist()
            packed.extractall(folder, [name for name in names if name.partition("/")[2] in manifest])
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise DownloadError(f"the archive cannot be unpacked ({error})") from error
    return folder / names[0].partition("/")[0] if names else folder


def _differing(folder: Path, manifest: dict[str, str]) -> str:
    """Return which files are missing or have another SHA-256, the first ten by name; empty if none."""
    problems = []
    for name, digest in manifest.items():
        if not (folder / name).is_file():
            problems.append(f"{name} is missing")
        elif _sha256(folder / name) != digest:
            problems.append(f"{name} has another SHA-256")
    return first_few(problems, most=10)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
