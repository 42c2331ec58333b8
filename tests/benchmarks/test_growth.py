"""The images that the growth of a study is measured on; the study itself is minutes long."""

import numpy as np
from PIL import Image

from tests.benchmarks.growth import SHARES, SIDE, draw


def test_as_many_images_as_asked_for_all_different_and_defects_with_a_spot(tmp_path):
    draw(tmp_path, 20)
    files = sorted(tmp_path.rglob("*.png"))
    arrays = {file: np.asarray(Image.open(file)) for file in files}
    assert {label: len(list((tmp_path / label).iterdir())) for label in SHARES} == {"good": 14, "dent": 4, "hole": 2}
    assert {array.shape for array in arrays.values()} == {(SIDE, SIDE)}
    assert len({array.tobytes() for array in arrays.values()}) == 20
    for file, array in arrays.items():
        spot = {"good": None, "dent": 250, "hole": 5}[file.parent.name]
        assert spot is None or np.count_nonzero(array == spot) >= 64
