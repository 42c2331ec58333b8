"""What --dry-run tells: each stage's time, memory and disk, and the largest preset that fits in a night."""

from lib.batch import forecast
from lib.batch.cost import Size, Speed, disk, disk_bytes, memory, memory_bytes
from lib.config import Study
from lib.pipeline.run import open_run

FAST = Speed(draem_training=1e-5, draem_map=1e-5, resnet=1e-4, fit=0.01, information=0.01)
SLOW = Speed(draem_training=2.0, draem_map=0.005, resnet=0.005, fit=0.5, information=0.1)
SIZE = Size(images=89, good=30, splits=3, map_splits=3)


def lines(speed, *, memory_left=None, disk_left=10**12, monkeypatch, overrides=None):
    monkeypatch.setattr(forecast, "memory_free", lambda: memory_left)
    run = open_run("deco_cap", "quick", overrides={"device": "cpu"})
    known = dict.fromkeys(("quick", "standard", "paper"), speed)
    told = forecast.presets(
        [run], {run.name: SIZE}, {"device": "cpu", **(overrides or {})}, disk_left, 1, known
    )
    return list(told)


def test_the_largest_preset_that_fits_is_named(monkeypatch):
    assert lines(FAST, monkeypatch=monkeypatch)[-1].endswith("here: paper")
    slow = lines(SLOW, monkeypatch=monkeypatch)
    assert slow[-1].endswith("here: quick")
    assert "no night is so long" in next(line for line in slow if "paper" in line)


def test_what_has_no_room_does_not_fit(monkeypatch):
    small = lines(FAST, memory_left=2 * 10**9, monkeypatch=monkeypatch)
    assert "does not fit: " in next(line for line in small if "paper" in line)
    assert small[-1].endswith("here: standard")
    full = lines(FAST, disk_left=1000, monkeypatch=monkeypatch)
    assert "GB of disk" in full[0]
    assert "none" in full[-1]


def test_presets_that_the_overrides_contradict_are_passed_over(monkeypatch):
    assert len(lines(FAST, monkeypatch=monkeypatch)) == 4
    study = Study.of("paper", {"folds": 4})
    run = open_run("deco_cap", "quick")
    assert forecast._size(run, SIZE, study).splits == 4
    assert forecast._size(run, SIZE, study).images == 592


def test_stages_show_memory_and_disk_of_each_notebook():
    run = open_run("deco_cap", "quick", overrides={"device": "cpu"})
    told = list(
        forecast.stages(run, SIZE, {"01_draem_training": 42.0, "02_anomaly_maps": 9.0}, {"02_anomaly_maps"})
    )
    assert len(told) == 3
    assert "42 s" in told[1] and "GB" in told[1] and "MB" in told[1]
    assert "proven" in told[2]


def test_the_parts_make_up_the_whole():
    study = Study.of("standard")
    assert disk_bytes(study, SIZE) == sum(disk(study, SIZE).values())
    assert memory_bytes(study, SIZE, True) == max(memory(study, SIZE, True).values())
