"""`make` with and without CUDA's libraries, from an index and from a folder of files: run on stand-in packages."""

import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"torch": "2.0", "torchvision": "1.0", "triton": "3.0", "nvidia-cublas": "13.0", "cuda-bindings": "13.0",
            "pandas": "2.0"}  # fmt: skip
# The project's own build backend, in place of setuptools, which the stand-in index lacks.
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "study-0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("study-0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: study\\nVersion: 0\\n")
        wheel.writestr("study-0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("study-0.dist-info/RECORD", "")
    return name
"""


def wheel(folder, name, version):
    """Write a package that says its version when it is imported, and return its file."""
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name.replace('-', '_')}.py", f"__version__ = {version!r}\n")
        file.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{stem}.dist-info/RECORD", "")
    return path


@pytest.fixture
def project(tmp_path):
    """A small project with the real Makefile, a lock of stand-in packages, and their two indexes on a local server."""
    lock = ["# made by make lock"]
    for name, version in PACKAGES.items():
        folder = tmp_path / "index" / "pypi" / name
        folder.mkdir(parents=True)
        digest = hashlib.sha256(wheel(folder, name, version).read_bytes()).hexdigest()
        lock += [f"{name}=={version} ; sys_platform != 'none' \\", f"    --hash=sha256:{digest}"]
    for name in ("torch", "torchvision"):
        (tmp_path / "index" / "cpu" / name).mkdir(parents=True)
        wheel(tmp_path / "index" / "cpu" / name, name, PACKAGES[name] + "+cpu")
    home = tmp_path / "project"
    home.mkdir()
    shutil.copy(ROOT / "Makefile", home)
    (home / "requirements.txt").write_text("-e .\n")
    (home / "requirements.lock").write_text("\n".join(lock) + "\n")
    (home / "backend.py").write_text(BACKEND)
    (home / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (home / "run_all.py").write_text(
        "import importlib.metadata as m\nprint(*sorted(f'{d.name}={d.version}' for d in m.distributions()))\n"
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "index")
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield home, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def make(project, *arguments, index=True):
    home, server = project
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "MAKE", "MFLAGS"))}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"{server}/pypi" if index else f"{server}/none"}
    given = [f"PYTHON={sys.executable}", f"TORCH_INDEX={server}/{'cpu' if index else 'none'}", *arguments]
    return subprocess.run(["make", "-s", *given], cwd=home, env=environment, capture_output=True, text=True)


def installed(result):
    assert result.returncode == 0, result.stderr
    found = dict(item.split("=") for item in result.stdout.splitlines()[-1].split())
    return {name: found.get(name) for name in PACKAGES}


@pytest.mark.slow
def test_without_cuda_torch_comes_from_its_cpu_index_and_the_cuda_rows_stay_out(project):
    slim = {"torch": "2.0+cpu", "torchvision": "1.0+cpu", "pandas": "2.0"}
    assert installed(make(project, "run", "TORCH=cpu")) == dict.fromkeys(PACKAGES) | slim
    assert installed(make(project, "run")) == PACKAGES, "the default takes everything from the lock, and installs anew"


def test_what_is_not_as_locked_is_refused(project):
    lock = project[0] / "requirements.lock"
    lock.write_text(lock.read_text()[:-9] + "00000000\n")
    result = make(project, "run", "TORCH=cpu")
    assert result.returncode and "THESE PACKAGES DO NOT MATCH THE HASHES" in result.stderr


def test_collected_files_install_without_a_network(project):
    assert make(project, "wheels", "TORCH=cpu").returncode == 0
    found = installed(make(project, "run", "TORCH=cpu", "WHEELS=wheels", index=False))
    assert found == dict.fromkeys(PACKAGES) | {"torch": "2.0+cpu", "torchvision": "1.0+cpu", "pandas": "2.0"}


def test_another_word_is_refused(project):
    assert "TORCH=rocm: choose cpu or cuda" in make(project, "run", "TORCH=rocm").stderr
