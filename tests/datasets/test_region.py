"""The region of interest: what is cut out, what is black, the same for images, masks and an exported file."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.datasets.errors import DatasetError
from lib.datasets.image_io import load_stack
from lib.datasets.masks import load_masks
from lib.datasets.region import Region, read_region, region_digest

RGB = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)


@pytest.fixture
def picture(tmp_path):
    """A picture of 40 x 20 pixels, white in an L from column 8 to 23 and row 4 to 15."""
    white = np.zeros((20, 40), np.uint8)
    white[4:16, 8:16] = white[12:16, 8:24] = 255
    Image.fromarray(white).save(tmp_path / "region.png")
    return str(tmp_path / "region.png")


def test_a_box_in_shares_is_cut_out_at_any_size(tmp_path):
    region = read_region("0.25,0.1,0.75,0.5")
    np.testing.assert_array_equal(region.cut(RGB, tmp_path), RGB[1:5, 5:15])
    assert region.cut(np.ones((100, 40), bool), tmp_path).shape == (40, 20)
    assert read_region("") is None
    np.testing.assert_array_equal(read_region("0,0,1,1").cut(RGB, tmp_path), RGB)
    assert read_region("0.5,0.5,0.51,0.51").cut(RGB, tmp_path).shape == (1, 1, 3)


def test_of_a_picture_the_white_part_is_seen_and_the_rest_of_its_box_is_black(picture, tmp_path):
    region = read_region(picture)
    assert region.box == (0.2, 0.2, 0.6, 0.8)
    seen = region.cut(RGB, tmp_path)
    np.testing.assert_array_equal(seen[:, :4], RGB[2:8, 4:8])
    np.testing.assert_array_equal(seen[4:], RGB[6:8, 4:12])
    assert seen.dtype == np.uint8 and not seen[:4, 4:].any()
    mask = region.cut(np.ones((10, 20), bool), tmp_path)
    assert mask.dtype == bool and mask.sum() == 6 * 4 + 2 * 4
    with pytest.raises(DatasetError, match="20 x 20 pixels, and the region's picture has 40 x 20"):
        region.cut(np.zeros((20, 20, 3), np.uint8), tmp_path / "x.png")


def test_another_picture_by_the_same_name_is_another_region(picture, tmp_path):
    first, before = region_digest(picture), read_region(picture)
    Image.new("L", (40, 20), 255).save(picture)
    assert region_digest(picture) != first
    assert before.box != read_region(picture).box == (0, 0, 1, 1)


def test_it_travels_as_json(picture, tmp_path):
    for text in (picture, "0.25,0.1,0.75,0.5"):
        region = read_region(text)
        same = Region.from_json(region.as_json())
        np.testing.assert_array_equal(same.cut(RGB, tmp_path), region.cut(RGB, tmp_path))


def test_images_and_masks_are_cut_alike(picture, tmp_path):
    marked = np.zeros((10, 20), np.uint8)
    marked[6, 10] = marked[0, 0] = 255
    Image.fromarray(np.repeat(marked[:, :, None], 3, axis=2)).save(tmp_path / "image.png")
    Image.fromarray(marked).save(tmp_path / "mask.png")
    row = {"path": "image.png", "mask": "mask.png", "width": 20, "height": 10}
    region, table, out = read_region(picture), pd.DataFrame([row]), np.zeros((1, 8, 8, 3), np.uint8)
    load_stack(tmp_path, table, 8, "pad", out, region)
    (mask,) = load_masks(tmp_path, table, 8, "pad", region)
    assert mask.sum() == 1 and (out[0, :, :, 0] > 0)[mask].all()
    np.testing.assert_array_equal(mask, out[0, :, :, 0] > 127)
