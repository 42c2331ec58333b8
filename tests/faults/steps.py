"""A study's first steps in a fork of this process, disturbed at a chosen file operation: a second, not a minute."""

from __future__ import annotations

import builtins
import errno
import io
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lib.artifacts import Store, file_sha256, is_full
from lib.datasets.errors import DatasetError
from lib.execution.lock import LockedError, study_lock
from lib.pipeline.data_checks import image_facts
from lib.pipeline.dataset import folds, images
from lib.pipeline.run import open_run
from tests.faults.study import Tried, attempt
from tests.pipeline.plates import draw_plates

FAILED, REFUSED, FULL, LOCKED = 70, 71, 72, 73  # exit statuses of a child


class Steps:
    """Index, folds, arrays and checks of the images in `data`, as a study below `folder`."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.data, self.folder = data, folder / "study"
        self.store = Store(self.folder / data.name)
        self.inputs = {path: file_sha256(path) for path in data.rglob("*") if path.is_file()}

    def run(self) -> None:
        with study_lock(self.folder, "the steps"):
            made = open_run(self.data.name, "smoke", str(self.data), str(self.folder))
            folds(made)
            images(made, 32)
            image_facts(made)

    def child(self, before: Callable[[], object] = lambda: None) -> int:
        """Run the steps in a fork that has called `before`; returns its exit status, or -9 where it was killed."""
        if not (pid := os.fork()):
            status = FAILED
            try:
                before()
                self.run()
                status = 0
            except DatasetError:
                status = REFUSED
            except LockedError:
                status = LOCKED
            except OSError as error:
                status = FULL if is_full(error) else FAILED
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of all that the steps leave; the parts of a fork would remember those of old files."""
        files = (path for path in self.store.root.rglob("*") if path.suffix in (".npy", ".parquet", ".csv"))
        return {path.name: file_sha256(path) for path in files}

    def recovered(self, expected: dict[str, str]) -> None:
        """Assert that nothing half-done counts, no input has changed, and the steps repeated give the same."""
        found = Store(self.store.root).verify()
        assert not any(found.values()), found
        assert self.child() == 0
        assert self.digests() == expected
        assert not list(self.folder.rglob(".*partial*"))
        assert self.inputs == {path: file_sha256(path) for path in self.inputs}


def at_operation(number: int, what: Callable[[], object], count: Callable[[], object] = lambda: None) -> None:
    """Have `what` called before the file operation of that number: open to write, sync, rename, unlink."""
    calls = 0

    def counted(function, applies=lambda *arguments, **named: True):
        def patched(*arguments, **named):
            nonlocal calls
            if applies(*arguments, **named):
                calls += 1
                count()
                if calls == number:
                    what()
            return function(*arguments, **named)

        return patched

    def writes(path, mode="r", *_, **named):
        return isinstance(path, str | Path) and bool(set("wax+") & set(named.get("mode", mode)))

    builtins.open = io.open = counted(io.open, writes)
    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))


def operations(steps: Steps) -> int:
    """Return how many file operations the undisturbed steps make."""
    reader, writer = os.pipe()
    status = steps.child(lambda: at_operation(0, lambda: None, lambda: os.write(writer, b".")))
    os.close(writer)
    assert status == 0
    with os.fdopen(reader, "rb") as stream:
        return len(stream.read())


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail_once() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), "a network folder")


def small_files(size: int) -> Callable[[], None]:
    """Return what lets the system refuse files beyond `size` bytes, as a full disk does."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def clock_back() -> None:
    now = time.time
    time.time = lambda: now() - 86_400


def guard(data: Path) -> None:
    """Refuse every write below `data`, as a read-only mount does."""
    read = io.open

    def guarded(path, mode="r", *arguments, **named):
        if isinstance(path, str | Path) and set("wax+") & set(mode) and Path(path).is_relative_to(data):
            raise PermissionError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return read(path, mode, *arguments, **named)

    builtins.open = io.open = guarded


def away(steps: Steps) -> Callable[[], None]:
    return lambda: steps.folder.rename(steps.folder.with_name("away"))


def come_back(steps: Steps) -> None:
    shutil.rmtree(steps.folder, ignore_errors=True)  # made in its place: hidden below a mount that comes back
    steps.folder.with_name("away").rename(steps.folder)


def chosen(rng: random.Random, total: int, count: int) -> list[int]:
    """Return operations to disturb, among those of the whole course."""
    return sorted(rng.sample(range(1, total + 1), count))


def killed_steps(folder: Path, count: int, seed: int) -> Iterator[Tried]:
    """Kill the steps `count` times, each time at a random file operation, and repeat them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    steps, rng = Steps(draw_plates(folder / "plates"), folder / "undisturbed"), random.Random(seed)
    Steps(steps.data, folder / "here").run()  # forks need not import again
    total, expected = operations(steps), steps.digests()

    def trial(number: int) -> None:
        shutil.rmtree(steps.folder, ignore_errors=True)
        assert steps.child(lambda: at_operation(number, kill)) == -9
        steps.recovered(expected)

    survived = sum(attempt("kill at a file operation", trial, rng.randint(1, total)) for _ in range(count))
    yield Tried("kill -9 at a file operation of the first steps", count, survived, f"one of {total} operations")
