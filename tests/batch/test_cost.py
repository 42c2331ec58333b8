"""The estimate grows with what it should."""

from lib.batch.cost import PROCESS_BYTES, Size, Speed, disk_bytes, estimate, memory_bytes
from lib.config import Study
from lib.execution.status import format_duration

SPEED = Speed(draem_training=0.01, draem_map=0.003, resnet=0.005, fit=0.5, information=0.1)
SIZE = Size(images=600, good=200, splits=3, map_splits=3)


def test_training_grows_with_steps_and_splits():
    shorter = estimate(Study.of("quick", {"draem_steps": 300}), SIZE, SPEED)
    longer = estimate(Study.of("quick", {"draem_steps": 600}), SIZE, SPEED)
    assert abs(longer["01_draem_training"] - shorter["01_draem_training"] - 3 * 300 * 8 * 0.01) < 1e-9
    fewer = estimate(Study.of("quick", {"draem_steps": 300}), Size(600, 200, 6, 3), SPEED)
    assert fewer["01_draem_training"] == shorter["01_draem_training"]
    assert fewer["04_classification"] > shorter["04_classification"]


def test_cross_fitting_costs_one_training_per_fold_and_the_check_one_more():
    def training(**settings):
        return estimate(Study.of("quick", settings), SIZE, SPEED)

    written, fitted, both = training(), training(map_fit="cross_fitted"), training(compare_map_fit=True)
    name = "01_draem_training"
    assert fitted[name] == written[name]
    assert abs((both[name] - written[name]) - 3 * 250 * 8 * 0.01) < 1e-9
    assert fitted["02_anomaly_maps"] > written["02_anomaly_maps"]  # test images get two maps
    assert all(both[n] > written[n] for n in ("02_anomaly_maps", "03_features", "04_classification"))
    assert both["05_imbalance_study"] == written["05_imbalance_study"]
    leaking = Size(600, 200, 6, 6)  # stratified folds with maps too: the check leaves them out
    more = estimate(Study.of("quick", {"compare_map_fit": True}), leaking, SPEED)[name]
    assert abs(more - estimate(Study.of("quick"), leaking, SPEED)[name] - 3 * 250 * 8 * 0.01) < 1e-9


def test_epochs_share_themselves_out():
    settings = {"draem_epochs": 12}
    written = estimate(Study.of("quick", settings), SIZE, SPEED)["01_draem_training"]
    fitted = estimate(Study.of("quick", settings | {"map_fit": "cross_fitted"}), SIZE, SPEED)
    assert abs(fitted["01_draem_training"] / written - 1) < 0.03


def test_official_checkpoints_cost_no_training():
    assert estimate(Study.of("quick", {"draem_checkpoint": "x"}), SIZE, SPEED)["01_draem_training"] < 10


def test_baselines_and_inner_folds_cost_in_04():
    bare, full, finer = (
        estimate(Study.of("quick", settings), SIZE, SPEED)
        for settings in ({"baselines": False}, {}, {"inner_folds": 5})
    )
    assert bare["04_classification"] < full["04_classification"] < finer["04_classification"]
    assert bare["05_imbalance_study"] < full["05_imbalance_study"] == finer["05_imbalance_study"]
    assert bare["03_features"] == full["03_features"]


def test_disk_counts_maps_per_split():
    study = Study.of("quick")
    more = disk_bytes(study, Size(600, 200, 3, 4)) - disk_bytes(study, SIZE)
    assert more > 600 * 64 * 64 * 2
    checked = disk_bytes(Study.of("quick", {"compare_map_fit": True}), SIZE) - disk_bytes(study, SIZE)
    assert checked > 3 * 600 * 64 * 64 * 2


def test_durations_in_words():
    assert [format_duration(s) for s in (42, 600, 2 * 3600, 3 * 86400)] == [
        "42 s",
        "10 min",
        "2.0 h",
        "3.0 days",
    ]


def test_memory_grows_with_what_is_held_at_one_time():
    def needed(cpu=True, side_by_side=1, workers=0, size=SIZE, **settings):
        return memory_bytes(Study.of("quick", settings), size, cpu, side_by_side, workers)

    quick = needed()
    assert PROCESS_BYTES < quick < 2e9
    batch = needed(image_size=256, draem_batch=16) - needed(image_size=256)
    assert batch == 8 * 256**2 * (1000 + 80 * 24)
    assert needed(cpu=False, image_size=256) < needed(image_size=256)
    assert needed(workers=4) == 4 * quick + PROCESS_BYTES
    assert needed(side_by_side=3) == quick + PROCESS_BYTES
    many = needed(size=Size(9000, 6000, 3, 3), image_size=256) - needed(
        size=Size(9000, 3000, 3, 3), image_size=256
    )
    assert many == 2000 * 3 * 256**2
    assert needed(image_size=256, draem_checkpoint="x") < needed(image_size=256)


def test_the_largest_product_is_known_to_pass_in_4_gib():
    """The settings of tests/pipeline/test_memory.py, which a run has passed: the estimate must not refuse them."""
    study = Study.of("quick", {"image_size": 256, "folds": 10, "reconstructive_width": 1, "discriminative_width": 1,
                               "feature_size": 32})  # fmt: skip
    assert memory_bytes(study, Size(4249, 528, 10, 10), True) < 2.8 * 2**30
