"""The fault campaign: `python -m tests.faults`, about a quarter of an hour on two cores; prints a Markdown table."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.damage import damaged, full_disk
from tests.faults.kills import killed, stopped
from tests.faults.study import digests, run
from tests.faults.workers import lost_workers, workers_here

Rows = list[tuple[str, str, str]]
SECTIONS = ("kills", "signals", "damage", "disk", "again", "workers")


def main() -> int:
    """Run the chosen sections; returns 1 if any of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"default: {' '.join(SECTIONS)}")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--damages", type=int, default=30)
    parser.add_argument("--seed", type=int, default=744)
    options = parser.parse_args()
    chosen = options.sections or list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"unknown sections {sorted(unknown)}; there are {', '.join(SECTIONS)}")
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        folder, seed = Path(scratch), options.seed
        expected: dict[str, str] = {}
        if set(chosen) - {"workers"}:
            status, said = run(folder / "left-alone")
            assert status == 0, said
            expected = digests(folder / "left-alone")
        actions: dict[str, Callable[[], Rows]] = {
            "kills": lambda: killed(folder / "killed", expected, options.kills, seed),
            "signals": lambda: stopped(folder / "stopped", expected, seed),
            "damage": lambda: damaged(folder / "left-alone", expected, options.damages, seed),
            "disk": lambda: full_disk(folder, expected),
            "again": lambda: workers_here(folder, expected),
            "workers": lambda: lost_workers(folder / "lost"),
        }
        print(
            f"Seed {seed}.\n\n| fault | outcome | detail | seconds |\n| --- | --- | --- | --- |", flush=True
        )
        failed = False
        for name in chosen:
            began = time.monotonic()
            try:
                rows = actions[name]()
            except Exception as error:
                rows = [(name, "FAILED", f"{type(error).__name__}: {error}")]
            seconds = time.monotonic() - began
            failed |= any(row[1] == "FAILED" or re.search(r"[1-9]\d* differ", row[1]) for row in rows)
            for number, row in enumerate(rows):
                shown = f"{seconds:.0f}" if number == len(rows) - 1 else ""
                cells = [text.replace("|", "/").replace("\n", " ") for text in (*row, shown)]
                print(f"| {' | '.join(cells)} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
