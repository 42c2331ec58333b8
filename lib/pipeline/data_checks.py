"""Notebook 00: what images say against a study: near-duplicates, and facts of files that tell classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.artifacts import write_text
from lib.config import whole_side
from lib.datasets.csv_text import csv_text
from lib.datasets.groups import groups_of_rows
from lib.datasets.near_duplicates import alike_groups, joined, small_pictures
from lib.datasets.region import read_region
from lib.datasets.shortcuts import file_facts, telling_facts, without_good
from lib.evaluation.checks import PROPOSED, DataFacts
from lib.execution.source_code import code_digest
from lib.pipeline.dataset import folds, images, index, looked_at
from lib.pipeline.run import Run, once

CODE = (
    *("lib.datasets.near_duplicates", "lib.datasets.shortcuts", "lib.datasets.groups"),
    *("lib.evaluation.checks", "lib.pipeline.data_checks"),
)
LARGER = 4  # times: so much larger than what the models see, images lose small defects


@once
def image_facts(run: Run) -> pd.DataFrame:
    """Return one row per image: id, label, `file_facts`; alike, its first near-duplicate; group, the proposed one.

    A proposed group joins known groups with near-duplicates; `PROPOSED`, beside the index, has them as a CSV.
    """
    table = index(run)
    name, side = "image-facts.parquet", run.study.map_side
    inputs = {"code": code_digest(*CODE), "index": run.store.digest("index.parquet"), "side": side, **looked_at(run)}

    def write(path: Path) -> dict[str, Any]:
        pictures = small_pictures(images(run, side))
        alike, ids = alike_groups(pictures), table["id"].to_numpy(dtype=str)
        groups = pd.Series(np.arange(len(ids))).groupby(groups_of_rows(table)).transform("first").to_numpy()
        proposed = pd.DataFrame({"id": ids, "group": ids[joined(groups, np.arange(len(ids)), alike)]})
        write_text(run.store.path(PROPOSED), csv_text(proposed, index=False))
        facts = file_facts(Path(table.attrs["root"]), table, pictures)
        facts = pd.concat([proposed, table["label"], facts], axis=1).assign(alike=ids[alike])
        facts.to_parquet(path, index=False)
        return {"files": [run.store.path(PROPOSED)]}

    run.store.make(name, inputs, write)
    return pd.read_parquet(run.store.path(name))


def near_duplicates(run: Run) -> pd.DataFrame:
    """Return the images that have near-duplicates: id, label, fold of the scheme to believe first, alike.

    Those of groups across folds or classes come first.
    """
    facts, dealt = image_facts(run), folds(run)
    facts = facts.merge(dealt[dealt["scheme"] == dealt["scheme"].iloc[0]], on="id")
    rows = facts[facts.groupby("alike")["id"].transform("size") > 1]
    within = rows.groupby("alike")[["label", "fold"]].transform("nunique").max(axis=1) == 1
    rows = rows.assign(within=within).sort_values(["within", "alike", "id"], ignore_index=True)
    return rows[["id", "label", "fold", "alike"]]


def describe_sizes(run: Run) -> str:
    """Return in words where images are far larger than what the models see, or smaller than their tiles; else ""."""
    study, region = run.study, read_region(run.study.region)
    left, top, right, bottom = region.box if region else (0, 0, 1, 1)
    side = int((index(run)[["width", "height"]].mul([right - left, bottom - top])).max(axis=1).median())
    tiles, seen = study.tiles, max(study.map_side, study.feature_side)
    known = f"Images have {side} px (median of the long side):"
    if tiles > 1 and side < seen:
        return f"{known} {tiles} x {tiles} tiles see them enlarged, at {seen} px."
    if tiles > 1 or side <= LARGER * seen:
        return ""
    enough = 1 + sum(LARGER * whole_side(seen, few) < side for few in range(1, 16))
    return f"{known} the models see {seen} px. Small defects vanish; keep them with --set tiles={enough}."


@once
def data_facts(run: Run) -> DataFacts:
    """Return what the checks of the data need; trees keep the images of one object together, and near-duplicates."""
    facts, found = image_facts(run), near_duplicates(run)
    spread = found.groupby("alike")[["label", "fold"]].transform("nunique") > 1
    bad = (facts["label"] != index(run).attrs["good"]).to_numpy()
    groups = pd.factorize(facts["group"])[0]
    files = facts.drop(columns=["id", "label", "group", "alike"])
    told = tuple(telling_facts(files, bad, groups))
    counts = (len(facts), len(found), int(spread["label"].sum()), int(spread["fold"].sum()))
    return DataFacts(*counts, told, without_good(files, bad, groups))
