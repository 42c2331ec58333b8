"""The lock file holds every direct dependency at a version that requirements.txt allows, with hashes."""

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FLOORS = {
    "pillow": "12.3",
    "jupyter-server": "2.20",
    "jupyterlab": "4.5.11",
    "nbconvert": "7.17.1",
    "torch": "2.10",
    "onnx": "1.21",
}


def direct():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-e"))]


def locked():
    text = (ROOT / "requirements.lock").read_text()
    blocks = re.split(r"\n(?=[a-zA-Z])", text)
    return {
        found.group(1).lower(): (found.group(2), block.count("--hash=sha256:"))
        for block in blocks
        if (found := re.match(r"([\w.-]+)==(\S+)", block))
    }


def test_every_direct_dependency_is_locked_at_an_allowed_version():
    found = locked()
    assert len(found) > 100
    for wanted in direct():
        version, _ = found[wanted.name.lower()]
        assert wanted.specifier.contains(version), f"{wanted} but {version} is locked: run `make lock`"
    assert all(hashes for _, hashes in found.values())


def test_floors_are_above_known_advisories():
    wanted = {item.name.lower(): item.specifier for item in direct()}
    for name, floor in FLOORS.items():
        lowest = [spec.version for spec in wanted[name] if spec.operator == ">="]
        assert lowest, name
        assert tuple(map(int, lowest[0].split("."))) >= tuple(map(int, floor.split(".")))
