"""Inputs that must be refused at the door, and how each is made; `python -m tests.bad_inputs` prints what is told."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import run_all
from lib import cli
from lib.artifacts import Store
from lib.batch import preflight
from lib.datasets import download, image_io
from lib.datasets.errors import printable
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.features import resnet
from lib.features.resnet import load_backbone
from lib.pipeline import dataset
from tests.draem.official import export_official

PARTS = {"good": 10, "crack": 4, "dent": 4}
Prepare = Callable[[Path, pytest.MonkeyPatch], "Sequence[str | Path] | None"]


@dataclass(frozen=True)
class Case:
    """A bad input: `prepare` spoils the data folder and returns options; `told` must stand in the message."""

    name: str
    told: tuple[str, ...]
    prepare: Prepare
    file: str = ""  # a fault of this file alone: --skip-bad goes on without it


CASES: list[Case] = []


def bad(name: str, *told: str, file: str = "") -> Callable[[Prepare], Prepare]:
    def register(prepare: Prepare) -> Prepare:
        CASES.append(Case(name, (*told, file), prepare, file))
        return prepare

    return register


def draw(path: Path, value: int | None = None, size: tuple[int, int] = (12, 10)) -> Path:
    """Write a grey picture of its own content, or of one value."""
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


def png_header(path: Path, width: int, height: int) -> None:
    """Write a PNG that promises many pixels and holds none."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))


class Malicious:
    """A pickle that writes a file when it is loaded without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


def command_line(folder: Path, options: Sequence[str | Path] | None) -> list[str]:
    """Complete a case's options: its data folder, the smallest preset, no download, an output of its own."""
    given = [str(option) for option in options or ()]
    defaults = (
        ("--data", folder / "parts"), ("--preset", "smoke"), ("--weights", "random-init"), ("--output", folder / "out"),
    )  # fmt: skip
    for name, value in defaults:
        if name not in given and f"no {name}" not in given:
            given += [name, str(value)]
    return [option for option in given if not option.startswith("no --")]


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


def attempt(case: Case, folder: Path, *more: str) -> tuple[int, str]:
    """Make the case in `folder` and carry it out; return the exit status and what is said."""
    draw_parts(folder / "parts")
    with pytest.MonkeyPatch.context() as patch:
        arguments = command_line(folder, case.prepare(folder, patch))
        return carry_out([*arguments, *more], patch)


# Files that are bad by themselves


@bad("empty file", "0 bytes", "restore or remove it", file="good/x.png")
def _(at, patch):
    (at / "parts/good/x.png").write_bytes(b"")


@bad("truncated JPEG", "truncated image", "restore or remove it", file="crack/x.jpg")
def _(at, patch):
    whole = draw(at / "parts/crack/x.jpg", size=(90, 90))
    whole.write_bytes(whole.read_bytes()[:1500])


@bad("flipped byte in a PNG", "damaged image", "restore or remove it", file="crack/x.png")
def _(at, patch):
    path = draw(at / "parts/crack/x.png", size=(40, 40))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


@bad("text under an image's name", "not a JPEG, PNG, BMP or TIFF image", "convert", file="dent/x.tif")
def _(at, patch):
    (at / "parts/dent/x.tif").write_text("no picture")


@bad("GIF under a PNG's name", "not a JPEG, PNG, BMP or TIFF image", "convert", file="dent/x.png")
def _(at, patch):
    draw(at / "parts/dent/x.gif").rename(at / "parts/dent/x.png")


@bad("format that is not read", ".gif images are not read", "convert it to PNG", file="dent/x.gif")
def _(at, patch):
    draw(at / "parts/dent/x.gif")


@bad("decompression bomb", "decompression bomb", "scale it below", file="good/bomb.png")
def _(at, patch):
    png_header(at / "parts/good/bomb.png", 20_000, 20_000)


@bad("side beyond any limit", "30000 x 2000 pixels", "each side must have", file="good/wide.png")
def _(at, patch):
    png_header(at / "parts/good/wide.png", 30_000, 2_000)


@bad("absurdly small", "4 x 4 pixels", "each side must have 8", file="good/dot.png")
def _(at, patch):
    draw(at / "parts/good/dot.png", size=(4, 4))


@bad("absurd aspect", "400 x 10 pixels", "20 times the short one", file="good/long.png")
def _(at, patch):
    draw(at / "parts/good/long.png", size=(400, 10))


@bad("CMYK", "colour mode CMYK", "convert it to 8-bit grey or RGB", file="good/x.jpg")
def _(at, patch):
    Image.new("CMYK", (12, 10)).save(at / "parts/good/x.jpg")


@bad("floating point", "colour mode F", "convert it to 8-bit grey or RGB", file="good/x.tif")
def _(at, patch):
    Image.new("F", (12, 10)).save(at / "parts/good/x.tif")


@bad("animated PNG", "2 pages in one file", "save one image per file", file="good/x.png")
def _(at, patch):
    frames = [Image.new("L", (12, 10), value) for value in (9, 99)]
    frames[0].save(at / "parts/good/x.png", save_all=True, append_images=frames[1:])


@bad("TIFF of several pages", "2 pages in one file", "save one image per file", file="good/x.tif")
def _(at, patch):
    frames = [Image.new("L", (12, 10), value) for value in (9, 99)]
    frames[0].save(at / "parts/good/x.tif", save_all=True, append_images=frames[1:])


@bad("the same file twice in a class", "same picture as good/0.png", "keep one of them", file="good/x.png")
def _(at, patch):
    shutil.copy(at / "parts/good/0.png", at / "parts/good/x.png")


@bad("the same pixels in another format", "same picture as good/0.png", "keep one of them", file="good/x.bmp")
def _(at, patch):
    Image.open(at / "parts/good/0.png").save(at / "parts/good/x.bmp")


@bad("the same picture under two labels", "same picture as dent/1.png, under another label",
     "keep it in the class it belongs to", file="crack/x.png")  # fmt: skip
def _(at, patch):
    shutil.copy(at / "parts/dent/1.png", at / "parts/crack/x.png")


@bad("mask of another size", "mask of 9 x 9 pixels for crack/1.png of 12 x 10", "draw it at the image's size",
     file="ground_truth/crack/1.png")  # fmt: skip
def _(at, patch):
    draw(at / "parts/ground_truth/crack/1.png", 255, size=(9, 9))


@bad("mask without an image", "mask that fits no image", "name it after its image",
     file="ground_truth/crack/99_mask.png")  # fmt: skip
def _(at, patch):
    draw(at / "parts/ground_truth/crack/99_mask.png", 255)


@bad("mask that marks a good image", "of the good class", "move the image to its defect's class",
     file="ground_truth/good/1.png")  # fmt: skip
def _(at, patch):
    draw(at / "parts/ground_truth/good/1.png", 255)


@bad("mask that is no picture", "not a JPEG", "convert", file="ground_truth/dent/1.png")
def _(at, patch):
    draw(at / "parts/ground_truth/dent/1.png").write_text("no picture")


@bad(
    "mask of class numbers",
    "brightest value is 3 of 255",
    "write defects as 255",
    file="ground_truth/dent/1.png",
)
def _(at, patch):
    draw(at / "parts/ground_truth/dent/1.png", 3)


@bad("two masks of an image", "second mask of dent/1.png", "keep one mask per image",
     file="ground_truth/dent/1_mask.png")  # fmt: skip
def _(at, patch):
    draw(at / "parts/ground_truth/dent/1.png", 255)
    draw(at / "parts/ground_truth/dent/1_mask.png", 255)


@bad("image outside a class folder", "image outside a class folder", "move it to its class", file="lost.png")
def _(at, patch):
    draw(at / "parts/lost.png")


@bad("broken symbolic link", "broken symbolic link", "restore its target", file="good/x.png")
def _(at, patch):
    (at / "parts/good/x.png").symlink_to(at / "nowhere.png")


@bad("symbolic link to itself", "broken symbolic link", "restore its target", file="good/x.png")
def _(at, patch):
    (at / "parts/good/x.png").symlink_to("x.png")


@bad("symbolic link out of the data folder", "leaves the data folder", "put the real file", file="good/x.png")
def _(at, patch):
    (at / "parts/good/x.png").symlink_to(draw(at / "elsewhere.png"))


@bad("named pipe", "not a regular file", "remove it", file="good/x.png")
def _(at, patch):
    os.mkfifo(at / "parts/good/x.png")


@bad("name that is no UTF-8", "name is not valid UTF-8", "rename it", file=r"good/x\udcff.png")
def _(at, patch):
    draw(at / "parts/good/x.png").rename(os.fsdecode(os.fsencode(at) + b"/parts/good/x\xff.png"))


@bad(
    "file without permission", "no permission to read it", "give yourself read permission", file="good/1.png"
)
def _(at, patch):
    def forbidden(path, read=image_io.read_bytes):
        if path.name == "1.png" and path.parent.name == "good":
            raise image_io.refused(path, "no permission to read it", "give yourself read permission")
        return read(path)

    if os.geteuid() == 0:  # nothing is forbidden to root
        for module in (image_io, image_io):
            patch.setattr(module, "read_bytes", forbidden)
    (at / "parts/good/1.png").chmod(0)


@bad("more faults than can be read", "70 faults", "and 20 more", "faults.csv", "restore or remove it")
def _(at, patch):
    for number in range(70):
        (at / f"parts/good/empty-{number}.png").write_bytes(b"")


# What is wrong with the folder


@bad("folder without permission", "cannot be read (Permission denied)", "dent", "give yourself permission")
def _(at, patch):
    def forbidden(path, scan=os.scandir):
        if os.fspath(path).endswith("parts/dent"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return scan(path)

    def listed(path, walk=Path.iterdir):
        forbidden(path)
        return walk(path)

    if os.geteuid() == 0:
        patch.setattr(os, "scandir", forbidden)
        patch.setattr(Path, "iterdir", listed)
    else:
        (at / "parts/dent").chmod(0)


@bad("symbolic link to a folder outside", "extra", "leaves the data folder", "put the real")
def _(at, patch):
    draw(at / "elsewhere/1.png")
    (at / "parts/extra").symlink_to(at / "elsewhere")


@bad("pictures without class folders", "no known layout", "a folder per class")
def _(at, patch):
    return ["--data", at / "parts/good"]


@bad("empty folder", "no known layout", "a folder per class", "empty")
def _(at, patch):
    (at / "empty").mkdir()
    return ["--data", at / "empty"]


@bad(
    "no class is called good",
    "no class is called good, ok, normal or free",
    "--good NAME",
    "crack, dent, fine",
)
def _(at, patch):
    (at / "parts/good").rename(at / "parts/fine")


@bad("two classes may be the good one", "2 classes may be the good one (good, ok)", "--good NAME")
def _(at, patch):
    (at / "parts/dent").rename(at / "parts/ok")


@bad("--good names no class", "no class 'crak'", "did you mean crack?")
def _(at, patch):
    return ["--good", "crak"]


@bad("good class called defective", "the good class is called 'defective'", "rename its folder")
def _(at, patch):
    (at / "parts/good").rename(at / "parts/defective")
    return ["--good", "defective"]


@bad("one class only", "one class only (good)", "add a folder for each other class")
def _(at, patch):
    shutil.rmtree(at / "parts/crack")
    shutil.rmtree(at / "parts/dent")


@bad("one folder too high", "one class only (parts)", "one folder below: --data")
def _(at, patch):
    (at / "above").mkdir()
    (at / "parts").rename(at / "above/parts")
    return ["--data", at / "above"]


@bad("class names that differ in case alone", "Dent", "class named almost like dent", "into one folder")
def _(at, patch):
    draw(at / "parts/Dent/9.png")


@bad(
    "fewer images than folds",
    "5 folds need 5 images of every class: crack has 4, dent has 4",
    "--set folds=4",
)
def _(at, patch):
    return ["--set", "folds=5"]


@bad("too few images to fit on", "holds one image of each class", "add images")
def _(at, patch):
    for label in PARTS:
        for path in sorted((at / "parts" / label).iterdir())[2:]:
            path.unlink()


@bad("fewer groups than folds", "groups of every class: crack has 1", "add groups to")
def _(at, patch):
    return ["--group-regex", "good/.|crack|dent/."]


@bad("stand-ins smaller than the folds", "deco_cap-synthetic: 9 folds need 9 images", "--set folds=8")
def _(at, patch):
    return ["no --data", "--dataset", "deco_cap", "--set", "folds=9"]


@bad("grouped folds without groups", "no groups are known", "--groups or --group-regex")
def _(at, patch):
    return ["--set", "cv=grouped"]


@bad(
    "good images that cannot be halved",
    "cross-fitted maps need good images in both halves",
    "choose more folds",
)
def _(at, patch):
    rows = [f"good/{k}.png,{'early' if k < 5 else 'late'}" for k in range(10)]
    rows += [f"{label}/{k}.png,{label} {k}" for label in ("crack", "dent") for k in range(4)]
    return ["--set", "map_fit=cross_fitted", *groups_file(at, "\n".join(["id,group", *rows]).encode())]


# Groups


def groups_file(at: Path, data: bytes) -> list[str]:
    (at / "groups.csv").write_bytes(data)
    return ["--groups", str(at / "groups.csv")]


@bad("groups file missing", "--groups", "pairs.csv: no such file")
def _(at, patch):
    return ["--groups", at / "pairs.csv"]


@bad("groups file without its columns", "groups.csv", "without the column group and id", "columns id,group")
def _(at, patch):
    return groups_file(at, b"image;object\na;b\n")


@bad("groups file that is no UTF-8", "groups.csv", "cannot be read", "write a UTF-8 CSV")
def _(at, patch):
    return groups_file(at, "id,group\ngood/0.png,Gehäuse\n".encode("latin-1"))


@bad("groups file that lacks and repeats images", "'good/1.png' is listed twice", "'good/77.png' fits no image",
     "crack/0.png", "not listed in groups.csv", "add a row with its id and group")  # fmt: skip
def _(at, patch):
    return groups_file(at, b"id,group\ngood/1.png,a\ngood/1.png,b\ngood/77.png,c\n")


@bad("invalid group expression", "--group-regex (", "no regular expression", "correct it")
def _(at, patch):
    return ["--group-regex", "("]


@bad("group expression that finds nothing", "--group-regex tile finds no group", "widen the expression")
def _(at, patch):
    return ["--group-regex", "tile"]


@bad("groups given twice", "groups and group_regex contradict each other", "give one")
def _(at, patch):
    return [*groups_file(at, b"id,group\n"), "--group-regex", "."]


# The command


@bad("data folder missing", "--data", "partz: no such folder")
def _(at, patch):
    return ["--data", at / "partz"]


@bad("data folder is a file", "parts.zip: is a file; name a folder")
def _(at, patch):
    (at / "parts.zip").write_bytes(b"PK")
    return ["--data", at / "parts.zip"]


@bad("data folder's name is too long", "n" * 300, "no such folder")
def _(at, patch):
    return ["--data", at / ("n" * 300)]


@bad("data folder is a link in a circle", "--data", "circle: no such folder")
def _(at, patch):
    (at / "circle").symlink_to("circle")
    return ["--data", at / "circle"]


@bad("data folder named like the study's own", "data set 'tables'", "choose another with --dataset")
def _(at, patch):
    (at / "parts").rename(at / "tables")
    return ["--data", at / "tables"]


@bad("unknown data set", "unknown data set 'shafts'", "did you mean 'shaft'?")
def _(at, patch):
    return ["no --data", "--dataset", "shafts"]


@bad("a data set twice", "--dataset shaft shaft", "each data set once")
def _(at, patch):
    return ["no --data", "--dataset", "shaft", "shaft"]


@bad("several data sets and one folder", "holds no folder 'shaft'", "holds no folder 'shavers'")
def _(at, patch):
    return ["--dataset", "shaft", "shavers"]


@bad("named set without pictures", "magnetic_tile: no pictures at", "--data DIR")
def _(at, patch):
    patch.setattr(dataset, "PROJECT", at)
    return ["no --data", "--dataset", "magnetic_tile", "--offline"]


@bad("download that fails", "magnetic_tile: https://", "download failed (no route to host)", "--data DIR")
def _(at, patch):
    def unreachable(url, *_, **__):
        raise download.DownloadError(f"{url}: download failed (no route to host)")

    patch.setattr(dataset, "PROJECT", at)
    patch.setattr(download, "download_file", unreachable)
    return ["no --data", "--dataset", "magnetic_tile"]


@bad("stand-in with a good class given", "--good: the stand-ins (shaft) take none", "give --data")
def _(at, patch):
    return ["no --data", "--dataset", "shaft", "--good", "big"]


@bad("unknown preset", "unknown preset 'quik'", "did you mean 'quick'?")
def _(at, patch):
    return ["--preset", "quik"]


@bad("unknown setting", "unknown setting 'fold'", "did you mean 'folds'?")
def _(at, patch):
    return ["--set", "fold=3"]


@bad("preset as a setting", "unknown setting 'preset'", "choose it with --preset")
def _(at, patch):
    return ["--set", "preset=paper"]


@bad(
    "setting of another kind", "folds='many': expected a number", "keep='half': expected numbers with commas"
)
def _(at, patch):
    return ["--set", "folds=many", "--set", "keep=half"]


@bad(
    "setting that is not finite",
    "folds='1e999': expected a finite number",
    "draem_lr='nan': expected a finite number",
)
def _(at, patch):
    return ["--set", "folds=1e999", "--set", "draem_lr=nan"]


@bad("setting out of range", "image_size=50: must be a multiple of 32", "folds=1: must be at least 2",
     "shares in (0, 1] that include 1.0")  # fmt: skip
def _(at, patch):
    return ["--set", "image_size=50", "--set", "folds=1", "--set", "keep=0.5,2"]


@bad("unknown choice", "resize='sqush': expected one of squash, pad, crop", "did you mean 'squash'?")
def _(at, patch):
    return ["--set", "resize=sqush"]


@bad("setting without a value", "expected FIELD=VALUE, got: folds")
def _(at, patch):
    return ["--set", "folds"]


@bad("setting given twice", "folds=2 and folds=3 contradict each other", "give one")
def _(at, patch):
    return ["--set", "folds=2", "--set", "folds=3"]


@bad("option and setting", "--good and --set good=… contradict each other", "give one")
def _(at, patch):
    return ["--good", "good", "--set", "good=dent"]


@bad("--from and --only", "--from and --only contradict each other", "give one")
def _(at, patch):
    return ["--from", "02", "--only", "03"]


@bad("unknown notebook", "no notebook '7'", "there are 00, 01, 02")
def _(at, patch):
    return ["--from", "7"]


@bad("--workers and --scheduler", "--workers and --scheduler contradict each other", "give one")
def _(at, patch):
    return ["--workers", "2", "--scheduler", "tcp://127.0.0.1:9"]


@bad("negative numbers of workers and jobs", "--workers -1, --jobs -2", "must not be negative")
def _(at, patch):
    return ["--workers", "-1", "--jobs", "-2"]


@bad("number of jobs that is none", "--jobs", "'many'")
def _(at, patch):
    return ["--jobs", "many"]


@bad("address that is none", "--scheduler 'cluster'", "tcp://host:8786")
def _(at, patch):
    return ["--scheduler", "cluster"]


@bad("scheduler that does not answer", "--scheduler tcp://127.0.0.1:9: nobody answers", "correct the address")
def _(at, patch):
    return ["--scheduler", "tcp://127.0.0.1:9"]


@bad("CUDA where there is none", "device=cuda", "no CUDA device", "leave it at auto")
def _(at, patch):
    patch.setattr(torch.cuda, "is_available", lambda: False)
    return ["--set", "device=cuda"]


@bad("study with a path for a name", "--study '../other'", "plain folder name")
def _(at, patch):
    return ["--study", "../other"]


@bad("output is a file", "cannot be written", "choose another --output")
def _(at, patch):
    (at / "out").write_text("a file")


@bad("output that is read only", "cannot be written (", "choose another --output")
def _(at, patch):
    def read_only(path, text):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    if os.geteuid() == 0:  # nothing is forbidden to root
        patch.setattr(cli, "write_text", read_only)
    else:
        (at / "out").mkdir(mode=0o500)


@bad("output among the pictures", "--output", "would lie inside --data", "choose another")
def _(at, patch):
    return ["--output", at / "parts/results"]


@bad("output is the data folder", "--output", "would lie inside --data", "choose another")
def _(at, patch):
    (at / "smoke").mkdir()
    (at / "parts").rename(at / "smoke/parts")
    return ["--data", at / "smoke/parts", "--output", at]


@bad("output among the textures", "--output", "would lie inside --textures", "choose another")
def _(at, patch):
    draw(at / "textures/a/1.png")
    return ["--textures", at / "textures", "--output", at / "textures/out"]


@bad("too little disk", "MB of disk needed, 0 MB free", "choose another --output")
def _(at, patch):
    patch.setattr(Store, "disk_free", lambda store: 1000)


@bad("too little memory", "GB of memory needed at one time, 0.1 GB free", "--jobs", "smaller image_size")
def _(at, patch):
    patch.setattr(preflight, "memory_free", lambda: 10**8)


@bad("network beyond the machine", "GB of memory needed at one time")
def _(at, patch):
    return ["--set", "mlp=1000000,1000000"]


@bad("image size beyond the machine", "GB of memory needed at one time", "smaller image_size")
def _(at, patch):
    draw(at / "textures/a/1.png")
    return ["--set", "image_size=32000", "--textures", at / "textures"]


# Weights, checkpoints, textures


@bad("weights missing", "weights='embeded': no such file", "did you mean 'embedded'?")
def _(at, patch):
    return ["--weights", "embeded"]


@bad("weights of another network", "w.pth: not a state_dict of torchvision's ResNet-18", "conv1.weight has shape",
     "--weights embedded")  # fmt: skip
def _(at, patch):
    state = load_backbone("random-init").model.body.state_dict()
    torch.save(state | {"conv1.weight": torch.zeros(8, 3, 3, 3)}, at / "w.pth")
    return ["--weights", at / "w.pth"]


@bad("weights that are not finite", "w.pth", "bn1.bias has values that are not finite", "--weights embedded")
def _(at, patch):
    state = load_backbone("random-init").model.body.state_dict()
    torch.save(state | {"bn1.bias": torch.full((64,), torch.nan)}, at / "w.pth")
    return ["--weights", at / "w.pth"]


@bad("weights that would run code", "w.pth: refused, as it may run code", "system")
def _(at, patch):
    torch.save({"conv1.weight": Malicious(at / "harm")}, at / "w.pth")
    return ["--weights", at / "w.pth"]


@bad("truncated weights", "w.safetensors: damaged or no file of tensors")
def _(at, patch):
    (at / "w.safetensors").write_bytes(b"\x90\x01\0\0\0\0\0\0{")
    return ["--weights", at / "w.safetensors"]


@bad("weights of an unknown kind", "w.onnx: unknown kind '.onnx'", "expected .pth, .pt or .safetensors")
def _(at, patch):
    (at / "w.onnx").write_bytes(b"x")
    return ["--weights", at / "w.onnx"]


@bad(
    "embedded weights that are damaged", "the embedded backbone is damaged", "restore it from the repository"
)
def _(at, patch):
    folder = at / "weights"
    folder.mkdir()
    (folder / "resnet18-formula-1-of-1.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    patch.setattr(resnet, "EMBEDDED_FOLDER", folder)
    return ["--weights", "embedded"]


@bad("DRAEM checkpoint missing", "--draem-checkpoint", "none: no such folder")
def _(at, patch):
    return ["--draem-checkpoint", at / "none"]


@bad(
    "DRAEM folder without a pair",
    "expected one *_seg.pckl and one other *.pckl, found none",
    "keep one model",
)
def _(at, patch):
    (at / "draem").mkdir()
    return ["--draem-checkpoint", at / "draem"]


@bad("DRAEM checkpoint that would run code", "a.pckl: refused, as it may run code", "give an official pair")
def _(at, patch):
    (at / "draem").mkdir()
    export_official(at / "draem", "a", ReconstructiveNetwork(4, seed=0), DiscriminativeNetwork(4, seed=0))
    torch.save({"encoder.block1.0.weight": Malicious(at / "harm")}, at / "draem/a.pckl")
    return ["--draem-checkpoint", at / "draem"]


@bad(
    "DRAEM checkpoint of another network", "not the weights of DRAEM's two networks", "give an official pair"
)
def _(at, patch):
    (at / "draem").mkdir()
    one, _ = export_official(
        at / "draem", "a", ReconstructiveNetwork(4, seed=0), DiscriminativeNetwork(4, seed=0)
    )
    state = torch.load(one, weights_only=True)
    torch.save({key: value for key, value in state.items() if "block2" not in key}, one)
    return ["--draem-checkpoint", at / "draem"]


@bad("textures missing", "--textures", "dtd: no such folder")
def _(at, patch):
    return ["--textures", at / "dtd"]


@bad("textures folder without pictures", "--textures", "no texture in it", "expected class folders")
def _(at, patch):
    (at / "dtd/banded").mkdir(parents=True)
    return ["--textures", at / "dtd"]


@bad("textures that cannot be read", "banded/2.jpg", "not a JPEG, PNG", "restore, convert or remove it")
def _(at, patch):
    draw(at / "dtd/banded/1.png")
    (at / "dtd/banded/2.jpg").write_text("no picture")
    return ["--textures", at / "dtd"]


def main() -> None:
    """Print each case with what is told, as a table in Markdown."""
    print("| bad input | what is told |\n| --- | --- |")
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            status, said = attempt(case, Path(folder))
            lines = [line.strip() for line in said.replace(folder, "…").splitlines()[1:] if line.strip()]
            lines = [re.sub(r" {2,}", " · ", line) for line in lines if not re.match(r"file +fault", line)]
            if said.startswith("usage:"):  # argparse's own, of which the last line tells
                lines = lines[-1:]
            shown = lines if len(lines) < 6 else [*lines[:4], "…", lines[-1]]
            text = "<br>".join(printable(line).replace("|", "\\|") for line in shown)
            print(f"| {case.name} | {text} |" + ("" if status == 2 else f" exit status {status}!"))
    print(f"\n{len(CASES)} bad inputs", file=sys.stderr)


if __name__ == "__main__":
    main()
