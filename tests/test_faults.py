"""A small share of the fault campaign (`make faults` runs all of it)."""

import pytest

from tests.faults.damage import damaged
from tests.faults.kills import killed
from tests.faults.study import digests, run
from tests.faults.workers import workers_here

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    output = tmp_path_factory.mktemp("left-alone")
    status, said = run(output)
    assert status == 0, said
    return output, digests(output)


def test_the_same_command_twice_and_with_workers_gives_the_same_bits(left_alone, tmp_path):
    rows = workers_here(tmp_path, left_alone[1])
    assert [outcome for _, outcome, _ in rows] == [f"{len(left_alone[1])} files, 0 differ"] * 2


def test_kills_leave_the_results_as_they_would_be(left_alone, tmp_path):
    ((_, outcome, _),) = killed(tmp_path, left_alone[1], 4, seed=1)
    assert outcome == f"{len(left_alone[1])} files, 0 differ"


def test_every_harm_is_noticed_and_mended(left_alone):
    rows = damaged(*left_alone, 12, seed=1)
    assert rows[0][1] == "12 noticed by --verify"
    assert rows[1][1] == f"{len(left_alone[1])} files, 0 differ"
