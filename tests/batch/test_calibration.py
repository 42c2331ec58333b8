"""How fast this machine is: measured once, kept in the user's cache folder, roughly guessed before."""

import pytest

from lib.batch import calibration
from lib.batch.calibration import calibrate, stored_calibration
from lib.config import Study


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "anomaly-map-study"


def test_what_was_measured_is_kept_for_its_software_threads_and_device(cache, monkeypatch):
    study = Study.of("quick")
    assert stored_calibration(study, "cpu") is None
    found = calibrate(study, "cpu")
    assert 0.01 < found.networks < 1000 and 0.01 < found.classifiers < 1000
    assert stored_calibration(Study.of("paper"), "cpu") == found
    assert stored_calibration(Study.of("quick", {"threads": 2}), "cpu") is None
    assert stored_calibration(study, "cuda") is None
    monkeypatch.setattr(calibration, "version", lambda name: "99")
    assert stored_calibration(study, "cpu") is None
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"speed": 1}'])
def test_what_is_damaged_or_of_another_version_is_none(cache, text):
    cache.mkdir()
    calibration._file(Study.of("quick"), "cpu").write_text(text)
    assert stored_calibration(Study.of("quick"), "cpu") is None
