"""What a study will read, and what it will need of this machine, checked before anything starts."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lib.config import Study
from lib.datasets.download import DownloadError
from lib.datasets.errors import DatasetError, printable
from lib.datasets.region import read_region
from lib.datasets.splits import FoldError, make_folds, schemes_for
from lib.draem.pretrained import check_weights, start_weights
from lib.execution.parallel import memory_free, run_tasks
from lib.features.backbone_weights import KNOWN, WEIGHT_NAMES, WeightsError
from lib.pipeline.dataset import folds, index
from lib.pipeline.run import PROCESS, Run
from lib.synthetic.products import image_counts

ISSUES = (DatasetError, FoldError, DownloadError, RuntimeError, OSError, ValueError)


def check_inputs(runs: Sequence[Run], scheduler: str, *, fits: bool) -> list[str]:
    """Read all that the study will read, the images last; return what is wrong with it, a text per source.

    `fits`: training parts must have the classes for a fit.
    """
    issues = []
    for name, check, *arguments in _checks(runs, scheduler, fits):
        try:
            check(*arguments)
        except ISSUES as error:
            text = str(error)
            if isinstance(error, OSError) and error.strerror:
                where = printable(str(error.filename))
                text = f"{where}: {error.strerror}; check that it is there and may be read"
            issues.append(text if text.startswith(name) else f"{printable(name)}: {text}")
    return issues


def _checks(runs: Sequence[Run], scheduler: str, fits: bool) -> Iterator[tuple[Any, ...]]:
    """Yield the name of each source, what reads it, and that one's arguments."""
    study, folder = runs[0].study, Path(runs[0].study_dir)
    if study.backbone not in KNOWN or study.weights not in WEIGHT_NAMES:  # else the file's SHA-256 is known
        yield "", _check_backbone, study
    if scheduler:
        ask = partial(run_tasks, label="cluster", shared_folder=folder, scheduler=scheduler)
        yield "--scheduler", ask, str, [("answers",)]
    if study.draem_checkpoint:
        from lib.draem.inference import import_official

        yield "--draem-checkpoint", import_official, Path(study.draem_checkpoint)
    elif study.textures:
        from lib.synthetic.textures import load_texture_bank

        # the same files as the study draws, at a size that costs nothing
        yield "--textures", load_texture_bank, study.textures, 32, study.seed_for("textures")
    # those carried have a known SHA-256
    yield "--draem-weights", check_weights if study.draem_weights else start_weights, study
    for run in runs:
        yield run.name, _check_images, run, fits


def _check_backbone(study: Study) -> None:
    import numpy as np

    from lib.features.backbone import load_backbone
    from lib.features.embeddings import image_features

    name, side = study.backbone, study.feature_size
    try:
        image_features(load_backbone(name, study.weights, side), np.zeros((1, side, side, 3), np.uint8))
    except WeightsError:
        raise
    except Exception as error:  # not all of timm's networks give spatial features
        said = str(error).strip().split("\n")[0] or type(error).__name__
        issue = f"backbone={name} gives no features at feature_size={side} ({said})"
        raise WeightsError(f"{issue}; use another backbone, or feature_size=224") from error


def _check_images(run: Run, fits: bool) -> None:
    """Check that images can be used, dealt to folds and, for `fits`, learned from; drawn ones by their counts."""
    if run.study.verdict_per == "object" and (run.synthetic or not index(run).attrs["grouped"]):
        raise ValueError("verdict_per=object, but no objects are known; give --groups or --group-regex")
    if run.synthetic:
        counts = image_counts(run.dataset, run.study.synthetic_scale)
        labels = [label for label, count in counts.items() for _ in range(count)]
        table = pd.DataFrame({"id": range(len(labels)), "label": labels, "group": pd.NA})
        for scheme in schemes_for(run.study.cv, grouped=False):
            make_folds(table, run.study.folds, 0, scheme)
        return
    folds(run)
    if region := read_region(run.study.region):
        for name, width, height in index(run)[["id", "width", "height"]].itertuples(index=False):
            region.check(width, height, Path(name))
    from lib.classification.cross_validation import DEFECTIVE
    from lib.pipeline.classification import check_training_parts
    from lib.pipeline.detectors import all_models, good_rows
    from lib.pipeline.features import check_guides

    if index(run).attrs["good"] == DEFECTIVE:
        remedy = "rename its folder, or choose another (--good)"
        raise ValueError(f"the good class is called {DEFECTIVE!r}; {remedy}")
    for name in all_models(run):
        good_rows(run, name)
    if fits:
        check_training_parts(run)
        check_guides(run)


def check_resources(runs: Sequence[Run], costs: Sequence[pd.DataFrame], side_by_side: int, workers: int) -> list[str]:
    """Return what the machine has too little of: disk where the results go, memory for what runs at one time.

    `costs`: the forecast of each run. `workers` Dask processes, if any, carry the tasks of a data set.
    """
    issues, folder, need = [], Path(runs[0].study_dir), 0.0
    for run, cost in zip(runs, costs, strict=True):
        stored = sum(path.lstat().st_size for path in run.store.root.rglob("*"))
        need += max(0, cost["disk"].sum() - stored)
    if need > (free := shutil.disk_usage(folder).free):
        told = f"about {need / 1e6:,.0f} MB of disk needed, {free / 1e6:,.0f} MB free"
        issues.append(f"{folder}: {told}; choose another --output, or a smaller image_size")
    at_once = [cost["memory"].max() * max(1, workers) + PROCESS * (workers > 0) for cost in costs]
    wanted, left = sum(sorted(at_once)[-side_by_side:]), memory_free()
    if wanted > left:
        told = f"about {wanted / 1e9:.1f} GB of memory needed at one time, {left / 1e9:.1f} GB free"
        fewer = f"fewer --jobs ({side_by_side}) or --workers ({workers})"
        issues.append(f"{told}; use {fewer}, or a smaller image_size or draem_batch")
    return issues
