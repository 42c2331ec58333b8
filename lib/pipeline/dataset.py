"""Notebook 00: images, index, folds, arrays."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib.artifacts import file_sha256, fingerprint, listing_digest, new_array, write_text
from lib.datasets.catalog import build_index
from lib.datasets.csv_text import csv_text
from lib.datasets.download import fetch_magnetic_tile
from lib.datasets.errors import SHOWN, DatasetError, as_table
from lib.datasets.image_io import load_stack
from lib.datasets.masks import load_masks
from lib.datasets.region import read_region, region_digest
from lib.datasets.splits import make_folds, schemes_for
from lib.execution.progress import step_bar
from lib.execution.source_code import code_digest
from lib.pipeline.run import PROJECT, Run, once
from lib.synthetic.products import write_product

FINAL = "final-0"  # a split without test images, no part of `splits`: what new images are judged by is fitted in it
REPEAT = "-repeat-"
READ_BY = ("good", "group_regex", "skip_bad", "invert_masks")  # settings of the index


def data_root(run: Run) -> Path:
    """Return the folder with the images, drawing the product or downloading the named set where need be."""
    if run.data_dir:
        return Path(run.data_dir)
    if run.synthetic:
        return _drawn(run)
    folder = PROJECT / "data" / run.dataset
    if folder.is_dir():
        return folder
    if run.dataset == "magnetic_tile":
        return fetch_magnetic_tile(folder)
    raise FileNotFoundError(f"{run.dataset}: no images at {folder}; give their folder with --data DIR")


def _drawn(run: Run) -> Path:
    """Draw the product where its images are not proven."""
    folder = run.store.path("synthetic")
    settings = run.study.values(("synthetic_scale", "synthetic_side", "seed"))

    def write(path: Path) -> dict[str, Any]:
        shutil.rmtree(folder, ignore_errors=True)  # drawn by other settings, or in part
        how = {name.removeprefix("synthetic_"): value for name, value in settings.items()}
        write_product(run.dataset, folder, **how, progress=step_bar("images drawn"))
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        path.write_text(f"{len(files)} files in {folder.name}\n", encoding="utf-8")
        return {"files": files}

    code = code_digest("lib.synthetic.products", "lib.pipeline.dataset")
    run.store.make("synthetic.txt", {"product": run.dataset, "code": code, **settings}, write)
    return folder


@once
def index(run: Run) -> pd.DataFrame:
    """Return the index table; its `attrs` hold good, classes, grouped, layout, note, root and skipped files."""
    root = data_root(run)
    groups = Path(run.study.groups) if run.study.groups else None
    inputs = {
        "code": code_digest("lib.datasets.catalog", "lib.pipeline.dataset"),
        "dataset": run.dataset,
        "listing": listing_digest(root),
        "groups_file": file_sha256(groups) if groups else "",
        **run.study.values(READ_BY),
    }

    def write(path: Path) -> dict[str, Any]:
        listed = run.store.path("faults.csv")
        listed.unlink(missing_ok=True)
        try:
            table = build_index(root, dataset=run.dataset, groups=groups, **run.study.values(READ_BY))
        except DatasetError as error:
            if len(error.issues) <= SHOWN:
                raise
            write_text(listed, csv_text(as_table(error.issues), index=False))
            raise DatasetError(error.issues, error.heading, str(listed)) from None
        table.to_parquet(path, index=False)
        return {"images": len(table), "skipped": len(table.attrs["skipped"])}

    run.store.make("index.parquet", inputs, write)
    table = pd.read_parquet(run.store.path("index.parquet"))
    table.attrs["root"] = str(root)
    return table


def index_tables(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the index tables of several data sets below each other, with a column dataset."""
    return pd.concat([index(run).assign(dataset=run.name) for run in runs], ignore_index=True)


@once
def folds(run: Run) -> pd.DataFrame:
    """Return which image is tested in which fold: one row per (scheme, id), the scheme to believe first."""
    table = index(run)
    inputs = {
        "code": code_digest("lib.datasets.splits", "lib.pipeline.dataset"),
        "index": run.store.digest("index.parquet"),
        **run.study.values(("folds", "cv", "leak_check", "seed")),
    }

    def write(path: Path) -> None:
        schemes = schemes_for(run.study.cv, table.attrs["grouped"])
        schemes = schemes[:1] if run.study.leak_check == "none" else schemes
        parts = [make_folds(table, run.study.folds, run.seed("folds"), scheme) for scheme in schemes]
        pd.concat(parts, ignore_index=True).to_parquet(path, index=False)

    run.store.make("folds.parquet", inputs, write)
    return pd.read_parquet(run.store.path("folds.parquet"))


class Split(NamedTuple):
    """What a split's name says: of `grouped-0-repeat-1` grouped, 0, 1, and `grouped-0`, the fold's name in repeat 0."""

    scheme: str
    fold: int
    repeat: int
    of_fold: str


def parse_split(name: str) -> Split:
    """Return what a split's name says."""
    of_fold, _, repeat = name.partition(REPEAT)
    scheme, _, fold = of_fold.rpartition("-")
    return Split(scheme, int(fold), int(repeat or 0), of_fold)


def splits(run: Run, *, with_maps: bool = False) -> list[str]:
    """Return the names of all folds' splits, scheme by scheme; `with_maps` leaves out those that get no maps."""
    schemes = folds(run)["scheme"].unique()
    some = schemes[:1] if with_maps and run.study.leak_check != "all" else schemes
    return [f"{scheme}-{fold}" for scheme in some for fold in range(run.study.folds)]


def primary_splits(run: Run) -> list[str]:
    """Return the names of the splits of the scheme to believe first."""
    return splits(run)[: run.study.folds]


def repeated(run: Run, names: Sequence[str]) -> list[str]:
    """Return the names of these folds' splits in every repeat, repeat by repeat, the first under the names given.

    Models, maps, features, predictions and their seeds are called by the split: a repeat is a training of its own.
    """
    suffixes = ["", *(f"{REPEAT}{repeat}" for repeat in range(1, run.study.repeats))]
    return [name + suffix for suffix in suffixes for name in names]


@once
def in_test_fold(run: Run, split: str) -> np.ndarray:
    """Return a boolean array over the index: which images stand in the test fold of `split`, in any repeat."""
    mine, table = parse_split(split), folds(run)
    tested = table.loc[(table["scheme"] == mine.scheme) & (table["fold"] == mine.fold), "id"]
    return index(run)["id"].isin(set(tested)).to_numpy()


def looked_at(run: Run) -> dict[str, str]:
    """Return what part of images is seen and how it becomes square, as artefacts depend on it."""
    return {"resize": run.study.resize, "region": region_digest(run.study.region)}


def images(run: Run, side: int) -> np.ndarray:
    """Return all images at `side` pixels, memory-mapped, uint8 (N, side, side, 3), in the index's order."""
    table, name = index(run), f"images/{side}.npy"
    inputs = {
        "code": code_digest("lib.datasets.image_io", "lib.pipeline.dataset"),
        "images": fingerprint({"sha256": table["sha256"].tolist()}),  # whatever their labels and groups
        "side": side,
        **looked_at(run),
    }

    def write(path: Path) -> None:
        stack = new_array(path, np.uint8, (len(table), side, side, 3))
        region = read_region(run.study.region)
        load_stack(Path(table.attrs["root"]), table, side, run.study.resize, stack, region)
        stack.flush()

    run.store.make(name, inputs, write)
    return np.load(run.store.path(name), mmap_mode="r")


def load_images(run: Run, rows: Sequence[int], side: int = 192) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Return some images anew from their files at `side` pixels, uint8 (n, side, side, 3), and their masks."""
    table = index(run)
    root, table = Path(table.attrs["root"]), table.iloc[list(rows)]
    stack = np.empty((len(table), side, side, 3), dtype=np.uint8)
    how, region = run.study.resize, read_region(run.study.region)
    load_stack(root, table, side, how, stack, region)
    return stack, list(load_masks(root, table, side, how, region))


def sample_rows_per_class(table: pd.DataFrame, per_class: int) -> dict[str, list[int]]:
    """Return for each class, good first, the rows of up to `per_class` images spread evenly over the index."""
    rows = {}
    for label in table.attrs["classes"]:
        found = np.flatnonzero((table["label"] == label).to_numpy())
        chosen = np.linspace(0, len(found) - 1, min(per_class, len(found))).round().astype(int)
        rows[label] = found[chosen].tolist()
    return rows
