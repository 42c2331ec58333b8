"""The fault campaign: `python -m tests.faults`, an hour and more on two cores; prints a Markdown table."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.faults.damage import all_damages
from tests.faults.kills import killed, stopped
from tests.faults.outside import clock_back, full_disk, lost_folder, read_only_inputs, two_users
from tests.faults.steps import killed_steps
from tests.faults.study import Tried, run
from tests.faults.workers import lost_workers, workers_here

SECTIONS = ("kills", "steps", "signals", "damage", "disk", "lost", "clock", "inputs", "users", "again", "workers")


def main() -> int:
    """Run the chosen sections; returns 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("sections", nargs="*", help=f"default: {' '.join(SECTIONS)}")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--damages", type=int, default=100)
    parser.add_argument("--others", type=int, default=6, help="of each other kind")
    parser.add_argument("--seed", type=int, default=744)
    parser.add_argument("--undisturbed", type=Path, help="output folder of a finished study, by the same code")
    options = parser.parse_args()
    chosen = options.sections or list(SECTIONS)
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"unknown sections {sorted(unknown)}; there are {', '.join(SECTIONS)}")
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        folder, seed, count = Path(scratch), options.seed, options.others
        alone = options.undisturbed or folder / "undisturbed"
        if set(chosen) - {"workers", "inputs", "steps"}:
            status, said = run(alone)
            assert status == 0, said
        actions: dict[str, Callable[[], Iterable[Tried]]] = {
            "kills": lambda: killed(alone, folder / "killed", options.kills, seed),
            "steps": lambda: killed_steps(folder / "steps", options.kills, seed),
            "signals": lambda: stopped(alone, folder / "stopped", seed),
            "damage": lambda: all_damages(alone, folder / "damaged", options.damages, seed),
            "disk": lambda: full_disk(alone, folder / "disk", count, seed),
            "lost": lambda: lost_folder(alone, folder / "lost", 2 * count, seed),
            "clock": lambda: clock_back(alone, folder / "clock", count, seed),
            "inputs": lambda: read_only_inputs(folder / "read-only"),
            "users": lambda: two_users(alone, folder / "users", count, seed),
            "again": lambda: workers_here(alone, folder / "again"),
            "workers": lambda: lost_workers(folder / "workers"),
        }
        print("| what | tried | survived | lost | seed | seconds | detail |\n| --- |" + " --- |" * 6, flush=True)
        lost = 0
        for name in chosen:
            began = time.monotonic()
            try:
                for row in actions[name]():
                    lost += row.tried - row.survived
                    show(row, seed, time.monotonic() - began)
                    began = time.monotonic()
            except Exception as error:
                lost += 1
                show(Tried(name, 1, 0, f"{type(error).__name__}: {error}"), seed, time.monotonic() - began)
    return 1 if lost else 0


def show(row: Tried, seed: int, seconds: float) -> None:
    """Print a row of the table at once."""
    cells = (row.what, row.tried, row.survived, row.tried - row.survived, seed, f"{seconds:.0f}", row.detail)
    print(f"| {' | '.join(str(cell).replace('|', '/').replace(chr(10), ' ') for cell in cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
