"""How a study grows with its images: time per notebook and image, memory, size of the index page.

python -m tests.benchmarks.growth [--images 1000 5000] [--scratch DIR]: draws small images, studies them on preset smoke
in a child process and prints a Markdown table, a row per number of images as soon as it is known.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from PIL import Image

from lib.artifacts import Store
from lib.pipeline.run import PROJECT
from lib.reporting.html_pages import NOTEBOOKS

SHARES = {"good": 0.7, "dent": 0.2, "hole": 0.1}
SIDE = 40  # pixels


class Grown(NamedTuple):
    """What a study of so many images took: seconds per notebook, in all and of CPU; most memory; pages in bytes.

    Memory, at one time, is what processes hold for themselves, without files that they have mapped.
    """

    images: int
    notebooks: list[float]
    seconds: float
    cpu: float
    memory: int
    page: int
    largest_notebook_page: int


def draw(folder: Path, count: int) -> None:
    """Write `count` PNG files of noise, each over a field of its own, with a spot on defective ones."""

    def one(number: int, label: str, value: int) -> None:
        rng = np.random.default_rng(number)
        field = np.kron(rng.normal(128, 25, (5, 5)), np.ones((SIDE // 5, SIDE // 5)))
        picture = (field + rng.normal(0, 8, (SIDE, SIDE))).clip(0, 255).astype(np.uint8)
        if value:
            row, column = rng.integers(0, SIDE - 8, 2)
            picture[row : row + 8, column : column + 8] = value
        Image.fromarray(picture).save(folder / label / f"{number:06d}.png", compress_level=1)

    with ThreadPoolExecutor(2) as pool:
        start = 0
        for (label, share), value in zip(SHARES.items(), (0, 250, 5), strict=True):
            (folder / label).mkdir(parents=True)
            numbers = range(start, start + round(count * share))
            list(pool.map(lambda number, label=label, value=value: one(number, label, value), numbers))
            start = numbers.stop


def used() -> float:
    """Return the CPU seconds of all processes that this one has started and that have ended."""
    times = resource.getrusage(resource.RUSAGE_CHILDREN)
    return times.ru_utime + times.ru_stime


def grow(scratch: Path, count: int) -> Grown:
    """Study `count` new images; raises RuntimeError with what the run said if it fails."""
    data, output = scratch / f"images-{count}", scratch / f"study-{count}"
    draw(data, count)
    command = ["--data", str(data), "--preset", "smoke", "--output", str(output), "--study", "grown"]
    peak, began, before = 0, time.monotonic(), used()
    with (scratch / f"log-{count}.txt").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "run_all.py", *command, "--dataset", "grown"],
            cwd=PROJECT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"OMP_NUM_THREADS": "1", **os.environ},
        )
        family = psutil.Process(process.pid)
        while process.poll() is None:
            held = 0
            with suppress(psutil.Error):
                for one in (family, *family.children(recursive=True)):
                    with suppress(psutil.Error):
                        about = one.memory_info()
                        held += about.rss - getattr(about, "shared", 0)
            peak = max(peak, held)
            time.sleep(0.2)
        seconds = time.monotonic() - began
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{count} images: exit status {process.returncode}\n{log.read()[-3000:]}")
    study = output / "grown"
    stores = [Store(study if name == NOTEBOOKS[-1] else study / "grown") for name in NOTEBOOKS]
    made = [store.manifest(f"notebooks/{name}.ipynb") or {} for store, name in zip(stores, NOTEBOOKS, strict=True)]
    pages = [path.stat().st_size for path in study.rglob("notebooks/*.html")]
    took = [float(one["summary"]["seconds"]) for one in made]
    return Grown(count, took, seconds, used() - before, peak, (study / "index.html").stat().st_size, max(pages))


def main() -> None:
    """Study each number of images and print a row for it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000])
    parser.add_argument("--scratch", type=Path, help="folder that keeps the studies (default: removed again)")
    options = parser.parse_args()
    names = [name[:2] for name in NOTEBOOKS]
    head = ["images", *(f"{name}, s" for name in names), "all, s", "CPU s per 1,000 images", "memory, MB"]
    head += ["index page, kB", "largest notebook page, kB"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head), flush=True)
    with tempfile.TemporaryDirectory(prefix="growth-") as temporary:
        for count in options.images:
            found = grow(options.scratch or Path(temporary), count)
            cells = [f"{count:,}", *(f"{one:.0f}" for one in found.notebooks), f"{found.seconds:.0f}"]
            cells += [f"{1000 * found.cpu / count:.1f}", f"{found.memory / 1e6:,.0f}"]
            cells += [f"{found.page / 1e3:,.0f}", f"{found.largest_notebook_page / 1e3:,.0f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
