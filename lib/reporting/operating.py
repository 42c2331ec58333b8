"""Tables of what an inspection line would run at: false rejects and escapes for a required defect recall."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS, MAIN
from lib.evaluation.metrics import ALL
from lib.evaluation.operating_points import CONFORMAL, OPTIMISTIC, TRAINING
from lib.evaluation.published_results import display_name
from lib.reporting.cells import synthetic_notes, wide_frame
from lib.reporting.table import MISSING, Table

_HEADINGS = {
    TRAINING: "Threshold from training images, checked on the test folds",
    CONFORMAL: "Split-conformal bound, checked on the test folds",
    OPTIMISTIC: "Threshold from the test folds themselves (optimistic)",
}
_RECALL, _REJECTS, _ESCAPES = "Defect recall", "False reject rate", "Escapes per million"
_TRAINED = (
    "An image is rejected where 1 - p(good) reaches the fold's threshold. Training images are scored by models that "
    "did not see them (inner folds); nothing of a test fold is used to choose."
)
_BOUND = (
    "The conformal bound holds for new defects that are like the calibration defects. Images of one object are not "
    "independent, and the scored models are the inner folds', so here it is a guide, not a guarantee."
)
_INTERVALS = "In brackets: Clopper-Pearson 95 % intervals, which take images as independent."
_FLATTERS = "Thresholds chosen on the test folds themselves flatter: a line has to choose them beforehand."
_UNCALIBRATED = "This study scored no training images out of fold, so only the optimistic figures stand here."


def operating_points(points: pd.DataFrame, context: str = "", prevalence: float = 0.01) -> Table:
    """Return what share of good images each feature set rejects, and what escapes, for each required defect recall.

    `points` is `operating_numbers`, of which the rows over all defect classes are shown.
    """
    part = points[points["class"] == ALL]
    keys = ["dataset", "scheme", "features", "required"]
    rows = []
    for key, lines in part.groupby(keys, sort=False, observed=True):
        place = dict(zip(keys, key, strict=True))
        of_method = {line["method"]: line for line in lines.to_dict("records")}
        row: dict[Any, str] = {
            ("Dataset", ""): display_name(str(place["dataset"])),
            ("Folds", ""): str(place["scheme"]),
            ("Features", ""): FEATURE_SETS[str(place["features"])].title,
            ("Required defect recall", ""): f"{place['required']:.1%}",
        }
        for method in (TRAINING, CONFORMAL, OPTIMISTIC):
            if method in set(part["method"]):
                row |= _cells(method, of_method.get(method))
        rows.append(row)
    calibrated = TRAINING in set(part["method"])
    notes = (
        *((_TRAINED, _BOUND) if calibrated else (_UNCALIBRATED,)),
        f"Escapes: defective products that pass, per million products of which {prevalence:.2%} are defective.",
        _INTERVALS,
        _FLATTERS,
        *synthetic_notes(list(dict.fromkeys(points["dataset"]))),
    )
    title = "What a required defect recall costs"
    return Table("Operating points", title, context, wide_frame(rows), points, notes, headers=4)


def operating_points_by_class(points: pd.DataFrame, context: str = "") -> Table:
    """Return the same per defect class: the threshold is chosen for that class's recall, per feature set.

    From training images where `points` has them, else from the test folds themselves, which the title says.
    """
    method = TRAINING if TRAINING in set(points["method"]) else OPTIMISTIC
    part = points[(points["class"] != ALL) & points["features"].isin(MAIN)]
    shown = [name for name in MAIN if name in set(part["features"])]
    keys = ["dataset", "scheme", "class", "required"]
    rows, refused = [], []
    for key, lines in part.groupby(keys, sort=False, observed=True):
        place = dict(zip(keys, key, strict=True))
        row: dict[Any, str] = {
            ("Dataset", ""): display_name(str(place["dataset"])),
            ("Folds", ""): str(place["scheme"]),
            ("Class", ""): str(place["class"]),
            ("Required recall of the class", ""): f"{place['required']:.1%}",
        }
        mine = lines[lines["method"] == method].set_index("features").to_dict("index")
        for name in shown:
            line = mine.get(name)
            row |= {(FEATURE_SETS[name].title, _REJECTS): _share(line, "false_rejects")}
            row |= {(FEATURE_SETS[name].title, "Recall reached"): _share(line, "recall")}
        rows.append(row)
        bound = lines[(lines["method"] == CONFORMAL) & lines["caught"].isna()]
        if len(bound):
            first = bound.iloc[0]
            sizes = f"{first['n_calibration']:.0f} of {_count(first['n_needed'])}"
            refused.append(f"{first['class']} at {first['required']:.1%} ({sizes})")
    notes = [_TRAINED if method == TRAINING else _UNCALIBRATED, _INTERVALS]
    if refused:
        notes.append(
            "Too few calibration defects in some fold for a conformal bound on the class (there are, of those needed): "
            + ", ".join(dict.fromkeys(refused))
            + "."
        )
    notes += synthetic_notes(list(dict.fromkeys(points["dataset"])))
    title = f"What a required recall of one defect class costs. {_HEADINGS[method]}"
    return Table("Operating points by class", title, context, wide_frame(rows), part, tuple(notes), headers=4)


def _cells(method: str, line: dict[Any, Any] | None) -> dict[Any, str]:
    """Return the cells of one way to choose the threshold; a refused bound says how many defects it wants."""
    heading = _HEADINGS[method]
    if method == OPTIMISTIC:
        return {(heading, _REJECTS): _share(line, "false_rejects")}
    recall, rejects = _share(line, "recall"), _share(line, "false_rejects")
    if method == CONFORMAL:
        if line is not None and line["caught"] != line["caught"]:
            need = _count(line["n_needed"])
            recall = f"refused: {line['n_calibration']:.0f} calibration defects, {need} needed"
        return {(heading, _RECALL): recall, (heading, _REJECTS): rejects}
    escapes = MISSING
    if line is not None and line["caught"] == line["caught"]:
        escapes = f"{line['escapes']:,.0f} ({line['escapes_low']:,.0f}–{line['escapes_high']:,.0f})"
    return {(heading, _RECALL): recall, (heading, _REJECTS): rejects, (heading, _ESCAPES): escapes}


def _share(line: dict[Any, Any] | None, name: str) -> str:
    if line is None or line[name] != line[name]:
        return MISSING
    return f"{line[name]:.1%} ({line[f'{name}_low']:.1%}–{line[f'{name}_high']:.1%})"


def _count(needed: float) -> str:
    return "endlessly many" if needed == float("inf") else f"{needed:.0f}"
