"""Notebook 02: how well the maps of each reading find defective images, and defective pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from lib.anomaly_maps.localization_metrics import image_auroc, pixel_quality
from lib.artifacts import file_sha256
from lib.execution.source_code import code_digest
from lib.pipeline.dataset import in_test_fold, index, masks
from lib.pipeline.detectors import map_name, map_splits
from lib.pipeline.maps import map_all, maps
from lib.pipeline.run import Run

NAME = "maps/quality.csv"


def map_quality(run: Run) -> pd.DataFrame:
    """Return the quality of the test images' maps of the primary folds, by reading (the study's own first) and class.

    Index: reading, class ("overall" first). Columns: image_auroc, and where there are masks pixel_auroc, pixel_ap,
    aupro, images, left_out (see `lib.anomaly_maps.localization_metrics`).
    """
    scores, table = map_all(run), index(run)
    good = str(table.attrs["good"])
    primary = {one: _primary(run, map_splits(run, one)) for one in run.study.map_methods}
    made = [f"maps/{map_name(name, one)}.npy" for one, names in primary.items() for name in names]
    inputs = {
        "code": code_digest("lib.anomaly_maps.localization_metrics", "lib.datasets.image_io"),
        "maps": {name: run.store.digest(name) for name in made},
        "scores": {name: run.store.digest(name.replace(".npy", "-scores.npy")) for name in made},
        "index": run.store.digest("index.parquet"),
        "masks": [file_sha256(Path(table.attrs["root"]) / mask) for mask in table["mask"].dropna()],
        **run.study.values(("resize",)),
    }

    def write(path: Path) -> None:
        masked = table["mask"].notna().any()
        truth = list(masks(run)) if masked else []
        parts = {}
        for one, names in primary.items():
            tested = scores[(scores["map_method"] == one) & scores["split"].isin(names) & scores["tested"]]
            found = image_auroc(tested["score"].to_numpy(), tested["label"].to_numpy(), good).to_frame(
                "image_auroc"
            )
            if masked:
                order = [(name, row) for name in names for row in np.flatnonzero(in_test_fold(run, name))]
                stacks = {name: maps(run, name, one) for name in names}
                pixels = pixel_quality(
                    (stacks[name][row] for name, row in order),
                    (truth[row] for _, row in order),
                    [table["label"].iloc[row] for _, row in order],
                    good,
                )
                found = found.join(pixels)
            parts[one] = found
        pd.concat(parts, names=["map_method", "class"]).to_csv(path, lineterminator="\n")

    run.store.make(NAME, inputs, write)
    return pd.read_csv(
        run.store.path(NAME), index_col=["map_method", "class"], keep_default_na=False, na_values=[""]
    )


def _primary(run: Run, names: list[str]) -> list[str]:
    scheme = names[0].rsplit("-", 1)[0]
    return [name for name in names if name.rsplit("-", 1)[0] == scheme]
