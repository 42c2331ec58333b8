"""Notebook 01: the study's PatchCore models, one for each half of a fold's good training images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.anomaly_maps.patchcore import PatchCore
from lib.artifacts import fingerprint
from lib.datasets.splits import N_INNER
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.pipeline.models import INNER, all_models, good_rows
from lib.pipeline.patches import patches, patches_name
from lib.pipeline.run import Run, each_split
from lib.pipeline.task_cost import patchcore_cost


def patchcore_file(name: str) -> str:
    """Return the artefact with the PatchCore `name`."""
    return f"patchcore/{name}.safetensors"


def fit_patchcore(run: Run, name: str) -> dict[str, Any]:
    """Fit the memory `name` on its half's good images, its scale on the other half's; returns its summary."""
    split, _, half = name.partition(INNER)
    rows = good_rows(run, name)
    held_out = good_rows(run, f"{split}{INNER}{N_INNER - 1 - int(half)}")
    seen, study = patches(run), run.study
    settings = {"size": study.coreset_size, "side": study.image_size, "seed": run.seed("memory", name)}
    inputs = {
        "code": code_digest("lib.anomaly_maps.patchcore"),
        "patches": run.store.digest(patches_name(run)),
        "rows": fingerprint({"rows": rows.tolist(), "held out": held_out.tolist()}),
        **settings,
    }

    def write(path: Path) -> dict[str, Any]:
        memory = PatchCore.fit(
            seen,
            rows,
            held_out,
            **settings,
            device=run.device,
            progress=step_bar(f"{name}, patches"),
        )
        memory.save(path, {"dataset": run.name, "model": name, "preset": study.preset})
        offered = len(rows) * int(np.prod(seen.shape[1:3]))
        kept = {"images": len(rows), "offered": offered, "kept": len(memory.patches)}
        return kept | {"held out": len(held_out), "rare": round(memory.rare, 6)}

    return run.store.make(patchcore_file(name), inputs, write)["summary"]


def load_patchcore(run: Run, name: str) -> PatchCore:
    """Return the fitted memory `name`."""
    fit_patchcore(run, name)
    return PatchCore.load(run.store.path(patchcore_file(name)), run.device)


def fit_all_patchcores(run: Run) -> pd.DataFrame:
    """Fit all memories that the study asks for; returns what each holds, by name (no rows where it asks for none).

    Columns: images (good ones it was filled from), offered and kept (patches), held out (good images that its scale was
    set on), rare (the distance that one of 200 of their patches exceeds).
    """
    names = all_models(run, "patchcore")
    if not names:
        return pd.DataFrame()
    patches(run)
    summaries = each_split(run, fit_patchcore, names, "memory", **patchcore_cost(run))
    columns = ["images", "offered", "kept", "held out", "rare"]
    return pd.DataFrame(summaries, index=pd.Index(names, name="memory"))[columns]
