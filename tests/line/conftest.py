"""The small studies of `lines`, each made once."""

from functools import cache

import pytest

from tests.line.lines import RUNS, line_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return cache(lambda name: line_run(tmp_path_factory, name))


@pytest.fixture(scope="session", params=RUNS)
def run(request, runs):
    return runs(request.param)


@pytest.fixture(scope="session")
def plates_run(runs):
    """Return the study with maps as written, for what does not depend on that."""
    return runs(next(iter(RUNS)))
