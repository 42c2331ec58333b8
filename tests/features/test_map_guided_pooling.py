"""Map-guided pooling: where the map points, against other units' good images; counted by hand."""

import numpy as np
import pytest

from lib.features.map_guided_pooling import map_guided_features

N, SIDE, CHANNELS = 12, 4, 3


def case(seed=0):
    """Patches, maps, good flags and units: two pictures of each unit, the last two units defective."""
    rng = np.random.default_rng(seed)
    patches = rng.normal(size=(N, SIDE, SIDE, CHANNELS)).astype(np.float16)
    maps = rng.uniform(size=(N, SIDE, SIDE)).astype(np.float16)
    return patches, maps, np.arange(N) < 8, np.arange(N) // 2


def by_hand(patches, maps, good, units, count):
    rows = []
    for row in range(N):
        usual = patches[good & (units != units[row])].astype(np.float64).mean(axis=0)
        flat = (patches[row] - usual).reshape(-1, CHANNELS)
        rows.append(flat[np.argsort(-maps[row].astype(np.float64).ravel())[:count]].mean(axis=0))
    return np.array(rows)


@pytest.mark.parametrize("count", [1, 5])
def test_the_most_anomalous_patches_are_averaged(count):
    found = map_guided_features(*case(), (count,))
    np.testing.assert_allclose(found, by_hand(*case(), count), atol=1e-5)


def test_several_numbers_give_an_average_each():
    both = map_guided_features(*case(), (2, 9))
    alone = [map_guided_features(*case(), (count,)) for count in (2, 9)]
    np.testing.assert_array_equal(both, np.hstack(alone))


def test_a_picture_is_not_compared_with_its_own_unit():
    patches, maps, good, units = case()
    before = map_guided_features(patches, maps, good, units, (16,))
    patches[0] += 100  # a good picture of unit 0
    after = map_guided_features(patches, maps, good, units, (16,))
    np.testing.assert_allclose(after[1], before[1], atol=1e-3)  # its twin does not see it,
    assert np.abs(after[2:] - before[2:]).min() > 1  # all others do
    patches, maps, good, units = case()
    patches[10] += 100  # a defective one
    np.testing.assert_array_equal(map_guided_features(patches, maps, good, units, (16,))[:8], before[:8])


def test_maps_of_another_side_point_at_the_same_places():
    patches, maps, good, units = case()
    maps *= np.float16(0.3)  # a blur between neighbours hides no maximum
    large = np.kron(maps, np.ones((8, 8), np.float16))
    maps[:, 0, 0] = large[:, :8, :8] = 1
    one, other = (map_guided_features(patches, m, good, units, (1,)) for m in (maps, large))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_unit_with_all_good_images_is_refused():
    patches, maps, good, units = case()
    with pytest.raises(ValueError, match="nothing is left"):
        map_guided_features(patches, maps, good, np.where(good, 0, units), (3, 12, 48))
