"""What a study would take on this machine, stage by stage, and which preset fits: `run_all.py --dry-run`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lib.batch.cost import Size, Speed, calibrate, disk, disk_bytes, estimate, memory, memory_bytes
from lib.config import PRESETS, Study, StudyError
from lib.execution.resources import memory_free
from lib.execution.status import format_duration
from lib.pipeline.run import Run
from lib.synthetic.products import PRODUCTS

NIGHT = 12 * 3600.0  # seconds; what is called within a night


@dataclass(frozen=True)
class Need:
    """What a preset would take: seconds in all, bytes of memory at one time, bytes of disk."""

    seconds: float
    memory: int
    disk: int


def stages(run: Run, size: Size, seconds: Mapping[str, float], done: Collection[str] = ()) -> Iterator[str]:
    """Yield lines for one data set: what each notebook of `seconds` would take, of time, memory of a task, disk."""
    needed, kept = memory(run.study, size, run.device == "cpu"), disk(run.study, size)
    yield f"{run.name}: {size.images} images ({size.good} good), {size.splits} splits"
    for name, value in seconds.items():
        time = "proven, nothing to do" if name in done else f"about {format_duration(value)}"
        yield f"  {name:<20} {time:<22} {_bytes(needed.get(name)):>8} {_bytes(kept.get(name)):>8}".rstrip()


def presets(
    runs: Sequence[Run],
    sizes: Mapping[str, Size],
    overrides: Mapping[str, object],
    free_disk: int,
    tasks: int,
    known: Mapping[str, Speed] | None = None,
) -> Iterator[str]:
    """Yield lines on what each preset would take for these data sets, and whether it fits on this machine.

    `tasks` folds run at one time. `known` holds speeds measured already, by preset; the others are measured here.
    """
    free, best = memory_free(), ""
    for preset in PRESETS:
        if preset == "smoke":
            continue
        try:
            study = Study.of(preset, overrides)
        except StudyError:
            continue  # the overrides were meant for another preset
        speed = (known or {}).get(preset) or calibrate(study, runs[0].device)
        need = needed(study, runs, sizes, speed, tasks)
        issues = []
        if free is not None and need.memory > free:
            issues.append(f"{need.memory / 1e9:.1f} GB of memory, {free / 1e9:.1f} free")
        if need.disk > free_disk:
            issues.append(f"{need.disk / 1e9:.1f} GB of disk, {free_disk / 1e9:.1f} free")
        within = need.seconds <= NIGHT
        best = preset if within and not issues else best
        verdict = (
            f"does not fit: {'; '.join(issues)}"
            if issues
            else "fits"
            if within
            else "fits, but no night is so long"
        )
        sizes_shown = f"{_bytes(need.memory):>8} {_bytes(need.disk):>8}"
        yield f"  {preset:<9} about {format_duration(need.seconds):<10} {sizes_shown}  {verdict}"
    yield f"the largest preset that fits in a night here: {best or 'none; a GPU, a cluster or fewer images would help'}"


def needed(
    study: Study, runs: Sequence[Run], sizes: Mapping[str, Size], speed: Speed, tasks: int = 1
) -> Need:
    """Return what these data sets would take with another study."""
    cpu, seconds, held, kept = runs[0].device == "cpu", 0.0, 0, 0
    for run in runs:
        size = _size(run, sizes[run.name], study)
        seconds += sum(estimate(study, size, speed, tasks).values())
        held = max(held, memory_bytes(study, size, cpu))
        kept += disk_bytes(study, size)
    return Need(seconds, held, kept)


def _size(run: Run, size: Size, study: Study) -> Size:
    """Return the data set's size with another study: as many schemes of folds, stand-ins drawn at its scale."""
    splits = size.splits // run.study.folds * study.folds
    mapped = size.map_splits // run.study.folds * study.folds
    if study.leak_check == "all":
        mapped = splits
    if run.synthetic:
        counts = PRODUCTS[run.dataset].scaled(study.synthetic_scale)
        size = replace(size, images=sum(counts.values()), good=counts["good"])
    return replace(size, splits=splits, map_splits=mapped)


def _bytes(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
