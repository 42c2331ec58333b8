import hashlib
import io
import os
import stat
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lib.datasets import download
from lib.datasets.download import DownloadError, fetch_magnetic_tile, read_manifest

TILES = Path(__file__).parents[2] / ".." / "shared" / "data" / "magnetic_tile"
FILES = {"MT_Free/Imgs/exp1_num_1.jpg": b"first", "MT_Free/Imgs/exp1_num_1.png": b"second"}
TOP = "Magnetic-tile-defect-datasets.-0123"


def an_archive(files: dict[str, bytes], **more: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(f"{TOP}/{name}", content)
        for name, content in more.items():
            packed.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def serve(monkeypatch):
    """Serve one answer from this computer: serve(body, status, announced length, seconds of silence)."""
    monkeypatch.setenv("no_proxy", "*")
    servers = []
    release = threading.Event()

    def start(body=b"", status=200, length=None, silence=0.0, location=None):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.end_headers()
                release.wait(silence)
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/tiles.zip"

    yield start
    release.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def manifest(tmp_path_factory, monkeypatch):
    path = tmp_path_factory.mktemp("manifest") / "tiles.sha256"
    path.write_text("".join(f"{hashlib.sha256(c).hexdigest()}  {name}\n" for name, c in FILES.items()))
    monkeypatch.setattr(download, "MANIFEST", path)


def refusal(destination: Path, url: str, timeout: float = 5.0) -> str:
    """Return the message, having checked that it names the way out and that nothing was left behind."""
    before = sorted(destination.parent.iterdir())
    with pytest.raises(DownloadError, match="--data DIR") as caught:
        fetch_magnetic_tile(destination, url=url, timeout=timeout)
    assert sorted(destination.parent.iterdir()) == before
    return str(caught.value)


def test_a_good_archive_arrives_whole_and_without_extras(tmp_path, serve):
    destination = tmp_path / "deep" / "tiles"
    body = an_archive({**FILES, "README.md": b"hello"})
    assert fetch_magnetic_tile(destination, url=serve(body)) == destination
    found = {p.relative_to(destination).as_posix(): p for p in destination.rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == FILES
    assert list(destination.parent.iterdir()) == [destination]


def test_a_complete_folder_is_not_fetched_again(tmp_path, serve):
    fetch_magnetic_tile(tmp_path / "tiles", url=serve(an_archive(FILES)))
    assert fetch_magnetic_tile(tmp_path / "tiles", url=serve(status=500)) == tmp_path / "tiles"
    (tmp_path / "tiles" / "MT_Free/Imgs/exp1_num_1.jpg").write_bytes(b"changed")
    assert "exp1_num_1.jpg has another SHA-256; remove it" in refusal(tmp_path / "tiles", serve(status=500))


def test_an_empty_destination_is_filled(tmp_path, serve):
    (tmp_path / "tiles").mkdir()
    fetch_magnetic_tile(tmp_path / "tiles", url=serve(an_archive(FILES)))
    assert any((tmp_path / "tiles").rglob("*.jpg"))


def test_wrong_and_missing_files_are_listed(tmp_path, serve):
    message = refusal(tmp_path / "tiles", serve(an_archive({"MT_Free/Imgs/exp1_num_1.jpg": b"forged"})))
    assert "exp1_num_1.jpg has another SHA-256" in message and "exp1_num_1.png is missing" in message


@pytest.mark.parametrize(
    "name", [f"{TOP}/../../evil.jpg", "/evil.jpg", f"{TOP}\\..\\..\\evil.jpg", "C:/evil.jpg", "../evil.jpg"]
)
def test_an_archive_that_leads_out_is_refused(tmp_path, serve, name):
    (tmp_path / "inner").mkdir()
    message = refusal(tmp_path / "inner" / "tiles", serve(an_archive(FILES, **{name: b"evil"})))
    assert "leads out of its folder" in message
    assert not list(tmp_path.rglob("evil*"))


def test_a_link_in_the_archive_is_refused(tmp_path, serve):
    stream = io.BytesIO(an_archive(FILES))
    with zipfile.ZipFile(stream, "a") as packed:
        link = zipfile.ZipInfo(f"{TOP}/MT_Free/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(link, "/etc/passwd")
    assert "which is a link" in refusal(tmp_path / "tiles", serve(stream.getvalue()))


def test_a_file_that_unpacks_too_large_is_refused(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(download, "LARGEST_FILE", 1000)
    files = {**FILES, "MT_Free/Imgs/exp1_num_1.png": b"0" * 2000}
    assert "larger than 1,000 bytes" in refusal(tmp_path / "tiles", serve(an_archive(files)))


def test_limits_of_total_and_archive(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(download, "LARGEST_TOTAL", 8)
    assert "exp1_num_1.png is larger than 3 bytes" in refusal(tmp_path / "tiles", serve(an_archive(FILES)))
    monkeypatch.setattr(download, "LARGEST_ARCHIVE", 100)
    assert "larger than 100 bytes" in refusal(tmp_path / "tiles", serve(an_archive(FILES)))


def test_broken_archives(tmp_path, serve):
    body = an_archive(FILES)
    url = serve(body[:-40], length=len(body))
    assert f"broke off after {len(body) - 40} of {len(body)} bytes" in refusal(tmp_path / "tiles", url)
    assert "cannot be unpacked" in refusal(tmp_path / "tiles", serve(body[:-40]))
    assert "cannot be unpacked" in refusal(tmp_path / "tiles", serve(b"<html>sign in</html>"))
    start = body.index(b"exp1_num_1.jpg") + len("exp1_num_1.jpg")
    damaged = body[:start] + b"\xff\xff\xff" + body[start + 3 :]
    assert "cannot be unpacked" in refusal(tmp_path / "tiles", serve(damaged))


def test_http_errors_and_no_server(tmp_path, serve):
    assert "HTTP 404 (Not Found)" in refusal(tmp_path / "tiles", serve(status=404))
    assert "could not be fetched" in refusal(tmp_path / "tiles", "http://127.0.0.1:9/tiles.zip")


def test_a_silent_server_is_given_up(tmp_path, serve):
    start = time.monotonic()
    message = refusal(tmp_path / "tiles", serve(an_archive(FILES), silence=30), timeout=0.2)
    assert "sent nothing for 0.2 s" in message and time.monotonic() - start < 2


def test_a_trickling_server_is_given_up(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(download, "LONGEST", -1.0)
    assert "did not arrive within" in refusal(tmp_path / "tiles", serve(an_archive(FILES)))


def test_a_redirect_is_followed(tmp_path, serve):
    url = serve(status=302, location=serve(an_archive(FILES)))
    assert fetch_magnetic_tile(tmp_path / "tiles", url=url).is_dir()


@pytest.mark.parametrize(
    "address", ["http://example.org/a.zip", "ftp://127.0.0.1/a.zip", "file:///etc/passwd"]
)
def test_only_https_or_this_computer_even_after_a_redirect(tmp_path, serve, address):
    assert "not an https address" in refusal(tmp_path / "tiles", address)
    message = refusal(tmp_path / "tiles", serve(status=302, location=address))
    assert "not an https address" in message or "not allowed" in message


def test_leftovers_of_a_killed_run_are_removed_once_old(tmp_path, serve):
    old, new = tmp_path / ".tiles-old", tmp_path / ".tiles-new"
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (0, 0))
    fetch_magnetic_tile(tmp_path / "tiles", url=serve(an_archive(FILES)))
    assert not old.exists() and new.exists()


def test_the_address_names_a_fixed_commit():
    assert download.URL.startswith("https://github.com/abin24/Magnetic-tile-defect-datasets./archive/")
    assert len(download.COMMIT) == 40 and download.COMMIT in download.URL


PUBLISHED = Path(download.__file__).with_name("magnetic_tile.sha256")


def test_the_manifest_names_an_image_and_a_mask_each():
    names = read_manifest(PUBLISHED)
    images = {name.removesuffix(".jpg") for name in names if name.endswith(".jpg")}
    masks = {name.removesuffix(".png") for name in names if name.endswith(".png")}
    assert len(images) == 1344 and images == masks and len(names) == 2688
    assert all(len(digest) == 64 for digest in names.values())


@pytest.mark.skipif(not TILES.is_dir(), reason="the magnetic tile images are not at ../shared")
def test_the_manifest_fits_the_published_images(monkeypatch):
    monkeypatch.setattr(download, "MANIFEST", PUBLISHED)
    assert fetch_magnetic_tile(TILES, url="https://invalid.invalid/") == TILES
