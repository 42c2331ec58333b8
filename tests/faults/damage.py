"""Artefacts, inputs and weights that are cut short or altered."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from lib.artifacts import MANIFEST, Store, file_sha256
from tests.faults.study import Tried, attempt, digests, repeated, run
from tests.pipeline.plates import draw_plates

INPUTS = {"image": 20, "labels.csv": 5, "groups file": 5, "index": 4}
WEIGHTS = {"carried, in a copy": 6, "--draem-weights": 5, "--weights": 5}
# of 100 damages; all others are of artefacts


def candidates(study: Path) -> list[Path]:
    """Return every file that a manifest answers for, and the manifests."""
    store, found = Store(study), set()
    for name in store.names():
        record = store.manifest(name) or {}
        path = store.path(name)
        found |= {path, store.path(name + MANIFEST)}
        found |= {(path.parent / other).resolve() for other in record.get("files", {})}
    return sorted(path for path in found if path.is_file() and path.stat().st_size)


def harm(path: Path, rng: random.Random, *, unseen: bool = True) -> str:
    """Flip one bit, or cut the file short; where a bit is flipped `unseen`, size and times stay as they were."""
    data, stat = bytearray(path.read_bytes()), path.stat()
    if rng.random() < 0.5:
        position = rng.randrange(len(data))
        while path.name.endswith(MANIFEST) and chr(data[position]).isspace():  # layout means nothing
            position = rng.randrange(len(data))
        data[position] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        if unseen:
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        return "bit flipped"
    path.write_bytes(data[: rng.randrange(len(data))])
    return "cut short"


@contextlib.contextmanager
def restored(path: Path):
    """Put a file back as it was, times included, when the block ends."""
    data, stat = path.read_bytes(), path.stat()
    try:
        yield
    finally:
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def damaged(undisturbed: Path, work: Path, count: int, seed: int) -> list[Tried]:
    """Harm `count` files of a finished study one by one, then as many at once and run it again."""
    rng, study, expected = random.Random(seed), work / "smoke", digests(undisturbed)
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(undisturbed, work)
    files, kinds, noticed = candidates(study), dict[str, int](), 0
    chosen = rng.sample(files, min(count, len(files)))
    for path in chosen:
        with restored(path):
            kind = harm(path, rng)
            kinds[kind] = kinds.get(kind, 0) + 1
            name = path.relative_to(work)
            noticed += attempt(f"{name}: {kind}", lambda: next(filter(None, Store(study).verify().values())))
    assert not any(Store(study).verify().values())
    for path in chosen:
        harm(path, rng)
    good = attempt(f"{len(chosen)} damages at once", lambda: repeated(work, expected))
    by_kind = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    shutil.rmtree(work)
    return [Tried(f"one of {len(files)} artefacts", len(chosen), noticed if good else 0, by_kind)]


def asked(work: Path, *arguments: str, before: Callable[[], object] = lambda: None) -> tuple[int, str]:
    """Return exit status and output of run_all.py, in a fork of this process that has called `before`."""
    import run_all

    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        if not (child := os.fork()):
            status = 70
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(n, "wb", 0)) for n in (1, 2))
                os.chdir(Path(run_all.__file__).parent)
                before()
                status = run_all.main(["--preset", "smoke", "--output", str(work), *arguments])
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        said.seek(0)
        return os.waitstatus_to_exitcode(ended), said.read()


def own_images(folder: Path) -> tuple[str, ...]:
    """Draw plates, photographs of other kinds among them, with a list and a file of groups; returns the options."""
    from PIL import Image

    images = draw_plates(folder / "plates")
    groups = folder / "groups.csv"
    (images / "groups.csv").rename(groups)
    table = pd.read_csv(groups)
    for number, path in enumerate(sorted(images.rglob("*.png"))):
        if suffix := {0: ".jpg", 1: ".bmp", 2: ".tif"}.get(number % 5):
            with Image.open(path) as image:
                image.save(path.with_suffix(suffix))
            old = path.relative_to(images).as_posix()
            table["id"] = table["id"].replace(old, str(Path(old).with_suffix(suffix)))
            path.unlink()
    table.to_csv(groups, index=False)
    listed = pd.DataFrame({"path": table["id"], "label": table["id"].str.partition("/")[0]})
    listed.to_csv(images / "labels.csv", index=False)
    return "--data", str(images), "--groups", str(groups), "--study", "smoke", "--weights", "random-init"


def harmed_inputs(folder: Path, counts: dict[str, int], seed: int) -> list[Tried]:
    """Harm an input at a time: it is refused by name, or read as what it is now; then put it back and go on."""
    rng, work, rows = random.Random(seed), folder / "own", []
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = own_images(folder)
    images, groups, index = folder / "plates", folder / "groups.csv", work / "smoke/plates/index.parquet"
    status, said = run(work, "--only", "00", study=options)
    assert status == 0, said
    expected = digests(work)
    pictures = sorted(path for path in images.rglob("*") if path.suffix in (".png", ".jpg", ".bmp", ".tif"))
    inputs = {str(path): file_sha256(path) for path in (*pictures, groups, images / "labels.csv")}

    def trial(path: Path) -> None:
        with restored(path):
            kind = harm(path, rng, unseen=path == index)
            status, said = asked(work, *options, "--dry-run")
            assert status in (0, 2) and "Traceback" not in said, said
            if status == 2:
                # a flipped bit in a class's name makes another class, which the message names with the data set
                listed = kind == "bit flipped" and path.suffix == ".csv" and f"{images.name}: " in said
                assert path.name in said or str(images) in said or listed, f"{path}, {kind}: not named: {said}"
            elif path != index:
                found = pd.read_parquet(index).set_index("path")["sha256"]
                assert path in (groups, images / "labels.csv") or found[
                    path.relative_to(images).as_posix()
                ] == file_sha256(path), f"{path}: {kind}, not read anew"
        status, said = asked(work, *options, "--dry-run")
        assert status == 0, said
        found = digests(work)
        wrong = [name for name in expected if name.endswith(".parquet") and found[name] != expected[name]]
        assert not [name for name in wrong if "index" in name or "folds" in name], wrong

    for kind, count in counts.items():
        files = {"image": pictures, "labels.csv": [images / "labels.csv"], "groups file": [groups]}.get(kind, [index])
        survived = sum(attempt(kind, trial, rng.choice(files)) for _ in range(count))
        rows.append(Tried(f"damage of an input: {kind}", count, survived))
    good = attempt("damages of inputs", lambda: repeated(work, expected, "--only", "00", study=options)) and attempt(
        "inputs", lambda: _same(inputs)
    )
    return rows if good else [row._replace(survived=0) for row in rows]


def _same(inputs: dict[str, str]) -> None:
    changed = [path for path, known in inputs.items() if file_sha256(Path(path)) != known]
    assert not changed, changed


def harmed_weights(folder: Path, counts: dict[str, int], seed: int) -> list[Tried]:
    """Harm a copy of weights: it is refused by name, and the sound copy is taken."""
    from lib.draem import pretrained
    from lib.features.backbone_weights import resolve_weights

    rng, rows = random.Random(seed), []
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pretrained.FOLDER, folder / "weights")
    carried = folder / "weights" / "draem-16-8.safetensors"
    backbone = folder / "efficientnet.pth"
    shutil.copy(resolve_weights("efficientnet_lite0"), backbone)
    smoke = ("--dataset", "deco_cap", "--dry-run")
    widths = ("--set", "reconstructive_width=16", "--set", "discriminative_width=8")

    def elsewhere() -> None:
        pretrained.FOLDER = carried.parent

    cases: dict[str, tuple[Path, tuple[str, ...], Callable[[], object]]] = {
        "carried, in a copy": (carried, ("--weights", "random-init", *widths), elsewhere),
        "--draem-weights": (
            carried, ("--weights", "random-init", *widths, "--draem-weights", str(carried)), lambda: None),
        "--weights": (backbone, ("--weights", str(backbone)), lambda: None),
    }  # fmt: skip

    def trial(kind: str) -> None:
        path, options, before = cases[kind]
        with restored(path):
            how = harm(path, rng, unseen=False)
            status, said = asked(folder / "out", *smoke, *options, before=before)
            assert "Traceback" not in said, said
            # a file of one's own has no known SHA-256: one flipped bit may be another number, which counts as such
            may = how == "bit flipped" and kind != "carried, in a copy"
            assert (status == 2 and path.name in said) or (status == 0 and may), f"{kind}, {how}: {said}"
        status, said = asked(folder / "out", *smoke, *options, before=before)
        assert status == 0, said

    for kind, count in counts.items():
        survived = sum(attempt(f"weights {kind}", trial, kind) for _ in range(count))
        rows.append(Tried(f"damage of weights: {kind}", count, survived))
    return rows


def all_damages(undisturbed: Path, folder: Path, count: int, seed: int) -> Iterator[Tried]:
    """Spread `count` damages over artefacts, inputs and weights."""
    share = count / 100
    inputs = {kind: max(1, round(number * share)) for kind, number in INPUTS.items()}
    weights = {kind: max(1, round(number * share)) for kind, number in WEIGHTS.items()}
    rest = count - sum(inputs.values()) - sum(weights.values())
    yield from damaged(undisturbed, folder / "work", max(1, rest), seed)
    yield from harmed_inputs(folder / "inputs", inputs, seed)
    yield from harmed_weights(folder / "weights", weights, seed)
