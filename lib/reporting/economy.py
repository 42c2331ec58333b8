"""Label economy: what a labelled defect buys, and how many each feature set needs for the same recall."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.label_efficiency import LabelEfficiency, describe_need
from lib.evaluation.metrics import (
    FPR_LIMIT,
)
from lib.evaluation.published_results import display_name
from lib.reporting.cells import synthetic_notes, wide_frame
from lib.reporting.table import MISSING, Table

_TITLE = f"Defect recall at {FPR_LIMIT:.0%} false rejects"


def learning_table(economy: LabelEfficiency, context: str = "") -> Table | None:
    """Return recall at 5 % false rejects per feature set and number of labelled defects; None without curves."""
    if economy.curves.empty:
        return None
    rows = []
    for (dataset, scheme, keep), lines in economy.curves.groupby(["dataset", "scheme", "keep"], sort=False):
        of_features = lines.set_index("features").to_dict("index")
        row: dict[Any, str] = {("Dataset", ""): display_name(str(dataset)), ("Folds", ""): str(scheme)}
        row |= {("Defects kept", ""): f"{keep:.0%}"}
        row |= {("Labelled defects in a training fold", ""): f"{lines['labels'].iloc[0]:.0f}"}
        for name in _shown(economy.curves):
            cell = of_features.get(name)
            row[(_TITLE, FEATURE_SETS[name].title)] = (
                f"{cell['recall']:.1%} ({cell['low']:.1%}–{cell['high']:.1%})" if cell else MISSING
            )
        rows.append(row)
    notes = (
        "The threshold is moved on the pooled test folds until at most 5 % of the good images are rejected: the same "
        "false rejects for all, so recalls can be compared. It is no promise for a line.",
        "In brackets: 95 % bootstrap intervals over test images, by group where known; which defects were kept is not "
        "in them.",
        *synthetic_notes(list(dict.fromkeys(economy.curves["dataset"]))),
    )
    title = f"{_TITLE} by labelled defects"
    return Table("Learning curves", title, context, wide_frame(rows), economy.curves, notes, headers=4)


def needs_table(economy: LabelEfficiency, context: str = "") -> Table | None:
    """Return how many labelled defects each feature set needs for the image's recall; None without the image."""
    if economy.needs.empty:
        return None
    rows = []
    for (dataset, scheme, reference), lines in economy.needs.groupby(
        ["dataset", "scheme", "reference"], sort=False
    ):
        of_features = lines.set_index("features").to_dict("index")
        row: dict[Any, str] = {("Dataset", ""): display_name(str(dataset)), ("Folds", ""): str(scheme)}
        row |= {("Labelled defects", "Image has"): f"{reference:.0f}"}
        row |= {(_TITLE, "Image reaches"): f"{lines['target'].iloc[0]:.1%}"}
        for name in _shown(economy.needs):
            cell = of_features.get(name)
            row[("Labelled defects needed for the same", FEATURE_SETS[name].title)] = (
                describe_need(cell) if cell else MISSING
            )
        rows.append(row)
    notes = (
        "Read between the levels studied along straight lines, where the curve first reaches the recall. Not reached: "
        "not with all the defects there are. At most: the fewest labels studied already suffice.",
        "In brackets: 95 % bootstrap intervals, both feature sets on the same drawn test images.",
        *synthetic_notes(list(dict.fromkeys(economy.needs["dataset"]))),
    )
    title = "Labelled defects needed for the recall that the image reaches, at the same false rejects"
    return Table("Label economy", title, context, wide_frame(rows), economy.needs, notes, headers=2)


def _shown(table: pd.DataFrame) -> list[str]:
    return [name for name in FEATURE_SETS if name in set(table["features"])]
