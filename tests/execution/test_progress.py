"""Progress bars: the true counts of splits and steps, from where a run resumes, and none where nothing is done."""

import time

import pytest

from lib.config import Study
from lib.draem import detector
from lib.execution.parallel import run_tasks
from lib.execution.progress import BATCH, progress, step_bar
from lib.execution.status import steps_of, steps_seen
from lib.pipeline.detectors import training_history
from lib.pipeline.maps import map_all
from lib.pipeline.run import Run
from tests.pipeline.plates import draw_plates


class Bar:
    """Stands in for tqdm: keeps what a reader would have seen."""

    def __init__(self, desc, total, initial=0, bar_format=None):
        self.desc, self.total, self.n, self.initial, self.closed = desc, total, initial, initial, False
        self.seen = [(desc, total, initial)]

    def update(self, more):
        self.n += more
        self.seen.append((self.desc, self.total, self.n))

    def reset(self, total):
        self.n, self.total = 0, total

    def set_description(self, desc, refresh):
        self.desc = desc

    def refresh(self):
        self.seen.append((self.desc, self.total, self.n))

    def close(self):
        self.closed = True


@pytest.fixture
def bars(monkeypatch):
    made = []

    def make(**settings):
        made.append(Bar(**settings))
        return made[-1]

    monkeypatch.delenv(BATCH, raising=False)
    monkeypatch.setattr("lib.execution.progress._bar", make)
    return made


def work(folder, count, name):
    """Report `count` steps; none stands for proven work."""
    if count:
        report = step_bar(name)
        for done in range(1, count + 1):
            report(done, count)


def run(tmp_path, *counts, **settings):
    arguments = [("f", count, f"split {place}") for place, count in enumerate(counts)]
    run_tasks(work, arguments, label="DRAEM", shared_folder=tmp_path, **settings)


def test_a_bar_over_the_splits_and_one_over_the_steps(tmp_path, bars):
    run(tmp_path, 2, 4)
    whole, steps = bars
    assert [n for *_, n in whole.seen] == [0, 0.5, 1, 1, 1.25, 1.5, 1.75, 2, 2, 2]
    assert whole.total == 2 and whole.closed and steps.closed
    assert steps.seen[:2] == [("split 0", 2, 1), ("split 0", 2, 2)]
    assert steps.seen[2:6] == [("split 1", 4, done) for done in (1, 2, 3, 4)]


def test_no_bar_where_everything_is_proven(tmp_path, bars):
    run(tmp_path, 0, 0, 0)
    assert bars == []


def test_what_is_proven_counts_as_done_before_the_bar_appears(tmp_path, bars):
    run(tmp_path, 0, 0, 2)
    assert bars[0].initial == 2
    assert [n for *_, n in bars[0].seen][:3] == [2, 2.5, 3]


def test_a_single_step_needs_no_bar_of_its_own(tmp_path, bars):
    run(tmp_path, 1, 1)
    assert [bar.desc for bar in bars] == ["DRAEM"]
    assert bars[0].n == 2


def test_no_bar_in_batch(tmp_path, bars, monkeypatch):
    monkeypatch.setenv(BATCH, "1")
    run(tmp_path, 2, 2)
    step_bar("image features", alone=True)(1, 2)
    assert bars == []


def test_results_that_come_in_move_one_bar_that_is_there_at_once(bars):
    results = iter(progress((n * n for n in range(3)), "imbalance", 3, lambda: 0.0))
    assert next(results) == 0
    (whole,) = bars
    assert (whole.desc, whole.total, whole.n) == ("imbalance", 3, 0)
    assert list(results) == [1, 4]
    assert whole.n == 3 and whole.closed


def test_the_bar_follows_what_other_processes_do(bars, monkeypatch):
    monkeypatch.setattr("lib.execution.progress.EVERY", 0.01)
    results = iter(progress(range(2), "DRAEM", 2, lambda: 0.5))
    next(results)
    (whole,), deadline = bars, time.monotonic() + 20
    while whole.n != 0.5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(results) == [1]
    assert whole.n == 2 and whole.closed


def test_trainings_elsewhere_are_seen_by_their_notes(tmp_path):
    with steps_seen(tmp_path / "plates") as seen:
        assert seen() == 0
        with (
            steps_of(tmp_path / "plates", "grouped-0") as note,
            steps_of(tmp_path / "other", "grouped-0") as other,
        ):
            note(5, 20, {})
            other(9, 10, {})
            assert seen() == 0.25
        assert seen() == 0
    assert not list(tmp_path.iterdir())


def test_work_outside_a_loop_has_a_bar_only_where_it_stands_alone(bars):
    step_bar("a worker's steps")(1, 2)
    assert bars == []
    report = step_bar("image features", alone=True)
    assert bars == [], "no report, no bar"
    report(64, 100)
    report(100, 100)
    assert [bar.desc for bar in bars] == ["image features"]
    assert bars[0].seen[0] == ("image features", 100, 64)
    assert bars[0].n == 100 and bars[0].closed


def test_a_failed_loop_leaves_the_next_one_its_bars(tmp_path, bars):
    with pytest.raises(ZeroDivisionError) as kept:
        run_tasks(lambda *_: 1 / 0, [("f", 1)], label="fails", shared_folder=tmp_path)
    run(tmp_path, 2)
    assert [bar.desc for bar in bars] == ["DRAEM", "split 0"]
    assert kept


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    return draw_plates(tmp_path_factory.mktemp("plates"))


def study_of(plates, folder, **settings):
    overrides = {"weights": "random-init", "draem_steps": 6, "leak_check": "none", **settings}
    return Run("plates", Study.of("smoke", overrides), str(folder), str(plates))


def test_training_reports_its_true_steps_and_goes_on_where_it_was_killed(plates, tmp_path, bars, monkeypatch):
    run = study_of(plates, tmp_path)
    settings = detector.training_settings
    monkeypatch.setattr(detector, "training_settings", lambda task: settings(task) | {"checkpoint_every": 2})
    real = Bar.update

    def kill(bar, more):
        real(bar, more)
        if bar.desc.endswith("-1, steps") and bar.n == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(Bar, "update", kill)
    with pytest.raises(KeyboardInterrupt):
        training_history(run)
    steps = [seen for seen in bars[1].seen if seen[0].endswith("-0, steps")]
    assert [n for *_, n in steps] == [1, 2, 3, 4, 5, 6]
    assert {total for _, total, _ in steps} == {6}
    bars.clear()
    monkeypatch.setattr(Bar, "update", real)
    training_history(run)
    whole, steps = bars
    assert whole.initial == 1, "one of the two was trained before"
    assert steps.initial == 5, "saved after step 4, so the first report is of step 5"
    assert [n for *_, n in steps.seen][:2] == [5, 6]
    bars.clear()
    training_history(run)
    assert bars == []


@pytest.mark.parametrize("map_method", ["in_sample", "cross_fitted"])
def test_maps_report_every_image(plates, tmp_path, bars, monkeypatch, map_method):
    run = study_of(plates, tmp_path, map_fit=map_method)
    monkeypatch.setattr("lib.anomaly_maps.cross_fitting.IMAGES_AT_ONCE", 20)
    map_all(run)
    mapped = [bar for bar in bars if bar.desc.endswith("images")]
    assert [bar.total for bar in mapped] == [48]
    assert mapped[0].n == 48
    bars.clear()
    map_all(run)
    assert bars == []
