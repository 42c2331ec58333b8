"""Tables of results by feature set: measures, costs of a recall, labels needed; and how well maps find defects."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.config import map_method_title
from lib.evaluation import metrics as m
from lib.evaluation.label_efficiency import LabelEfficiency, describe_need
from lib.evaluation.operating_points import TRAINING
from lib.evaluation.recommendation import RULE
from lib.evaluation.significance import METHOD, format_p
from lib.pipeline.maps import map_quality
from lib.pipeline.run import Run
from lib.reporting.style import METHODS, present
from lib.reporting.table import Table, Value, about

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
    rows, whole, (main, recall) = [], m.at_keep(found, 1.0), m.RANKINGS[:2]
    overall = m.where(m.summary(whole, good, binary, (main, recall)), {"fold": m.OVERALL, "class": m.ALL})
    values = overall.pivot(index=["dataset", "features"], columns="metric", values="value")
    tested = compared[compared["metric"] == main].set_index(["dataset", "a", "b"]).to_dict("index")
    chosen: dict[Any, dict[Any, Any]] = recommended.set_index(["dataset", "features"]).to_dict("index")
    for dataset in dict.fromkeys(overall["dataset"]):
        mine = values.loc[dataset].dropna(subset=main)
        for features in present(mine.index, FEATURE_SETS):
            choice, test = chosen.get((dataset, features), {}), tested.get((dataset, features, METHOD), {})
            if features == "image" and (turned := tested.get((dataset, METHOD, features))):
                negative = {"difference": "difference", "low": "high", "high": "low"}
                test = turned | {name: -turned[other] for name, other in negative.items()}
            mark = " (recommended)" * bool(choice.get("recommended"))
            row: dict[Any, Any] = {"Dataset": dataset, "Features": FEATURE_SETS[features].title + mark}
            row[m.TITLES[recall], "Test"] = Value(mine[recall][features], ".1%")
            row[m.TITLES[recall], "Training"] = Value(choice.get("training"), ".1%")
            row[m.TITLES[main], "Test"] = Value(mine[main][features], ".3f")
            ends = test.get("low"), test.get("high")
            gap = Value(test.get("difference"), "+z.3f", ends, "+z.3f")
            row[m.TITLES[main], f"Less {FEATURE_SETS[METHOD].title}"] = gap
            for title, p, bold in (("Wilcoxon", "p", "significant"), ("Holm", "p_holm", "significant_holm")):
                cell = Value(test.get(p), format_p, bold=test.get(bold, False))
                row[m.TITLES[main], f"p ({title})"] = "not tested" if test.get("identical") == 1 else cell
            rows.append(row)
    shown = [FEATURE_SETS[one] for one in FEATURE_SETS if one in set(whole["features"])]
    return Table(rows=rows, headers=2, **about("Methods", shown=shown, rule=RULE))


def map_quality_table(runs: Sequence[Run]) -> Table:
    """Return image AUROC by class and, where there are masks, pixel AUROC, AP and AUPRO."""
    found = pd.concat([map_quality(run).reset_index().assign(dataset=run.name) for run in runs])
    columns = {name: look for name, look in _QUALITY.items() if name in found and found[name].any()}
    maps = map_method_title(runs[0].study.map_method)
    rows = [
        {"Dataset": row["dataset"], "Maps": maps, "Class": row["class"]}
        | {heading: Value(row[name], form) for name, (heading, form) in columns.items()}
        for row in found.to_dict("records")
    ]
    told = about("Map quality", repeated=runs[0].study.repeats > 1, masks="Pixel AP" in rows[0])
    return Table(rows=rows, headers=3, **told)


def costs_table(points: pd.DataFrame, methods: Iterable[str] = FEATURE_SETS, unit: str = "image") -> Table | None:
    """Return what share of good units feature sets reject for each required recall; None without thresholds.

    `points` as `operating_numbers` gives them. Bold: the least of those that reached the recall on the test folds.
    """
    part = points[(points["class"] == m.ALL) & (points["method"] == TRAINING)] if len(points) else points
    rows = []
    for (dataset, scheme), here in part.groupby(["dataset", "scheme"], sort=False) if len(part) else ():
        here = here[here["features"].isin([*methods])]
        least = here[here["recall_high"] >= here["required"]].groupby("required")["false_rejects"].min()
        for features in [name for name in methods if name in set(here["features"])]:
            name = FEATURE_SETS[features].title
            row: dict[Any, Any] = {"Dataset": dataset, "Folds": scheme, "Features": name}
            for one in here[here["features"] == features].to_dict("records"):
                share, form = one["false_rejects"], f".{int(one['n_good'] >= 100)}%"
                ends = one["false_rejects_low"], one["false_rejects_high"]
                cell = Value(share, form, ends, form, bold=share == least.get(one["required"]))
                if one["recall_high"] < one["required"]:
                    cell = Value(share, f"missed: {m.percent(one['recall'])} found".format)
                row[f"Good {unit}s rejected to find", f"{100 * one['required']:g} %"] = cell
            rows.append(row)
    if not rows:
        return None
    once = part.drop_duplicates(["dataset", "scheme"])
    objects = once[["n_defects", "n_good"]].to_numpy().sum() if unit == "object" else 0
    return Table(rows=rows, headers=3, numbers=part, **about("Costs", objects=objects))


def needs_table(economy: LabelEfficiency) -> Table | None:
    """Return how many labelled defects each feature set needs for what the image reaches with all of them, or None."""
    rows = []
    for (dataset, scheme), needs in economy.needs.groupby(["dataset", "scheme"], sort=False):
        lines = needs[needs["reference"] == needs["reference"].max()]
        by_features: dict[Any, Any] = lines.set_index("features").to_dict("index")
        has = f"{lines['reference'].iloc[0]:.0f} for {m.percent(lines['target'].iloc[0], 0)}"
        place = {"Dataset": dataset, "Folds": scheme}
        rows.append(place | {"Features": FEATURE_SETS["image"].title, _NEEDED: has})
        for name in present(by_features, METHODS):
            need = describe_need(by_features[name])
            rows.append(place | {"Features": FEATURE_SETS[name].title, _NEEDED: need})
    return Table(rows=rows, headers=3, numbers=economy.needs, **about("Labels")) if rows else None
