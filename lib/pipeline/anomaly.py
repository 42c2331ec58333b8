"""Notebooks 01 and 02: one DRAEM per split, and its map of every image."""

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
from lib.draem.training import Trained, TrainingSettings, panel, train
from lib.maps.draem import anomaly_maps
from lib.pipeline.pictures import images, in_test_fold, index, splits
from lib.pipeline.run import Run, each_split
from lib.store import fingerprint, listing_digest


def texture_bank(run: Run) -> TextureBank:
    """Return the anomaly textures at DRAEM's size."""
    return _texture_bank(run.study.textures, run.study.image_size, run.study.seed_for("textures"))


_texture_bank = lru_cache(maxsize=1)(load_texture_bank)  # every fold asks for the same ones


def good_rows(run: Run, split: str) -> np.ndarray:
    """Return the rows DRAEM may see in `split`: good images of the training fold, none of the test fold."""
    table = index(run)
    return np.flatnonzero((table["label"] == table.attrs["good"]).to_numpy() & ~in_test_fold(run, split))


def training_settings(run: Run, split: str, n_good: int) -> TrainingSettings:
    """Return DRAEM's settings for one split."""
    study = run.study
    return TrainingSettings(
        reconstructive_width=study.reconstructive_width,
        discriminative_width=study.discriminative_width,
        steps=study.steps_for(n_good),
        batch=study.draem_batch,
        lr=study.draem_lr,
        seed=run.seed("draem", split),
        warmup=study.draem_warmup,
        precision=study.draem_precision,
        compile=study.draem_compile,
    )


def train_fold(run: Run, split: str) -> dict[str, Any]:
    """Train (or import) the split's DRAEM; returns its summary: steps, textures, losses over the steps."""
    rows = good_rows(run, split)
    stack = images(run, run.study.image_size)
    settings = training_settings(run, split, len(rows))
    folder, imported = texture_folder(run.study.textures), run.study.draem_checkpoint
    inputs = {
        "images": run.store.digest(f"images/{run.study.image_size}.npy"),
        "rows": fingerprint({"rows": rows.tolist()}),
        "textures": listing_digest(folder) if folder and not imported else "",
        "imported": listing_digest(Path(imported)) if imported else "",
        "settings": {} if imported else vars(settings),
    }

    def write(path: Path) -> dict[str, Any]:
        header = {"dataset": run.name, "split": split, "preset": run.study.preset}
        if imported:
            networks = import_official(Path(imported))
            save_draem(path, *networks, header | {"origin": "official checkpoint"})
            return {"origin": "official checkpoint", "textures": "unknown", "history": []}
        bank = texture_bank(run)
        checkpoint = run.store.path(f"draem/{split}.resume.pt")
        trained = train(stack[rows], bank.images, settings, device=run.device, checkpoint=checkpoint)
        described = {key: str(value) for key, value in vars(settings).items()}
        save_draem(path, trained.reconstructive, trained.discriminative, header | described)
        checkpoint.unlink(missing_ok=True)
        history = trained.history.round(6).to_dict("records")
        return {"origin": "trained", "steps": settings.steps, "textures": bank.name, "history": history}

    return run.store.make(f"draem/{split}.safetensors", inputs, write)["summary"]


def train_all(run: Run) -> pd.DataFrame:
    """Train every split's DRAEM and return the losses of all (split, step, l2, ssim, focal, loss, lr)."""
    images(run, run.study.image_size)
    names = splits(run, with_maps=True)
    summaries = each_split(run, train_fold, names, "DRAEM")
    parts = [
        pd.DataFrame(summary["history"]).assign(split=name)
        for name, summary in zip(names, summaries, strict=True)
        if summary["history"]
    ]
    history = (
        pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["split", "step", "loss"])
    )
    digests = {name: run.store.digest(f"draem/{name}.safetensors") for name in names}
    run.store.make("draem/history.csv", {"draem": digests}, lambda path: history.to_csv(path, index=False))
    return history


def networks(run: Run, split: str) -> tuple[ReconstructiveNetwork, DiscriminativeNetwork]:
    """Return the split's trained networks."""
    train_fold(run, split)
    reconstructive, discriminative, _ = load_draem(run.store.path(f"draem/{split}.safetensors"))
    return reconstructive, discriminative


def map_fold(run: Run, split: str) -> None:
    """Write the split's map of every image, float16 (N, side, side), and their image scores, float32 (N,)."""
    nets = networks(run, split)
    stack = images(run, run.study.image_size)
    inputs = {
        "draem": run.store.digest(f"draem/{split}.safetensors"),
        "images": run.store.digest(f"images/{run.study.image_size}.npy"),
    }

    def write(path: Path) -> None:
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=stack.shape[:3])
        anomaly_maps(*nets, stack, out, device=run.device)
        out.flush()

    run.store.make(f"maps/{split}.npy", inputs, write)
    maps = np.load(run.store.path(f"maps/{split}.npy"), mmap_mode="r")
    run.store.make(
        f"maps/{split}-scores.npy",
        {"maps": run.store.digest(f"maps/{split}.npy")},
        lambda path: np.save(path, score_maps(maps)),
    )


def score_maps(maps: np.ndarray) -> np.ndarray:
    """Return DRAEM's image score of each map (N, H, W), float32 (N,), some at a time."""
    chunks = (np.asarray(maps[i : i + 256], dtype=np.float32) for i in range(0, len(maps), 256))
    return np.concatenate([image_score(torch.from_numpy(chunk)).numpy() for chunk in chunks])


def map_all(run: Run) -> pd.DataFrame:
    """Make every split's maps; returns the image scores: split, id, label, tested, score."""
    names = splits(run, with_maps=True)
    train_all(run)
    each_split(run, map_fold, names, "maps")
    table = index(run)
    parts = [
        table[["id", "label"]].assign(
            split=name,
            tested=in_test_fold(run, name),
            score=np.load(run.store.path(f"maps/{name}-scores.npy")),
        )
        for name in names
    ]
    return pd.concat(parts, ignore_index=True)


def maps(run: Run, split: str) -> np.ndarray:
    """Return the split's maps, memory-mapped."""
    map_fold(run, split)
    return np.load(run.store.path(f"maps/{split}.npy"), mmap_mode="r")


def scores(run: Run, split: str) -> np.ndarray:
    """Return the image scores of the split's maps, float32 (N,)."""
    map_fold(run, split)
    return np.load(run.store.path(f"maps/{split}-scores.npy"))


def first_step_scores(run: Run, split: str) -> np.ndarray:
    """Return the image scores of the split's DRAEM after its very first step: what training is measured against."""
    rows = good_rows(run, split)
    stack = images(run, run.study.image_size)
    settings = replace(training_settings(run, split, len(rows)), steps=1)
    begun = train(stack[rows], texture_bank(run).images, settings, device=run.device)
    out = np.empty(stack.shape[:3], dtype=np.float16)
    return anomaly_maps(begun.reconstructive, begun.discriminative, stack, out, device=run.device)


def simulated_examples(run: Run, split: str, count: int) -> dict[str, np.ndarray]:
    """Return good training images, simulated defects on them, and the trained DRAEM's answer (see `panel`)."""
    rows = good_rows(run, split)
    settings = training_settings(run, split, len(rows))
    trained = Trained(*networks(run, split), pd.DataFrame(), settings)
    good = images(run, run.study.image_size)[rows]
    return panel(trained, good, texture_bank(run).images, run.seed("panel", split), count)
