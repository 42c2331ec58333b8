"""Where a data set's results come from: `outputs/<study>/<dataset>/provenance.json`."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

import lib
from lib.artifacts import HOST, write_text
from lib.config import Study
from lib.execution.progress import timestamp
from lib.execution.source_code import library_digest
from lib.pipeline.run import Run

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "pillow", "joblib",
            "distributed", "papermill", "nbconvert")  # fmt: skip


def write_provenance(run: Run) -> Path:
    """Write versions, machine, settings, seed, and of each artefact fingerprint, digest, seconds, memory and host."""
    told = ("fingerprint", "sha256", "bytes", "seconds", "peak_bytes", "host")
    records = {name: run.store.manifest(name) for name in run.store.names()}
    artefacts = {
        name: {key: (record["summary"] | record)[key] for key in told}
        for name, record in records.items()
        if record
    }
    stages: dict[str, float] = {}
    for name, about in artefacts.items():
        stage = Path(name).stem if name.startswith("notebooks/") else name.split("/")[0]
        stages[stage] = round(stages.get(stage, 0.0) + about["seconds"], 3)
    record = {
        "dataset": run.name,
        "written": timestamp(),
        "versions": versions(),
        "code": library_digest(),
        "machine": machine(),
        "settings": run.study.values([item.name for item in fields(Study)]),
        "seed": run.study.seed,
        "device": run.device,
        "seconds": stages,
        "peak_bytes": max((about["peak_bytes"] for about in artefacts.values()), default=0),
        "artefacts": artefacts,
    }
    path = run.store.path("provenance.json")
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path


def versions() -> dict[str, str]:
    """Return the versions of this project, of Python, and of the packages that results rest on."""
    found = {"project": lib.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return what this machine is: host, system, processor, cores, memory, GPUs."""
    import torch

    return {
        "host": HOST,
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
