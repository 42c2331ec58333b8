"""Run the study: choose data sets and preset, execute the notebooks, write the index page (see README.md)."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from multiprocessing import get_context
from pathlib import Path

from lib.command import EXTERNAL, Plan, UsageError, parser, plan
from lib.cost import Size, calibrate, disk_bytes, estimate, shown
from lib.data.synthetic import PRODUCTS
from lib.door import input_faults, resource_faults
from lib.engine import BATCH, EngineError, local_cluster
from lib.pipeline.pictures import index, splits
from lib.pipeline.run import NAMED, Run
from lib.report.summary import write_index
from lib.series import NOTEBOOKS, WRITES, Job, NotebookError
from lib.store import Store, file_sha256, fingerprint, listing_digest, write_text
from lib.study import PRESETS, Study, choices


def check_data(work: Plan) -> None:
    """Read all input at the door, and see that disk and memory suffice; raises `UsageError` with all faults."""
    faults = input_faults(work)
    if not faults:
        sizes = {run.name: size_of(run) for run in work.runs}
        faults = resource_faults(work, sizes, jobs_here(work))
    if faults:
        raise UsageError("\n\n".join(faults))


def size_of(run: Run) -> Size:
    """Return how large a data set is (a stand-in's size is known before it is drawn)."""
    study = run.study
    if run.synthetic:
        counts = PRODUCTS[run.dataset].scaled(study.standin_scale)
        return Size(sum(counts.values()), counts["good"], study.folds, study.folds)
    table = index(run)
    good = int((table["label"] == table.attrs["good"]).sum())
    return Size(len(table), good, len(splits(run)), len(splits(run, with_maps=True)))


def jobs_of(work: Plan, run: Run, scheduler: str) -> list[Job]:
    """Return a data set's notebooks 00 to 05 with their parameters."""
    parameters = {
        "DATASET": run.dataset,
        "PRESET": work.options.preset,
        "DATA_DIR": run.data_dir,
        "OUTPUT_DIR": str(work.study_dir),
        "OVERRIDES": dict(work.overrides),
        "SCHEDULER": scheduler,
    }
    outside = external(run)
    chosen = [name for name in work.notebooks if name != NOTEBOOKS[-1]]
    return [Job(name, run.store.root, parameters, (run.store.root,), outside) for name in chosen]


def final_job(work: Plan, scheduler: str) -> Job:
    """Return notebook 06, executed once per study."""
    parameters = {
        "DATASETS": [run.dataset for run in work.runs],
        "PRESET": work.options.preset,
        "DATA_DIR": str(work.options.data.resolve()) if work.options.data else "",
        "OUTPUT_DIR": str(work.study_dir),
        "OVERRIDES": dict(work.overrides),
        "SCHEDULER": scheduler,
    }
    folders = tuple(run.store.root for run in work.runs)
    return Job(NOTEBOOKS[-1], work.study_dir, parameters, folders, "".join(map(external, work.runs)))


def external(run: Run) -> str:
    """Return a fingerprint of the files and folders outside the study that a run reads."""
    known = {"data": listing_digest(Path(run.data_dir)) if run.data_dir else ""}
    for name in EXTERNAL:
        path = Path(str(getattr(run.study, name)) or "-")
        known[name] = (
            listing_digest(path) if path.is_dir() else file_sha256(path) if path.is_file() else str(path)
        )
    return fingerprint(known)


def run_jobs(jobs: Sequence[Job], expected: Mapping[str, float], *, force: bool, verbose: bool) -> float:
    """Execute notebooks in turn with a line each; returns seconds; raises `NotebookError`."""
    spent = predicted = 0.0
    for number, job in enumerate(jobs, start=1):
        name = f"{job.folder.name:<24} {job.notebook:<20}"
        if not force and job.done():
            print(f"{name} proven, nothing to do", flush=True)
            continue
        if force:
            Store(job.folder).forget(*WRITES[job.notebook], f"notebooks/{job.notebook}")
        seconds = job.run(verbose=verbose)
        spent, predicted = spent + seconds, predicted + expected.get(job.notebook, 0)
        left = sum(expected.get(item.notebook, 0) for item in jobs[number:]) * (
            spent / predicted if predicted else 1
        )
        more = (
            f"about {shown(left)} left for this data set" if number < len(jobs) else "this data set is done"
        )
        print(f"{name} {seconds:7.1f} s   {more}", flush=True)
    return spent


def execute(work: Plan) -> int:
    """Run the notebooks of every data set, then 06 and the index page; returns the exit status."""
    os.environ[BATCH] = "1"
    options, began = work.options, time.perf_counter()
    speed = calibrate(work.study, work.runs[0].device)
    expected = {run.name: estimate(work.study, size_of(run), speed) for run in work.runs}
    planned = sum(sum(v for k, v in part.items() if k in work.notebooks) for part in expected.values())
    print(
        f"{len(work.runs)} data set(s), preset {options.preset}: about {shown(planned)}; results in {work.study_dir}"
    )
    failures: list[str] = []
    with local_cluster(options.workers) as own:
        scheduler = options.scheduler or own
        side_by_side = jobs_here(work)
        if side_by_side > 1:
            threads = max(1, (os.cpu_count() or 1) // side_by_side)
            with ProcessPoolExecutor(side_by_side, mp_context=get_context("spawn")) as pool:
                tasks = {
                    pool.submit(
                        _one, jobs_of(work, run, scheduler), expected[run.name], options, threads
                    ): run
                    for run in work.runs
                }
                failures += [str(task.exception()) for task in as_completed(tasks) if task.exception()]
        else:
            for run in work.runs:
                try:
                    _one(jobs_of(work, run, scheduler), expected[run.name], options, 0)
                except NotebookError as error:
                    failures.append(f"{run.name}: {error}")
        if not failures and NOTEBOOKS[-1] in work.notebooks:
            try:
                run_jobs([final_job(work, scheduler)], {}, force=options.force, verbose=options.verbose)
            except NotebookError as error:
                failures.append(str(error))
    if failures:
        print("\nFAILED\n" + "\n".join(failures), file=sys.stderr)
        return 1
    if NOTEBOOKS[-1] in work.notebooks:
        command = "python run_all.py " + shlex.join(sys.argv[1:])
        page = write_index(work.runs, work.study_dir, command)
        print(f"{shown(time.perf_counter() - began)} in all; open {page}")
    return 0


def jobs_here(work: Plan) -> int:
    """Return how many data sets to run side by side: what was asked for, else what keeps the cores busy.

    On a CPU one thread per data set beats all threads on one (small networks share out badly), and one more than
    there are cores keeps the last data set from running alone; a GPU or a cluster takes one data set at a time.
    """
    options = work.options
    if options.jobs:
        return min(int(options.jobs), len(work.runs))
    if work.runs[0].device != "cpu" or options.workers or options.scheduler:
        return 1
    return min(len(work.runs), (os.cpu_count() or 1) + 1)


def _one(
    jobs: Sequence[Job], expected: Mapping[str, float], options: argparse.Namespace, threads: int
) -> float:
    os.environ[BATCH] = "1"
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    return run_jobs(jobs, expected, force=options.force, verbose=options.verbose)


def show_lists() -> None:
    """Print data sets, presets, notebooks and settings."""
    print("Data sets: " + ", ".join(NAMED) + " (the first three are drawn unless --data gives the originals)")
    print("Notebooks: " + ", ".join(NOTEBOOKS))
    for preset in PRESETS:
        study = Study.of(preset)
        steps = f"{study.draem_epochs} epochs" if study.draem_epochs else f"{study.draem_steps} steps"
        print(f"Preset {preset:<9} {study.image_size} px, DRAEM widths {study.reconstructive_width}/"
              f"{study.discriminative_width}, {steps}, {study.folds} folds")  # fmt: skip
    print("Settings (--set FIELD=VALUE):")
    for item in fields(Study):
        allowed = f" [{' | '.join(choices(item.name))}]" if choices(item.name) else ""
        print(
            f"  {item.name:<21} {item.metadata['help']}{allowed}; quick: {getattr(Study.of('quick'), item.name)!r}"
        )


def show_costs(work: Plan) -> None:
    """Print what would run and what it would cost on this machine."""
    speed, total = calibrate(work.study, work.runs[0].device), 0.0
    for run in work.runs:
        size = size_of(run)
        seconds = estimate(work.study, size, speed)
        done = {job.notebook for job in jobs_of(work, run, "") if not work.options.force and job.done()}
        print(f"{run.name}: {size.images} images ({size.good} good), {size.splits} splits, "
              f"{disk_bytes(run.study, size) / 1e9:.2f} GB on disk")  # fmt: skip
        for name, value in seconds.items():
            if name in work.notebooks:
                print(
                    f"  {name:<20} " + ("proven, nothing to do" if name in done else f"about {shown(value)}")
                )
                total += 0 if name in done else value
    print(f"about {shown(total)} in all on this machine ({work.runs[0].device}); nothing was run")


def verify(study_dir: Path) -> int:
    """Check every artefact below the study's folder against its manifest; returns the exit status."""
    if not study_dir.is_dir():
        print(f"{study_dir}: no such study", file=sys.stderr)
        return 2
    faults = Store(study_dir).verify()
    bad = {name: fault for name, fault in faults.items() if fault}
    for name, fault in bad.items():
        print(f"{study_dir / name}: {fault}")
    print(
        f"{len(faults)} artefacts checked, {len(bad)} at fault" + ("; run again to redo them" if bad else "")
    )
    return 1 if bad or not faults else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit status: 0 done, 1 failed, 2 not started."""
    options = parser().parse_args(arguments)
    if options.list:
        show_lists()
        return 0
    if options.verify:
        return verify(options.output.resolve() / (options.study or options.preset))
    try:
        work = plan(options)
        check_data(work)
        if options.dry_run:
            show_costs(work)
            return 0
        record = {"command": sys.argv[1:], "settings": work.study.values([f.name for f in fields(Study)])}
        write_text(work.study_dir / "study.json", json.dumps(record, indent=1) + "\n")
        return execute(work)
    except (UsageError, EngineError) as error:
        print(f"run_all.py: not started\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
