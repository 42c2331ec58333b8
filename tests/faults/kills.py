"""Runs that are killed, stopped, or left without a terminal, at random moments."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lib.execution.lock import RECORD
from tests.faults.study import (
    DATASET,
    STUDY,
    Tried,
    attempt,
    differences,
    digests,
    family,
    finish,
    gone,
    kernel,
    reached,
    repeated,
    run,
    sound,
    start,
    unmade,
    used,
)

NOTEBOOKS = 7
# Of 100 kills: from the study's start, in single notebooks, on a finished study, on a cluster.
COMMANDS = {
    ("study",): 30, ("--only", "00"): 10, ("--only", "02"): 10, ("--only", "03"): 10, ("--only", "04"): 8,
    ("--only", "06"): 4, ("--inspect",): 10, ("--export",): 6, ("--workers", "2", "--only", "01"): 12,
}  # fmt: skip
COST = 10.0  # seconds of CPU of a command, at first; what it takes is learnt from those that end


def killed(undisturbed: Path, folder: Path, count: int, seed: int) -> Iterator[Tried]:
    """Kill `count` commands of all kinds at random moments; each chain of kills ends with the command repeated."""
    new, work = folder / "new-images", folder / "work"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    drawn = sorted((undisturbed / "smoke" / DATASET / "synthetic").glob("*/*.png"))
    for number, path in enumerate(drawn[:: max(1, len(drawn) // 6)]):
        shutil.copy2(path, new / f"{number}.png")
    places = {"--inspect": str(new), "--export": str(work / "smoke" / "model.onnx")}
    for command, share in COMMANDS.items():
        if not (kills := round(count * share / 100)):
            continue
        if command == ("study",):
            yield _whole_study(undisturbed, work, kills, seed)
        elif place := places.get(command[0]):
            yield chain(undisturbed, work, kills, seed, command[0], place, study=())
        else:
            yield chain(undisturbed, work, kills, seed, *command)
    shutil.rmtree(work, ignore_errors=True)


def chain(undisturbed: Path, work: Path, kills: int, seed: int, *arguments: str, study: Sequence[str] = STUDY) -> Tried:
    """Kill a command `kills` times, every fourth time its kernel only, repeating it after each; then let it end.

    A moment is a share of the CPU seconds that the command takes, so that a busy machine changes nothing.
    """
    rng, name = random.Random(f"{seed} {arguments[0]} {arguments[-1][-3:]}"), " ".join(arguments)
    notebook = arguments[-1] if "--only" in arguments else ""
    worst, done, cost = 0.0, 0, COST

    def trial() -> None:
        nonlocal worst, done, cost
        expected = digests(undisturbed)
        if not notebook:  # what it adds to a finished study
            unmade(undisturbed, work, "")
            status, said = run(work, *arguments, study=study)
            assert status == 0, said
            both = digests(work)
            assert expected == {key: both[key] for key in expected}, "it changed the study"
            expected = both
        unmade(undisturbed, work, notebook)
        for _ in range(3 * kills):
            if done == kills:
                break
            process, share = start(work, *arguments, study=study), rng.random()
            if (spent := used(process, share * cost)) and process.poll() is not None:
                status, said = finish(process)  # it had ended: the next one starts anew
                assert status == 0, said
                cost = spent
                unmade(undisturbed, work, notebook)
                continue
            children, victim = family(process), kernel(process) if done % 4 == 3 else None
            (victim or process).kill()
            status, said = finish(process)
            if victim is not None:
                assert status == 0 or (status == 1 and "kernel" in said and "died" in said), said
            worst = max(worst, gone(children))
            assert not (faults := sound(work)), faults
            done += 1
        assert done == kills, f"{done} of {kills} kills only, of {cost:.1f} s"
        repeated(work, expected, *arguments, study=study)

    good = attempt(f"kills of {name}", trial)
    name = name.replace(str(work.parent), "…")
    return Tried(f"kill -9 in `{name}`", done, done if good else 0, f"processes gone within {worst:.1f} s")


def _whole_study(undisturbed: Path, output: Path, count: int, seed: int) -> Tried:
    """Kill one study `count` times over its course, every fourth time its kernel only; then let it end."""
    rng, done, worst = random.Random(seed), 0, 0.0
    shutil.rmtree(output, ignore_errors=True)

    def trial() -> None:
        nonlocal done, worst
        for number in range(count):
            process = start(output)
            reached(process, output, number * NOTEBOOKS // count)
            if used(process, used(process, 0) + rng.uniform(0, COST / 2)) and process.poll() is not None:
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
    return Tried("kill -9 in a study from its start", done, done if good else 0, f"processes gone within {worst:.1f} s")


def stopped(undisturbed: Path, output: Path, seed: int) -> list[Tried]:
    """Stop one study by Ctrl-C, SIGTERM and a closed terminal, side by side with a second run that is refused."""
    rng, rows = random.Random(seed), []
    for number, (name, code) in enumerate({signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}.items()):
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
