"""The map sources side by side: what their maps find, and what classifiers make of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from lib.classification.feature_sets import COMBINED_DETECTORS, FEATURE_SETS
from lib.config import map_method_title
from lib.evaluation.metrics import ALL, POOLED, RECALL_AT_5_FPR, Good
from lib.evaluation.published_results import display_name
from lib.evaluation.results import StudyResults
from lib.pipeline.quality import map_quality
from lib.pipeline.run import Run
from lib.reporting.cells import (
    IN_BRACKETS,
    binary_title,
    read_cells,
    synthetic_notes,
    wide_frame,
    with_intervals,
)
from lib.reporting.map_fit import map_fit_table
from lib.reporting.table import Table, display_frame

METRICS = ("defect_recall", "false_reject_rate", RECALL_AT_5_FPR, "weighted_auc", "binary_auc")
_QUALITY = {
    "image_auroc": "Image AUROC",
    "pixel_auroc": "Pixel AUROC",
    "pixel_ap": "Pixel AP",
    "aupro": "AUPRO (30 %)",
    "images": "Defects with a mask",
    "left_out": "Left out",
}


def quality_table(runs: Sequence[Run], context: str = "") -> Table:
    """Return image AUROC by class and, where there are masks, pixel AUROC, AP and AUPRO, for each source of maps."""
    rows: list[dict[Any, Any]] = []
    for run in runs:
        found = map_quality(run)
        for place in found.reset_index().to_dict("records"):
            line: dict[Any, Any] = {
                ("Dataset", ""): run.name,
                ("Maps", ""): map_method_title(place["map_method"]),
            }
            line |= {("Class", ""): place["class"]}
            rows.append(
                line | {(title, ""): place.get(name, float("nan")) for name, title in _QUALITY.items()}
            )
    numbers = wide_frame(rows)
    numbers = numbers.loc[:, numbers.notna().any()]
    formats: dict[Any, Callable[[Any], str]] = {(title, ""): "{:.3f}".format for title in _QUALITY.values()}
    formats |= {(_QUALITY[name], ""): "{:.0f}".format for name in ("images", "left_out")}
    formats |= {("Dataset", ""): display_name, ("Maps", ""): str, ("Class", ""): str}
    frame = display_frame(numbers, {column: formats[column] for column in numbers.columns})
    notes = [
        "Each class against all good test images; 0.5 is chance.",
        *synthetic_notes([run.name for run in runs]),
    ]
    if ("Pixel AP", "") in numbers:
        notes.insert(
            1,
            "AUPRO: mean overlap with each connected defect, up to 30 % of good pixels marked. Left out: defects "
            "whose mask is empty or missing.",
        )
    title = "How well the maps find defective images and pixels, test images of the primary folds"
    return Table("Map quality", title, context, frame, numbers, tuple(notes), headers=3)


def source_table(
    main: pd.DataFrame, other: pd.DataFrame, runs: Sequence[Run], good: Good, context: str = ""
) -> Table | None:
    """Return recalls, false rejects and AUC with the maps of each source, and of both; None where only one was made.

    `main` are the study's predictions, `other` those with the other source's maps.
    """
    if other.empty:
        return None
    study = runs[0].study
    whole = main[(main["keep"] == 1.0) & main["features"].isin(FEATURE_SETS)]
    places = set(other["dataset"] + "/" + other["scheme"])
    whole = whole[(whole["dataset"] + "/" + whole["scheme"]).isin(places)]
    lines: list[dict[Any, Any]] = []
    ends: dict[Any, list[tuple[float, float]]] = {}
    for maker, part in ((study.map_method, whole), (study.alternative_map_source, other)):
        for cell in read_cells(part, good, study.binary, POOLED, METRICS, None):
            for name in FEATURE_SETS:
                if pd.isna(cell.value(name, "defect_recall", ALL)):
                    continue
                made = (
                    "–"
                    if name == "image"
                    else "both"
                    if name in COMBINED_DETECTORS
                    else map_method_title(maker)
                )
                line: dict[Any, Any] = {("Dataset", ""): cell.dataset, ("Folds", ""): cell.scheme}
                line |= {("Features", ""): FEATURE_SETS[name].title, ("Maps", ""): made}
                for metric in METRICS:
                    column = (binary_title(metric), "")
                    line[column] = cell.value(name, metric, ALL)
                    ends.setdefault(column, []).append(cell.interval(name, metric, ALL))
                lines.append(line)
    order = [one.title for one in FEATURE_SETS.values()]
    ranks = sorted(
        range(len(lines)), key=lambda k: (lines[k]["Dataset", ""], order.index(lines[k]["Features", ""]))
    )
    lines = [lines[k] for k in ranks]
    ends = {column: [pairs[k] for k in ranks] for column, pairs in ends.items()}
    numbers = wide_frame(lines)
    formats: dict[Any, Callable[[Any], str]] = {
        (binary_title(metric), ""): ("{:.4f}" if "auc" in metric else "{:.2%}").format for metric in METRICS
    }
    numbers, frame = with_intervals(
        numbers, display_frame(numbers, formats | {("Dataset", ""): display_name}), ends, ".1%"
    )
    notes = (
        "The same folds, features and classifiers with each source's maps; PatchCore models are always cross-fitted.",
        IN_BRACKETS,
        *synthetic_notes(list(dict.fromkeys(numbers[("Dataset", "")]))),
    )
    title = "Map sources compared, all defects, pooled over all test folds"
    return Table("Map source", title, context, frame, numbers, notes, headers=4)


def map_tables(results: StudyResults, runs: Sequence[Run], context: str = "") -> Mapping[str, Table | None]:
    """Return the tables of the maps themselves and of the classifiers that use them, by file name."""
    good, main = results.good, results.mine
    return {
        "map-fit": map_fit_table(results.map_methods, good, context, results.study.binary),
        "map-quality": quality_table(runs, context),
        "map-source": source_table(main, results.sources, runs, good, context),
    }
