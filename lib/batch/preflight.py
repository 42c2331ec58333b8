"""The door: what a study will read, and what it will need of this machine, checked before anything starts."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd

from lib.artifacts import Store
from lib.batch.cost import Size, disk_bytes, memory_bytes
from lib.classification.cross_validation import DEFECTIVE
from lib.cli import Plan
from lib.datasets.download import DownloadError
from lib.datasets.errors import DatasetError, printable
from lib.datasets.splits import FoldError, make_folds, schemes_for
from lib.draem.checkpoints import import_official
from lib.execution.parallel import EngineError, run_tasks
from lib.execution.resources import memory_free
from lib.features.resnet import WeightsError, check_weights
from lib.pipeline.classification import check_training_parts
from lib.pipeline.dataset import folds, index
from lib.pipeline.detectors import good_rows, map_splits, models
from lib.pipeline.features import check_guides
from lib.pipeline.run import Run
from lib.synthetic.products import PRODUCTS
from lib.synthetic.textures import load_texture_bank

FAULTS = (DatasetError, FoldError, DownloadError, WeightsError, EngineError, OSError, ValueError)
PATIENCE_S = 5.0  # seconds that a scheduler has to open a connection


def check_inputs(work: Plan) -> list[str]:
    """Read all that the study will read, the pictures last; return what is wrong with it, a text per source."""
    study, address = work.study, work.options.scheduler
    checks: list[tuple[str, Callable[[], object]]] = [("", lambda: check_weights(study.weights))]
    if address:
        checks.append(("", lambda: _reach(address, work.study_dir)))
    if study.draem_checkpoint:
        checks.append(("--draem-checkpoint", lambda: import_official(Path(study.draem_checkpoint))))
    elif study.textures:
        seed = study.seed_for("textures")  # the same files as the study draws, at a size that costs nothing
        checks.append(("--textures", lambda: load_texture_bank(study.textures, 32, seed)))
    fits = work.notebooks[-1] >= "04"
    checks += [(run.name, lambda run=run: _pictures(run, fits)) for run in work.runs]  # type: ignore[misc]
    issues = []
    for name, check in checks:
        try:
            check()
        except FAULTS as error:
            told = _told(error)
            issues.append(told if told.startswith(name) else f"{printable(name)}: {told}")
    return issues


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{printable(str(error.filename))}: {error.strerror}; check that it is there and may be read"
    return str(error)


def _reach(address: str, folder: Path) -> None:
    """Check that a scheduler answers, and that its workers see the study's folder; raises EngineError."""
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE_S).close()
    except OSError as error:
        raise EngineError(
            f"--scheduler {address}: nobody answers there ({error}); start a scheduler or correct the address"
        ) from error
    run_tasks(str, [("answers",)], label="the cluster", shared_folder=folder, scheduler=address)


def _pictures(run: Run, fits: bool) -> None:
    """Check that the pictures can be used, dealt to folds and, where there will be `fits`, learned from.

    A stand-in is not drawn for that.
    """
    if not run.synthetic:
        folds(run)
        if index(run).attrs["good"] == DEFECTIVE:
            raise ValueError(
                f"the good class is called {DEFECTIVE!r}; rename its folder, or choose another (--good)"
            )
        for one in run.study.map_methods:
            for name in [name for split in map_splits(run, one) for name in models(split, one)]:
                good_rows(run, name)
        if fits:
            check_training_parts(run)
            check_guides(run)
        return
    counts = PRODUCTS[run.dataset].scaled(run.study.synthetic_scale)
    labels = [label for label, count in counts.items() for _ in range(count)]
    drawn = pd.DataFrame({"id": [f"{row}" for row in range(len(labels))], "label": labels, "group": pd.NA})
    for scheme in schemes_for(run.study.cv, grouped=False):
        make_folds(drawn, run.study.folds, 0, scheme)


def check_resources(work: Plan, sizes: Mapping[str, Size], side_by_side: int) -> list[str]:
    """Return what the machine has too little of: disk where the results go, memory for what runs at one time.

    `sizes` by the name of the run; `side_by_side` data sets run at one time. Memory is checked where the system tells.
    """
    issues = []
    need = sum(max(0, disk_bytes(run.study, sizes[run.name]) - _stored(run)) for run in work.runs)
    free = Store(work.study_dir).disk_free()
    if need > free:
        issues.append(
            f"{work.study_dir}: about {need / 1e6:,.0f} MB of disk needed, {free / 1e6:,.0f} MB free; "
            "choose another --output, or a smaller image_size"
        )
    cpu = work.runs[0].device == "cpu"
    workers = 0 if work.options.scheduler else work.options.workers
    costs = [memory_bytes(work.study, sizes[run.name], cpu, side_by_side, workers) for run in work.runs]
    wanted = sum(sorted(costs)[-side_by_side:])
    left = memory_free()
    if left is not None and wanted > left:
        issues.append(
            f"about {wanted / 1e9:.1f} GB of memory needed at one time, {left / 1e9:.1f} GB free; take fewer "
            f"--jobs (now {side_by_side}) or --workers (now {workers}), or a smaller image_size or draem_batch"
        )
    return issues


def _stored(run: Run) -> int:
    """Return the bytes that a data set's artefacts take already."""
    found = 0
    for folder, _, files in os.walk(run.store.root):
        found += sum(Path(folder, name).lstat().st_size for name in files)
    return found
