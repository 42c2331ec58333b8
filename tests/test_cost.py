"""The estimate grows with what it should."""

from lib.cost import Size, Speed, disk_bytes, estimate, shown
from lib.study import Study

SPEED = Speed(draem_training=0.01, draem_map=0.003, resnet=0.005, fit=0.5, information=0.1)
SIZE = Size(images=600, good=200, splits=3, map_splits=3)


def test_training_grows_with_steps_and_splits():
    shorter = estimate(Study.of("quick", {"draem_steps": 300}), SIZE, SPEED)
    longer = estimate(Study.of("quick", {"draem_steps": 600}), SIZE, SPEED)
    assert abs(longer["01_draem_training"] - shorter["01_draem_training"] - 3 * 300 * 8 * 0.01) < 1e-9
    fewer = estimate(Study.of("quick", {"draem_steps": 300}), Size(600, 200, 6, 3), SPEED)
    assert fewer["01_draem_training"] == shorter["01_draem_training"]
    assert fewer["04_classification"] > shorter["04_classification"]


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


def test_durations_in_words():
    assert [shown(s) for s in (42, 600, 2 * 3600, 3 * 86400)] == ["42 s", "10 min", "2.0 h", "3.0 days"]
