import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lib.synthetic.products import FEWEST, PRODUCTS, image_counts, render, write_product

DEFECTS = [(p, label) for p, counts in PRODUCTS.items() for label in counts if label != "good"]

# Mask pixels and the grey means of 8x8 blocks of image 3 of a class, side 32, seed 744.
GOLDEN = {
    ("deco_cap", "flowlines"): (44, """
        87.08 108.6 92.55 75.03  110.19 135.97 117.12 91.37
        91.28 108.52 112.43 92.22  73.16 75.69 74.54 62.73"""),
    ("shaft", "big"): (13, """
        103.21 107.39 109.43 109.22  147.9 147.07 141.35 138.16
        101.16 101.92 101.33 99.23  87.32 91.84 94.39 95.62"""),
    ("shavers", "interrupted"): (14, """
        105.78 67.23 62.65 76.57  109.93 85.18 79.85 83.68
        108.23 73.94 68.67 81  110.08 83.86 69.67 81.04"""),
}  # fmt: skip


def test_classes_and_counts_are_the_papers() -> None:
    assert PRODUCTS == {
        "deco_cap": {"good": 203, "flowlines": 198, "marks": 191},
        "shaft": {"good": 528, "big": 2616, "small": 954, "stripe": 151},
        "shavers": {"good": 2676, "double": 244, "interrupted": 598},
    }
    assert image_counts("shaft", 0.15) == {"good": 79, "big": 392, "small": 143, "stripe": 23}
    assert set(image_counts("deco_cap", 0.001).values()) == {FEWEST}


def test_counts_are_known_without_loading_what_draws() -> None:
    code = "import sys, lib.synthetic.products; sys.exit(str({'torch', 'scipy', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == "set()\n"


@pytest.mark.parametrize(("product", "label"), GOLDEN)
def test_images_are_the_same_on_every_machine(product: str, label: str) -> None:
    image, mask = render(product, label, 3, 32, 744)
    pixels, blocks = GOLDEN[product, label]
    assert mask.sum() == pixels
    means = image.mean(-1).reshape(4, 8, 4, 8).mean((1, 3)).ravel()
    np.testing.assert_allclose(means, [float(mean) for mean in blocks.split()], atol=0.05)


@pytest.mark.parametrize("product", PRODUCTS)
def test_an_image_depends_on_its_arguments_alone(product: str) -> None:
    labels = list(PRODUCTS[product])
    first = {(label, i): render(product, label, i, 32, 7) for label in labels for i in range(3)}
    np.random.default_rng(0).random(5)
    for (label, i), (image, mask) in reversed(first.items()):
        again, mask_again = render(product, label, i, 32, 7)
        assert np.array_equal(image, again) and np.array_equal(mask, mask_again)
    assert len({image.tobytes() for image, _ in first.values()}) == len(first)
    assert not np.array_equal(first[labels[0], 0][0], render(product, labels[0], 0, 32, 8)[0])


@pytest.mark.parametrize("product", PRODUCTS)
def test_good_images_have_no_mask_and_look_photographed(product: str) -> None:
    for index in range(4):
        image, mask = render(product, "good", index, 48, 744)
        assert image.shape == (48, 48, 3) and image.dtype == np.uint8
        assert mask.shape == (48, 48) and mask.dtype == bool and not mask.any()
        assert image.std() > 15 and np.percentile(image, 1) > 5 and (image == 255).mean() < 0.05


@pytest.mark.parametrize(("product", "label"), DEFECTS)
def test_a_defect_changes_the_image_inside_its_mask_only(product: str, label: str) -> None:
    seen = []
    for index in range(10):
        flawed, mask = render(product, label, index, 64, 744)
        clean, none = render(product, label, index, 64, 744, flawed=False)
        assert mask.any() and mask.mean() < 0.35 and not none.any()
        change = np.abs(flawed.astype(int) - clean).max(-1)
        assert change[~ndimage.binary_dilation(mask, iterations=3)].max(initial=0) <= 16
        seen.append(change[mask].max())
    assert min(seen) >= 5 and np.median(seen) > 20 and max(seen) > 1.5 * min(seen)


@pytest.mark.parametrize(("product", "label"), DEFECTS)
def test_masks_are_never_empty_even_when_small(product: str, label: str) -> None:
    assert all(render(product, label, index, 32, 1)[1].any() for index in range(30))


def test_the_size_classes_of_the_shaft_differ() -> None:
    areas = {
        label: np.median([render("shaft", label, i, 64, 744)[1].mean() for i in range(12)])
        for label in ("big", "small")
    }
    assert areas["big"] > 4 * areas["small"]


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_side_shows_the_same_scene(product: str) -> None:
    small, large = (render(product, "good", 2, side, 744)[0].astype(float) for side in (64, 128))
    shrunk = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.97


def test_a_product_is_written_as_classes_and_masks(tmp_path: Path) -> None:
    folder, steps = tmp_path / "sets" / "shavers", []
    write_product("shavers", folder, scale=0.01, side=32, seed=5, progress=lambda *step: steps.append(step))
    counts = {"good": 27, "double": 8, "interrupted": 8}
    assert steps == [(i + 1, 43) for i in range(43)]
    assert {label: len(list((folder / label).glob("*.png"))) for label in counts} == counts
    assert not (folder / "ground_truth" / "good").exists()
    image, mask = render("shavers", "double", 6, 32, 5)
    assert np.array_equal(np.asarray(Image.open(folder / "double" / "double_00006.png")), image)
    with Image.open(folder / "ground_truth" / "double" / "double_00006_mask.png") as stored:
        assert stored.mode == "L" and np.array_equal(np.asarray(stored), mask * np.uint8(255))
    for label in ("double", "interrupted"):
        assert len(list((folder / "ground_truth" / label).glob("*.png"))) == 8
