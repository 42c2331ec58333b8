"""The commands on finished studies (`--inspect`, `--export`, `--single-file`): which study, and all that is wrong."""

import hashlib
import json
import shlex
from argparse import Namespace
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lib.artifacts import StaleError, Store, absolute, read_only, study_folder
from lib.classification.feature_sets import FEATURE_SETS
from lib.config import UsageError, nearest
from lib.datasets.errors import DatasetError, printable, undecodable
from lib.datasets.splits import FoldError
from lib.features.backbone_weights import WeightsError
from lib.inspection.new_images import read_folder
from lib.pipeline.classification import predictions
from lib.pipeline.run import Run, open_run
from lib.reporting.html_pages import INDEX_TABLES, NOTEBOOKS

NOTEBOOK = "07_inspection"
SHOWS = "04_classification"  # the notebook whose record says how a data set was run
NEEDS = ("index.parquet", "predictions/classification.parquet")
DEFAULT_RECALL = 95.0
# options that an export takes; an inspection also takes the last two, and all others are the study's own
OWN = {"export", "recall", "features", "study", "preset", "output", "dataset", "inspect", "force", "verbose"}


def inspection_request(options: Namespace, default: Namespace) -> tuple[Run, Path, dict[str, Any]]:
    """Return the run that judges, the folder for its results, and the notebook's parameters, all checked.

    `default` holds what the options are where none is given. Raises `UsageError` with all issues at once.
    """
    issues, study_dir, recall = _checked(options, default, OWN)
    folder = absolute(options.inspect)
    if undecodable(str(folder)):
        issues.append(f"--inspect {folder}: not valid UTF-8; rename the folder")
    if not folder.is_dir():
        issues.append(f"--inspect {options.inspect}: no such folder; name one with images")
    elif folder.is_relative_to(study_dir) or study_dir.is_relative_to(folder):
        issue = f"the study {study_dir} and the images must not contain each other; move the images"
        issues.append(f"--inspect {options.inspect}: {issue}")
    else:
        try:
            read_folder(folder)
        except DatasetError as error:
            issues.append(str(error))
    run, given = finished_study(study_dir, options.dataset, issues)
    given |= {"OUTPUT_DIR": str(study_dir), "SCHEDULER": "", "INSPECT_DIR": str(folder)}
    return run, results_folder(run, folder), given | {"RECALL": recall, "FEATURES": options.features or ""}


def export_request(options: Namespace, default: Namespace) -> tuple[Run, str, float, Path]:
    """Return the run to export, its feature set ('' for the recommended), the defect recall, the file, all checked."""
    issues, study_dir, recall = _checked(options, default, OWN - {"force", "verbose"})
    path = _new_file("--export", options.export, ".onnx", issues)
    run, _ = finished_study(study_dir, options.dataset, issues)
    return run, options.features or "", recall / 100, path


def report_request(options: Namespace, default: Namespace) -> tuple[list[Run], Path, Path]:
    """Return the runs of a finished study's data sets, its folder, and the file for the report, all checked."""
    issues = foreign(options, default, ("single_file", "no_pictures", "study", "preset", "output"))
    study_dir = study_folder(options.output, options.study or options.preset, issues)
    path = _new_file("--single-file", options.single_file, ".html", issues)
    try:
        names = [Path(folder).name for folder in last_record(study_dir)["summary"]["artefacts"]]
        if not all((study_dir / f"tables/{name}.csv").is_file() for name in INDEX_TABLES):
            raise UsageError(f"{study_dir}: of an earlier version; first run {command_of(study_dir)}")
    except UsageError as error:
        issues.append(str(error))
    if issues:
        raise UsageError("\n".join(map(_shown, issues)))
    runs = [finished_study(study_dir, [name], [])[0] for name in names]
    for run in runs:
        require_current(run)
    return runs, study_dir, path


def last_record(study_dir: Path) -> dict[str, Any]:
    """Return the manifest of a study's last notebook; raises `UsageError` where there is none that is sound."""
    store, name = Store(study_dir), f"notebooks/{NOTEBOOKS[-1]}.ipynb"
    if not study_dir.is_dir():
        raise UsageError(f"{study_dir}: no such study; run it first, or correct its name and --output")
    if issue := store.issue(name):
        raise UsageError(f"{study_dir}: not finished: {name}: {issue}; first run {command_of(study_dir)}")
    return store.manifest(name) or {}


def _new_file(option: str, given: Path, suffix: str, issues: list[str]) -> Path:
    """Return where the file that an option names shall be, having added an issue where it cannot."""
    path = absolute(given)
    if path.suffix != suffix or path.is_dir() or not path.parent.is_dir():
        issues.append(f"{option} {given}: name a file{suffix} in a folder that is there")
    return path


def _checked(options: Namespace, default: Namespace, own: Collection[str]) -> tuple[list[str], Path, float]:
    """Return what is wrong with the options of a command on a finished study, that study's folder, and the recall."""
    issues = foreign(options, default, own)
    if options.inspect is not None and options.export is not None:
        issues.append("--inspect and --export: one at a time")
    recall = DEFAULT_RECALL if options.recall is None else options.recall
    if not 1 < recall <= 100:
        meant = f" (did you mean {100 * recall:g}?)" if 0 < recall <= 1 else ""
        issues.append(f"--recall {recall:g}: a percentage above 1, at most 100{meant}")
    if options.features and options.features not in FEATURE_SETS:
        near = nearest(options.features, FEATURE_SETS)
        issues.append(f"--features {options.features}: unknown{near}; there are {', '.join(FEATURE_SETS)}")
    return issues, study_folder(options.output, options.study or options.preset, issues), recall


def foreign(options: Namespace, default: Namespace, own: Collection[str]) -> list[str]:
    """Return what is wrong with options that a command on finished studies does not take."""
    return [
        f"--{'from' if name == 'start' else name.replace('_', '-')}: this takes finished studies as they are; drop it"
        for name, value in vars(options).items()
        if name not in own and value != getattr(default, name)
    ]


def results_folder(run: Run, folder: Path) -> Path:
    """Return where the verdicts on a folder go: below its own name, or that and a digest if another has it already."""
    home = run.store.path("inspection")
    name = folder.name.lstrip(".") or "root"
    record = Store(home / name).manifest(f"notebooks/{NOTEBOOK}.ipynb")
    if record and record["inputs"]["parameters"].get("INSPECT_DIR") != str(folder):
        name += "-" + hashlib.sha256(str(folder).encode()).hexdigest()[:6]
    return home / name


def finished_study(study_dir: Path, wanted: list[str] | None, issues: list[str]) -> tuple[Run, dict[str, Any]]:
    """Return the run of a finished study's data set, and its notebooks' parameters; raises UsageError with all faults.

    `wanted` names the data set where there are several; `issues` are what was found before.
    """
    first_run, shown = f"first run {command_of(study_dir)}", f"notebooks/{SHOWS}.ipynb"
    records = {place.parents[1].name: Store(place.parents[1]).manifest(shown) for place in study_dir.glob(f"*/{shown}")}
    found = {name: record["inputs"]["parameters"] for name, record in sorted(records.items()) if record}
    names = [name for name in found if not wanted or name in wanted]
    names = names or [name for name in found if name.removesuffix("-synthetic") in (wanted or ())]
    if not study_dir.is_dir():
        issues.append(f"{study_dir}: no such study; run it first, or correct --study and --output")
    elif not found:
        issues.append(f"{study_dir}: not finished; {first_run}")
    elif wanted and (len(wanted) > 1 or not names):
        issues.append(f"--dataset {' '.join(wanted)}: name one of {', '.join(found)}")
    elif len(names) > 1:
        issues.append(f"{study_dir} holds {', '.join(names)}: choose one with --dataset NAME")
    else:
        store, data = Store(study_dir / names[0]), found[names[0]]["DATA_DIR"]
        faults = {store.path(needed): store.issue(needed) for needed in NEEDS}
        issues += [f"{path}: {issue}; {first_run}" for path, issue in faults.items() if issue]
        if data and not Path(data).is_dir():
            issues.append(f"{data}: the study's labelled images are no longer there; put them back")
    if issues:
        raise UsageError("\n".join(map(_shown, issues)))
    given = {key: found[names[0]][key] for key in ("DATASET", "PRESET", "DATA_DIR", "OVERRIDES")}
    dataset, preset, data_dir, overrides = given.values()
    try:
        return open_run(dataset, preset, data_dir, str(study_dir), overrides), given
    except UsageError as error:
        raise UsageError(f"{study_dir}: of an earlier version: {error}; {first_run}") from error


def require_current(run: Run) -> None:
    """Raise `UsageError` where the study's predictions are not what its settings, images and code would give now."""
    try:
        with read_only():
            predictions(run, "classification")
    except (StaleError, DatasetError, FoldError, WeightsError, FileNotFoundError) as error:
        why = "The study is not finished, or its labelled images, weights, textures or code have changed since."
        remedy = f"Update it first: {command_of(Path(run.study_dir))}"
        raise UsageError(f"{_shown(str(error))}\n{why} {remedy}") from error


def command_of(study_dir: Path) -> str:
    """Return the command with which the study was run, as it wrote it down."""
    try:
        record = json.loads((study_dir / "study.json").read_text(encoding="utf-8"))
        return "python run_all.py " + shlex.join(record["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"python run_all.py --study {shlex.quote(study_dir.name)}"


def _shown(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
