"""Procedural textures and the bank of textures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.datasets.errors import DatasetError
from lib.synthetic.noise import drawn, noise_field
from lib.synthetic.textures import FAMILIES, HEIGHTS, load_texture_bank, procedural_textures

SHARED_DTD = Path(__file__).parents[2] / ".." / "shared" / "data" / "dtd" / "images"


@pytest.fixture
def dtd(tmp_path: Path) -> Path:
    """A folder in DTD's layout: red jpg, green png with transparency, grey jpg; not square, and a text file."""
    for name in ("banded", "cracked"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (60, 40), (220, 10, 10)).save(tmp_path / "banded" / "banded_0001.jpg")
    Image.new("RGBA", (40, 60), (10, 220, 10, 128)).save(tmp_path / "banded" / "banded_0002.PNG")
    Image.new("L", (50, 50), 77).save(tmp_path / "cracked" / "cracked_0001.jpeg")
    (tmp_path / "cracked" / "notes.txt").write_text("not an image")
    return tmp_path


def test_there_are_many_families_and_all_vary_and_differ() -> None:
    assert len(FAMILIES) >= 10
    batches = procedural_textures(6 * len(FAMILIES), 32, seed=5).view(6, len(FAMILIES), 3, 32, 32).double()
    assert (batches.std((2, 3, 4)) > 4.0).all()
    assert len({tuple(texture.flatten()[:200].tolist()) for texture in batches.flatten(0, 1)}) == 6 * len(FAMILIES)


def test_grey_and_coloured_sharp_and_soft_textures_occur() -> None:
    batch = procedural_textures(150, 32, seed=2).double()
    spread = (batch.amax(1) - batch.amin(1)).mean((1, 2))
    assert 0.15 < (spread < 1.0).double().mean() < 0.6
    step = batch.diff(dim=-1).abs().mean((1, 2, 3)) / batch.std((1, 2, 3))
    assert step.min() < 0.15 and step.max() > 0.7


def test_a_texture_depends_on_seed_and_index_not_on_the_batch() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    long, short = (procedural_textures(count, 16, seed=9) for count in (3 * len(FAMILIES), 20))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(long[:20], short) and short.shape == (20, 3, 16, 16) and short.dtype == torch.uint8
    assert not torch.equal(short, procedural_textures(20, 16, seed=10))


def test_height_fields_are_double_precision_heights() -> None:
    for family in FAMILIES:
        field = drawn(HEIGHTS[family], np.random.default_rng(3), 32)
        assert field.shape == (32, 32) and field.dtype == np.float64
        assert field.std() > 0.005 and field.min() > -0.2 and field.max() < 1.2, family
    noise = noise_field(np.random.default_rng(3), 32, exponent=2.0)
    assert abs(noise.mean()) < 1e-9 and abs(noise.std(ddof=1) - 1.0) < 1e-9


def test_noise_gets_smoother_with_the_exponent() -> None:
    rough, smooth = (np.abs(np.diff(noise_field(np.random.default_rng(1), 64, e))).mean() for e in (0.5, 3.0))
    assert smooth < 0.3 * rough


def test_bank_reads_a_dtd_folder(dtd: Path) -> None:
    images, name = load_texture_bank(str(dtd), 16, seed=0)
    assert name == "DTD folder (3 images)"
    assert images.shape == (3, 3, 16, 16) and images.dtype == torch.uint8
    assert images[0, 0].min() > 200 and images[0, 1].max() < 40  # sorted by path: red first, as RGB
    assert (images[1, 1].int() - 110).abs().max() <= 2  # half transparent, on black, as in every data set
    assert (images[2].int() - 77).abs().max() <= 2


def test_bank_crops_the_centre_and_keeps_the_aspect(tmp_path: Path) -> None:
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = 255
    Image.fromarray(picture).save(tmp_path / "wide.png")
    assert load_texture_bank(str(tmp_path), 20, seed=0)[0].min() == 255


def test_bank_finds_torchvisions_own_folder(dtd: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("torchvision")
    (root / "dtd" / "dtd").mkdir(parents=True)
    dtd.rename(root / "dtd" / "dtd" / "images")
    assert load_texture_bank(str(root), 16, seed=0)[1] == "DTD folder (3 images)"


def test_bank_draws_by_seed_from_more_files_than_asked_for(tmp_path: Path) -> None:
    for tone in range(30):
        Image.new("L", (8, 8), 8 * tone).save(tmp_path / f"{tone:02d}.png")
    first, again, other = (load_texture_bank(str(tmp_path), 8, seed, count=10)[0] for seed in (1, 1, 2))
    tones = first[:, 0, 0, 0].tolist()
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(set(tones)) == 10 and tones != [8 * t for t in range(10)]


def test_bank_without_a_folder_is_procedural() -> None:
    images, name = load_texture_bank("", 16, seed=744, count=20)
    assert name == "procedural textures (20, seed 744)"
    assert torch.equal(images, procedural_textures(20, 16, seed=744))


def test_bank_names_a_missing_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere +folder cannot be read"):
        load_texture_bank(str(tmp_path / "nowhere"), 16, seed=0)
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "a.txt").write_text("x")
    with pytest.raises(DatasetError, match="no texture in it"):
        load_texture_bank(str(tmp_path), 16, seed=0)


def test_bank_lists_every_unreadable_image(dtd: Path) -> None:
    (dtd / "banded" / "broken.png").write_bytes(b"no picture at all")
    whole = (dtd / "cracked" / "cracked_0001.jpeg").read_bytes()
    (dtd / "cracked" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="2 issues") as caught:
        load_texture_bank(str(dtd), 16, seed=0)
    assert [issue.file for issue in caught.value.issues] == ["banded/broken.png", "cracked/cut.jpg"]


@pytest.mark.skipif(not SHARED_DTD.is_dir(), reason=f"no DTD textures at {SHARED_DTD}")
def test_bank_reads_real_textures() -> None:
    images, name = load_texture_bank(str(SHARED_DTD), 32, seed=0, count=12)
    assert name == "DTD folder (12 images)"
    assert (images.double().std((1, 2, 3)) > 3).all()
