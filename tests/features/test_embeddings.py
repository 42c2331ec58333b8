import matplotlib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lib.features import embeddings
from lib.features.backbone import Backbone, load_backbone
from lib.features.embeddings import image_features, jet, jet_colours, map_features

NONE = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("efficientnet_lite0", "random-init", 32)


class Recorder(nn.Module):
    """A network that keeps what it is shown."""

    feature_info = tuple({"reduction": stride, "num_chs": 1} for stride in (4, 8, 16))
    head_hidden_size, pretrained_cfg = 3, NONE

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward_features(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return images

    def forward_head(self, images: Tensor, pre_logits: bool) -> Tensor:
        return images.mean(dim=(2, 3))


def shown(maps: np.ndarray, side: int, encoding: str) -> np.ndarray:
    recorder = Recorder()
    map_features(Backbone(recorder, side, "recorder", "", ""), maps, encoding)
    return torch.cat(recorder.seen).numpy()


def pictures(n: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def test_images_come_as_values_from_0_to_1_and_patches_row_by_row(backbone: Backbone) -> None:
    images = pictures(3, 32)
    pooled, patches = image_features(backbone, images)
    with torch.inference_mode():
        whole, local = backbone(torch.from_numpy(images / 255).float().permute(0, 3, 1, 2))
    assert (pooled.dtype, patches.dtype) == (np.float32, np.float16)
    np.testing.assert_allclose(pooled, whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(patches, local.permute(0, 2, 3, 1), atol=1e-3)


def test_batches_do_not_show_and_progress_tells_them(backbone: Backbone, monkeypatch) -> None:
    maps, steps = pictures(5, 32)[..., 0] / 255, []
    whole, images = map_features(backbone, maps), image_features(backbone, pictures(5, 32))
    monkeypatch.setattr(embeddings, "BATCH", 2)
    parts = map_features(backbone, maps, progress=lambda done, total: steps.append((done, total)))
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)
    for found, expected in zip(image_features(backbone, pictures(5, 32)), images, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert steps == [(2, 5), (4, 5), (5, 5)]
    assert np.abs(whole[0] - whole[1]).max() > 1e-3


def test_raw_map_is_a_grey_image(backbone: Backbone) -> None:
    grey = pictures(2, 32)[..., :1].repeat(3, axis=3)
    maps = (grey[..., 0] / 255).astype(np.float32)
    np.testing.assert_allclose(map_features(backbone, maps), image_features(backbone, grey)[0], rtol=1e-3, atol=1e-4)


def test_raw_keeps_the_level_and_jet_does_not() -> None:
    faint = np.zeros((1, 8, 8), np.float16)
    faint[0, 0, 0] = 0.125
    strong = faint * 8
    assert shown(faint, 8, "raw").max() == pytest.approx(0.125, abs=1e-6)
    np.testing.assert_allclose(shown(faint, 8, "jet"), shown(strong, 8, "jet"), atol=1e-6)


def test_jet_runs_from_dark_blue_to_dark_red_for_each_map() -> None:
    ramp = np.linspace(0.25, 0.5, 64, dtype=np.float16).reshape(1, 8, 8)
    colours = shown(np.concatenate([ramp, ramp / 4]), 8, "jet")
    for picture in colours:
        np.testing.assert_allclose(picture[:, 0, 0], [0, 0, 0.5], atol=1e-6)
        np.testing.assert_allclose(picture[:, 7, 7], [0.5, 0, 0], atol=1e-6)
        assert picture[1, 4, 0] == pytest.approx(1, abs=1e-6)  # green in the middle


def test_a_constant_map_is_all_minimum_in_jet() -> None:
    for level in (0.0, 0.7):
        colours = shown(np.full((1, 4, 4), level, np.float16), 4, "jet")
        expected = np.broadcast_to(np.float32([0, 0, 0.5])[:, None, None], (3, 4, 4))
        np.testing.assert_allclose(colours[0], expected, atol=1e-6)


def test_jet_colours_come_before_the_resizing() -> None:
    """The published pictures were drawn first: half way between blue and red lies purple, not jet's green."""
    halves = np.zeros((1, 8, 8), np.float16)
    halves[0, :, 4:] = 1
    assert shown(halves, 1, "jet")[0, 1].item() < 0.05


def test_jet_is_matplotlibs():
    rng = np.random.default_rng(0)
    maps = np.concatenate([rng.random((5, 32, 32)), np.zeros((1, 32, 32)), rng.integers(0, 257, (5, 32, 32)) / 256])
    maps = maps.astype(np.float32)
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    found = jet(torch.from_numpy(maps), jet_colours()).permute(0, 2, 3, 1)
    wanted = matplotlib.colormaps["jet"]((maps - low) / np.where(high > low, high - low, 1))[..., :3]
    np.testing.assert_array_equal(found.numpy(), wanted.astype(np.float32))
