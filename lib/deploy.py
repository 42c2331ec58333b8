"""The command `--export`: the fitted chain of a finished study as one file for a line."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from lib.cli import absolute
from lib.cli_inspection import DEFAULT_RECALL, finished_study, option_issues, study_folder
from lib.pipeline.run import Run


@dataclass(frozen=True)
class Deployment:
    """What is to be exported: a feature set ('' for the study's best) of a run, for a defect recall, to a file."""

    run: Run
    features: str
    required: float
    path: Path


def deployment(options: argparse.Namespace) -> Deployment:
    """Check the command, the study and the file's place; raises `UsageError` with all faults at once."""
    issues, study_dir, path = option_issues(options), study_folder(options), absolute(options.export)
    if path.suffix != ".onnx":
        issues.append(f"--export {options.export}: name a file that ends in .onnx")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else "its folder does not exist"
        issues.append(f"--export {options.export}: {what}; name a file in a folder that is there")
    issues += [
        f"--{name}: of no use to an export, which is always done; leave it out"
        for name in ("force", "verbose")
        if getattr(options, name)
    ]
    run, _ = finished_study(study_dir, options.dataset, issues)
    recall = DEFAULT_RECALL if options.recall is None else options.recall
    return Deployment(run, options.features or "", recall / 100, path)
