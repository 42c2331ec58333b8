"""The stored predictions of all data sets of a study, as `lib.evaluation.results` takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lib.pipeline.classification import CHECK, SOURCE_CHECK, calibration, predictions
from lib.pipeline.dataset import index
from lib.pipeline.run import Run, open_run


def open_runs(
    datasets: Sequence[str],
    preset: str,
    data_dir: str,
    output_dir: str,
    overrides: Mapping[str, Any] | None = None,
    scheduler: str = "",
) -> list[Run]:
    """Return the runs of a study's data sets."""
    return [open_run(name, preset, data_dir, output_dir, overrides, scheduler) for name in datasets]


def index_tables(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the index tables of all data sets below each other, with a column dataset."""
    tables = [index(run).assign(dataset=run.name) for run in runs]
    for table in tables:
        table.attrs = {}
    return pd.concat(tables, ignore_index=True)


def load_predictions(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what `compute_results` takes beside the study, over all data sets.

    `found`: predictions of all schemes and keeps; `good`: the good class's name by data set; `calibration`: the
    out-of-fold predictions of training images; `other_fit`, `other_source`: predictions with maps of the other map fit
    and by the other detector, no rows where the study does not compare them.
    """
    return {
        "found": _all([predictions(run, "imbalance")[0] for run in runs]),
        "good": {run.name: str(index(run).attrs["good"]) for run in runs},
        "calibration": _all([calibration(run) for run in runs]),
        "other_fit": _all([predictions(run, CHECK)[0] for run in runs if run.study.compare_map_fit]),
        "other_source": _all(
            [predictions(run, SOURCE_CHECK)[0] for run in runs if run.study.compare_map_source]
        ),
    }


def _all(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
