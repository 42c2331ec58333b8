"""Runs that are killed, stopped, or left without a terminal, at random moments."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from lib.execution.lock import RECORD
from tests.faults.study import (
    DATASET,
    STUDY,
    Tried,
    after,
    attempt,
    differences,
    digests,
    family,
    finish,
    gone,
    kernel,
    lasts,
    moment,
    reached,
    repeated,
    run,
    sound,
    start,
    unmade,
)

NOTEBOOKS = ("00", "01", "02", "03", "04", "05", "06")
SHARE = {"study": 0.2, "notebooks": 0.42, "inspect": 0.14, "export": 0.1, "workers": 0.14}  # of the kills
LENGTH = 5.0  # seconds: about what a notebook takes


def killed(undisturbed: Path, folder: Path, count: int, seed: int) -> list[Tried]:
    """Kill `count` commands of all kinds at random moments; each chain of kills ends with the command repeated."""
    new = folder / "new-images"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    drawn = sorted((undisturbed / "smoke" / DATASET / "synthetic").glob("*/*.png"))
    for number, path in enumerate(drawn[:: max(1, len(drawn) // 6)]):
        shutil.copy2(path, new / f"{number}.png")
    work, rows = folder / "work", []
    many = {name: max(1, round(count * share)) for name, share in SHARE.items()}
    many["notebooks"] = max(0, count - sum(many.values()) + many["notebooks"])
    rows.append(_whole_study(undisturbed, work, many["study"], seed))
    each = [many["notebooks"] // 7 + (place < many["notebooks"] % 7) for place in range(7)]
    for name, kills in zip(NOTEBOOKS, each, strict=True):
        if kills:
            rows.append(chain(undisturbed, work, kills, seed, "--only", name))
    finished = ("--inspect", str(new)), ("--export", str(work / "smoke" / "model.onnx"))
    for command in finished:
        rows.append(chain(undisturbed, work, many[command[0][2:]], seed, *command, study=()))
    rows.append(chain(undisturbed, work, many["workers"], seed, "--workers", "2", "--only", "01"))
    shutil.rmtree(work, ignore_errors=True)
    return rows


def chain(
    undisturbed: Path, work: Path, kills: int, seed: int, *arguments: str, study: Sequence[str] = STUDY
) -> Tried:
    """Kill a command `kills` times, every fourth time its kernel only, repeating it after each; then let it end."""
    rng, name = random.Random(f"{seed} {arguments}"), " ".join(arguments[:3])
    name = name.replace(str(work.parent), "…")
    worst, done = 0.0, 0

    def trial() -> None:
        nonlocal worst, done
        seconds = lasts(undisturbed, work, *arguments, study=study)
        expected = digests(work)
        before = {key: value for key, value in expected.items() if key in digests(undisturbed)}
        assert before == digests(undisturbed)  # a command on a finished study changes none of its tables
        unmade(undisturbed, work, arguments[-1] if "--only" in arguments else "")
        for _ in range(3 * kills):
            if done == kills:
                break
            process = start(work, *arguments, study=study)
            if not after(process, moment(rng, seconds)):
                finish(process)  # it had ended; the next one starts anew
                unmade(undisturbed, work, arguments[-1] if "--only" in arguments else "")
                continue
            children, victim = family(process), kernel(process) if done % 4 == 3 else None
            (victim or process).kill()
            status, said = finish(process)
            if victim is not None:
                assert status == 0 or (status == 1 and "kernel" in said and "died" in said), said
            worst = max(worst, gone(children))
            assert not (faults := sound(work)), faults
            done += 1
        assert done == kills, f"{done} of {kills} kills only, at {seconds:.1f} s"
        repeated(work, expected, *arguments, study=study)

    good = attempt(f"kills of {name}", trial)
    return Tried(f"kill -9 in `{name}`", done, done if good else 0, f"processes gone within {worst:.1f} s")


def _whole_study(undisturbed: Path, output: Path, count: int, seed: int) -> Tried:
    """Kill one study `count` times over its course, every fourth time its kernel only; then let it end."""
    rng, done, worst = random.Random(seed), 0, 0.0
    shutil.rmtree(output, ignore_errors=True)

    def trial() -> None:
        nonlocal done, worst
        for number in range(count):
            process = start(output)
            reached(process, output, number * len(NOTEBOOKS) // count)
            if not after(process, rng.uniform(0, LENGTH)):
                finish(process)
                continue
            victim = kernel(process) if number % 4 == 3 else None
            children = family(process)
            (victim or process).kill()
            status, said = finish(process)
            if victim is not None:  # one that is idle between two notebooks is replaced
                assert status == 0 or (status == 1 and "kernel" in said and "died" in said), said
            worst = max(worst, gone(children))
            assert not (faults := sound(output)), faults
            done += 1
        repeated(output, digests(undisturbed))

    good = attempt("kills of a study", trial)
    return Tried(
        "kill -9 in a study from its start", done, done if good else 0, f"processes gone within {worst:.1f} s"
    )


def stopped(undisturbed: Path, output: Path, seed: int) -> list[Tried]:
    """Stop one study by Ctrl-C, SIGTERM and a closed terminal, side by side with a second run that is refused."""
    rng, rows = random.Random(seed), []
    for number, (name, code) in enumerate(
        {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}.items()
    ):
        process = start(output)
        notebook = reached(process, output, 1 + 2 * number)
        time.sleep(rng.uniform(1, 6))
        children = family(process)
        if number == 0:
            status, said = run(output)
            assert status == 2 and f"process {process.pid} on" in said, said
            rows.append(Tried("second run on the same study", 1, 1, "refused"))
        process.send_signal(name)
        began = time.monotonic()
        status, said = finish(process)
        seconds = time.monotonic() - began
        assert status == code and "run the same command again" in said and "Traceback" not in said, said
        gone(children)
        assert not (output / "smoke" / RECORD).exists()
        about = (output / "smoke" / "status.json").read_text()
        assert '"state": "stopped"' in about, about
        rows.append(Tried(signal.Signals(name).name, 1, 1, f"in {notebook[:2]}, after {seconds:.1f} s"))
    status, said = run(output)
    assert status == 0, said
    assert not (wrong := differences(digests(undisturbed), digests(output))), wrong
    return rows
