"""The numbers that sum up a map are what their names say, however the maps are cut into chunks."""

import numpy as np

from lib.anomaly_maps.map_statistics import STATISTICS, map_statistics

MAPS = np.random.default_rng(0).random((7, 6, 10)).astype(np.float16)


def test_each_column_is_what_its_name_says():
    found = map_statistics(MAPS)
    assert (found.shape, found.dtype) == ((7, len(STATISTICS)), np.float32)
    pixels = MAPS[4].astype(np.float32).ravel()
    expected = {"max": pixels.max(), "mean": pixels.mean(), "percentile 95": np.quantile(pixels, 0.95),
                "percentile 99": np.quantile(pixels, 0.99)}  # fmt: skip
    expected |= {f"area above {t}": (pixels > t).mean() for t in (0.1, 0.3, 0.5, 0.7, 0.9)}
    assert list(expected) == list(STATISTICS)
    np.testing.assert_allclose(found[4], list(expected.values()), rtol=1e-6)


def test_chunks_do_not_show_and_memory_maps_will_do(tmp_path):
    np.save(tmp_path / "maps.npy", MAPS)
    mapped = np.load(tmp_path / "maps.npy", mmap_mode="r")
    np.testing.assert_array_equal(map_statistics(mapped, chunk=2), map_statistics(MAPS))


def test_a_blank_and_a_full_map():
    found = map_statistics(np.stack([np.zeros((4, 4)), np.ones((4, 4))]))
    assert (found[0] == 0).all() and (found[1] == 1).all()
