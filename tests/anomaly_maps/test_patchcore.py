"""The PatchCore: its coreset covers, its distances are exact, its scale means what it says, it survives a file."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib.anomaly_maps import patchcore
from lib.anomaly_maps.detectors import FitTask
from lib.anomaly_maps.patchcore import MIDDLE, RARE, PatchCore, fit, greedy_coreset, to_unit_interval

N, SIDE, CHANNELS = 24, 4, 10


def patches(seed=0, count=N):
    return np.random.default_rng(seed).normal(size=(count, SIDE, SIDE, CHANNELS)).astype(np.float16)


def memory(seen, size=60):
    study, (good, held_out) = (SimpleNamespace(coreset_size=size, map_side=8), np.split(np.arange(len(seen)), 2))
    return fit(FitTask(study, seen, good, held_out, sharing=2, seed=3))[0]


def radius(points, chosen):
    return torch.cdist(points, points[chosen]).amin(dim=1).max()


def test_each_point_chosen_is_the_farthest_from_those_before_it():
    points = torch.from_numpy(np.random.default_rng(1).normal(size=(200, 5)))
    chosen = greedy_coreset(points, 20, print)
    assert len(set(chosen.tolist())) == 20
    assert chosen[0] == ((points - points.mean(dim=0)) ** 2).sum(dim=1).argmax()
    for count in range(1, 20):
        distances = torch.cdist(points, points[chosen[:count]]).amin(dim=1)
        assert distances[chosen[count]] == pytest.approx(float(distances.max()), rel=1e-6)


def test_a_coreset_covers_better_than_chance_and_keeps_what_is_rare():
    rng = np.random.default_rng(2)
    points = torch.from_numpy(np.vstack([rng.normal(size=(500, 4)), rng.normal(size=(3, 4)) + 30]))
    chosen = greedy_coreset(points, 25, print)
    drawn = [torch.from_numpy(rng.permutation(len(points))[:25]) for _ in range(20)]
    assert radius(points, chosen) < 0.8 * min(radius(points, some) for some in drawn)
    assert set(chosen.tolist()) & {500, 501, 502}


def test_equal_points_are_kept_once_and_few_points_all():
    assert len(greedy_coreset(torch.ones(9, 3), 5, print)) == 1
    assert sorted(greedy_coreset(torch.arange(4.0)[:, None], 9, print).tolist()) == [0, 1, 2, 3]


def test_distances_are_those_to_the_nearest_remembered_patch(monkeypatch):
    monkeypatch.setattr(patchcore, "ROWS", 7)  # several readings
    seen = patches()
    found = memory(seen)
    flat = seen[:5].reshape(-1, CHANNELS).astype(np.float64)
    kept = found.patches.double().numpy()
    nearest = np.sqrt(((flat[:, None] - kept) ** 2).sum(axis=2)).min(axis=1).reshape(5, SIDE, SIDE)
    np.testing.assert_allclose(found.distances(seen[:5]), nearest, atol=2e-3)
    remembered = {tuple(row) for row in kept.astype(np.float16).tolist()}
    offered = {tuple(row) for row in seen[: N // 2].reshape(-1, CHANNELS).tolist()}
    assert remembered <= offered


def test_one_held_out_good_patch_in_two_hundred_is_bright_and_half_of_them_are_dark():
    seen = patches(count=200)
    found = memory(seen)
    distances = torch.from_numpy(found.distances(seen[100:]))
    values = to_unit_interval(distances, found.scale_distance, found.slope).numpy()
    assert (values > 0.5).mean() == pytest.approx(1 - RARE, abs=5e-4)
    assert np.median(values) == pytest.approx(MIDDLE, abs=2e-3)
    assert (values >= 0).all() and (values < 1).all()


def test_maps_have_the_asked_side_and_rise_where_a_patch_is_strange():
    seen = patches()
    strange = seen[:2].copy()
    strange[1, 0, 0] = 40
    maps = memory(seen).maps(strange)
    assert maps.shape == (2, 8, 8) and maps.dtype == np.float16
    assert maps[1, 0, 0] > 0.9 > maps[0].max()
    np.testing.assert_array_equal(maps[1, 5:, 5:], memory(seen).maps(seen[1:2])[0, 5:, 5:])


def test_the_same_input_gives_the_same_file_and_the_file_the_same_maps(tmp_path):
    seen = patches()
    for name in ("a", "b"):
        memory(seen).save(tmp_path / name, {"dataset": "x", "preset": "y"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back = PatchCore.load(tmp_path / "a")
    np.testing.assert_array_equal(back.maps(seen[:3]), memory(seen).maps(seen[:3]))


def test_the_pool_bounds_what_is_looked_at(monkeypatch):
    monkeypatch.setattr(patchcore, "POOL", 30)
    assert len(memory(patches(), size=60).patches) == 30
