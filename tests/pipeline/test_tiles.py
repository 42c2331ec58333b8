"""A study whose images are seen in tiles: what each step gets, and a scratch that squashed images have lost."""

import numpy as np
import pytest
import torch
from PIL import Image

from lib.datasets.near_duplicates import small_pictures
from lib.draem.detector import training_images
from lib.draem.inference import Draem
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.features.backbone import load_backbone
from lib.features.embeddings import image_features, map_features
from lib.pipeline.data_checks import describe_sizes
from lib.pipeline.detectors import fit_task
from lib.pipeline.run import open_run
from lib.torch_utils import cut
from tests.benchmarks.tiles_quality import draw_scratched, measure
from tests.pipeline.plates import draw_plates

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiled")
    settings = {"tiles": 2, "weights": "random-init", "map_source": "draem"}
    return open_run("plates", "smoke", str(draw_plates(folder / "plates")), str(folder / "study"), settings)


def test_a_tiled_backbone_sees_each_tile_as_an_image_of_its_own():
    alone, whole = (load_backbone("efficientnet_lite0", "random-init", 32, tiles) for tiles in (1, 3))
    images = RNG.integers(0, 256, (3, 80, 80, 3), dtype=np.uint8)
    pooled, patches = image_features(whole, images)
    squares = cut(torch.from_numpy(images).permute(0, 3, 1, 2), 32, 3).permute(0, 2, 3, 1).numpy()
    of_tiles, local = image_features(alone, squares)
    np.testing.assert_allclose(pooled, of_tiles.reshape(3, 9, -1).max(axis=1), atol=1e-5)
    assert patches.shape == (3, 10, 10, whole.n_channels)
    np.testing.assert_allclose(patches[1, :3, :3], local[9, :3, :3], atol=1e-3)  # the first tile's corner
    np.testing.assert_allclose(patches[1, -3:, -3:], local[17, -3:, -3:], atol=1e-3)
    maps = RNG.random((2, 56, 56))
    assert map_features(whole, maps).shape == (2, whole.n_features)


def test_draem_learns_from_every_tile_of_the_good_images(tiled):
    task = fit_task(tiled, "grouped-0")
    seen = training_images(task)
    assert seen.shape == (4 * len(task.good), 32, 32, 3)
    first = task.inputs[task.good[1]]
    np.testing.assert_array_equal(seen[4:8], [first[:32, :32], first[:32, 24:], first[24:, :32], first[24:, 24:]])


def test_draem_keeps_its_tiles_and_makes_whole_maps(tmp_path):
    draem = Draem(ReconstructiveNetwork(2, seed=1), DiscriminativeNetwork(2, seed=2)).eval()
    images = RNG.integers(0, 256, (2, 56, 56, 3), dtype=np.uint8)
    alone = draem.maps(np.ascontiguousarray(images[:, :32, :32]))
    draem.tile, draem.tiles = 32, 2
    draem.save(tmp_path / "x.safetensors", {})
    found = Draem.load(tmp_path / "x.safetensors").maps(images)
    assert found.shape == (2, 56, 56)
    np.testing.assert_allclose(found[:, :28, :28], alone[:, :28, :28], atol=1e-3)


def test_sizes_that_do_not_fit_are_named_with_the_way_out(tmp_path, tiled):
    assert describe_sizes(tiled) == ""
    more = open_run("plates", "smoke", tiled.data_dir, str(tmp_path / "a"), {"tiles": 4})
    assert "56 px (median of the long side): 4 x 4 tiles see them enlarged, at 104 px" in describe_sizes(more)
    for label in ("good", "bad"):
        (tmp_path / "large" / label).mkdir(parents=True)
        for number in range(4):
            picture = RNG.integers(0, 256, (90, 200, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "large" / label / f"{number}.png")
    large = open_run("large", "smoke", str(tmp_path / "large"), str(tmp_path / "b"), {})
    assert "--set tiles=2." in describe_sizes(large)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["patchcore", "draem"])
def test_tiles_find_a_scratch_that_squashed_images_have_lost(tmp_path, source):
    data = draw_scratched(tmp_path / "scratched")
    whole, tiles = (measure(data, tmp_path, source, number) for number in (1, 8))
    assert whole["map_auroc"] < 0.65 and tiles["map_auroc"] > 0.9
    assert tiles["guided_auc"] > whole["guided_auc"] + 0.2


def test_small_pictures_of_any_whole_side_are_compared():
    assert small_pictures(RNG.integers(0, 256, (3, 56, 56, 3), dtype=np.uint8)).shape == (3, 256)
