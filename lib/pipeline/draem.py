"""Notebook 01: the study's DRAEMs, trained or imported."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.artifacts import fingerprint, listing_digest
from lib.config import MapMethod
from lib.datasets.splits import N_INNER
from lib.draem.checkpoints import import_official
from lib.draem.inference import Draem, anomaly_maps
from lib.draem.training import LOSSES, Trained, TrainingSettings, panel, read_checkpoint, train
from lib.execution.parallel import report
from lib.execution.progress import both, step_bar
from lib.execution.source_code import code_digest
from lib.execution.status import steps_of
from lib.pipeline.dataset import images, in_test_fold
from lib.pipeline.models import INNER, all_models, good_rows
from lib.pipeline.run import Run, each_split
from lib.pipeline.task_cost import training_cost
from lib.synthetic.textures import TextureBank, load_texture_bank, texture_folder

READINGS: tuple[MapMethod, ...] = ("in_sample", "cross_fitted")  # those that DRAEM makes


def texture_bank(run: Run) -> TextureBank:
    """Return the anomaly textures at DRAEM's size."""
    return _texture_bank(run.study.textures, run.study.image_size, run.study.seed_for("textures"))


_texture_bank = lru_cache(maxsize=1)(load_texture_bank)  # every fold asks for the same ones


def all_draems(run: Run) -> list[str]:
    """Return the names of all DRAEMs that the study asks for, those of its own reading first."""
    return all_models(run, *READINGS)


def draem_file(name: str) -> str:
    """Return the artefact with the DRAEM `name`."""
    return f"draem/{name}.safetensors"


def training_settings(run: Run, name: str, n_good: int) -> TrainingSettings:
    """Return the settings of the DRAEM `name`; where two halves share a fold, each gets half of its steps."""
    study = run.study
    return TrainingSettings(
        reconstructive_width=study.reconstructive_width,
        discriminative_width=study.discriminative_width,
        steps=study.steps_for(n_good, N_INNER if INNER in name else 1),
        batch=study.draem_batch,
        lr=study.draem_lr,
        seed=run.seed("draem", name),
        warmup=study.draem_warmup,
        precision=study.draem_precision,
        compile=study.draem_compile,
    )


def train_fold(run: Run, name: str) -> dict[str, Any]:
    """Train (or import) the DRAEM `name`; returns its summary: steps, textures, losses over the steps."""
    rows = good_rows(run, name)
    stack = images(run, run.study.image_size)
    settings = training_settings(run, name, len(rows))
    folder, imported = texture_folder(run.study.textures), run.study.draem_checkpoint
    inputs = {
        "code": code_digest("lib.draem.training", "lib.draem.checkpoints", "lib.synthetic.textures"),
        "images": run.store.digest(f"images/{run.study.image_size}.npy"),
        "rows": fingerprint({"rows": rows.tolist()}),
        "textures": listing_digest(folder) if folder and not imported else "",
        "imported": listing_digest(Path(imported)) if imported else "",
        "settings": {} if imported else vars(settings),
    }

    def write(path: Path) -> dict[str, Any]:
        header = {"dataset": run.name, "split": name, "preset": run.study.preset}
        if imported:
            Draem(*import_official(Path(imported))).save(path, header | {"origin": "official checkpoint"})
            return {"origin": "official checkpoint", "textures": "unknown", "history": []}
        bank = texture_bank(run)
        checkpoint = resumable(run, name, fingerprint(inputs))
        with steps_of(run.store.root, name) as note:
            trained = train(
                stack[rows],
                bank.images,
                settings,
                device=run.device,
                checkpoint=checkpoint,
                progress=both(note, step_bar(f"{name}, steps")),
            )
        Draem(trained.reconstructive, trained.discriminative).save(path, header | vars(settings))
        checkpoint.unlink(missing_ok=True)
        history = trained.history.round(6).to_dict("records")
        return {"origin": "trained", "steps": settings.steps, "textures": bank.name, "history": history}

    return run.store.make(draem_file(name), inputs, write)["summary"]


def resumable(run: Run, name: str, made_from: str) -> Path:
    """Return where the training of the DRAEM `name` saves itself, having removed what it cannot go on from.

    That is: what a run with other settings, pictures or code left, and what was damaged since.
    """
    checkpoint = run.store.path(f"draem/{name}.{made_from[:12]}.resume.pt")
    for file in checkpoint.parent.glob(f"{name}.*.resume.pt"):
        if file != checkpoint:
            file.unlink(missing_ok=True)
    if checkpoint.exists():
        try:
            read_checkpoint(checkpoint)
        except ValueError as error:
            report(f"{error}: done anew")
            checkpoint.unlink()
    return checkpoint


def train_all(run: Run) -> pd.DataFrame:
    """Train all DRAEMs and return their losses (split: the DRAEM's name; step, l2, ssim, focal, loss, lr).

    No rows where the study asks for no DRAEM, or its DRAEM was trained elsewhere.
    """
    images(run, run.study.image_size)
    names, history = all_draems(run), pd.DataFrame(columns=["split", "step", "loss"])
    if not names:
        return history
    sharing = 1 if "in_sample" in run.study.map_methods else N_INNER
    effort = training_cost(run, len(good_rows(run, names[0])), sharing)
    summaries = each_split(run, train_fold, names, "DRAEM", **effort)
    parts = [
        pd.DataFrame(summary["history"], columns=["step", *LOSSES, "loss", "lr"]).assign(split=name)
        for name, summary in zip(names, summaries, strict=True)
        if summary["history"]
    ]
    history = pd.concat(parts, ignore_index=True) if parts else history
    digests = {name: run.store.digest(draem_file(name)) for name in names}
    run.store.make("draem/history.csv", {"draem": digests}, lambda path: history.to_csv(path, index=False))
    return history


def load_draem(run: Run, name: str) -> Draem:
    """Return the trained DRAEM `name`."""
    train_fold(run, name)
    return Draem.load(run.store.path(draem_file(name)), run.device)


def first_and_last_scores(run: Run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the test images' scores by the DRAEM `name` after its very first step, and after its last."""
    rows = good_rows(run, name)
    stack = images(run, run.study.image_size)
    settings = replace(training_settings(run, name, len(rows)), steps=1)
    begun = train(stack[rows], texture_bank(run).images, settings, device=run.device)
    tested = stack[in_test_fold(run, name.partition(INNER)[0])]
    out = np.empty(tested.shape[:3], dtype=np.float16)
    before = anomaly_maps(begun.reconstructive, begun.discriminative, tested, out, device=run.device)
    now = load_draem(run, name)
    return before, anomaly_maps(now.reconstructive, now.discriminative, tested, out, device=run.device)


def simulated_examples(run: Run, name: str, count: int) -> dict[str, np.ndarray]:
    """Return good training images, simulated defects on them, and the trained DRAEM's answer (see `panel`)."""
    rows = good_rows(run, name)
    settings = training_settings(run, name, len(rows))
    draem = load_draem(run, name)
    networks = draem.reconstructive.to(run.device), draem.discriminative.to(run.device)
    trained = Trained(*networks, pd.DataFrame(), settings)
    good = images(run, run.study.image_size)[rows]
    return panel(trained, good, texture_bank(run).images, run.seed("panel", name), count)
