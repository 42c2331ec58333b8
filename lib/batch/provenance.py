"""Where a data set's results come from: `outputs/<study>/<dataset>/provenance.json`."""

import json
import os
import platform
from dataclasses import fields
from pathlib import Path

import psutil

import lib
from lib.artifacts import HOST, device_name, write_text
from lib.config import Study
from lib.execution.progress import timestamp
from lib.execution.source_code import library_digest, made_with
from lib.pipeline.run import Run
from lib.reporting.index_page import versions

OF_ARTEFACTS = ("fingerprint", "sha256", "bytes", "seconds", "peak_bytes", "host")


def write_provenance(run: Run) -> Path:
    """Write versions, machine, settings, what the artefacts were made with, and of each what proves it and cost."""
    records = {name: one for name in run.store.names() if (one := run.store.manifest(name))}
    draems = [one["summary"] for name, one in records.items() if name.startswith("draem/")]
    machine = {"host": HOST, "system": platform.platform(), "cores": os.cpu_count()}
    record = {
        "dataset": run.name,
        "written": timestamp(),
        "versions": {"project": lib.__version__} | versions()["version"].to_dict(),
        "code": library_digest(),
        "machine": machine | {"memory_bytes": psutil.virtual_memory().total},
        "settings": run.study.values([item.name for item in fields(Study)]),
        "draem_start": sorted({one["start"] or one["origin"] for one in draems if "start" in one}),
        "device": device_name(run.device),
        "made_with": made_with(records.values()),
        "artefacts": {
            name: {key: (one["summary"] | one)[key] for key in OF_ARTEFACTS} for name, one in records.items()
        },
    }
    path = run.store.path("provenance.json")
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path
