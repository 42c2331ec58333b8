"""What happens around a run: a full disk, a folder that goes away, a clock set back, read-only inputs, two users."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.artifacts import file_sha256
from tests.faults.damage import own_images
from tests.faults.study import (
    PROJECT,
    Tried,
    after,
    attempt,
    differences,
    digests,
    finish,
    repeated,
    run,
    sound,
    start,
    unmade,
    used,
)

HOOK = PROJECT / "tests/faults/hook"
NOBODY = 65534
COST = 8.0  # seconds of CPU: about what the notebooks take that are disturbed
AWAY = 3.0  # seconds for which a disk is full, or a folder away
CHEAP = ("00", "02", "03", "01")  # notebooks that take the least


class Fault:
    """A fault of tests/faults/hook, on while the flag stands there."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.flag = Path(tempfile.mkdtemp()) / "flag"
        told = os.pathsep.join([str(HOOK), str(PROJECT)])
        self.environment = {"STUDY_FAULT": f"{kind}|{self.flag}|{folder}", "PYTHONPATH": told}

    def begin(self) -> None:
        self.flag.touch()

    def end(self) -> None:
        self.flag.unlink(missing_ok=True)


def disturbed(
    what: str,
    undisturbed: Path,
    work: Path,
    count: int,
    seed: int,
    fault: Callable[[], tuple[Callable[[], object], Callable[[], object], dict[str, str]]],
    *,
    stays: bool = False,
) -> Tried:
    """Disturb a notebook's run `count` times at random moments; `fault` gives how to begin, to end, an environment.

    It ends `AWAY` seconds later, or, if it `stays`, when the run has ended.
    """
    rng, expected = random.Random(f"{seed} {what}"), digests(undisturbed)
    outcomes = list[int]()

    def trial(notebook: str) -> None:
        command = ("--only", notebook)
        unmade(undisturbed, work, notebook)
        begin, end, environment = fault()
        process = start(work, *command, environment=environment)
        try:
            used(process, rng.uniform(1, COST))
            begin()
            after(process, 1e4 if stays else AWAY)
        finally:
            if not stays:
                end()
            status, said = finish(process)
            if stays:
                end()
        outcomes.append(status)
        assert status in (0, 1, 2), said
        # the way out, but for what came up in the notebook's own cells
        assert status == 0 or "Traceback" not in said, said
        assert not (faults := sound(work)), faults
        repeated(work, expected, *command)

    survived = sum(
        attempt(what, trial, notebook) for notebook in (CHEAP[number % len(CHEAP)] for number in range(count))
    )
    shutil.rmtree(work, ignore_errors=True)
    detail = ", ".join(f"{outcomes.count(status)} ended with {status}" for status in sorted(set(outcomes)))
    return Tried(what, count, survived, detail)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """Mount a file system in memory meanwhile; yields whether that is allowed (root)."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = not subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


def full_disk(undisturbed: Path, folder: Path, count: int, seed: int) -> list[Tried]:
    """Fill the study's disk at random moments, and make room after the run; by a hook where no mount is allowed."""
    shutil.rmtree(folder, ignore_errors=True)
    with small_disk(folder / "mounted", "80m") as mounted:
        disk = folder / "mounted"
        filler = disk / "filler"

        def fill() -> None:
            free = shutil.disk_usage(disk).free
            with filler.open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, max(1, free))

        def fault() -> tuple[Callable[[], object], Callable[[], object], dict[str, str]]:
            if mounted:
                return fill, lambda: filler.unlink(missing_ok=True), {}
            hook = Fault("full", disk)
            return hook.begin, hook.end, hook.environment

        how = "a full file system in memory" if mounted else "ENOSPC by a hook"
        return [disturbed(f"disk full ({how})", undisturbed, disk / "work", count, seed, fault, stays=True)]


def lost_folder(undisturbed: Path, folder: Path, count: int, seed: int) -> Iterator[Tried]:
    """Take the study's folder away at random moments and bring it back; and have all that touches it fail with EIO."""
    shutil.rmtree(folder, ignore_errors=True)
    work, away = folder / "work", folder / "away"

    def leave() -> None:
        work.rename(away)

    def come_back() -> None:
        for number in range(100):  # what was made in its place meanwhile is hidden, as below a mount
            if work.exists():
                work.rename(folder / f"below-{number}-{time.monotonic_ns()}")
            try:
                away.rename(work)
                return
            except OSError:
                continue

    def failing() -> tuple[Callable[[], object], Callable[[], object], dict[str, str]]:
        hook = Fault("gone", work)
        return hook.begin, hook.end, hook.environment

    half = count // 2
    yield disturbed("study's folder away for 3 s", undisturbed, work, half, seed, lambda: (leave, come_back, {}))
    yield disturbed("study's folder fails with EIO for 3 s", undisturbed, work, count - half, seed, failing)


def clock_back(undisturbed: Path, folder: Path, count: int, seed: int) -> list[Tried]:
    """Set the clock of a run's processes a day back at random moments; and date all files a day ahead."""
    work = folder / "work"

    def fault() -> tuple[Callable[[], object], Callable[[], object], dict[str, str]]:
        hook = Fault("clock", folder)
        return hook.begin, hook.end, hook.environment

    row = disturbed("clock set back by a day", undisturbed, work, count, seed, fault, stays=True)
    expected = digests(undisturbed)

    def trial() -> None:
        unmade(undisturbed, work, "03")
        for path in work.rglob("*"):
            os.utime(path, (time.time() + 86400,) * 2)
        repeated(work, expected, "--only", "03")

    ahead = Tried("all files dated a day ahead", 1, int(attempt("files ahead", trial)))
    shutil.rmtree(work, ignore_errors=True)
    return [row, ahead]


def read_only_inputs(folder: Path) -> list[Tried]:
    """Run on images and groups that nobody may write: a mount where root allows, else permissions."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = own_images(folder)
    status, said = run(folder / "writable", "--only", "00", study=options)
    assert status == 0, said
    expected, inputs = digests(folder / "writable"), folder / "plates"
    before = {path: file_sha256(path) for path in inputs.rglob("*") if path.is_file()}
    mount = ["mount", "--bind", str(inputs), str(inputs)]
    mounted = not subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode
    if mounted:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(inputs)], check=True)
    for path in (folder / "groups.csv", *(() if mounted else before), *(() if mounted else [inputs])):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        good = attempt("read-only inputs", lambda: repeated(folder / "out", expected, "--only", "00", study=options))
    finally:
        if mounted:
            subprocess.run(["umount", str(inputs)], check=True)
        inputs.chmod(0o755)
    assert before == {path: file_sha256(path) for path in before}
    how = "a read-only mount" if mounted else "permissions"
    return [Tried(f"inputs that are read-only ({how})", 1, int(good))]


def two_users(undisturbed: Path, folder: Path, count: int, seed: int) -> list[Tried]:
    """Start the same study twice at once; and go on with what another user of a group has begun."""
    rng, expected, work = random.Random(seed), digests(undisturbed), folder / "work"
    shutil.rmtree(folder, ignore_errors=True)

    def at_once() -> None:
        unmade(undisturbed, work, "02")
        first = start(work, "--only", "02")
        time.sleep(rng.uniform(0, 2))
        second = start(work, "--only", "02")
        ends = [finish(first), finish(second)]
        refused = [said for status, said in ends if status == 2]
        assert {status for status, _ in ends} <= {0, 2} and len(refused) <= 1, ends
        assert all("another run is at work" in said for said in refused), ends
        assert not differences(expected, digests(work)), ends
        repeated(work, expected, "--only", "02")

    both = sum(attempt("two runs at once", at_once) for _ in range(count))
    rows = [Tried("the same study started twice at once", count, both)]
    setpriv = shutil.which("setpriv")
    if os.getuid() or not setpriv:
        return [*rows, Tried("another user, another umask", 0, 0, "skipped: needs root and setpriv")]
    # whoever may not override permissions is another user to files of someone else's
    other = (setpriv, "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown")

    def shared(umask: int, status: int) -> None:
        """A user begins, with the umask; one of the group goes on, and may or is told why not."""
        unmade(undisturbed, work, "02")
        ended, said = finish(start(work, "--only", "00", "--force", umask=umask))
        assert ended == 0, said
        for path in (work, *work.rglob("*")):
            os.chown(path, NOBODY, 0)
            path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
        ended, said = finish(start(work, "--only", "02", prefix=other, umask=umask))
        assert ended == status and "Traceback" not in said, (ended, said)
        assert not sound(work)
        repeated(work, expected, "--only", "02")

    may = attempt("a user of the group", shared, 0o002, 0)
    not_ = attempt("a user without permission", shared, 0o077, 2)
    return [
        *rows,
        Tried("another user goes on, umask 002", 1, int(may)),
        Tried("another user goes on, umask 077: told why not", 1, int(not_)),
    ]
