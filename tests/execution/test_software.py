"""What made the artefacts of a study: recorded with each, in no fingerprint, and told where it differs."""

import json
import subprocess
import sys

import pytest
import torch

from lib import artifacts
from lib.artifacts import MANIFEST, Store, fingerprint
from lib.execution.source_code import made_with, mixture


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make an artefact as another version of torch would; returns the store."""

    def make(name, torch, **summary):
        monkeypatch.setattr(artifacts, "software", lambda: {"Python": "3.11", "torch": torch})
        monkeypatch.setattr(artifacts, "device_name", lambda device: device)
        store = Store(tmp_path)
        store.make(name, {}, lambda path: path.write_text("x") and summary)
        return store

    return make


def forget_software(store, name):
    """Leave the manifest as earlier releases wrote it."""
    record = store.manifest(name)
    record.pop("made_with")
    sealed = record | {"seal": fingerprint(record)}
    store.path(name + MANIFEST).write_text(json.dumps(sealed))


def test_versions_are_read_without_importing_anything_and_the_device_by_its_name():
    code = "import sys; from lib.artifacts import software; print(software()); print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(name in told for name in ("Python", "torch", "scikit-learn", "numpy")) and "False" in told
    assert artifacts.device_name("cpu")
    assert artifacts.device_name("cuda") == ("cuda" if not torch.cuda.is_available() else torch.cuda.get_device_name())


def test_another_version_makes_nothing_anew_and_is_told(make):
    make("maps/a", "2.1", device="GPU A")
    store = make("maps/a", "2.2", device="GPU A")
    assert store.manifest("maps/a")["made_with"] == {"Python": "3.11", "torch": "2.1", "device": "GPU A"}
    assert mixture([store]) == mixture([store], {"Python": "3.11", "torch": "2.1"}) == ""
    assert "torch (1 with 2.1, from now on with 2.2). --force" in mixture([store], {"torch": "2.2"})
    for name in ("maps/b", "notebooks/a.ipynb", "production_model/a"):
        make(name, "2.2")
    assert made_with(map(store.manifest, store.names())) == {
        "Python": {"3.11": 2},
        "torch": {"2.1": 1, "2.2": 1},
        "device": {"GPU A": 1},
    }
    assert "figures: torch (1 with 2.1, 1 with 2.2). --force" in mixture([store])
    make("maps/c", "2.2", device="CPU B")
    assert "figures: device (1 with GPU A, 1 with CPU B); torch (1 with 2.1, 2 with 2.2). --force" in mixture([store])


def test_what_earlier_releases_did_not_record_is_said_so(make):
    store = make("maps/a", "2.1")
    forget_software(store, "maps/a")
    assert mixture([store]) == ""
    make("maps/b", "2.1")
    assert "figures: software (1 with versions not recorded). --force" in mixture([store])


def test_data_sets_of_a_study_count_together(make, tmp_path):
    first = make("a/maps/a", "2.1")
    make("b/maps/a", "2.2")
    assert mixture([Store(tmp_path / "a")]) == mixture([Store(tmp_path / "b")]) == ""
    assert "1 with 2.2" in mixture([Store(tmp_path / "a"), Store(tmp_path / "b")])
    assert mixture([first]) == mixture([Store(tmp_path / "a"), Store(tmp_path / "b")])
