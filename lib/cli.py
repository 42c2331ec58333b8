"""The command line: its options, and the check of everything that a command names before anything starts."""

from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lib.artifacts import absolute, study_folder, write_text
from lib.config import CPU_STANDARD, PRESETS, Study, UsageError, cuda_available, nearest
from lib.datasets.errors import printable, undecodable
from lib.pipeline.run import NAMED, Run, dataset_folder, mps_available, open_run
from lib.reporting.html_pages import NOTEBOOKS
from lib.synthetic.products import PRODUCTS

SHORTCUTS = {  # settings with an option of their own, and what it takes
    "good": "NAME", "groups": "FILE", "group_regex": "RE", "skip_bad": "", "backbone": "NAME", "weights": "FILE",
    "textures": "DIR", "draem_checkpoint": "DIR", "draem_weights": "FILE",
}  # fmt: skip
FOLDERS = [name for name, takes in SHORTCUTS.items() if takes == "DIR"]
EXTERNAL = [*FOLDERS, *(name for name, takes in SHORTCUTS.items() if takes == "FILE")]
STUDY_FILES = ("figures", "notebooks", "tables", "index.html", "study.json")  # in the study's own folder


def parser() -> ArgumentParser:
    """Return the command line's parser."""
    about = "Run the study (see README.md)."
    p = ArgumentParser("run_all.py", description=about, formatter_class=ArgumentDefaultsHelpFormatter)
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
    judged = "feature set to judge by (default: the recommended one, chosen on training images)"
    add("--features", metavar="NAME", help=judged)
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
    options: Namespace


def plan(options: Namespace) -> Plan:
    """Check the command and everything that it names; raises `UsageError` with all faults at once."""
    issues: list[str] = []
    study_dir = study_folder(options.output, options.study or options.preset, issues)
    names, overrides = _names(options, issues), _overrides(options, issues)
    notebooks = _notebooks(options, issues)
    issues += [issue for wrong, issue in _rules(options) if wrong]
    issues += _misplaced(options, names, overrides, study_dir) + _region(overrides)
    try:
        study = Study.of(options.preset, overrides)
    except UsageError as error:
        issues += str(error).split("\n")
    else:
        if options.preset == "standard":  # what depends on this machine belongs to the study
            overrides |= study.values(tuple(CPU_STANDARD))
        _check_machine(study, overrides, options, issues)
    if not issues:  # else nothing may be made there
        try:
            write_text(study_dir / ".writable", "")
            (study_dir / ".writable").unlink()
        except OSError as error:
            issues.append(f"{study_dir}: cannot be written ({error.strerror}); choose another --output")
    if issues:
        raise UsageError("\n".join(map(printable, issues)))
    data = str(absolute(options.data)) if options.data else ""
    shared = options.preset, data, str(study_dir), overrides, options.scheduler or ""
    runs = tuple(open_run(name, *shared) for name in names)
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


def _rules(options: Namespace) -> list[tuple[Any, str]]:
    """Return what may be wrong with options by themselves: whether it is, and what is said of it."""
    finished = "for an inspection or export only; give --inspect DIR or --export FILE.onnx"
    try:
        address = urlsplit("tcp://none:1" if options.scheduler is None else options.scheduler)
        sound = address.scheme and address.hostname and address.port
    except ValueError:
        sound = None
    return [
        (options.start and options.only, "--from and --only contradict each other: give one"),
        (options.workers and options.scheduler, "--workers and --scheduler contradict each other: give one"),
        (options.workers < 0 or options.jobs < 0,
         f"--workers {options.workers}, --jobs {options.jobs}: must not be negative"),
        (not sound, f"--scheduler {options.scheduler!r}: expected an address such as tcp://host:8786"),
        (options.recall is not None, f"--recall: {finished}"),
        (options.features is not None, f"--features: {finished}"),
        (options.no_pictures, "--no-pictures: for a report only; give --single-file FILE.html"),
    ]  # fmt: skip


def _check_machine(study: Study, overrides: dict[str, Any], options: Namespace, issues: list[str]) -> None:
    """Check that the device and the backbone's weights are here; name the file of weights from the root."""
    from lib.features.backbone_weights import WEIGHT_NAMES, WeightsError, resolve_weights

    for device, there, what in (("cuda", cuda_available, "CUDA device"), ("mps", mps_available, "Apple GPU")):
        if study.device == device and not options.scheduler and not there():
            remedy = "leave it at auto, or give a --scheduler"
            issues.append(f"device={device}: PyTorch finds no {what} here; {remedy}")
    try:
        weights = resolve_weights(study.backbone, study.weights)
        if study.weights not in WEIGHT_NAMES:
            overrides["weights"] = str(absolute(Path(weights)))
    except WeightsError as error:
        issues.append(str(error))


def _there(path: str | Path, kind: Callable[[Path], bool] = Path.is_dir) -> bool:
    with suppress(OSError):  # too long a name, or no permission to look
        return kind(Path(path))
    return False


def _option(setting: str) -> str:
    return f"--{setting.replace('_', '-')}"


def _misplaced(options: Namespace, names: list[str], overrides: dict[str, Any], study_dir: Path) -> list[str]:
    """Return what is wrong with the image folders, and with results that would lie among what is read."""
    drawn = [name for name in names if name in PRODUCTS and options.data is None]
    issues = [
        f"{_option(option)}: not for drawn products ({', '.join(drawn)}); give --data"
        for option in ("good", "groups", "group_regex")
        if drawn and overrides.get(option)
    ]
    if (groups := overrides.get("groups")) and not _there(groups, Path.is_file):
        issues.append(f"--groups {groups}: no such file; name a CSV with the columns id and group")
    read = {_option(name): overrides[name] for name in FOLDERS if overrides.get(name)}
    for option, folder in (read | ({"--data": options.data} if options.data else {})).items():
        if not _there(folder):
            issue = "is a file; name a folder" if _there(folder, Path.is_file) else "no such folder; correct its name"
            issues.append(f"{option} {folder}: {issue}")
        elif any((study_dir / name).is_relative_to(absolute(Path(folder))) for name in names):
            issue = f"the results would lie inside {option} {folder}; choose another"
            issues.append(f"--output {options.output}: {issue}")
    if len(names) > 1 and options.data and _there(options.data):
        issues += [
            f"--data {options.data}: holds no folder {name!r}, as several data sets are asked for"
            for name in names
            if dataset_folder(name, options.data) == options.data
        ]
    return issues


def _names(options: Namespace, issues: list[str]) -> list[str]:
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


def _overrides(options: Namespace, issues: list[str]) -> dict[str, Any]:
    pairs = [pair.partition("=") for pair in options.set]
    issues += [f"--set: expected FIELD=VALUE, got: {name}" for name, equals, _ in pairs if not equals]
    typed = [(name, value, f"--set {name}={value}") for name, equals, value in pairs if equals]
    own = ((name, getattr(options, name)) for name in SHORTCUTS)
    typed += [(name, value, _option(name)) for name, value in own if value not in (None, False)]
    overrides: dict[str, Any] = {}
    for name, value, how in typed:
        if overrides.setdefault(name, value) != value:
            before = next(first for known, _, first in typed if known == name)
            issues.append(f"{before} and {how} contradict each other: give one")
    external = [name for name in EXTERNAL if name != "weights" and overrides.get(name)]
    return overrides | {name: str(absolute(Path(overrides[name]))) for name in external}


def _notebooks(options: Namespace, issues: list[str]) -> tuple[str, ...]:
    numbers = [name[:2] for name in NOTEBOOKS]
    wanted = options.only or options.start or numbers[0]
    if wanted not in numbers:
        issues.append(f"no notebook {wanted!r}; there are {', '.join(numbers)}")
        return NOTEBOOKS
    first = numbers.index(wanted)
    return NOTEBOOKS[first : first + 1 if options.only else None]
