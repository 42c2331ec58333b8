"""The forecast grows with what it should, says it for each notebook, and goes by the last long training."""

import re
from itertools import product

import pandas as pd
import pytest

import run_all
from lib.batch.forecast import BESIDE, START, _speed_file, forecast, size_of, store_speed, stored_speed
from lib.batch.preflight import check_resources
from lib.cli import parser, plan
from lib.pipeline.run import PROCESS, open_run
from lib.reporting.html_pages import NOTEBOOKS

SPEED = 0.5
SIZE = (600, 200, 3)  # images, good ones, splits
STEP = 4 * 0.02 * 0.5  # seconds of four images at 64 px and width 16, on this machine
TRAINING = "01_draem_training"


def seconds(size=SIZE, speed=SPEED, **settings):
    return forecast(open_run("deco_cap", "quick", overrides=settings), size, speed)["seconds"]


def work(found, images=600):
    """Return the seconds without what a notebook takes whatever it computes."""
    return found - BESIDE[0] - BESIDE[1] * images


def test_training_grows_with_steps_and_splits_with_maps():
    shorter, longer = seconds(draem_steps=300), seconds(draem_steps=600)
    assert longer[TRAINING] - shorter[TRAINING] == pytest.approx(3 * 300 * STEP)
    more = seconds((600, 200, 6), draem_steps=300)
    assert more[TRAINING] == shorter[TRAINING]
    assert more["04_classification"] > shorter["04_classification"]


def test_cross_fitting_costs_one_training_per_fold_and_stratified_folds_with_maps_their_own():
    written, fitted = seconds(), seconds(map_fit="cross_fitted")
    assert fitted[TRAINING] == written[TRAINING]
    assert fitted["02_anomaly_maps"] == written["02_anomaly_maps"], "every image gets one map"
    both = seconds((600, 200, 6), leak_check="all")
    assert work(both)[TRAINING] == pytest.approx(2 * work(written)[TRAINING])
    other = seconds(map_source="patchcore")
    assert other[TRAINING] < written[TRAINING] / 2
    assert all(other[n] == written[n] for n in ("03_features", "04_classification", "05_imbalance_study"))
    epochs = {"draem_epochs": 12}
    shared = seconds(**epochs, map_fit="cross_fitted")[TRAINING] / seconds(**epochs)[TRAINING]
    assert shared == pytest.approx(1, abs=0.03), "the halves share the epochs' steps"


def test_repeats_cost_trainings_maps_features_and_fits():
    def cost(repeats):
        run = open_run("deco_cap", "quick", overrides={"repeats": repeats})
        return forecast(run, size_of(run), SPEED)

    one, two, three = map(cost, (1, 2, 3))
    once, twice = (work(part["seconds"], images=89) for part in (one, two))
    for name in (TRAINING, "02_anomaly_maps", "04_classification", "05_imbalance_study"):
        assert twice[name] == pytest.approx(2 * once[name])
    for column, name in product(("seconds", "disk"), one.index):  # images and their features are there once
        more = two.loc[name, column] - one.loc[name, column]
        assert three.loc[name, column] - two.loc[name, column] == pytest.approx(more)
        assert bool(more) == (
            name[:2] not in ("00", "06") and (column, name[:2]) not in {("disk", "04"), ("disk", "05")}
        )


def test_official_checkpoints_cost_no_training():
    assert seconds(draem_checkpoint="x")[TRAINING] < 10


def test_baselines_and_inner_folds_cost_in_04():
    bare, full, finer = seconds(baselines=False), seconds(), seconds(inner_folds=5)
    assert bare["04_classification"] < full["04_classification"] < finer["04_classification"]
    assert bare["05_imbalance_study"] == full["05_imbalance_study"] == finer["05_imbalance_study"]
    assert bare["03_features"] == full["03_features"]


def test_the_speed_scales_what_it_was_measured_by_and_tasks_share_the_time():
    usual, slow = work(seconds()), work(seconds(speed=5))
    for name in (TRAINING, "04_classification"):
        assert slow[name] == pytest.approx(10 * usual[name])
    gpu, slower = seconds(device="cuda"), seconds(device="cuda", speed=5)
    assert slower[TRAINING] > gpu[TRAINING] and slower["04_classification"] == gpu["04_classification"]
    shared = work(forecast(open_run("deco_cap", "quick"), SIZE, SPEED, tasks=8)["seconds"])
    assert shared[TRAINING] == pytest.approx(usual[TRAINING] / 3), "there are three folds"
    assert shared["00_dataset"] == usual["00_dataset"]


def test_notebooks_cost_besides_and_06_comes_after_all_data_sets(tmp_path, monkeypatch):
    small, large = seconds(), seconds((6000, 2000, 3))
    assert list(small.index) == list(NOTEBOOKS) and large["06_statistics"] > small["06_statistics"] > 0
    monkeypatch.setattr(run_all, "jobs_here", lambda _: 2)
    monkeypatch.setattr(run_all, "cores", lambda: 2)
    cost = pd.Series({"04_classification": 10.0, "05_imbalance_study": 20.0, "06_statistics": 8.0})
    monkeypatch.setattr(run_all, "costs_of", lambda _: [cost.to_frame("seconds")] * 3)
    done = {"deco_cap-synthetic": {"05_imbalance_study"}, "shavers-synthetic": set(NOTEBOOKS[:-1])}

    def said(*given):
        asked = plan(parser().parse_args([*given, "--output", str(tmp_path), "--weights", "random-init"]))
        parts = run_all.seconds_of(asked, done)
        return run_all.lasts(asked, parts), parts

    told, parts = said()
    assert told == f"{(40 + 2 * START) / 2 + 24:.0f} s", "a kernel's start is paid where there is work"
    assert parts["06_statistics"] == {"06_statistics": 24.0}
    assert parts["deco_cap-synthetic"] == {"04_classification": 10.0} and not parts["shavers-synthetic"]
    told, parts = said("--only", "05")
    assert told == f"{(20 + START) / 2:.0f} s" and "06_statistics" not in parts


def test_disk_counts_maps_per_split():
    def kept(size=SIZE, **settings):
        return forecast(open_run("deco_cap", "quick", overrides=settings), size, SPEED)["disk"].sum()

    assert kept((600, 200, 6), leak_check="all") - kept() > 3 * 600 * 64 * 64 * 2
    assert kept((600, 200, 6)) == kept(), "other folds get no maps"
    assert kept(map_source="patchcore") < kept(), "no networks are kept"


def test_memory_grows_with_what_is_held_at_one_time():
    def needed(size=SIZE, **settings):
        run = open_run("deco_cap", "quick", overrides={"device": "cpu", **settings})
        return forecast(run, size, SPEED)["memory"].max()

    assert PROCESS < needed() < 2e9
    assert needed(image_size=256, draem_batch=12) - needed(image_size=256) == 8 * 256**2 * (1000 + 80 * 24)
    assert needed(device="cuda", image_size=256) < needed(image_size=256)
    many, few = (needed(size=(9000, good, 3), image_size=256) for good in (6000, 3000))
    assert many - few == 2000 * 3 * 256**2
    assert needed(image_size=256, draem_checkpoint="x") < needed(image_size=256)


def test_the_largest_product_is_known_to_pass_in_4_gib():
    """The settings of tests/pipeline/test_memory.py, which a run has passed: the estimate must not refuse them."""
    settings = {"image_size": 256, "folds": 10, "reconstructive_width": 1, "discriminative_width": 1,
                "feature_size": 32, "device": "cpu"}  # fmt: skip
    run = open_run("shaft", "quick", overrides=settings)
    assert forecast(run, (4249, 528, 10), SPEED)["memory"].max() < 2.8 * 2**30


def test_what_data_sets_and_workers_take_together_is_compared_with_the_machine(tmp_path, monkeypatch):
    runs = [open_run(name, "quick", "", str(tmp_path)) for name in ("deco_cap", "shaft", "shavers")]
    costs = [pd.DataFrame({"memory": [1e9, 2e9], "disk": [1e6, 0]})] * 3

    def said(free, side_by_side=1, workers=0):
        monkeypatch.setattr("lib.batch.preflight.memory_free", lambda: free)
        return check_resources(runs, costs, side_by_side, workers)

    assert said(2e9) == said(4e9, side_by_side=2) == said(4e9 + PROCESS, workers=2) == []
    assert "2.0 GB of memory needed" in said(1.9e9)[0]
    assert "--jobs (2)" in said(3.9e9, side_by_side=2)[0]
    assert "--workers (2)" in said(4e9, workers=2)[0]
    costs[0] = costs[0].assign(disk=1e18)
    assert "MB of disk needed" in said(2e9)[0]


def test_lines_on_each_notebook(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    given = ["--dataset", "deco_cap", "--weights", "random-init", "--output", str(tmp_path), "--set", "device=cpu"]
    work = plan(parser().parse_args(given))
    monkeypatch.setattr("lib.batch.notebooks.NotebookJob.done", lambda job: job.notebook == "02_anomaly_maps")
    run_all.show_costs(work)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "deco_cap-synthetic: 89 images (30 good), 3 splits"
    assert [line.split()[0] for line in lines[2:8]] == list(NOTEBOOKS[:-1])
    assert re.fullmatch(r"  01_draem_training    about \d+ s +\d+ MB +\d+ MB", lines[3])
    assert "proven, nothing to do" in lines[4]
    assert lines[9].startswith("  06_statistics        about ") and "the time is a rough guess" in lines[-1]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return opened(tmp_path)


def opened(folder, **settings):
    return open_run("deco_cap", "quick", "", str(folder / "study"), {"device": "cpu", **settings})


def train(run, name, steps, seconds, monkeypatch, **how):
    clock, summary = iter([0.0, seconds]), {"steps": steps, "device": "cpu", "resumed": False, **how}
    with monkeypatch.context() as patch:
        patch.setattr("lib.artifacts.time.perf_counter", lambda: next(clock))
        run.store.make(name, {}, lambda path: path.write_text("x") and summary)


def test_what_a_training_took_is_kept_for_its_threads_and_device(run, tmp_path, monkeypatch):
    train(run, "draem/a.safetensors", 100, 30.0, monkeypatch)
    store_speed(run)
    assert stored_speed(run) is None, "too short to tell"
    train(run, "draem/b.safetensors", 300, 50.0, monkeypatch)
    run.store.make("draem/history.csv", {}, lambda path: path.write_text("x") and None)
    store_speed(run)
    assert stored_speed(run) == pytest.approx(80 / (4 * 400 * 0.02)), "4 images a step, 0.02 s each at 64 px"
    assert stored_speed(opened(tmp_path, folds=7)) == stored_speed(run)
    assert stored_speed(opened(tmp_path, threads=2)) is None
    assert stored_speed(opened(tmp_path, device="cuda")) is None


def test_a_training_elsewhere_tells_nothing(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("lib.artifacts.HOST", "elsewhere")
        train(run, "draem/a.safetensors", 100, 90.0, monkeypatch)
    store_speed(run)
    assert stored_speed(run) is None


@pytest.mark.parametrize("how", [{"resumed": True}, {"device": "cuda"}])
def test_a_training_resumed_or_on_another_device_tells_nothing(run, monkeypatch, how):
    train(run, "draem/a.safetensors", 100, 90.0, monkeypatch, **how)
    store_speed(run)
    assert stored_speed(run) is None


def test_the_forecast_is_made_before_the_cores_are_shared_out(tmp_path, monkeypatch):
    def forecast(_):
        raise InterruptedError

    monkeypatch.setattr(run_all, "costs_of", forecast)
    monkeypatch.setattr("lib.batch.notebooks.environment", lambda *_: pytest.fail("too early"))
    with pytest.raises(InterruptedError):
        run_all.execute(plan(parser().parse_args(["--output", str(tmp_path)])))


@pytest.mark.parametrize("text", ["", "[]", "1,2"])
def test_what_is_damaged_or_of_another_version_is_none(run, text):
    file = _speed_file(run)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert stored_speed(run) is None
