"""Tables of measures by feature set: what escapes, baselines, map-guided features, and ways to make the maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from lib.classification.feature_sets import COMBINED_DETECTORS, FEATURE_SETS, MAIN
from lib.config import Study, map_method_title
from lib.evaluation.metrics import ALL, OVERALL, RANKINGS, RECALL_AT_5_FPR, TITLES, Good, at_keep
from lib.evaluation.recommendation import RULE
from lib.evaluation.significance import METHOD
from lib.pipeline.maps import map_quality
from lib.reporting.comparison_tables import p_value
from lib.reporting.measures import BINARY_TITLES, EXACT_INTERVALS, read_measures
from lib.reporting.table import Table, Value

if TYPE_CHECKING:
    from lib.pipeline.run import Run

_METRICS = (*RANKINGS, "defect_recall", "false_reject_rate")
_QUALITY = {  # columns of `map_quality`: heading and form
    "image_auroc": ("Image AUROC", ".3f"),
    "pixel_auroc": ("Pixel AUROC", ".3f"),
    "pixel_ap": ("Pixel AP", ".3f"),
    "aupro": ("AUPRO (30 %)", ".3f"),
    "images": ("Defects with a mask", ".0f"),
    "left_out": ("Left out", ".0f"),
}


def escape_rate_table(predictions: pd.DataFrame, good: Good, binary: str) -> Table:
    """Return the escape rate per class and feature set with its exact interval, and false rejects beside.

    It is the paper's AQL (Eq. 1): 100 - defect recall, in percent, over all test folds.
    """
    rows = []
    for data in read_measures(at_keep(predictions, 1.0), good, binary, ("defect_recall",)):
        images = data.counts.xs(("defect_recall", OVERALL), level=("metric", "fold")).groupby("class").first()
        for label in [*data.classes(), ALL]:
            row: dict[Any, Any] = data.place() | {"Class": label, "Images": int(images[label])}
            for name in MAIN:
                recall, title = data.cell(name, "defect_recall", label), FEATURE_SETS[name].title
                ends = tuple(100 - 100 * end for end in recall.interval[::-1]) if recall.interval else None
                row[title, "AQL"] = Value(100 - 100 * recall.raw, ".2f", ends, ".2f")
                row[title, TITLES["false_reject_rate"]] = data.cell(name, "false_reject_rate", interval=None)
            rows.append(row)
    notes = (
        "AQL here is the percentage of a class's defective images that pass as good, not an acceptance limit of a "
        "sampling plan.",
        "In brackets: Clopper-Pearson 95 % intervals; none escaped does not mean that none will.",
    )
    title = "Escaping defects in percent (AQL by Eq. 1), and good images rejected"
    return Table("AQL", title, rows, notes, headers=3)


def methods_table(
    found: pd.DataFrame,
    good: Good,
    compared: pd.DataFrame,
    recommended: pd.DataFrame,
    binary: str,
) -> Table:
    """Return every feature set with all defects: its measures, its difference from image + map, and the choice of one.

    `found` are predictions, `compared` is `compare` of those at keep 1, `recommended` is `recommend` of them.
    """
    rows, whole, main = [], at_keep(found, 1.0), _METRICS[0]
    tested = compared[compared["metric"] == main].set_index(["dataset", "a", "b"]).to_dict("index")
    chosen: dict[Any, dict[Any, Any]] = recommended.set_index(["dataset", "features"]).to_dict("index")
    for data in read_measures(whole, good, binary, _METRICS):
        for features in [name for name in FEATURE_SETS if pd.notna(data.value(name, "defect_recall"))]:
            row: dict[Any, Any] = {"Dataset": data.dataset, "Features": FEATURE_SETS[features].title}
            for metric in _METRICS:
                form = ".3f" if "auc" in metric else ".1%"
                row[BINARY_TITLES[metric]] = data.cell(features, metric, form=form, interval=None)
            choice = chosen.get((data.dataset, features), {})
            row["On training images", TITLES[RECALL_AT_5_FPR]] = Value(choice.get("training"), ".1%")
            row["On training images", "Choice"] = "recommended" if choice.get("recommended") else ""
            test = tested.get((data.dataset, features, METHOD), {})
            if features == "image" and (turned := tested.get((data.dataset, METHOD, features))):
                negative = {"difference": "difference", "low": "high", "high": "low"}
                test = turned | {name: -turned[other] for name, other in negative.items()}
            heading, ends = (
                f"{TITLES[main]}, less {FEATURE_SETS[METHOD].title}",
                (test.get("low"), test.get("high")),
            )
            row[heading, "Difference"] = Value(test.get("difference"), "+z.3f", ends, "+z.3f")
            row[heading, "p (Wilcoxon)"], row[heading, "p (Holm)"] = (
                p_value(test, "p"),
                p_value(test, "p_holm"),
            )
            rows.append(row)
    shown = [FEATURE_SETS[one] for one in FEATURE_SETS if one in set(whole["features"])]
    notes = (
        *(f"{one.title}: {one.description}." for one in shown if one.description),
        f"AUC and {TITLES[RECALL_AT_5_FPR].lower()}: mean of the folds, each read from its own scores.",
        f"Recommended: {RULE}. Test folds must not choose.",
        "In brackets beside differences: 95 % intervals over test images and trainings. Holm adjusts over all rankings "
        "compared. Not tested: both make the same predictions.",
    )
    return Table("Methods", "Every feature set, all defects, all test folds", rows, notes, headers=2)


def map_source_table(main: pd.DataFrame, other: pd.DataFrame, study: Study, good: Good) -> Table | None:
    """Return recalls, false rejects and AUC with the maps of each source, and of both; None where only one was made.

    `main` are the study's predictions, `other` those with the other source's maps.
    """
    if other.empty:
        return None
    places = set(other["dataset"] + "/" + other["scheme"])
    whole = main[(main["keep"] == 1.0) & (main["dataset"] + "/" + main["scheme"]).isin(places)]
    of_image, of_both = whole["features"] == "image", other["features"].isin(COMBINED_DETECTORS)
    parts = {
        "–": whole[of_image],
        map_method_title(study.map_method): whole[~of_image],
        map_method_title(study.alternative_map_source): other[~of_both],
        "both": other[of_both],
    }
    rows: dict[Any, dict[Any, Any]] = {}  # by what keeps the parts of a feature set together
    for maps, part in parts.items():
        for data in read_measures(part, good, study.binary, _METRICS):
            for place, (name, one) in enumerate(FEATURE_SETS.items()):
                if pd.notna(data.value(name, "defect_recall")):
                    row: dict[Any, Any] = data.place() | {"Features": one.title, "Maps": maps}
                    row |= {BINARY_TITLES[metric]: data.cell(name, metric) for metric in _METRICS}
                    rows[data.dataset, data.scheme, place, len(rows)] = row
    notes = (
        "The same folds, features and classifiers with each source's maps; PatchCore models are always cross-fitted.",
        EXACT_INTERVALS,
    )
    title = "Map sources compared, all defects, over all test folds"
    return Table("Map source", title, [rows[key] for key in sorted(rows)], notes, headers=4)


def map_quality_table(runs: Sequence[Run]) -> Table:
    """Return image AUROC by class and, where there are masks, pixel AUROC, AP and AUPRO, for each source of maps."""
    found = pd.concat([map_quality(run).reset_index().assign(dataset=run.name) for run in runs])
    columns = {name: look for name, look in _QUALITY.items() if name in found and found[name].notna().any()}
    rows = [
        {"Dataset": row["dataset"], "Maps": map_method_title(row["map_method"]), "Class": row["class"]}
        | {heading: Value(row[name], form) for name, (heading, form) in columns.items()}
        for row in found.to_dict("records")
    ]
    notes = ["Each class against all good test images, image AUROC the mean of the folds; 0.5 is chance."]
    if runs[0].study.repeats > 1:
        notes.append("Mean of the repeats.")
    if "Pixel AP" in rows[0]:
        notes.append(
            "AUPRO: mean overlap with each connected defect, up to 30 % of good pixels marked. Left out: defects "
            "whose mask is empty or missing."
        )
    title = "How well the maps find defective images and pixels, test images of the primary folds"
    return Table("Map quality", title, rows, notes, headers=3)
