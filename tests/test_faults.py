"""A small share of the fault campaign: on a study's first steps here, on whole commands by `make test-slow`.

`make faults` runs all of it.
"""

import os
import random
import shutil

import pytest

from tests.faults.damage import all_damages, candidates, harm, restored
from tests.faults.kills import killed
from tests.faults.outside import clock_back, full_disk, lost_folder, read_only_inputs, two_users
from tests.faults.steps import (
    FULL,
    LOCKED,
    REFUSED,
    Steps,
    at_operation,
    away,
    chosen,
    come_back,
    fail_once,
    guard,
    kill,
    operations,
    small_files,
)
from tests.faults.steps import clock_back as set_clock_back
from tests.faults.study import run
from tests.faults.workers import workers_here
from tests.pipeline.plates import draw_plates

SEED = 1
KILLS, DAMAGES, OTHERS = 4, 6, 2


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the steps on plates, done, with the digests of what they leave and the number of file operations."""
    folder = tmp_path_factory.mktemp("steps")
    steps = Steps(draw_plates(folder / "plates"), folder)
    Steps(steps.data, folder / "here").run()  # forks need not import again
    total = operations(steps)
    expected = steps.digests()
    assert len(expected) == 5 and total > 20
    return steps, expected, total


@pytest.fixture
def steps(undisturbed, tmp_path):
    return Steps(undisturbed[0].data, tmp_path)


def test_a_kill_at_any_file_operation_leaves_nothing_half_done(steps, undisturbed):
    _, expected, total = undisturbed
    for number in chosen(random.Random(SEED), total, KILLS):
        shutil.rmtree(steps.folder, ignore_errors=True)
        assert steps.child(lambda number=number: at_operation(number, kill)) == -9
        steps.recovered(expected)


def test_damage_of_what_was_made_is_noticed_and_mended(steps, undisturbed):
    _, expected, _ = undisturbed
    assert steps.child() == 0
    rng = random.Random(SEED)
    files = rng.sample(candidates(steps.store.root), DAMAGES)
    for path in files:
        with restored(path):
            kind = harm(path, rng)
            assert any(steps.store.verify().values()), (path, kind)
    for path in files:
        harm(path, rng)
    assert steps.child() == 0
    steps.recovered(expected)


def test_a_damaged_image_is_refused_until_it_is_put_back(steps, undisturbed):
    _, expected, _ = undisturbed
    assert steps.child() == 0
    for path in random.Random(SEED).sample(sorted(steps.data.rglob("*.png")), OTHERS):
        with restored(path):
            path.write_bytes(path.read_bytes()[:100])
            assert steps.child() == REFUSED
    steps.recovered(expected)


def test_a_full_disk_is_told_and_what_was_made_stays(steps, undisturbed):
    _, expected, _ = undisturbed
    for size in random.Random(SEED).sample(range(100, 20_000), OTHERS):
        assert steps.child(small_files(size)) == FULL
    steps.recovered(expected)


@pytest.mark.parametrize("fault", ["gone", "EIO", "clock"])
def test_a_folder_or_a_clock_that_changes_meanwhile_changes_no_result(steps, undisturbed, fault):
    _, expected, total = undisturbed
    for number in chosen(random.Random(SEED), total, OTHERS):
        shutil.rmtree(steps.folder, ignore_errors=True)
        what = {"gone": away(steps), "EIO": fail_once, "clock": set_clock_back}[fault]
        status = steps.child(lambda number=number, what=what: at_operation(number, what))
        assert fault != "clock" or status == 0
        if fault == "gone":
            come_back(steps)
        steps.recovered(expected)


def test_inputs_may_be_read_only(steps, undisturbed):
    assert steps.child(lambda: guard(steps.data)) == 0
    steps.recovered(undisturbed[1])


def test_two_at_once_are_one_after_the_other_or_one_is_refused(steps, undisturbed):
    if not (other := os.fork()):
        os._exit(steps.child())
    ends = {steps.child(), os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])}
    assert ends <= {0, LOCKED} and 0 in ends
    steps.recovered(undisturbed[1])


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    output = tmp_path_factory.mktemp("left-alone")
    status, said = run(output)
    assert status == 0, said
    return output


@pytest.mark.slow
@pytest.mark.parametrize("what", ["again", "kills", "damage", "disk", "lost", "clock", "inputs", "users"])
def test_whole_commands_survive(left_alone, tmp_path, what):
    actions = {
        "again": lambda: workers_here(left_alone, tmp_path),
        "kills": lambda: killed(left_alone, tmp_path, 8, SEED),
        "damage": lambda: all_damages(left_alone, tmp_path, 12, SEED),
        "disk": lambda: full_disk(left_alone, tmp_path, 1, SEED),
        "lost": lambda: lost_folder(left_alone, tmp_path, 2, SEED),
        "clock": lambda: clock_back(left_alone, tmp_path, 1, SEED),
        "inputs": lambda: read_only_inputs(tmp_path / "read-only"),
        "users": lambda: two_users(left_alone, tmp_path / "users", 1, SEED),
    }
    rows = [*actions[what]()]
    assert rows and not [row for row in rows if row.tried != row.survived]
