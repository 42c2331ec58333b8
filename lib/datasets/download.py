"""Verified downloads: a file by its SHA-256, and the magnetic tile images by the SHA-256 of each file."""

import http.client
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from lib.artifacts import atomic, file_sha256
from lib.datasets.errors import first_few

COMMIT = "cc4eb530b57b9cb7225bf76023873043ffd50655"
URL = f"https://github.com/abin24/Magnetic-tile-defect-datasets./archive/{COMMIT}.zip"  # with that dot
MANIFEST = Path(__file__).with_name("magnetic_tile.sha256")
TIMEOUT = 10.0  # seconds until the server must answer, and for each later pause
LARGEST = 500_000_000  # bytes of a file, and of what is unpacked from an archive: far above what is published
REMEDY = "download the images by hand and name their folder with --data DIR"


class DownloadError(Exception):
    """A file could not be downloaded, or is not the published one."""


def download_file(url: str, destination: Path, sha256: str | None = None) -> Path:
    """Download `url` to the file `destination`, whole and with this SHA-256 or not at all; return `destination`.

    Processes may download the same file at once. Raises DownloadError, naming the address and the reason.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response, atomic(destination) as partial:
            data = response.read(LARGEST + 1)
            if len(data) > LARGEST:
                raise DownloadError(f"{url}: more than {LARGEST / 1e6:,.0f} MB, so not what was published")
            if response.length:
                raise http.client.IncompleteRead(data, response.length)
            partial.write_bytes(data)
            if sha256 is not None and (found := file_sha256(partial)) != sha256:
                raise DownloadError(f"{url}: SHA-256 begins {found[:8]}, expected {sha256[:8]}")
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if type(error) is urllib.error.URLError else error
        why = getattr(reason, "strerror", "") or str(reason) or type(error).__name__
        raise DownloadError(f"{url}: download failed ({why})") from error
    return destination


def fetch_magnetic_tile(destination: Path) -> Path:
    """Download, unpack and verify the magnetic tile images; return the new folder `destination`, which holds them.

    Only the manifest's files are unpacked, and the folder appears when all are there and right. Raises DownloadError.
    """
    lines = MANIFEST.read_text(encoding="utf-8").splitlines()  # each `<sha256>  <relative path>`
    manifest = {name: digest for digest, name in (line.split("  ", 1) for line in lines if line)}
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as scratch:
        folder = Path(scratch, "images")
        try:
            archive = download_file(URL, Path(scratch, "archive.zip"))
            with zipfile.ZipFile(archive) as packed:
                if (size := sum(member.file_size for member in packed.infolist())) > LARGEST:
                    raise ValueError(f"{size / 1e6:,.0f} MB when unpacked")
                for member in packed.infolist():
                    member.filename = member.filename.partition("/")[2]  # without the archive's top folder
                    if member.filename in manifest:
                        packed.extract(member, folder)
            files = [path for path in folder.rglob("*") if path.is_file()]
            found = {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
            if wrong := [name for name, digest in manifest.items() if found.get(name) != digest]:
                raise ValueError(f"{first_few(wrong, 10)} missing or altered")
        except DownloadError as error:
            raise DownloadError(f"magnetic_tile: {error}; {REMEDY}") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            issue = f"the archive at {URL} is not the published one: {error}"
            raise DownloadError(f"magnetic_tile: {issue}; {REMEDY}") from error
        try:
            folder.rename(destination)
        except OSError:
            if not destination.is_dir():  # else another process was faster
                raise
    return destination
