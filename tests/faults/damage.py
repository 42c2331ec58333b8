"""Artefacts that are cut short or altered, and a disk that is full."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

from lib.artifacts import MANIFEST, Store
from tests.faults.study import differences, digests, run


def candidates(study: Path) -> list[Path]:
    """Return every file that a manifest answers for, and the manifests."""
    store, found = Store(study), set()
    for name in store.names():
        record = store.manifest(name) or {}
        path = store.path(name)
        found |= {path, store.path(name + MANIFEST)}
        found |= {(path.parent / other).resolve() for other in record.get("files", {})}
    return sorted(path for path in found if path.is_file() and path.stat().st_size)


def harm(path: Path, rng: random.Random) -> str:
    """Flip one bit, or cut the file short; size and times stay as they were where a bit is flipped."""
    data, stat = bytearray(path.read_bytes()), path.stat()
    if rng.random() < 0.5:
        position = rng.randrange(len(data))
        while path.name.endswith(MANIFEST) and chr(data[position]).isspace():  # layout means nothing
            position = rng.randrange(len(data))
        data[position] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        return "bit flipped"
    path.write_bytes(data[: rng.randrange(len(data))])
    return "cut short"


def damaged(output: Path, expected: dict[str, str], count: int, seed: int) -> list[tuple[str, str, str]]:
    """Harm `count` files of a finished study one by one, then as many at once and run it again."""
    rng, study = random.Random(seed), output / "smoke"
    files, kinds, noticed = candidates(study), dict[str, int](), 0
    chosen = rng.sample(files, min(count, len(files)))
    for path in chosen:
        sound, stat = path.read_bytes(), path.stat()
        kind = harm(path, rng)
        kinds[kind] = kinds.get(kind, 0) + 1
        issues = [name for name, issue in Store(study).verify().items() if issue]
        noticed += bool(issues)
        assert issues, f"{path}: {kind}, not noticed"
        path.write_bytes(sound)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not any(Store(study).verify().values())
    for path in chosen:
        harm(path, rng)
    status, said = run(output)
    assert status == 0, said
    assert not any(Store(study).verify().values())
    wrong = differences(expected, digests(output))
    by_kind = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return [
        (f"{len(chosen)} of {len(files)} files harmed, one by one", f"{noticed} noticed by --verify", by_kind),
        (f"the same {len(chosen)} harmed at once", f"{len(expected)} files, {len(wrong)} differ", "after one more run"),
    ]  # fmt: skip


def full_disk(folder: Path, expected: dict[str, str]) -> list[tuple[str, str, str]]:
    """Run on file systems in memory that are too small, then give them room; needs root."""
    rows, folder = [], folder / "mounted"
    folder.mkdir()
    sizes = (400, 2000, 6000, 12000)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={sizes[0]}k", "tmpfs", str(folder)], check=False
    )
    if mounted.returncode:
        return [("full disk", "SKIPPED", "mounting a small file system needs root")]
    try:
        for size in sizes:
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True)
            status, said = run(folder)
            assert status in (1, 2), said
            assert ("space" in said or " free" in said) and "Traceback" not in said, said
            assert not list(folder.rglob(".*partial*"))
            issues = {name: issue for name, issue in Store(folder / "smoke").verify().items() if issue}
            assert not issues, issues
            reason = next(line for line in said.splitlines() if "space" in line or " free" in line)
            made = len(Store(folder / "smoke").names())
            rows.append(
                (
                    f"disk full at {size} kB",
                    f"{made} artefacts, all sound",
                    reason.replace(str(folder), "…"),
                )
            )
        subprocess.run(["mount", "-o", "remount,size=200m", str(folder)], check=True)
        status, said = run(folder)
        assert status == 0, said
        wrong = differences(expected, digests(folder))
        return [*rows, ("room made, run again", f"{len(expected)} files, {len(wrong)} differ", "")]
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)
