"""Runs that are killed, stopped, or left without a terminal, at random moments."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from lib.execution.lock import RECORD
from tests.faults.study import differences, digests, family, finish, gone, kernel, reached, start

NOTEBOOKS = 7
LENGTH = 5.0  # seconds: about what a notebook takes


def killed(output: Path, expected: dict[str, str], count: int, seed: int) -> list[tuple[str, str, str]]:
    """Kill one study `count` times over its course, every fourth time its kernel only; then let it end."""
    rng = random.Random(seed)
    moments, worst, kernels = [], 0.0, 0
    for number in range(count):
        process = start(output)
        notebook = reached(process, output, number * NOTEBOOKS // count)
        delay = rng.uniform(0, LENGTH)
        end = time.monotonic() + delay
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        victim = kernel(process) if number % 4 == 3 else None
        if process.poll() is not None:
            moments.append(f"{notebook[:2]} (it had ended)")
            finish(process)
            continue
        children = family(process)
        if victim is not None:
            victim.kill()
            status, said = finish(process)
            # one that is idle between two notebooks is replaced
            assert status == 0 or (status == 1 and "kernel" in said and "died" in said), said
            kernels += 1
        else:
            process.kill()
            finish(process)
        worst = max(worst, gone(children))
        moments.append(f"{notebook[:2]}+{delay:.1f}s")
    done = sum("ended" not in moment for moment in moments)
    assert done >= count - 1, moments
    status, said = finish(start(output))
    assert status == 0, said
    wrong = differences(expected, digests(output))
    left = [path.name for path in output.rglob(".*partial*")]
    assert not left, left
    detail = (
        f"at {', '.join(moments)}; {kernels} of the kernel, else of run_all.py; "
        f"all its processes gone within {worst:.1f} s"
    )
    return [(f"kill -9, {done} times in one study", f"{len(expected)} files, {len(wrong)} differ", detail)]


def stopped(output: Path, expected: dict[str, str], seed: int) -> list[tuple[str, str, str]]:
    """Stop one study by Ctrl-C, SIGTERM and a closed terminal, side by side with a second run that is refused."""
    rng, rows = random.Random(seed), []
    for number, (name, code) in enumerate(
        {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}.items()
    ):
        process = start(output)
        notebook = reached(process, output, 1 + 2 * number)
        delay = rng.uniform(1, 6)
        time.sleep(delay)
        children = family(process)
        if number == 0:
            status, said = finish(start(output))
            assert status == 2 and f"process {process.pid} on" in said, said
            rows.append(
                ("second run on the same study", "refused", said.strip().splitlines()[1].split(": ")[1])
            )
        process.send_signal(name)
        began = time.monotonic()
        status, said = finish(process)
        seconds = time.monotonic() - began
        assert status == code and "run the same command again" in said and "Traceback" not in said, said
        gone(children)
        assert not (output / "smoke" / RECORD).exists()
        about = (output / "smoke" / "status.json").read_text()
        assert '"state": "stopped"' in about, about
        rows.append(
            (
                signal.Signals(name).name,
                f"exit status {status}",
                f"in {notebook[:2]}, ended after {seconds:.1f} s",
            )
        )
    status, said = finish(start(output))
    assert status == 0, said
    wrong = differences(expected, digests(output))
    return [*rows, ("then run to the end", f"{len(expected)} files, {len(wrong)} differ", "")]
