import hashlib
import io
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lib.datasets import download
from lib.datasets.download import DownloadError, download_file, fetch_magnetic_tile

TILES = Path(__file__).parents[2] / ".." / "shared" / "data" / "magnetic_tile"
PUBLISHED = download.MANIFEST
FILES = {"MT_Free/Imgs/exp1_num_1.jpg": b"first", "MT_Free/Imgs/exp1_num_1.png": b"second"}
TOP = "Magnetic-tile-defect-datasets.-0123"
SHA256 = hashlib.sha256(b"weights").hexdigest()


def an_archive(files: dict[str, bytes], **more: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in ({f"{TOP}/{name}": content for name, content in files.items()} | more).items():
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
        return f"http://127.0.0.1:{server.server_port}/file"

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


def fetch(destination: Path, url: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "URL", url)
        return fetch_magnetic_tile(destination)


def refusal(destination: Path, url: str) -> str:
    """Return the message, having checked that it says what to do and that nothing was left behind."""
    before = sorted(destination.parent.rglob("*"))
    with pytest.raises(DownloadError, match=r"^magnetic_tile: .*--data DIR") as caught:
        fetch(destination, url)
    assert sorted(destination.parent.rglob("*")) == before
    return str(caught.value)


def test_a_file_arrives_whole_and_with_the_right_hash_or_not_at_all(tmp_path, serve):
    target = tmp_path / "deep" / "w.pth"
    url = serve(status=302, location=serve(b"weights"))
    assert download_file(url, target, SHA256) == target and target.read_bytes() == b"weights"
    for wrong, words in (
        (serve(b"forged"), f"SHA-256 begins .{{8}}, expected {SHA256[:8]}"),
        (serve(b"weig", length=7), "3 more expected"),
        (serve(status=404), "HTTP Error 404"),
        ("http://127.0.0.1:9/w.pth", "download failed"),
    ):
        with pytest.raises(DownloadError, match=f"{wrong}: .*{words}"):
            download_file(wrong, target, SHA256)
        assert [p.name for p in target.parent.iterdir()] == ["w.pth"] and target.read_bytes() == b"weights"


def test_silence_is_given_up(tmp_path, serve, monkeypatch):
    start = time.monotonic()
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with pytest.raises(DownloadError, match=r"(?i)timed ?out|TimeoutError"):
        download_file(serve(b"weights", silence=30), tmp_path / "w")
    assert time.monotonic() - start < 3 and not list(tmp_path.iterdir())


def test_a_good_archive_arrives_whole_and_without_extras(tmp_path, serve):
    destination = tmp_path / "deep" / "tiles"
    extras = {f"{TOP}/../../evil.jpg": b"evil", "/evil.jpg": b"evil", f"{TOP}/README.md": b"hello"}
    assert fetch(destination, serve(an_archive(FILES, **extras))) == destination
    found = {p.relative_to(tmp_path).as_posix(): p for p in tmp_path.rglob("*") if p.is_file()}
    assert {n: p.read_bytes() for n, p in found.items()} == {f"deep/tiles/{n}": c for n, c in FILES.items()}


def test_what_is_not_the_published_archive_is_refused(tmp_path, serve):
    message = refusal(tmp_path / "tiles", serve(an_archive({"MT_Free/Imgs/exp1_num_1.jpg": b"forged"})))
    assert ": MT_Free/Imgs/exp1_num_1.jpg, MT_Free/Imgs/exp1_num_1.png missing or altered" in message
    body = an_archive(FILES)
    start = body.index(b"exp1_num_1.jpg") + len("exp1_num_1.jpg")
    for broken in (body[:-40], b"<html>sign in</html>", body[:start] + b"\xff\xff\xff" + body[start + 3 :]):
        assert "is not the published one" in refusal(tmp_path / "tiles", serve(broken))
    assert "HTTP Error 404" in refusal(tmp_path / "tiles", serve(status=404))
    cut = serve(body[:-40], length=len(body))
    assert "40 more expected" in refusal(tmp_path / "tiles", cut)


def test_the_slower_of_two_studies_takes_the_folder_of_the_faster(tmp_path, serve, monkeypatch):
    def faster(folder, destination):
        destination.mkdir()
        raise OSError("directory not empty")

    monkeypatch.setattr(Path, "rename", faster)
    assert fetch(tmp_path / "tiles", serve(an_archive(FILES))) == tmp_path / "tiles"


def test_the_address_and_the_manifest_are_of_one_published_state():
    assert download.URL.startswith("https://github.com/abin24/Magnetic-tile-defect-datasets./archive/")
    assert len(download.COMMIT) == 40 and download.COMMIT in download.URL
    names = dict(reversed(line.split("  ", 1)) for line in PUBLISHED.read_text().splitlines())
    images = {name.removesuffix(".jpg") for name in names if name.endswith(".jpg")}
    masks = {name.removesuffix(".png") for name in names if name.endswith(".png")}
    assert len(images) == 1344 and images == masks and len(names) == 2688
    assert all(len(digest) == 64 for digest in names.values())


@pytest.mark.skipif(not TILES.is_dir(), reason="the magnetic tile images are not at ../shared")
def test_the_manifest_fits_the_published_images():
    for digest, name in (line.split("  ", 1) for line in PUBLISHED.read_text().splitlines()):
        assert hashlib.sha256((TILES / name).read_bytes()).hexdigest() == digest


def test_an_archive_that_would_fill_the_disk_is_not_unpacked(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(download, "LARGEST", 1_000_000)
    bomb = an_archive(FILES | {"MT_Free/Imgs/exp1_num_1.jpg": bytes(50_000_000)})
    assert len(bomb) < 1_000_000
    assert "50 MB when unpacked" in refusal(tmp_path / "tiles", serve(bomb))


def test_a_download_without_end_is_given_up(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(download, "LARGEST", 1000)
    with pytest.raises(DownloadError, match="more than 0 MB, so not what was published"):
        download_file(serve(bytes(2000)), tmp_path / "w.pth")
    assert not list(tmp_path.iterdir())


def test_a_link_in_an_archive_leads_nowhere(tmp_path, serve):
    """A member that is a link is unpacked as a file that names its target, and refused by its SHA-256."""
    secret, name = tmp_path / "secret.jpg", "MT_Free/Imgs/exp1_num_1.jpg"
    secret.write_bytes(FILES[name])
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for member, content in FILES.items():
            about = zipfile.ZipInfo(f"{TOP}/{member}")
            if member == name:
                about.external_attr, content = 0o120777 << 16, str(secret).encode()
            packed.writestr(about, content)
    assert f": {name} missing or altered" in refusal(tmp_path / "tiles", serve(stream.getvalue()))
