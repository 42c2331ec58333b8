"""The command line: its options, and the check of everything that a command names before anything starts."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.classify.backbone import WeightsError, resolve_weights
from lib.data.synthetic import PRODUCTS
from lib.pipeline.run import NAMED, Run, open_run
from lib.series import NOTEBOOKS
from lib.store import write_text
from lib.study import PRESETS, Study, StudyError, nearest, parse_settings

EXTERNAL = ("weights", "textures", "draem_checkpoint", "groups")  # settings that name files or folders


class UsageError(ValueError):
    """The command cannot be carried out; the message lists every reason."""


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    p = argparse.ArgumentParser(
        prog="run_all.py",
        description="Run the study (see README.md).",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    data = p.add_argument_group("data")
    data.add_argument("--dataset", nargs="+", metavar="NAME", help=f"named sets: {', '.join(NAMED)}")
    data.add_argument("--data", type=Path, metavar="DIR", help="where the images are; alone: own images")
    data.add_argument("--good", metavar="NAME", help="the good class, where its name does not tell")
    data.add_argument(
        "--groups", type=Path, metavar="FILE", help="CSV (id, group): images that belong together"
    )
    data.add_argument(
        "--group-regex", metavar="RE", help="its first group, found in an image's path, is the group"
    )
    data.add_argument("--skip-bad", action="store_true", help="leave unusable files out and list them")
    study = p.add_argument_group("study")
    study.add_argument("--preset", default="quick", metavar="NAME", help=", ".join(PRESETS))
    study.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="any setting, see --list"
    )
    study.add_argument("--weights", metavar="FILE", help="ResNet-18 weights: a file, imagenet or embedded")
    study.add_argument("--textures", type=Path, metavar="DIR", help="anomaly textures in DTD's layout")
    study.add_argument(
        "--draem-checkpoint", type=Path, metavar="DIR", help="official DRAEM checkpoints to use"
    )
    study.add_argument("--offline", action="store_true", help="never try a download")
    where = p.add_argument_group("where and what")
    where.add_argument(
        "--output", type=Path, default=Path("outputs"), metavar="DIR", help="root of the results"
    )
    where.add_argument("--study", metavar="NAME", help="folder below it (default: the preset's name)")
    where.add_argument("--from", dest="start", metavar="NN", help="begin with this notebook, such as 04")
    where.add_argument("--only", metavar="NN", help="this notebook only")
    where.add_argument("--force", action="store_true", help="do the chosen notebooks again, proven or not")
    how = p.add_argument_group("how")
    how.add_argument(
        "--workers", type=int, default=0, metavar="N", help="folds on N Dask workers started here"
    )
    how.add_argument("--scheduler", metavar="ADDRESS", help="folds on an existing Dask cluster")
    how.add_argument(
        "--jobs", type=int, default=0, metavar="N", help="data sets side by side; 0: what pays here"
    )
    how.add_argument("--list", action="store_true", help="show data sets, presets, notebooks and settings")
    how.add_argument("--dry-run", action="store_true", help="show what would run and what it would cost")
    how.add_argument("--verify", action="store_true", help="check every artefact of the study")
    how.add_argument("--verbose", action="store_true", help="show what the notebooks print")
    return p


@dataclass(frozen=True)
class Plan:
    """What a command asks for, checked."""

    runs: tuple[Run, ...]
    overrides: Mapping[str, Any]
    study_dir: Path
    notebooks: tuple[str, ...]
    options: argparse.Namespace

    @property
    def study(self) -> Study:
        """The settings, the same for every data set."""
        return self.runs[0].study


def plan(options: argparse.Namespace) -> Plan:
    """Check the command and everything that it names; raises `UsageError` with all faults at once."""
    faults: list[str] = []
    names, overrides, notebooks = (
        _names(options, faults),
        _overrides(options, faults),
        _notebooks(options, faults),
    )
    for path, what in ((options.data, "--data"), (options.textures, "--textures"),
                       (options.draem_checkpoint, "--draem-checkpoint")):  # fmt: skip
        if path is not None and not path.is_dir():
            faults.append(f"{what} {path}: no such folder")
    if options.groups is not None and not options.groups.is_file():
        faults.append(f"--groups {options.groups}: no such file")
    if options.workers and options.scheduler:
        faults.append("--workers and --scheduler contradict each other: give one")
    if options.workers < 0 or options.jobs < 0:
        faults.append(f"--workers {options.workers}, --jobs {options.jobs}: must not be negative")
    name = options.study or options.preset
    if Path(name).name != name or name in ("", ".", ".."):
        faults.append(f"--study {name!r}: must be a plain folder name")
    study_dir = options.output.resolve() / name
    try:
        study_dir.mkdir(parents=True, exist_ok=True)
        write_text(study_dir / ".writable", "")
        (study_dir / ".writable").unlink()
    except OSError as error:
        faults.append(f"{study_dir}: cannot be written ({error.strerror}); choose another --output")
    try:
        Study.of(options.preset, overrides)
    except StudyError as error:
        faults.append(str(error))
    else:
        weights = str(overrides.get("weights", "auto"))
        try:
            overrides["weights"] = resolve_weights(weights, offline=options.offline)
        except WeightsError as error:
            faults.append(str(error))
    if faults:
        raise UsageError("\n".join(faults))
    data = str(options.data.resolve()) if options.data else ""
    runs = tuple(
        open_run(name, options.preset, data, str(study_dir), overrides, options.scheduler or "")
        for name in names
    )
    return Plan(runs, overrides, study_dir, notebooks, options)


def _names(options: argparse.Namespace, faults: list[str]) -> list[str]:
    if options.dataset:
        unknown = (
            [] if options.data and len(options.dataset) == 1 else sorted(set(options.dataset) - set(NAMED))
        )
        faults += [
            f"unknown data set {n!r}{nearest(n, NAMED)}; named sets: {', '.join(NAMED)}" for n in unknown
        ]
        if len(set(options.dataset)) < len(options.dataset):
            faults.append(f"--dataset {' '.join(options.dataset)}: each data set once")
        faults += [f"--dataset {n!r}: must be a plain name" for n in options.dataset if Path(n).name != n]
        return list(options.dataset)
    if options.data is not None:
        return [options.data.resolve().name or "images"]
    faults += [
        f"--{option.replace('_', '-')}: the stand-ins take none; give --data"
        for option in ("good", "groups", "group_regex")
        if getattr(options, option)
    ]
    return list(PRODUCTS)


def _overrides(options: argparse.Namespace, faults: list[str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    try:
        overrides.update(parse_settings(options.set))
    except StudyError as error:
        faults.append(f"--set: {error}")
    for name in ("good", "group_regex", "skip_bad", "offline", *EXTERNAL):
        value = getattr(options, name)
        if value in (None, False):
            continue
        if name in overrides:
            faults.append(f"--{name.replace('_', '-')} and --set {name}=… contradict each other: give one")
        overrides[name] = str(value.resolve()) if isinstance(value, Path) else value
    return overrides


def _notebooks(options: argparse.Namespace, faults: list[str]) -> tuple[str, ...]:
    if options.start and options.only:
        faults.append("--from and --only contradict each other: give one")
    numbers = {name[:2]: position for position, name in enumerate(NOTEBOOKS)}
    for wanted in filter(None, (options.start, options.only)):
        if wanted not in numbers:
            faults.append(f"no notebook {wanted!r}; there are {', '.join(numbers)}")
            return NOTEBOOKS
    if options.only:
        return (NOTEBOOKS[numbers[options.only]],)
    return NOTEBOOKS[numbers.get(options.start, 0) :]
