"""Run the study: choose data sets and preset, execute the notebooks, write the index page (see README.md)."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import artifacts
from lib.artifacts import Store, absolute, fingerprint, listing_digest, write_text
from lib.cli import EXTERNAL, Plan, parser, plan
from lib.config import PRESETS, Study, UsageError, choices
from lib.datasets.errors import printable
from lib.execution.kernels import Kernels
from lib.execution.lock import LockedError, study_lock
from lib.execution.parallel import EngineError, cores, local_cluster, stop_on_signals
from lib.execution.progress import BATCH, format_duration, say
from lib.execution.source_code import mixture
from lib.features.backbone_weights import WeightsError
from lib.pipeline.run import NAMED, PROJECT, Run
from lib.reporting.html_pages import NOTEBOOKS

# What takes long to import is imported where it is used: `--help` answers at once, `--dry-run` needs no torch.
if TYPE_CHECKING:
    from pandas import DataFrame

    from lib.batch.notebooks import NotebookJob


def check_data(work: Plan) -> None:
    """Read all input, and see that disk and memory suffice; raises `UsageError` with all faults."""
    from lib.batch.preflight import check_inputs, check_resources
    from lib.pipeline.data_checks import describe_sizes
    from lib.pipeline.dataset import index

    options = work.options
    issues = check_inputs(work.runs, options.scheduler or "", fits=work.notebooks[-1] >= "04")
    if not issues:
        issues = check_resources(work.runs, costs_of(work), jobs_here(work), options.workers)
    if issues:
        raise UsageError("\n\n".join(issues))
    for run in work.runs:
        for note in () if run.synthetic else (index(run).attrs["note"], describe_sizes(run)):
            if note:
                say(printable(f"{run.name}: {note}"))


def jobs_of(work: Plan, run: Run | None, scheduler: str) -> tuple[NotebookJob, ...]:
    """Return a data set's chosen notebooks of 00 to 05 with their parameters; for no data set 06, if chosen."""
    from lib.batch.notebooks import NotebookJob

    runs, output = (run,) if run else work.runs, work.study_dir
    data = str(work.options.data.resolve()) if work.options.data else ""
    parameters: dict[str, Any] = {
        **({"DATASET": run.dataset} if run else {"DATASETS": [run.dataset for run in runs]}),
        "PRESET": work.options.preset,
        "DATA_DIR": run.data_dir if run else data,
        # from the project's root where it lies below, so for any machine
        "OUTPUT_DIR": str(output.relative_to(PROJECT) if output.is_relative_to(PROJECT) else output),
        "OVERRIDES": dict(work.overrides),
        "SCHEDULER": scheduler,
    }
    about = tuple(each.store.root for each in runs), "".join(map(external, runs))
    folder, names = run.store.root if run else output, tuple(each.name for each in work.runs)
    chosen = [name for name in work.notebooks if (name == NOTEBOOKS[-1]) == (run is None)]
    return tuple(NotebookJob(name, folder, parameters, *about, names) for name in chosen)


def external(run: Run) -> str:
    """Return a fingerprint of the files and folders outside the study that a run reads."""
    from lib.pipeline.embeddings import backbone_digest

    known = {"data": listing_digest(Path(run.data_dir)) if run.data_dir else ""}
    for name in (*EXTERNAL, "region"):
        path = Path(str(getattr(run.study, name)) or "-")
        digest = listing_digest if path.is_dir() else artifacts.file_sha256 if path.is_file() else str
        known[name] = digest(path)
    with suppress(WeightsError):  # whoever reads them says what is wrong
        known["weights"] = backbone_digest(run)
    return fingerprint(known)


def execute(work: Plan) -> None:
    """Run the notebooks of every data set, then 06 and the index page; raises `NotebookError` where some failed."""
    from lib.batch.forecast import store_speed
    from lib.batch.notebooks import NotebookError, environment, run_datasets
    from lib.batch.provenance import write_provenance
    from lib.execution.progress import console
    from lib.reporting.index_page import index_html

    options, began, last = work.options, time.perf_counter(), NOTEBOOKS[-1]
    side_by_side, run_of = jobs_here(work), {run.store.root: run for run in work.runs}
    expected = seconds_of(work, {})  # before the cores are shared out
    planned = lasts(work, expected)
    environment(max(1, cores() // side_by_side), work.study.threads)
    say(f"data sets: {len(work.runs)}, preset {options.preset}: about {planned}; results in {work.study_dir}")
    how = {"force": options.force, "verbose": options.verbose}

    def record(root: Path) -> None:
        write_provenance(run_of[root])
        store_speed(run_of[root])

    stores = [run.store for run in work.runs]
    made = [f"notebooks/{name}.ipynb" for name in work.notebooks if name != last]
    going_on = not options.force and not all(store.manifest(name) for store in stores for name in made)
    if mixed := mixture(stores, artifacts.software()) if going_on else "":
        say(mixed)
    with (
        local_cluster(options.workers) as own,
        console(work.study_dir, command(), expected, width=min(side_by_side, cores()), verbose=options.verbose),
        Kernels() as kernels,
    ):
        scheduler = options.scheduler or own
        jobs = {root: jobs_of(work, run, scheduler) for root, run in run_of.items()}
        failures = run_datasets(jobs, side_by_side, kernels, **how, afterwards=record)
        if not failures and last in work.notebooks:
            failures = run_datasets({work.study_dir / last: jobs_of(work, None, scheduler)}, 1, kernels, **how)
        if failures:
            raise NotebookError("\n".join(failures))
    if not mixed and (mixed := mixture(stores)):
        say(mixed)
    if last in work.notebooks:
        page = work.study_dir / "index.html"
        write_text(page, index_html(work.runs, work.study_dir, command()))
        say(f"{format_duration(time.perf_counter() - began)} in all; open {page}")


def inspect(options: Namespace, default: Namespace) -> None:
    """Judge new images by a finished study."""
    import pandas as pd

    from lib.batch.finished_study import NOTEBOOK, inspection_request, require_current
    from lib.batch.notebooks import NotebookJob, environment
    from lib.reporting.figures_inspection import VERDICTS_FILE

    run, home, parameters = inspection_request(options, default)
    images = parameters["INSPECT_DIR"]
    with study_lock(Path(run.study_dir), command()):
        environment(cores(), run.study.threads)
        outside = fingerprint({"study": external(run), "new": listing_digest(Path(images))})
        job = NotebookJob(NOTEBOOK, home, parameters, (run.store.root, home), outside)
        if not options.force and job.done():
            say("proven, nothing to do")
        else:
            require_current(run)
            say(f"inspecting {images} with {run.store.root}")
            with Kernels() as kernels:
                job.run(kernels, verbose=options.verbose)
    counted = pd.read_csv(home / VERDICTS_FILE)["verdict"].value_counts()
    say(", ".join(f"{count} {verdict}" for verdict, count in counted.items()))
    say(f"open {job.target.with_suffix('.html')}; all verdicts in {home / VERDICTS_FILE}")


def export(options: Namespace, default: Namespace) -> None:
    """Write the chain of a finished study to a file."""
    from lib.batch.finished_study import export_request, require_current
    from lib.batch.notebooks import NotebookError, environment
    from lib.deployment.onnx_export import ExportError, export_model
    from lib.inspection.production_model import ProductionModelError, fitted_production_model, threshold_of

    run, features, recall, path = export_request(options, default)
    with study_lock(Path(run.study_dir), command()):
        environment(cores(), run.study.threads)
        require_current(run)
        say(f"fitting {run.store.root} on all labelled images, where that is not done")
        try:
            model = fitted_production_model(run, features)
            threshold = threshold_of(run, model, recall)
            say(f"exporting features {model.features} ({model.why})")
            say(export_model(run, model, threshold, path))
        except (ProductionModelError, ExportError) as error:
            raise NotebookError(str(error)) from error
    run_it = f"python -m lib.deployment.onnx_predict {path} IMAGES (docs/deploy.md)"
    say(f"{path}, {path.stat().st_size / 1e6:.0f} MB; to run it: {run_it}")


def report(options: Namespace, default: Namespace) -> None:
    """Write a finished study's report as one file."""
    from lib.batch.finished_study import command_of, report_request
    from lib.reporting.single_file import write_single_file

    runs, study_dir, path = report_request(options, default)
    with artifacts.read_only():
        write_single_file(runs, study_dir, command_of(study_dir), path, pictures=not options.no_pictures)
    say(f"open {path}, {path.stat().st_size / 1e6:.0f} MB")


def compare(options: Namespace, default: Namespace) -> None:
    """Set two finished studies side by side."""
    from lib.batch.two_studies import compare_studies, studies_to_compare

    print(compare_studies(*studies_to_compare(options, default)))


# What is done instead of a study, by its option.
INSTEAD = {"compare": compare, "inspect": inspect, "export": export, "single_file": report}


def command() -> str:
    """Return the command line as one would type it."""
    return "python run_all.py " + shlex.join(sys.argv[1:])


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
    return min(len(work.runs), cores() + 1)


def costs_of(work: Plan) -> list[DataFrame]:
    """Return the forecast for each data set."""
    from lib.batch.forecast import GUESSES, forecast, size_of, stored_speed

    first, mine = work.runs[0], max(1, cores() // jobs_here(work))
    speed = stored_speed(first) or GUESSES[first.device]
    tasks = work.options.workers or (mine // work.study.threads if first.device == "cpu" else 1)
    return [forecast(run, size_of(run), speed, tasks) for run in work.runs]


def seconds_of(work: Plan, done: Mapping[str, Collection[str]]) -> dict[str, dict[Any, float]]:
    """Return the seconds of each notebook to execute by data set, those `done` aside; 06 is an entry of its own."""
    last, found, shares = NOTEBOOKS[-1], dict[str, dict[Any, float]](), 0.0
    for run, cost in zip(work.runs, costs_of(work), strict=True):
        here = [name for name in work.notebooks if name not in done.get(run.name, ())]
        found[run.name] = cost["seconds"].filter(here).to_dict()
        shares += found[run.name].pop(last, 0.0)
    return found | ({last: {last: shares}} if last in work.notebooks else {})


def lasts(work: Plan, seconds: Mapping[str, Mapping[str, float]]) -> str:
    """Return in words how long the notebooks of `seconds_of` take."""
    from lib.batch.forecast import START

    parts = {name: sum(part.values()) for name, part in seconds.items()}
    last = parts.pop(NOTEBOOKS[-1], 0.0)
    before = sum(START + part for part in parts.values() if part)
    return format_duration(before / min(jobs_here(work), cores()) + last)


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
        quick = getattr(Study.of("quick"), item.name)
        print(f"  {item.name:<21} {item.metadata['help']}{allowed}; quick: {quick!r}")


def show_costs(work: Plan) -> None:
    """Print what would run, and what time, memory and disk it would take on this machine."""
    from lib.batch.forecast import size_of, stored_speed

    first, last, done = work.runs[0], NOTEBOOKS[-1], dict[str, set[str]]()
    print(f"time, memory of one task, and disk, on this machine ({first.device}, cores: {cores()}):")
    for run, costs in zip(work.runs, costs_of(work), strict=True):
        jobs = jobs_of(work, run, "") + jobs_of(work, None, "")
        done[run.name] = {job.notebook for job in jobs if not work.options.force and job.done()}
        print("{}: {} images ({} good), {} splits".format(run.name, *size_of(run)))
        for name, seconds, *needs in costs.filter([n for n in work.notebooks if n != last], axis=0).itertuples():
            told = "proven, nothing to do" if name in done[run.name] else f"about {format_duration(seconds)}"
            memory, disk = (f"{need / 1e6:,.0f} MB" if need else "" for need in needs)
            print(f"  {name:<20} {told:<22} {memory:>9} {disk:>9}".rstrip())
    to_do = seconds_of(work, done)
    if seconds := to_do.get(last, {}).get(last):
        print(f"all data sets together\n  {last:<20} about {format_duration(seconds)}")
    print(f"about {lasts(work, to_do)} in all, data sets at a time: {jobs_here(work)}; nothing was run")
    if stored_speed(first) is None:
        print("the time is a rough guess; it is measured in the first training that takes a minute")


def verify(study_dir: Path) -> int:
    """Check every artefact below the study's folder against its manifest; returns the exit status."""
    if not study_dir.is_dir():
        print(f"{study_dir}: no such study", file=sys.stderr)
        return 2
    issues = Store(study_dir).verify()
    bad = {name: issue for name, issue in issues.items() if issue}
    for name, issue in bad.items():
        print(f"{study_dir / name}: {issue}")
    remedy = "; run again to redo them" if bad else ""
    print(f"{len(issues)} artefacts checked, {len(bad)} at fault{remedy}")
    if mixed := mixture([Store(study_dir)]):
        print(mixed)
    return 1 if bad or not issues else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit status: 0 done, 1 failed, 2 not started."""
    options = parser().parse_args(arguments)
    if options.list:
        show_lists()
        return 0
    if options.verify:
        return verify(absolute(options.output) / (options.study or options.preset))
    from lib.batch.notebooks import NotebookError

    stop_on_signals()
    os.environ[BATCH] = "1"
    try:
        for name, carry_out in INSTEAD.items():
            if getattr(options, name) is not None:
                carry_out(options, parser().parse_args([]))
                return 0
        work = plan(options)
        if options.dry_run:
            check_data(work)
            show_costs(work)
            return 0
        with study_lock(work.study_dir, command()):
            check_data(work)
            record = {"command": sys.argv[1:], "settings": work.study.values([f.name for f in fields(Study)])}
            write_text(work.study_dir / "study.json", json.dumps(record, indent=1) + "\n")
            execute(work)
        return 0
    except (UsageError, EngineError, LockedError) as error:
        status, said = 2, f"run_all.py: not started\n{error}"
    except NotebookError as error:
        status, said = 1, f"\nFAILED\n{error}"
    except OSError as error:
        if not artifacts.is_full(error) and not error.filename:
            raise
        how = "see that it is there and may be read and written, then run the same command again to go on from here"
        said = f"{printable(str(error.filename))}: {error.strerror}; {how}"
        status, said = 1, f"run_all.py: {error if artifacts.is_full(error) else said}"
    except KeyboardInterrupt as stop:
        status = 128 + getattr(signal, str(stop), signal.SIGINT)  # as a shell tells of signals
        said = "\nstopped; run the same command again to go on from here"
    with suppress(OSError):  # the terminal was closed
        print(said, file=sys.stderr)
    return status


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read this has gone, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + 13  # as a shell tells of SIGPIPE
    sys.exit(status)
