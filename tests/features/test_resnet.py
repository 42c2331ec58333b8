import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import ResNet18_Weights, resnet18

from lib.datasets.download import DownloadError
from lib.features import backbone_weights, resnet
from lib.features.backbone_weights import WeightsError, resolve_weights, weights_digest
from lib.features.resnet import load_backbone
from lib.pretraining.embedded import save_embedded

SHARED_WEIGHTS = (
    Path(__file__).parents[2] / ".." / "shared" / "weights" / "resnet18_imagenet_compressed.safetensors"
)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(11)
    model = resnet18(weights=None)
    torch.random.set_rng_state(torch_state)
    return model.state_dict()


@pytest.fixture(scope="module")
def expected(state: dict[str, Tensor]) -> Tensor:
    """What torchvision's own network gives before its classifier."""
    model = resnet18(weights=None)
    model.load_state_dict(state)
    model.fc = torch.nn.Identity()
    with torch.inference_mode():
        return model.eval()(images())


def images() -> Tensor:
    return torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def save(state: dict[str, Tensor], path: Path) -> str:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("name", ["a.pth", "b.pt", "c.safetensors"])
def test_loads_files(name: str, state: dict[str, Tensor], expected: Tensor, tmp_path: Path) -> None:
    file = save(state, tmp_path / name)
    loaded = load_backbone(file, offline=True)
    sha256 = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    assert (loaded.name, loaded.sha256) == (f"ResNet-18 ({name})", sha256)
    torch.testing.assert_close(loaded.model(images()), expected, rtol=1e-3, atol=1e-4)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_half_precision_without_classifier_and_counters(
    state: dict[str, Tensor], expected: Tensor, tmp_path: Path
) -> None:
    halved = {
        key: value.half() for key, value in state.items() if "fc." not in key and "num_batches" not in key
    }
    loaded = load_backbone(save(halved, tmp_path / "half.safetensors"))
    features = loaded.model(images())
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, expected, rtol=3e-2, atol=3e-2)


def dropped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != "layer2.0.conv1.weight"}


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{key}": value for key, value in state.items()}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (dropped, r"missing layer2\.0\.conv1\.weight"),
        (renamed, r"missing conv1\.weight; .*and \d+ more"),
        (lambda s: s | {"layer5.weight": torch.ones(2)}, r"unexpected layer5\.weight"),
        (
            lambda s: s | {"conv1.weight": torch.ones(64, 3, 3, 3)},
            r"shape \(64, 3, 3, 3\), expected \(64, 3, 7, 7\)",
        ),
        (
            lambda s: s | {"bn1.bias": torch.full((64,), torch.nan)},
            r"bn1\.bias has values that are not finite",
        ),
        (lambda s: s | {"bn1.bias": torch.ones(64, dtype=torch.int8)}, r"bn1\.bias has values that are not"),
        (lambda s: {"state_dict": s}, "expected a state_dict"),
    ],
)
def test_refuses_what_does_not_fit(
    spoil: Callable[[dict[str, Tensor]], dict], message: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(spoil(state), tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=message) as refusal:
        load_backbone(str(tmp_path / "weights.pth"))
    assert "weights.pth" in str(refusal.value)


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def test_runs_no_code_from_a_file(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Evil(tmp_path / "owned")}, tmp_path / "evil.pth")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Evil(tmp_path / "owned"), protocol=2))
    for name in ("evil.pth", "old.pt"):
        with pytest.raises(WeightsError, match=f"{name}: .*(refused|damaged)"):
            load_backbone(str(tmp_path / name))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.onnx"])
def test_refuses_damaged_and_unknown_files(name: str, tmp_path: Path) -> None:
    for content in (b"", b"\x80\x02not weights at all" * 20):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=name):
            load_backbone(str(tmp_path / name))


def test_random_init_repeats_and_touches_no_global_state() -> None:
    before = torch.random.get_rng_state()
    first, second = load_backbone("random-init"), load_backbone("random-init")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.name == "ResNet-18 (random-init, seed 0)"
    assert first.sha256 == second.sha256
    features = first.model(images())
    assert torch.equal(features, second.model(images()))
    assert features.shape == (2, 512)
    assert torch.isfinite(features).all()
    assert (features[0] - features[1]).abs().max() > 1e-3
    weight = first.model.get_parameter("body.layer1.0.conv1.weight")
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)  # He, fan out


def test_settles_names_that_are_no_file(tmp_path: Path) -> None:
    assert resolve_weights("random-init") == "random-init"
    with pytest.raises(WeightsError, match=r"nowhere\.pth'.*no such file"):
        resolve_weights(str(tmp_path / "nowhere.pth"))


@pytest.fixture
def downloads(state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An empty cache, and `state` as if it were IMAGENET1K_V1; the addresses downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert torch.hub.get_dir() == str(tmp_path / "hub")
    published = Path(save(state, tmp_path / "published.pth")).read_bytes()
    for module in (backbone_weights, resnet):
        monkeypatch.setattr(module, "IMAGENET_SHA256", hashlib.sha256(published).hexdigest())
    asked: list[str] = []

    def download(url: str, destination: Path, sha256: str) -> Path:
        assert sha256 == backbone_weights.IMAGENET_SHA256
        asked.append(url)
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(published)
        return destination

    monkeypatch.setattr(backbone_weights, "download_file", download)
    return asked


def test_downloads_once_then_reads_the_cache(downloads: list[str], tmp_path: Path, expected: Tensor) -> None:
    found = resolve_weights("auto")
    assert list((tmp_path / "hub").rglob("*.*")) == [Path(found)]
    assert resolve_weights("imagenet", offline=True) == resolve_weights(found) == found
    loaded = load_backbone(found)
    assert downloads == [backbone_weights.IMAGENET_URL]
    assert loaded.name == "ResNet-18 (IMAGENET1K_V1)"
    torch.testing.assert_close(loaded.model(images()), expected, rtol=1e-3, atol=1e-4)


def test_a_damaged_cache_is_not_trusted(downloads: list[str]) -> None:
    file = Path(resolve_weights("auto"))
    sound = file.read_bytes()
    file.write_bytes(sound[:-1])
    with pytest.raises(WeightsError, match="damaged"):
        resolve_weights("imagenet", offline=True)
    assert Path(resolve_weights("auto")).read_bytes() == sound
    assert len(downloads) == 2


@pytest.mark.parametrize(
    "error", [DownloadError(f"{backbone_weights.IMAGENET_URL}: no route"), PermissionError("no route")]
)
def test_a_failed_download_says_so_and_the_embedded_backbone_is_taken(
    error: Exception, downloads: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> Path:
        raise error

    monkeypatch.setattr(backbone_weights, "download_file", fail)
    assert resolve_weights("auto") == "embedded"
    (record,) = caplog.records
    for part in ("--weights FILE", "--offline", "formula-driven", "no route"):
        assert part in record.getMessage()
    with pytest.raises(WeightsError, match="no route"):
        resolve_weights("imagenet")


def test_offline_never_tries(downloads: list[str], caplog: pytest.LogCaptureFixture) -> None:
    assert load_backbone("auto", offline=True).name == "ResNet-18 (formula-driven, embedded)"
    assert "offline forbids a download" in caplog.text
    with pytest.raises(WeightsError, match="offline forbids a download"):
        load_backbone("imagenet", offline=True)
    assert downloads == []


@pytest.mark.skipif(not SHARED_WEIGHTS.is_file(), reason="../shared/weights is absent")
def test_real_imagenet_weights_load() -> None:
    loaded = load_backbone(str(SHARED_WEIGHTS))
    assert loaded.name == "ResNet-18 (resnet18_imagenet_compressed.safetensors)"
    assert loaded.sha256.startswith("ea77ba68d69f")
    features = loaded.model(images())
    assert features.min() >= 0
    assert 0.1 < features.mean() < 3


def test_embedded_weights_are_looked_for_and_loaded(
    state: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(backbone_weights, "EMBEDDED_FOLDER", tmp_path)
    with pytest.raises(WeightsError, match=r"0 files of the embedded backbone: .*--weights FILE"):
        resolve_weights("embedded")
    with pytest.raises(WeightsError, match="0 files of the embedded backbone"):
        resolve_weights("auto", offline=True)  # never random weights instead
    save_embedded(state, tmp_path, {})
    loaded = load_backbone("auto", offline=True)
    assert loaded.name == "ResNet-18 (formula-driven, embedded)"
    assert "formula-driven ResNet-18 that the project carries" in caplog.text
    assert load_backbone("embedded").sha256 == loaded.sha256
    exact = resnet18(weights=None)
    exact.load_state_dict(state)
    exact.fc = torch.nn.Identity()
    with torch.inference_mode():
        similar = torch.nn.functional.cosine_similarity(loaded.model(images()), exact.eval()(images()))
    assert similar.min() > 0.999


def test_the_address_and_the_hash_are_torchvisions() -> None:
    url = backbone_weights.IMAGENET_URL
    assert ResNet18_Weights.IMAGENET1K_V1.url == url
    assert backbone_weights.IMAGENET_SHA256.startswith(Path(url).stem.removeprefix("resnet18-"))


@pytest.mark.parametrize("weights", ["embedded", "random-init", "file"])
def test_the_digest_is_the_backbones_without_reading_its_weights(weights, state, tmp_path):
    source = str(save(state, tmp_path / "some.pth")) if weights == "file" else weights
    assert weights_digest(source) == load_backbone(source).sha256
