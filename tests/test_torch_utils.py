"""What is switched while something is computed, and back afterwards; files of tensors, sound and not."""

import io
import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lib.config import overlap_of, whole_side
from lib.draem.inference import Draem
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.features.backbone import load_backbone
from lib.features.embeddings import image_features, map_features
from lib.torch_utils import allow_tf32, cut, flush_denormals, join, load_state_dict, load_weights_only, some_at_once

CONVOLUTIONS = torch.backends.cudnn.conv
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("before", [False, True])
def test_denormals_are_flushed_meanwhile_only(before):
    tiny = torch.tensor([5e-324], dtype=torch.float64)

    def flushed() -> bool:
        return (tiny * 1.0).view(torch.int64).item() == 0

    torch.set_flush_denormal(before)
    try:
        with flush_denormals():
            assert flushed()
        assert flushed() is before
    finally:
        torch.set_flush_denormal(False)


@pytest.fixture
def rounding():
    """PyTorch's own default: a CUDA card's convolutions round to TF32."""
    before, CONVOLUTIONS.fp32_precision = CONVOLUTIONS.fp32_precision, "tf32"
    yield
    CONVOLUTIONS.fp32_precision = before


def test_the_way_back_is_what_was_before(rounding):
    with allow_tf32(False):
        assert CONVOLUTIONS.fp32_precision == "ieee"
        with allow_tf32(True):
            assert CONVOLUTIONS.fp32_precision == "tf32"
        assert CONVOLUTIONS.fp32_precision == "ieee"
    assert CONVOLUTIONS.fp32_precision == "tf32"
    with pytest.raises(RuntimeError, match="inside"), allow_tf32(False):
        raise RuntimeError("inside")
    assert CONVOLUTIONS.fp32_precision == "tf32"


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("resnet18", "random-init", 64)


def features(backbone, device):
    return image_features(backbone, PICTURES, device=device)[0]


def patches(backbone, device):
    return image_features(backbone, PICTURES, device=device)[1]


def features_of_maps(backbone, device):
    return map_features(backbone, PICTURES[..., 0].astype(np.float16) / 255, device=device)


def maps(_, device):
    networks = ReconstructiveNetwork(4, seed=1), DiscriminativeNetwork(4, seed=2)
    return Draem(*networks, device).maps_and_scores(PICTURES)[1]


EVALUATIONS = pytest.mark.parametrize("evaluate", [features, features_of_maps, patches, maps])


@EVALUATIONS
def test_nothing_that_a_line_computes_again_is_rounded(evaluate, backbone, rounding, monkeypatch):
    """A line on a CPU computes these in float32, so the study does, on a card too; only training may round."""
    seen, convolve = [], torch.nn.Conv2d.forward

    def watched(self, x):
        seen.append(CONVOLUTIONS.fp32_precision)
        return convolve(self, x)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", watched)
    evaluate(backbone, "cpu")
    assert seen and set(seen) == {"ieee"}


@pytest.mark.gpu
@EVALUATIONS
def test_a_gpu_computes_what_the_cpu_does(evaluate, backbone, rounding):
    here, there = evaluate(backbone, "cpu").astype(np.float32), evaluate(backbone, "cuda").astype(np.float32)
    step = 1e-3 if evaluate is patches else 1e-5  # float16 has steps of 5e-4 below 1
    np.testing.assert_allclose(there, here, rtol=1e-4, atol=step * np.abs(here).max())


STATE = {"a": torch.ones(20), "b.weight": torch.ones(3, 3)}


def saved(zipped):
    buffer = io.BytesIO()
    torch.save(STATE, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def test_sound_files_come_back(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    (tmp_path / "a.pth").write_bytes(saved(True))
    (tmp_path / "a.pckl").write_bytes(saved(False))
    for path in tmp_path.iterdir():
        found = load_state_dict(path)
        assert found.keys() == STATE.keys() and torch.equal(found["b.weight"], STATE["b.weight"])


@pytest.mark.parametrize("zipped", [True, False])
def test_damage_is_always_a_value_error(zipped, tmp_path):
    sound, rng, refused = saved(zipped), np.random.default_rng(0), 0
    path = tmp_path / "a.pth"
    for attempt in range(150):
        data = bytearray(sound)
        if attempt % 2:
            del data[rng.integers(len(data)) :]
        else:
            data[rng.integers(min(len(data), 400))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            load_state_dict(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 75


class Malicious:
    def __reduce__(self):
        return os.system, ("touch harm",)


def test_code_is_named_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Malicious()}, "a.pth")
    with pytest.raises(ValueError, match=r"may run code: it holds .*system") as caught:
        load_weights_only(tmp_path / "a.pth")
    assert "weights_only" not in str(caught.value)  # torch's own text advises to switch the protection off
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ([1, 2], "got list"),
        ({"a": 1}, "expected a state_dict"),
        ({1: torch.ones(1)}, "expected a state_dict"),
        ({"a": torch.ones(2, 2).to_sparse()}, "a is sparse"),
    ],
)
def test_other_things_are_no_state(content, part, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=part):
        load_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("tiles", range(1, 6))
@pytest.mark.parametrize("tile", [32, 40, 64, 160])
def test_joined_tiles_are_the_whole_at_every_stride_of_patches(tile, tiles):
    side = whole_side(tile, tiles)
    places = torch.arange(2.0 * side * side).reshape(2, 1, side, side)
    squares = cut(places, tile, tiles)
    assert squares.shape == (2 * tiles**2, 1, tile, tile)
    assert torch.equal(join(squares, tile, tiles), places)
    assert torch.equal(join(squares[..., ::8, ::8], tile, tiles), places[..., ::8, ::8])


def test_each_tile_gives_what_lies_nearer_to_its_centre_and_all_that_lies_at_the_edge():
    tile, tiles = 64, 3
    numbers = torch.arange(9.0)[:, None, None, None].expand(9, 1, tile, tile)
    joined = join(numbers, tile, tiles)[0, 0]
    seam, step = tile - overlap_of(tile) // 2, tile - overlap_of(tile)
    wanted = torch.arange(len(joined)).ge(seam).long() + torch.arange(len(joined)).ge(seam + step)
    assert torch.equal(joined, (3 * wanted[:, None] + wanted).float())


def test_at_most_so_many_are_computed_at_once():
    seen = []

    def model(part):
        seen.append(len(part))
        return part, part + 1

    rows = torch.arange(10)
    same, more = some_at_once(model, rows, 4)
    assert torch.equal(same, rows) and torch.equal(more, rows + 1) and seen == [4, 4, 2]
