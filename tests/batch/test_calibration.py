"""How fast this machine is: measured once, kept in the user's cache folder, roughly guessed before."""

import pytest

from lib.batch import calibration
from lib.batch.calibration import GUESSES, calibrate, guess, stored_calibration
from lib.config import Study


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "anomaly-map-study"


def test_what_was_measured_is_kept_for_its_software_threads_and_device(cache, monkeypatch):
    study = Study.of("quick")
    assert stored_calibration(study) is None
    found = calibrate(study, "cpu")
    assert found.device == "cpu" and 0.01 < found.networks < 1000 and 0.01 < found.classifiers < 1000
    assert stored_calibration(Study.of("paper")) == found
    for other in ({"threads": 2}, {"device": "cuda"}):
        assert stored_calibration(Study.of("quick", other)) is None
    monkeypatch.setattr(calibration, "version", lambda name: "99")
    assert stored_calibration(study) is None
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("text", ["{", "[]", '{"speed": 1}'])
def test_what_is_damaged_or_of_another_version_is_none(cache, text):
    cache.mkdir()
    calibration._file(Study.of("quick")).write_text(text)
    assert stored_calibration(Study.of("quick")) is None


def test_the_guess_is_for_the_device_that_the_study_names():
    assert guess(Study.of("quick", {"device": "cuda"})) == GUESSES["cuda"]
    assert guess(Study.of("quick", {"device": "cpu"})) == GUESSES["cpu"]
    assert guess(Study.of("quick")) in GUESSES.values()
