"""A small finished study for tests that change nothing in it, or put back what they change."""

import shutil

import pytest

from lib.pipeline.classification import calibration, predictions
from lib.pipeline.run import open_run

SETTINGS = {"weights": "random-init", "leak_check": "none", "keep": (0.5, 1.0), "inner_folds": 3}


def make_run(folder, **settings):
    return open_run("deco_cap", "smoke", "", str(folder), SETTINGS | settings)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("study"))
    predictions(run, "imbalance")
    calibration(run)
    return run


@pytest.fixture(scope="session")
def twice(run, tmp_path_factory):
    """The same study with a second repeat."""
    folder = tmp_path_factory.mktemp("twice") / "study"
    shutil.copytree(run.study_dir, folder)
    twice = make_run(folder, repeats=2)
    predictions(twice, "imbalance")
    calibration(twice)
    return twice
