"""Where a data set's results come from: `outputs/<study>/<dataset>/provenance.json`."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

import lib
from lib.artifacts import HOST, write_text
from lib.config import Study
from lib.execution.progress import timestamp
from lib.execution.resources import processor
from lib.execution.software import made_with
from lib.execution.source_code import library_digest
from lib.pipeline.run import Run

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow", "pillow", "joblib",
            "distributed", "papermill", "nbconvert")  # fmt: skip
OF_ARTEFACTS = ("fingerprint", "sha256", "bytes", "seconds", "peak_bytes", "host")


def write_provenance(run: Run) -> Path:
    """Write versions, machine, settings, what the artefacts were made with, and of each what proves it and cost."""
    records = {name: run.store.manifest(name) for name in run.store.names()}
    record = {
        "dataset": run.name,
        "written": timestamp(),
        "versions": {"project": lib.__version__, "python": platform.python_version()}
        | {name: version(name) for name in PACKAGES},
        "code": library_digest(),
        "machine": machine(),
        "settings": run.study.values([item.name for item in fields(Study)]),
        "device": run.device,
        "made_with": made_with(filter(None, records.values())),
        "artefacts": {
            name: {key: (record["summary"] | record)[key] for key in OF_ARTEFACTS}
            for name, record in records.items()
            if record
        },
    }
    path = run.store.path("provenance.json")
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path


def machine() -> dict[str, Any]:
    """Return what this machine is: host, system, processor, cores, memory, GPUs."""
    import torch

    return {
        "host": HOST,
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }
