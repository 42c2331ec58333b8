"""No DRAEM sees a test image, and no cross-fitted training image's map comes from a DRAEM that saw it or its group.

The check looks at what training really received and which network really made each stored map; then each leak is
injected once, and the check must find it.
"""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import lib.pipeline.detectors as detectors
from lib.anomaly_maps import cross_fitting, patchcore
from lib.datasets.splits import make_inner_folds
from lib.draem import training
from lib.draem.inference import Draem
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.pipeline.dataset import images, in_test_fold, index
from lib.pipeline.detectors import all_models, good_rows, load_model, map_splits, models
from lib.pipeline.embeddings import patches
from lib.pipeline.maps import map_all, maps
from lib.pipeline.run import open_run
from tests.pipeline.plates import draw_plates

SETTINGS = {"weights": "random-init", "leak_check": "none", "repeats": 2}


READINGS = ("in_sample", "cross_fitted")


def readings(run):
    """Return the run with each reading of `map_fit`."""
    return [replace(run, study=replace(run.study, map_fit=fit)) for fit in READINGS]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaks")
    data = draw_plates(folder / "plates")
    run = open_run("plates", "smoke", str(data), str(folder / "study"), SETTINGS)
    images(run, run.study.image_size)
    return run


@pytest.fixture
def run(fresh, tmp_path):
    shutil.copytree(fresh.study_dir, tmp_path / "study")
    return replace(fresh, study_dir=str(tmp_path / "study"))


def made_maps(run, monkeypatch):
    """Make all maps; returns for each DRAEM the rows of the images that training received.

    Instead of training, each DRAEM gets a bias of its own, so that its maps are known by their level.
    """
    stack = images(run, run.study.image_size)
    row_of = {picture.tobytes(): row for row, picture in enumerate(stack)}
    assert len(row_of) == len(stack)
    received = {}

    def spy(pictures, textures, settings, device, checkpoint, progress):
        received[checkpoint.name.split(".")[0]] = {row_of[p.tobytes()] for p in pictures}
        networks = ReconstructiveNetwork(4, seed=1), DiscriminativeNetwork(4, seed=1)
        with torch.no_grad():
            networks[1].decoder_segment.fin_out[0].bias[1] += len(received) / 4 - 2
        history = pd.DataFrame({"step": [1], "loss": [0.0]})
        return Draem(*networks).eval(), history

    monkeypatch.setattr(training, "train", spy)
    for one in readings(run):
        map_all(one)
    assert set(received) == {name for one in readings(run) for name in all_models(one)}
    return received


def leaks(run, received):
    """Return every leak, in words."""
    table, found = index(run), set()
    groups, good = table["group"].to_numpy(), (table["label"] == table.attrs["good"]).to_numpy()
    for one in readings(run):
        for split in map_splits(one):
            tested, names = np.flatnonzero(in_test_fold(one, split)), models(one, split)
            seen = [sorted(received[name]) for name in names]
            for name, rows in zip(names, seen, strict=True):
                found |= {f"{name} saw a test image"} if set(rows) & set(tested) else set()
                found |= {f"{name} saw a test image's group"} if set(groups[rows]) & set(groups[tested]) else set()
                found |= {f"{name} saw a defect"} if not good[rows].all() else set()
            if one.study.map_fit == "cross_fitted":
                found |= cross_fit_leaks(one, split, names, seen, tested, groups)
    return found


def cross_fit_leaks(run, split, names, seen, tested, groups):
    stack, stored = np.asarray(images(run, run.study.image_size)), maps(run, split)
    made = [load_model(run, name).maps(stack).astype(float) for name in names]
    assert np.abs(made[0] - made[1]).max(axis=(1, 2)).min() > 0.01, "the two DRAEMs must be told apart"
    found = set()
    for row, picture in enumerate(stored):
        makers = [half for half in (0, 1) if np.allclose(picture, made[half][row], atol=2e-3)]
        assert len(makers) == 1, "one DRAEM made the map"
        if row in tested:
            continue
        rows = seen[makers[0]]
        found |= {f"{split}: mapped by a DRAEM that saw it"} if row in rows else set()
        found |= {f"{split}: mapped by a DRAEM that saw its group"} if groups[row] in groups[rows] else set()
    return found


def test_nothing_leaks(run, monkeypatch):
    received = made_maps(run, monkeypatch)
    assert leaks(run, received) == set()
    dealt, (_, crossed) = [], readings(run)
    for split in ("grouped-0", "grouped-0-repeat-1"):
        halves = [received[name] for name in models(crossed, split)]
        assert min(map(len, halves)) > 0
        assert halves[0] | halves[1] == received[split] == received["grouped-0"]
        assert not halves[0] & halves[1]
        dealt.append(halves)
    assert dealt[0] not in (dealt[1], dealt[1][::-1]), "a repeat has halves of its own"


@pytest.mark.parametrize("leaking", ["grouped-0", "grouped-0-inner-1", "grouped-0-repeat-1-inner-1"])
def test_test_goods_given_to_draem_are_caught(run, monkeypatch, leaking):
    table = index(run)
    all_good = np.flatnonzero(table["label"] == "good")
    monkeypatch.setattr(detectors, "good_rows", lambda run, name: all_good if name == leaking else good_rows(run, name))
    found = leaks(run, made_maps(run, monkeypatch))
    assert f"{leaking} saw a test image" in found
    split = leaking.partition(detectors.INNER)[0]
    if "inner" in leaking:
        assert f"{split}: mapped by a DRAEM that saw it" in found
    assert {issue.partition(":")[0].partition(" saw")[0] for issue in found} <= {split, leaking}


def test_maps_from_the_draem_of_the_own_half_are_caught(run, monkeypatch):
    real = cross_fitting.predict_maps
    monkeypatch.setattr(cross_fitting, "predict_maps", lambda mappers, *a, **k: real(mappers[::-1], *a, **k))
    found = leaks(run, made_maps(run, monkeypatch))
    assert {f"grouped-0{again}: mapped by a DRAEM that saw it" for again in ("", "-repeat-1")} <= found


def test_halves_that_split_a_group_are_caught(run, monkeypatch):
    monkeypatch.setattr(
        detectors, "make_inner_folds", lambda labels, groups, *rest: make_inner_folds(labels, None, *rest)
    )
    found = leaks(run, made_maps(run, monkeypatch))
    assert "grouped-0: mapped by a DRAEM that saw its group" in found
    assert not any("saw it" in issue and "its" not in issue for issue in found)


def test_no_patchcore_sees_a_test_image_a_defect_or_its_own_half(run, monkeypatch):
    """What each memory is filled from and scaled on; then which memory made each stored map."""
    given = []

    def spy(task):
        given.append((set(task.good.tolist()), set(task.held_out.tolist())))
        memory, summary = patchcore.fit(task)
        known_by = memory.scale_distance * (1 + len(given) / 20)
        return replace(memory, scale_distance=known_by), summary

    monkeypatch.setattr(patchcore, "DETECTOR", replace(patchcore.DETECTOR, fit=spy))
    run = replace(run, study=replace(run.study, map_source="patchcore"))
    map_all(run)
    table = index(run)
    groups, good = table["group"].to_numpy(), (table["label"] == table.attrs["good"]).to_numpy()
    names = all_models(run)
    assert len(given) == len(names)
    for name, (filled, scaled) in zip(names, given, strict=True):
        tested = in_test_fold(run, name.partition(detectors.INNER)[0])
        rows = sorted(filled | scaled)
        assert good[rows].all()
        assert not set(groups[rows]) & set(groups[tested])
        assert not set(groups[sorted(filled)]) & set(groups[sorted(scaled)])
    for number, split in enumerate(map_splits(run)):
        stored, pair = maps(run, split), given[2 * number : 2 * number + 2]
        made = [load_model(run, name).maps(patches(run)).astype(float) for name in names[2 * number :][:2]]
        for row, picture in enumerate(stored):
            makers = [half for half in (0, 1) if np.allclose(picture, made[half][row], atol=2e-3)]
            assert len(makers) == 1 or (makers and not good[row])  # a gross defect is 1 everywhere, by either
            if in_test_fold(run, split)[row]:
                continue
            assert len(makers) == 2 or groups[row] not in groups[sorted(pair[makers[0]][0])]
