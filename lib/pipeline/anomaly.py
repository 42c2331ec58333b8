"""Notebooks 01 and 02: DRAEMs, and a map of every image in every split.

A DRAEM has a name: `grouped-0` is fitted on all good training images of that split, `grouped-0-inner-0` on one half
of them, for cross-fitted maps. The first kind's maps are called `grouped-0`, the others' `grouped-0-crossfitted`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lib.data.textures import TextureBank, load_texture_bank, texture_folder
from lib.draem.checkpoints import import_official, load_draem, save_draem
from lib.draem.losses import image_score
from lib.draem.networks import DiscriminativeNetwork, ReconstructiveNetwork
from lib.draem.training import LOSSES, Trained, TrainingSettings, panel, read_checkpoint, train
from lib.engine import report
from lib.maps.crossfit import HALVES, Mapper, cross_fitted, inner_halves
from lib.maps.draem import anomaly_maps
from lib.pipeline.effort import map_effort, training_effort
from lib.pipeline.pictures import images, in_test_fold, index, splits
from lib.pipeline.run import Run, each_split
from lib.progress import both, step_bar
from lib.source import code_of
from lib.status import steps_of
from lib.store import fingerprint, listing_digest, new_array
from lib.study import MapFit

INNER = "-inner-"


def texture_bank(run: Run) -> TextureBank:
    """Return the anomaly textures at DRAEM's size."""
    return _texture_bank(run.study.textures, run.study.image_size, run.study.seed_for("textures"))


_texture_bank = lru_cache(maxsize=1)(load_texture_bank)  # every fold asks for the same ones


def map_splits(run: Run, fit: MapFit) -> list[str]:
    """Return the splits that get maps of this reading; the one made for comparison, those of the primary scheme."""
    names = splits(run, with_maps=True)
    primary = names[0].rsplit("-", 1)[0]
    return [name for name in names if fit == run.study.map_fit or name.rsplit("-", 1)[0] == primary]


def draems(split: str, fit: MapFit) -> list[str]:
    """Return the names of the DRAEMs that make the split's maps."""
    return [split] if fit == "as_written" else [f"{split}{INNER}{half}" for half in range(HALVES)]


def all_draems(run: Run) -> list[str]:
    """Return the names of all DRAEMs that the study asks for, those of its own reading first."""
    return [
        name for fit in run.study.map_fits for split in map_splits(run, fit) for name in draems(split, fit)
    ]


def halves(run: Run, split: str) -> np.ndarray:
    """Return the half (0 or 1) of each training image of the split, -1 for test images; by group where known."""
    table = index(run)
    groups = table["group"].to_numpy() if table.attrs["grouped"] else None
    labels, tested = table["label"].to_numpy(), in_test_fold(run, split)
    return inner_halves(labels, groups, tested, table.attrs["good"], run.seed("inner", split))


def good_rows(run: Run, name: str) -> np.ndarray:
    """Return the rows that the DRAEM `name` may see: good images of its training fold, or of one half of it."""
    table = index(run)
    split, _, half = name.partition(INNER)
    training = halves(run, split) == int(half) if half else ~in_test_fold(run, split)
    return np.flatnonzero((table["label"] == table.attrs["good"]).to_numpy() & training)


def training_settings(run: Run, name: str, n_good: int) -> TrainingSettings:
    """Return the settings of the DRAEM `name`; where two halves share a fold, each gets half of its steps."""
    study = run.study
    return TrainingSettings(
        reconstructive_width=study.reconstructive_width,
        discriminative_width=study.discriminative_width,
        steps=study.steps_for(n_good, HALVES if INNER in name else 1),
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
        "code": code_of("lib.draem.training", "lib.draem.checkpoints", "lib.data.textures"),
        "images": run.store.digest(f"images/{run.study.image_size}.npy"),
        "rows": fingerprint({"rows": rows.tolist()}),
        "textures": listing_digest(folder) if folder and not imported else "",
        "imported": listing_digest(Path(imported)) if imported else "",
        "settings": {} if imported else vars(settings),
    }

    def write(path: Path) -> dict[str, Any]:
        header = {"dataset": run.name, "split": name, "preset": run.study.preset}
        if imported:
            networks = import_official(Path(imported))
            save_draem(path, *networks, header | {"origin": "official checkpoint"})
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
        described = {key: str(value) for key, value in vars(settings).items()}
        save_draem(path, trained.reconstructive, trained.discriminative, header | described)
        checkpoint.unlink(missing_ok=True)
        history = trained.history.round(6).to_dict("records")
        return {"origin": "trained", "steps": settings.steps, "textures": bank.name, "history": history}

    return run.store.make(f"draem/{name}.safetensors", inputs, write)["summary"]


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
    """Train all DRAEMs and return their losses (split: the DRAEM's name; step, l2, ssim, focal, loss, lr)."""
    images(run, run.study.image_size)
    names = all_draems(run)
    sharing = 1 if "as_written" in run.study.map_fits else HALVES
    effort = training_effort(run, len(good_rows(run, names[0])), sharing)
    summaries = each_split(run, train_fold, names, "DRAEM", **effort)
    parts = [
        pd.DataFrame(summary["history"], columns=["step", *LOSSES, "loss", "lr"]).assign(split=name)
        for name, summary in zip(names, summaries, strict=True)
        if summary["history"]
    ]
    history = (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["split", "step", "loss"])
    )
    digests = {name: run.store.digest(f"draem/{name}.safetensors") for name in names}
    run.store.make("draem/history.csv", {"draem": digests}, lambda path: history.to_csv(path, index=False))
    return history


def networks(run: Run, name: str) -> tuple[ReconstructiveNetwork, DiscriminativeNetwork]:
    """Return the trained networks of the DRAEM `name`."""
    train_fold(run, name)
    reconstructive, discriminative, _ = load_draem(run.store.path(f"draem/{name}.safetensors"))
    return reconstructive, discriminative


def mapper(run: Run, name: str) -> Mapper:
    """Return the DRAEM `name` as a function from images (n,H,W,3) uint8 to maps (n,H,W) float16."""
    nets = networks(run, name)

    def mapped(pictures: np.ndarray) -> np.ndarray:
        out = np.empty(pictures.shape[:3], dtype=np.float16)
        anomaly_maps(*nets, pictures, out, device=run.device)
        return out

    return mapped


def map_name(split: str, fit: MapFit) -> str:
    """Return what the split's maps are called in `maps/NAME.npy`, `maps/NAME-scores.npy`, `features/map-NAME.npy`."""
    return split if fit == "as_written" else f"{split}-crossfitted"


def map_fold(run: Run, fit: MapFit, split: str) -> None:
    """Write the split's map of every image, float16 (N, side, side), and their image scores, float32 (N,)."""
    names, artefact = draems(split, fit), map_name(split, fit)
    for name in names:
        train_fold(run, name)
    stack = images(run, run.study.image_size)
    inputs: dict[str, Any] = {
        "code": code_of("lib.maps.draem", "lib.maps.crossfit"),
        "images": run.store.digest(f"images/{run.study.image_size}.npy"),
    }
    digests = [run.store.digest(f"draem/{name}.safetensors") for name in names]
    inner = halves(run, split) if fit == "cross_fitted" else None
    if inner is None:
        inputs["draem"] = digests[0]
    else:
        inputs |= {"draem": digests, "halves": fingerprint({"halves": inner.tolist()})}

    def write(path: Path) -> None:
        out = new_array(path, np.float16, stack.shape[:3])
        report = step_bar(f"{split}, images")
        if inner is None:
            anomaly_maps(*networks(run, split), stack, out, device=run.device, progress=report)
        else:
            cross_fitted([mapper(run, name) for name in names], stack, inner, out, progress=report)
        out.flush()

    run.store.make(f"maps/{artefact}.npy", inputs, write)
    maps = np.load(run.store.path(f"maps/{artefact}.npy"), mmap_mode="r")
    run.store.make(
        f"maps/{artefact}-scores.npy",
        {"code": code_of("lib.draem.losses"), "maps": run.store.digest(f"maps/{artefact}.npy")},
        lambda path: np.save(path, score_maps(maps)),
    )


def score_maps(maps: np.ndarray) -> np.ndarray:
    """Return DRAEM's image score of each map (N, H, W), float32 (N,), some at a time."""
    chunks = (np.asarray(maps[i : i + 256], dtype=np.float32) for i in range(0, len(maps), 256))
    return np.concatenate([image_score(torch.from_numpy(chunk)).numpy() for chunk in chunks])


def map_all(run: Run) -> pd.DataFrame:
    """Make all maps; returns the image scores: map_fit (the study's own first), split, id, label, tested, score."""
    train_all(run)
    table = index(run)[["id", "label"]]
    parts = []
    for fit in run.study.map_fits:
        names = map_splits(run, fit)
        each_split(run, map_fold, names, f"maps {fit}", fit, **map_effort(run, len(table)))
        for name in names:
            tested = in_test_fold(run, name)
            parts.append(table.assign(map_fit=fit, split=name, tested=tested, score=scores(run, name, fit)))
    return pd.concat(parts, ignore_index=True)


def maps(run: Run, split: str, fit: MapFit | None = None) -> np.ndarray:
    """Return the split's maps of a reading, the study's own by default, memory-mapped (N, side, side) float16."""
    fit = fit or run.study.map_fit
    map_fold(run, fit, split)
    return np.load(run.store.path(f"maps/{map_name(split, fit)}.npy"), mmap_mode="r")


def scores(run: Run, split: str, fit: MapFit | None = None) -> np.ndarray:
    """Return the image scores of the split's maps of a reading, the study's own by default, float32 (N,)."""
    fit = fit or run.study.map_fit
    map_fold(run, fit, split)
    return np.load(run.store.path(f"maps/{map_name(split, fit)}-scores.npy"))


def first_and_last_scores(run: Run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the test images' scores by the DRAEM `name` after its very first step, and after its last."""
    rows = good_rows(run, name)
    stack = images(run, run.study.image_size)
    settings = replace(training_settings(run, name, len(rows)), steps=1)
    begun = train(stack[rows], texture_bank(run).images, settings, device=run.device)
    tested = stack[in_test_fold(run, name.partition(INNER)[0])]
    out = np.empty(tested.shape[:3], dtype=np.float16)
    before = anomaly_maps(begun.reconstructive, begun.discriminative, tested, out, device=run.device)
    return before, anomaly_maps(*networks(run, name), tested, out, device=run.device)


def simulated_examples(run: Run, name: str, count: int) -> dict[str, np.ndarray]:
    """Return good training images, simulated defects on them, and the trained DRAEM's answer (see `panel`)."""
    rows = good_rows(run, name)
    settings = training_settings(run, name, len(rows))
    trained = Trained(*networks(run, name), pd.DataFrame(), settings)
    good = images(run, run.study.image_size)[rows]
    return panel(trained, good, texture_bank(run).images, run.seed("panel", name), count)
