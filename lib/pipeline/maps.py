"""Notebook 02: a map of every image in every split, and how good maps are."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.anomaly_maps import cross_fitting
from lib.artifacts import file_sha256, fingerprint, new_array
from lib.config import MAP_SOURCES
from lib.datasets.csv_text import csv_text, read_csv
from lib.datasets.masks import files_of, load_masks
from lib.datasets.region import read_region
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.pipeline.dataset import in_test_fold, index, looked_at, primary_splits, repeated
from lib.pipeline.detectors import (
    fit_model,
    fit_models,
    inner_folds,
    inputs,
    load_model,
    map_splits,
    model_file,
    models,
)
from lib.pipeline.run import Run, each_part, map_cost

QUALITY = "maps/quality.csv"


def map_file(run: Run, split: str) -> str:
    """Return the artefact with the split's maps."""
    how = run.study.map_method
    suffix = {"in_sample": "", "cross_fitted": "-crossfitted"}.get(how, f"-{how}")
    return f"maps/{split}{suffix}.npy"


def score_file(run: Run, split: str) -> str:
    """Return the artefact with the image scores of the split's maps."""
    return map_file(run, split).replace(".npy", "-scores.npy")


def make_maps(run: Run, split: str) -> None:
    """Write the split's map of every image, float16 (N, side, side), and their image scores, float32 (N,)."""
    source, names = run.study.map_source, models(run, split)
    name, side = map_file(run, split), run.study.map_side
    for model in names:
        fit_model(run, model)
    stack, digest = inputs(run)
    chosen = np.zeros(len(stack), int)
    if len(names) > 1:
        seed = run.seed("map of a test image", split)
        chosen = cross_fitting.choose_models(inner_folds(run, split), seed)
    made_from: dict[str, Any] = {
        "code": code_digest(MAP_SOURCES[source].module, "lib.anomaly_maps.cross_fitting", "lib.pipeline.maps"),
        "inputs": digest,
        "models": [run.store.digest(model_file(run, model)) for model in names],
        "chosen": fingerprint({"models": chosen.tolist()}),
    }

    def write(path: Path) -> dict[str, Any]:
        out = new_array(path, np.float16, (len(stack), side, side))
        report, fitted = step_bar(f"{split}, images"), [load_model(run, model) for model in names]
        cross_fitting.predict_maps(fitted, stack, chosen, out, report)
        out.flush()
        return {"device": run.device}

    run.store.make(name, made_from, write)
    run.store.make(
        score_file(run, split),
        {
            "code": code_digest("lib.draem.losses", "lib.pipeline.maps"),
            "maps": run.store.digest(name),
            "tiles": run.study.tiles,
        },
        lambda path: np.save(path, score_maps(np.load(run.store.path(name), mmap_mode="r"), run.study.tiles)),
    )


def score_maps(maps: np.ndarray, tiles: int) -> np.ndarray:
    """Return DRAEM's image score of each map (N, H, W), float32 (N,), some at a time."""
    import torch

    from lib.draem.losses import image_score

    step = max(1, min(256, 2**27 // maps[0].size))  # of large maps fewer
    chunks = (np.asarray(maps[i : i + step], dtype=np.float32) for i in range(0, len(maps), step))
    return np.concatenate([image_score(torch.from_numpy(chunk), tiles).numpy() for chunk in chunks])


def maps(run: Run, split: str) -> np.ndarray:
    """Return the split's maps, memory-mapped (N, side, side) float16."""
    make_maps(run, split)
    return np.load(run.store.path(map_file(run, split)), mmap_mode="r")


def scores(run: Run, split: str) -> np.ndarray:
    """Return the image scores of the split's maps, float32 (N,)."""
    make_maps(run, split)
    return np.load(run.store.path(score_file(run, split)))


def map_all(run: Run) -> pd.DataFrame:
    """Make all maps; returns the image scores: id, label, split, tested, score."""
    fit_models(run)
    table, names = index(run)[["id", "label"]], map_splits(run)
    cost, label = map_cost(run, len(table)), f"maps {run.study.map_method}"
    each_part(run, make_maps, [(run, split) for split in names], label, cost, makes=True)
    parts = [table.assign(split=split, tested=in_test_fold(run, split), score=scores(run, split)) for split in names]
    return pd.concat(parts, ignore_index=True)


def map_quality(run: Run) -> pd.DataFrame:
    """Return the quality of the test images' maps of the primary folds, by class.

    Index: class ("overall" first). Columns: image_auroc, and where there are masks pixel_auroc, pixel_ap, aupro,
    images, left_out (see `lib.anomaly_maps.localization_metrics`). Image AUROC is the mean of the folds, as scores of
    two models share no scale; pixels are those of all folds. Of repeats the mean.
    """
    image_scores, table = map_all(run), index(run)
    root = Path(table.attrs["root"])
    names, n_folds = repeated(run, primary_splits(run)), run.study.folds
    repeats = [names[start : start + n_folds] for start in range(0, len(names), n_folds)]
    made_from = {
        "code": code_digest(
            *("lib.anomaly_maps.localization_metrics", "lib.datasets.csv_text"),
            *("lib.datasets.masks", "lib.pipeline.maps"),
        ),
        "maps": {split: run.store.digest(map_file(run, split)) for split in names},
        "scores": {split: run.store.digest(score_file(run, split)) for split in names},
        "index": run.store.digest("index.parquet"),
        "masks": [file_sha256(root / file) for mask in table["mask"].dropna() for file in files_of(mask)],
        **looked_at(run),
    }

    def write(path: Path) -> None:
        from lib.anomaly_maps.localization_metrics import image_auroc, pixel_quality

        good, masked = str(table.attrs["good"]), table["mask"].notna().any()
        how, region = run.study.resize, read_region(run.study.region)
        truth = list(load_masks(root, table, run.study.map_side, how, region)) if masked else []

        def measured(names: list[str]) -> pd.DataFrame:
            rows = image_scores.query("split in @names and tested")
            folds = [
                image_auroc(part["score"].to_numpy(), part["label"].to_numpy(), good)
                for _, part in rows.groupby("split", sort=False)
                if part["label"].eq(good).nunique() == 2
            ]
            quality = pd.concat(folds, axis=1).mean(axis=1).to_frame("image_auroc")
            if not masked:
                return quality
            stacks = {split: maps(run, split) for split in names}
            order = [(split, row) for split in names for row in np.flatnonzero(in_test_fold(run, split))]
            found = (stacks[split][row] for split, row in order)
            outlines = (truth[row] for _, row in order)
            labels = [table["label"].iloc[row] for _, row in order]
            return quality.join(pixel_quality(found, outlines, labels, good))

        each = [measured(names) for names in repeats]
        mean = pd.concat(each).groupby(level=0, sort=False).mean().astype(each[0].dtypes)
        path.write_text(csv_text(mean, index_label="class"), encoding="utf-8", newline="\n")

    run.store.make(QUALITY, made_from, write)
    return read_csv(run.store.path(QUALITY), index_col="class", keep_default_na=False, na_values=[""])
