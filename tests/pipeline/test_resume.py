"""A DRAEM's training goes on where it was, starts anew where that cannot be, and is the same bits on every engine."""

from dataclasses import replace

import pytest

from lib.config import Study
from lib.draem import training
from lib.execution.parallel import local_cluster
from lib.pipeline import detectors
from lib.pipeline.dataset import images
from lib.pipeline.detectors import all_models, fit_model
from lib.pipeline.features import feature_all
from lib.pipeline.run import PROCESS, classifier_cost, feature_cost, fit_cost, map_cost, open_run

SETTINGS = {"weights": "random-init", "draem_steps": 6, "leak_check": "none"}


class Killed(Exception):
    pass


def killing(label):
    def report(step, steps, losses):
        if step == 4:
            raise Killed

    return report


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """A study whose first DRAEM was killed at step 4 of 6, saved at step 3; its name and where it was saved."""
    run = open_run("deco_cap", "smoke", "", str(tmp_path / "killed"), SETTINGS)
    images(run, run.study.image_size)
    name = all_models(run)[0]
    with monkeypatch.context() as patch:
        patch.setattr(training, "CHECKPOINT_SECONDS", -1)
        patch.setattr(detectors, "step_bar", killing)
        with pytest.raises(Killed):
            fit_model(run, name)
    (saved,) = run.store.path("draem").glob("*.resume.pt")
    return run, name, saved


@pytest.fixture
def expected(tmp_path):
    run = open_run("deco_cap", "smoke", "", str(tmp_path / "left-alone"), SETTINGS)
    images(run, run.study.image_size)
    name = all_models(run)[0]
    fit_model(run, name)
    return run.store.digest(f"draem/{name}.safetensors")


@pytest.mark.parametrize("harm", ["none", "flip", "cut"])
def test_a_killed_training_ends_with_the_same_bits(killed, expected, harm, capsys, monkeypatch):
    run, name, saved = killed
    data = saved.read_bytes()
    if harm == "flip":
        place = len(data) // 2
        saved.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    elif harm == "cut":
        saved.write_bytes(data[:-900])
    steps = []
    monkeypatch.setattr(detectors, "step_bar", lambda label: lambda *at: steps.append(at[:2]))
    fit_model(run, name)
    assert run.store.digest(f"draem/{name}.safetensors") == expected
    assert steps == [(step, 6) for step in range(4 if harm == "none" else 1, 7)]
    assert ("done anew" in capsys.readouterr().out) == (harm != "none")
    assert not saved.exists()


def test_other_settings_start_anew_and_clear_away(killed):
    run, name, saved = killed
    other = replace(run, study=Study.of("smoke", SETTINGS | {"draem_lr": 0.02}))
    fit_model(other, name)
    assert run.store.issue(f"draem/{name}.safetensors") == ""
    assert not saved.exists()


def made(run):
    feature_all(run)
    return {
        name: run.store.digest(name) for name in run.store.names() if name.startswith(("draem/", "maps/", "features/"))
    }


@pytest.mark.slow
def test_a_cluster_gives_the_same_bits(tmp_path):
    here = open_run("deco_cap", "smoke", "", str(tmp_path / "here"), SETTINGS)
    expected = made(here)
    with local_cluster(2) as address:
        there = made(replace(here, study_dir=str(tmp_path / "there"), scheduler=address))
    assert there == expected
    assert len(expected) >= 10


def test_effort_grows_with_what_costs(tmp_path):
    def run(**settings):
        return open_run("deco_cap", "smoke", "", str(tmp_path), {"draem_steps": 100, **settings})

    wide = run(reconstructive_width=8, discriminative_width=8)
    small, large = run(), run(image_size=64)
    base, less = fit_cost(small, 20, 1), fit_cost(large, 20, 1)
    assert fit_cost(wide, 20, 1)["seconds"] == 4 * base["seconds"] == less["seconds"]
    assert fit_cost(small, 20, 2)["seconds"] == base["seconds"] / 2
    assert PROCESS < base["memory"] < less["memory"]
    assert map_cost(small, 200)["seconds"] == 2 * map_cost(small, 100)["seconds"]
    few, more, most = (classifier_cost(small, images)["seconds"] for images in (1, 101, 201))
    assert few > 0.05 and most - more == pytest.approx(more - few) and more > few
    small, more = (run(map_source="patchcore", coreset_size=size) for size in (50, 100))
    for effort_of in (lambda one: map_cost(one, 100), lambda one: fit_cost(one, 20, 2)):
        assert effort_of(more)["seconds"] == pytest.approx(2 * effort_of(small)["seconds"])
    small = run()
    assert feature_cost(run(feature_size=64), 100)["seconds"] == 4 * feature_cost(small, 100)["seconds"]
