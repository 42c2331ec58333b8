"""The forecast grows with what it should, and says it for each notebook."""

import pytest

from lib.batch.calibration import Machine
from lib.batch.forecast import Size, describe, disk, estimate, memory_at_once, size_of
from lib.pipeline.run import PROCESS, open_run

CPU = Machine(networks=0.5, classifiers=2.0)
SIZE = Size(images=600, good=200, splits=3, map_splits=3)
STEP = 8 * 0.02 * 0.5  # seconds of eight images at 64 px and width 16, on this machine
TRAINING = "01_draem_training"


def seconds(size=SIZE, machine=CPU, **settings):
    return estimate(open_run("deco_cap", "quick", overrides=settings), size, machine)


def test_training_grows_with_steps_and_splits_with_maps():
    shorter, longer = seconds(draem_steps=300), seconds(draem_steps=600)
    assert longer[TRAINING] - shorter[TRAINING] == pytest.approx(3 * 300 * STEP)
    more = seconds(Size(600, 200, 6, 3), draem_steps=300)
    assert more[TRAINING] == shorter[TRAINING]
    assert more["04_classification"] > shorter["04_classification"]


def test_cross_fitting_costs_one_training_per_fold_and_the_comparison_one_more():
    written, fitted, both = seconds(), seconds(map_fit="cross_fitted"), seconds(compare_map_fit=True)
    assert fitted[TRAINING] == written[TRAINING]
    assert both[TRAINING] - written[TRAINING] == pytest.approx(3 * 250 * STEP)
    assert fitted["02_anomaly_maps"] > written["02_anomaly_maps"], "test images get two maps"
    assert all(both[n] > written[n] for n in ("02_anomaly_maps", "03_features", "04_classification"))
    assert both["05_imbalance_study"] == written["05_imbalance_study"]
    leaking = Size(600, 200, 6, 6)  # stratified folds with maps too: the comparison leaves them out
    more = seconds(leaking, compare_map_fit=True)[TRAINING] - seconds(leaking)[TRAINING]
    assert more == pytest.approx(3 * 250 * STEP)
    epochs = {"draem_epochs": 12}
    shared = seconds(**epochs, map_fit="cross_fitted")[TRAINING] / seconds(**epochs)[TRAINING]
    assert shared == pytest.approx(1, abs=0.03), "the halves share the epochs' steps"


def test_official_checkpoints_cost_no_training():
    assert seconds(draem_checkpoint="x")[TRAINING] < 10


def test_baselines_and_inner_folds_cost_in_04():
    bare, full, finer = seconds(baselines=False), seconds(), seconds(inner_folds=5)
    assert bare["04_classification"] < full["04_classification"] < finer["04_classification"]
    assert bare["05_imbalance_study"] < full["05_imbalance_study"] == finer["05_imbalance_study"]
    assert bare["03_features"] == full["03_features"]


def test_the_machine_scales_what_it_was_measured_by_and_tasks_share_the_time():
    slow = seconds(machine=Machine(networks=5, classifiers=2))
    usual = seconds()
    assert slow[TRAINING] - 5 == pytest.approx(10 * (usual[TRAINING] - 5))
    assert slow["04_classification"] == usual["04_classification"]
    shared = estimate(open_run("deco_cap", "quick"), SIZE, CPU, tasks=8)
    assert shared[TRAINING] - 5 == pytest.approx((usual[TRAINING] - 5) / 3), "there are three folds"
    assert shared["00_dataset"] == usual["00_dataset"]


def test_disk_counts_maps_per_split():
    def kept(size=SIZE, **settings):
        return sum(disk(open_run("deco_cap", "quick", overrides=settings), size).values())

    assert kept(Size(600, 200, 3, 4)) - kept() > 600 * 64 * 64 * 2
    assert kept(compare_map_fit=True) - kept() > 3 * 600 * 64 * 64 * 2


def test_memory_grows_with_what_is_held_at_one_time():
    def needed(side_by_side=1, workers=0, size=SIZE, **settings):
        run = open_run("deco_cap", "quick", overrides={"device": "cpu", **settings})
        return memory_at_once(run, size, side_by_side, workers)

    quick = needed()
    assert PROCESS < quick < 2e9
    assert needed(image_size=256, draem_batch=16) - needed(image_size=256) == 8 * 256**2 * (1000 + 80 * 24)
    assert needed(device="cuda", image_size=256) < needed(image_size=256)
    assert needed(workers=4) == 4 * quick + PROCESS
    assert needed(side_by_side=3) == quick + PROCESS
    many, few = (needed(size=Size(9000, good, 3, 3), image_size=256) for good in (6000, 3000))
    assert many - few == 2000 * 3 * 256**2
    assert needed(image_size=256, draem_checkpoint="x") < needed(image_size=256)


def test_the_largest_product_is_known_to_pass_in_4_gib():
    """The settings of tests/pipeline/test_memory.py, which a run has passed: the estimate must not refuse them."""
    settings = {"image_size": 256, "folds": 10, "reconstructive_width": 1, "discriminative_width": 1,
                "feature_size": 32, "device": "cpu"}  # fmt: skip
    run = open_run("shaft", "quick", overrides=settings)
    assert memory_at_once(run, Size(4249, 528, 10, 10)) < 2.8 * 2**30


def test_lines_on_each_notebook():
    run = open_run("deco_cap", "quick")
    lines = list(describe(run, size_of(run), {TRAINING: 42.0, "02_anomaly_maps": 9.0}, {"02_anomaly_maps"}))
    assert lines[0] == "deco_cap-synthetic: 89 images (30 good), 3 splits"
    assert "42 s" in lines[1] and "GB" in lines[1] and "MB" in lines[1]
    assert "proven" in lines[2] and len(lines) == 3
