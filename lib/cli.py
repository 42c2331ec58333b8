"""The command line: its options, and the check of everything that a command names before anything starts."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lib.artifacts import absolute, study_folder, write_text
from lib.config import CPU_STANDARD, PRESETS, Study, UsageError, cuda_available, nearest
from lib.datasets.errors import printable, undecodable
from lib.pipeline.run import NAMED, Run, dataset_folder, open_run
from lib.reporting.html_pages import NOTEBOOKS
from lib.synthetic.products import PRODUCTS

SHORTCUTS = {  # settings with an option of their own, and what it takes
    "good": "NAME", "groups": "FILE", "group_regex": "RE", "skip_bad": "", "backbone": "NAME", "weights": "FILE",
    "textures": "DIR", "draem_checkpoint": "DIR", "draem_weights": "FILE",
}  # fmt: skip
FOLDERS = [name for name, takes in SHORTCUTS.items() if takes == "DIR"]
EXTERNAL = [*FOLDERS, *(name for name, takes in SHORTCUTS.items() if takes == "FILE")]
STUDY_FILES = ("figures", "notebooks", "tables", "index.html", "study.json")  # in the study's own folder


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    p = argparse.ArgumentParser(
        prog="run_all.py",
        description="Run the study (see README.md).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = p.add_argument_group("data").add_argument
    add("--dataset", nargs="+", metavar="NAME", help=f"named sets: {', '.join(NAMED)}")
    add("--data", type=Path, metavar="DIR", help="where the images are; alone: own images")
    add = p.add_argument_group("study").add_argument
    add("--preset", default="quick", metavar="NAME", help=", ".join(PRESETS))
    add("--set", action="append", default=[], metavar="FIELD=VALUE", help="any setting, see --list")
    meanings = {item.name: item.metadata["help"] for item in fields(Study)}
    for name, takes in SHORTCUTS.items():
        kind: dict[str, Any] = {"metavar": takes} if takes else {"action": "store_true"}
        add(_option(name), help=meanings[name], **kind)
    add = p.add_argument_group("where and what").add_argument
    add("--output", type=Path, default=Path("outputs"), metavar="DIR", help="root of the results")
    add("--study", metavar="NAME", help="folder below it (default: the preset's name)")
    add("--from", dest="start", metavar="NN", help="begin with this notebook, such as 04")
    add("--only", metavar="NN", help="this notebook only")
    add("--force", action="store_true", help="repeat the chosen notebooks, finished or not")
    add = p.add_argument_group("finished studies").add_argument
    add("--inspect", type=Path, metavar="DIR", help="judge the unlabelled images in DIR")
    add("--export", type=Path, metavar="FILE.onnx", help="write it as one ONNX model, see docs/deploy.md")
    add("--recall", type=float, metavar="PERCENT", help="defect recall to hold (default: 95)")
    add(
        "--features",
        metavar="NAME",
        help="feature set to judge by (default: the recommended one, chosen on training images)",
    )
    add("--single-file", type=Path, metavar="FILE.html", help="write its whole report as one file")
    add("--no-pictures", action="store_true", help="with --single-file: without photographs of the products")
    add("--compare", nargs=2, metavar="STUDY", help="two finished studies, by name or folder, side by side")
    add = p.add_argument_group("how").add_argument
    add("--workers", type=int, default=0, metavar="N", help="folds on N Dask workers started here")
    add("--scheduler", metavar="ADDRESS", help="folds on an existing Dask cluster")
    add("--jobs", type=int, default=0, metavar="N", help="data sets at a time; 0: chosen for this machine")
    add("--list", action="store_true", help="show data sets, presets, notebooks and settings")
    add("--dry-run", action="store_true", help="show what would run and what it would cost")
    add("--verify", action="store_true", help="check every artefact of the study")
    add("--verbose", action="store_true", help="show what the notebooks print")
    return p


class Plan(NamedTuple):
    """What a command asks for, checked."""

    study: Study
    runs: tuple[Run, ...]
    overrides: Mapping[str, Any]
    study_dir: Path
    notebooks: tuple[str, ...]
    options: argparse.Namespace


def plan(options: argparse.Namespace) -> Plan:
    """Check the command and everything that it names; raises `UsageError` with all faults at once."""
    issues: list[str] = []
    study_dir = study_folder(options.output, options.study or options.preset, issues)
    if issues:
        study_dir = absolute(options.output)  # only there is writing tested
    names, overrides = _names(options, issues), _overrides(options, issues)
    notebooks = _notebooks(options, issues)
    _check_cluster(options, issues)
    issues += [
        f"{_option(name)}: for an inspection or export only; give --inspect DIR or --export FILE.onnx"
        for name in ("recall", "features")
        if getattr(options, name) is not None
    ]
    if options.no_pictures:
        issues.append("--no-pictures: for a report only; give --single-file FILE.html")
    issues += _misplaced(options, names, overrides, study_dir) + _region(overrides)
    try:
        study = Study.of(options.preset, overrides)
    except UsageError as error:
        issues += str(error).split("\n")
    else:
        if options.preset == "standard":  # what depends on this machine belongs to the study
            overrides |= study.values(tuple(CPU_STANDARD))
        if study.device == "cuda" and not options.scheduler and not cuda_available():
            remedy = "leave it at auto, or give a --scheduler"
            issues.append(f"device=cuda: PyTorch finds no CUDA device here; {remedy}")
        from lib.pipeline.run import mps_available

        if study.device == "mps" and not options.scheduler and not mps_available():
            issues.append("device=mps: PyTorch finds no Apple GPU here; leave it at auto")
        from lib.features.backbone_weights import WEIGHT_NAMES, WeightsError, check_name, resolve_weights

        try:
            check_name(study.backbone)
            weights = resolve_weights(study.backbone, study.weights)
            if study.weights not in WEIGHT_NAMES:
                overrides["weights"] = str(absolute(Path(weights)))
        except WeightsError as error:
            issues.append(str(error))
    _check_writable(study_dir, issues)
    if issues:
        raise UsageError("\n".join(map(printable, issues)))
    data = str(absolute(options.data)) if options.data else ""
    runs = tuple(
        open_run(name, options.preset, data, str(study_dir), overrides, options.scheduler or "")
        for name in names
    )
    return Plan(runs[0].study, runs, overrides, study_dir, notebooks, options)


def _region(overrides: dict[str, Any]) -> list[str]:
    """Make the path of a region's picture absolute; return what is wrong with the region, or nothing."""
    if not (text := str(overrides.get("region", ""))):
        return []
    from lib.datasets.errors import DatasetError
    from lib.datasets.region import read_region

    try:
        found = read_region(text)
    except (ValueError, OSError, DatasetError) as error:
        return [str(error)]
    if found and found.white is not None:
        overrides["region"] = str(absolute(Path(text)))
    return []


def _there(path: str | Path, kind: Callable[[Path], bool] = Path.is_dir) -> bool:
    try:
        return kind(Path(path))
    except OSError:  # too long a name, or no permission to look
        return False


def _check_cluster(options: argparse.Namespace, issues: list[str]) -> None:
    if options.workers and options.scheduler:
        issues.append("--workers and --scheduler contradict each other: give one")
    if options.workers < 0 or options.jobs < 0:
        issues.append(f"--workers {options.workers}, --jobs {options.jobs}: must not be negative")
    try:
        address = urlsplit("tcp://none:1" if options.scheduler is None else options.scheduler)
        sound = address.scheme and address.hostname and address.port
    except ValueError:
        sound = False
    if not sound:
        issues.append(f"--scheduler {options.scheduler!r}: expected an address such as tcp://host:8786")


def _check_writable(study_dir: Path, issues: list[str]) -> None:
    """Make the study's folder and write in it; where anything is wrong, remove what was made."""
    made = [folder for folder in (study_dir, *study_dir.parents) if not _there(folder)]
    try:
        write_text(study_dir / ".writable", "")
        (study_dir / ".writable").unlink()
    except OSError as error:
        issues.append(f"{study_dir}: cannot be written ({error.strerror}); choose another --output")
    for folder in made if issues else ():
        with contextlib.suppress(OSError):  # never made, or in use by now
            folder.rmdir()


def _no_folder(option: str, path: str | Path) -> list[str]:
    """Return what is wrong with a folder that an option names, or nothing."""
    issue = "is a file; name a folder" if _there(path, Path.is_file) else "no such folder; correct its name"
    return [] if _there(path) else [f"{option} {path}: {issue}"]


def _option(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _misplaced(
    options: argparse.Namespace, names: list[str], overrides: Mapping[str, Any], study_dir: Path
) -> list[str]:
    """Return what is wrong with the image folders, and with results that would lie among what is read."""
    drawn = [name for name in names if name in PRODUCTS and options.data is None]
    issues = [
        f"{_option(option)}: not for drawn products ({', '.join(drawn)}); give --data"
        for option in ("good", "groups", "group_regex")
        if drawn and overrides.get(option)
    ]
    if (groups := overrides.get("groups")) and not _there(groups, Path.is_file):
        issues.append(f"--groups {groups}: no such file; name a CSV with the columns id and group")
    read = {_option(name): Path(str(overrides[name])) for name in FOLDERS if overrides.get(name)}
    issues += [issue for name, path in read.items() for issue in _no_folder(name, path)]
    if options.data is not None:
        if wrong := _no_folder("--data", options.data):
            return issues + wrong
        read["--data"] = absolute(options.data)
        issues += [
            f"--data {options.data}: holds no folder {name!r}, as several data sets are asked for"
            for name in names
            if len(names) > 1 and dataset_folder(name, options.data) == options.data
        ]
    return issues + [
        f"--output {options.output}: the results would lie inside {option} {folder}; choose another"
        for option, folder in read.items()
        if any((study_dir / name).is_relative_to(absolute(folder)) for name in names)
    ]


def _names(options: argparse.Namespace, issues: list[str]) -> list[str]:
    if options.dataset:
        unknown = [] if options.data else sorted(set(options.dataset) - set(NAMED))
        known = f"named sets: {', '.join(NAMED)}"
        issues += [f"unknown data set {name!r}{nearest(name, NAMED)}; {known}" for name in unknown]
        if len(set(options.dataset)) < len(options.dataset):
            issues.append(f"--dataset {' '.join(options.dataset)}: each data set once")
        names = list(options.dataset)
    elif options.data is not None:
        names = [absolute(options.data).name or "images"]
    else:
        return list(PRODUCTS)
    for name in names:
        if Path(name).name != name or name.startswith("."):
            issues.append(f"--dataset {name!r}: must be a plain name, without a dot in front")
        elif name in STUDY_FILES or name.endswith("-synthetic"):
            remedy = "choose another with --dataset"
            issues.append(f"data set {name!r}: the study keeps this name for itself; {remedy}")
        elif undecodable(name):
            issues.append(f"data set {name!r}: not valid UTF-8; name it with --dataset")
    return names


def _overrides(options: argparse.Namespace, issues: list[str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for name, equals, value in (pair.partition("=") for pair in options.set):
        if not equals:
            issues.append(f"--set: expected FIELD=VALUE, got: {name}")
        elif overrides.setdefault(name, value) != value:
            issues.append(
                f"--set: {name}={overrides[name]} and {name}={value} contradict each other: give one"
            )
    for name in SHORTCUTS:
        value = getattr(options, name)
        if value in (None, False):
            continue
        if name in overrides:
            issues.append(f"{_option(name)} and --set {name}=… contradict each other: give one")
        overrides[name] = value
    for name in EXTERNAL:
        if name != "weights" and overrides.get(name):
            overrides[name] = str(absolute(Path(overrides[name])))
    return overrides


def _notebooks(options: argparse.Namespace, issues: list[str]) -> tuple[str, ...]:
    numbers = [name[:2] for name in NOTEBOOKS]
    if options.start and options.only:
        issues.append("--from and --only contradict each other: give one")
    wanted = options.only or options.start or numbers[0]
    if wanted not in numbers:
        issues.append(f"no notebook {wanted!r}; there are {', '.join(numbers)}")
        return NOTEBOOKS
    first = numbers.index(wanted)
    return NOTEBOOKS[first : first + 1 if options.only else None]
