"""Tables of results by feature set: measures, costs of a recall, labels needed; and how well maps find defects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.config import map_method_title
from lib.evaluation import metrics as m
from lib.evaluation.label_efficiency import LabelEfficiency, describe_need
from lib.evaluation.operating_points import TRAINING
from lib.evaluation.recommendation import RULE
from lib.evaluation.significance import METHOD, format_p
from lib.pipeline.maps import map_quality
from lib.reporting.measures import read_measures
from lib.reporting.style import METHODS, present
from lib.reporting.table import Table, Value

if TYPE_CHECKING:
    from lib.pipeline.run import Run

_NEEDED = "Labelled defects"
_QUALITY = {  # columns of `map_quality`: heading and form
    "image_auroc": ("Image AUROC", ".3f"),
    "pixel_auroc": ("Pixel AUROC", ".3f"),
    "pixel_ap": ("Pixel AP", ".3f"),
    "aupro": ("AUPRO (30 %)", ".3f"),
    "images": ("Defects with a mask", ".0f"),
    "left_out": ("Without a usable mask", ".0f"),
}


def methods_table(
    found: pd.DataFrame, good: m.Good, compared: pd.DataFrame, recommended: pd.DataFrame, binary: str
) -> Table:
    """Return every feature set with all defects: its rankings, its difference from image + map, and the choice of one.

    `found` are predictions, `compared` is `compare` of those at keep 1, `recommended` is `recommend` of them.
    """
    rows, whole, main = [], m.at_keep(found, 1.0), m.RANKINGS[0]
    tested = compared[compared["metric"] == main].set_index(["dataset", "a", "b"]).to_dict("index")
    chosen: dict[Any, dict[Any, Any]] = recommended.set_index(["dataset", "features"]).to_dict("index")
    for data in read_measures(whole, good, binary, (main, m.RECALL_AT_5_FPR)):
        for features in [name for name in FEATURE_SETS if pd.notna(data.value(name, main))]:
            choice = chosen.get((data.dataset, features), {})
            mark = " (recommended)" * bool(choice.get("recommended"))
            row: dict[Any, Any] = {"Dataset": data.dataset, "Features": FEATURE_SETS[features].title + mark}
            row[m.TITLES[m.RECALL_AT_5_FPR], "Test"] = data.cell(features, m.RECALL_AT_5_FPR, form=".1%")
            row[m.TITLES[m.RECALL_AT_5_FPR], "Training"] = Value(choice.get("training"), ".1%")
            row[m.TITLES[main], "Test"] = data.cell(features, main, form=".3f")
            test = tested.get((data.dataset, features, METHOD), {})
            if features == "image" and (turned := tested.get((data.dataset, METHOD, features))):
                negative = {"difference": "difference", "low": "high", "high": "low"}
                test = turned | {name: -turned[other] for name, other in negative.items()}
            ends = test.get("low"), test.get("high")
            less = f"Less {FEATURE_SETS[METHOD].title}"
            row[m.TITLES[main], less] = Value(test.get("difference"), "+z.3f", ends, "+z.3f")
            row[m.TITLES[main], "p (Wilcoxon)"] = _p_value(test, "p")
            row[m.TITLES[main], "p (Holm)"] = _p_value(test, "p_holm")
            rows.append(row)
    shown = [FEATURE_SETS[one] for one in FEATURE_SETS if one in set(whole["features"])]
    notes = (
        *(f"{one.title}: {one.description}." for one in shown if one.description),
        "Mean of the folds, each read from its own scores.",
        f"Recommended: {RULE}. Test folds must not choose.",
        "In brackets: 95 % intervals over test images and trainings. Holm adjusts over all rankings compared. Not "
        "tested: both make the same predictions.",
    )
    return Table("Methods", "Every feature set, all defects, all test folds", rows, notes, headers=2)


def map_quality_table(runs: Sequence[Run]) -> Table:
    """Return image AUROC by class and, where there are masks, pixel AUROC, AP and AUPRO, for each source of maps."""
    found = pd.concat([map_quality(run).reset_index().assign(dataset=run.name) for run in runs])
    columns = {name: look for name, look in _QUALITY.items() if name in found and found[name].any()}
    rows = [
        {"Dataset": row["dataset"], "Maps": map_method_title(row["map_method"]), "Class": row["class"]}
        | {heading: Value(row[name], form) for name, (heading, form) in columns.items()}
        for row in found.to_dict("records")
    ]
    notes = ["Each class against all good test images, image AUROC the mean of the folds; 0.5 is chance."]
    if runs[0].study.repeats > 1:
        notes.append("Mean of the repeats.")
    if "Pixel AP" in rows[0]:
        notes.append("AUPRO: mean overlap with each connected defect, up to 30 % of good pixels marked.")
    title = "How well the maps find defective images and pixels, test images of the primary folds"
    return Table("Map quality", title, rows, notes, headers=3)


def costs_table(
    points: pd.DataFrame, methods: Iterable[str] = FEATURE_SETS, unit: str = "image"
) -> Table | None:
    """Return what share of good units feature sets reject for each required recall; None without thresholds.

    `points` as `operating_numbers` gives them. Bold: the least of those that reached the recall on the test folds.
    """
    part = points[(points["class"] == m.ALL) & (points["method"] == TRAINING)] if len(points) else points
    rows = []
    for (dataset, scheme), here in part.groupby(["dataset", "scheme"], sort=False) if len(part) else ():
        here = here[here["features"].isin([*methods])]
        least = here[here["recall_high"] >= here["required"]].groupby("required")["false_rejects"].min()
        for features in [name for name in methods if name in set(here["features"])]:
            row: dict[Any, Any] = {"Dataset": dataset, "Folds": scheme}
            row["Features"] = FEATURE_SETS[features].title
            for one in here[here["features"] == features].to_dict("records"):
                share, form = one["false_rejects"], f".{int(one['n_good'] >= 100)}%"
                ends = one["false_rejects_low"], one["false_rejects_high"]
                cell = Value(share, form, ends, form, bold=share == least.get(one["required"]))
                if one["recall_high"] < one["required"]:
                    cell = Value(share, partial(_missed, m.percent(one["recall"])))
                row[f"Good {unit}s rejected to find", f"{100 * one['required']:g} %"] = cell
            rows.append(row)
    notes = (
        "A fold's threshold is chosen on its training images, scored by models that did not see them, and checked on "
        "its test images. Missed: less was found there, the 95 % interval included.",
        "In brackets: 95 % CI, exact for independent images, wider where objects or trainings vary. Bold: the least "
        "of those that reached the recall.",
    )
    counted = part.drop_duplicates(["dataset", "scheme"])[["n_defects", "n_good"]] if rows else part
    per = f", of {counted.to_numpy().sum():,.0f} objects" if rows and unit == "object" else ""
    title = f"What a required defect recall costs{per}"
    return Table("Costs", title, rows, notes, headers=3, numbers=part) if rows else None


def _missed(found: str, _: float) -> str:
    return f"missed: {found} found"


def needs_table(economy: LabelEfficiency) -> Table | None:
    """Return how many labelled defects each feature set needs for what the image reaches with all of them, or None."""
    rows = []
    for (dataset, scheme), needs in economy.needs.groupby(["dataset", "scheme"], sort=False):
        lines = needs[needs["reference"] == needs["reference"].max()]
        by_features: dict[Any, Any] = lines.set_index("features").to_dict("index")
        one = lines.iloc[0]
        place = {"Dataset": dataset, "Folds": scheme}
        has = f"{one['reference']:.0f} for {m.percent(one['target'], 0)}"
        rows.append(place | {"Features": FEATURE_SETS["image"].title, _NEEDED: has})
        for name in present(by_features, METHODS):
            need = describe_need(by_features[name])
            rows.append(place | {"Features": FEATURE_SETS[name].title, _NEEDED: need})
    notes = (
        "Read between the levels studied along straight lines. Not reached: not with all the defects there are. At "
        "most: the fewest labels studied already suffice.",
        "In brackets: 95 % bootstrap intervals, both feature sets on the same drawn test images.",
    )
    title = "Labelled defects needed for the recall that the image reaches, at 5 % false rejects"
    return Table("Labels", title, rows, notes, headers=3, numbers=economy.needs) if rows else None


def _p_value(row: Mapping[Any, Any], name: str) -> Value | str:
    """Return a p of a row of `compare` as a cell, bold where it is below the study's level."""
    bold = row.get("significant" if name == "p" else "significant_holm", False)
    return "not tested" if row.get("identical") == 1 else Value(row.get(name), format_p, bold=bold)
