"""What the paper's own printed numbers say about its claims; needs no data."""

from __future__ import annotations

import pandas as pd

from lib.classification.feature_sets import MAIN
from lib.classification.intervals import clopper_pearson
from lib.evaluation.published_results import (
    ALPHA,
    COUNTS,
    DISPLAY_NAMES,
    FOLDS,
    bold_margins,
    bold_margins_by_keep,
    image_counts,
    images_for_significance,
    pooled_recalls,
    table1_paper,
    table3_paper,
)
from lib.evaluation.significance import smallest_attainable_p


def checks() -> pd.DataFrame:
    """Return what the paper's own numbers say of its claims: columns claim, computed, verdict (in words)."""
    rows = [*_check_counts(), *_check_pooling(), *_check_bold(), *_check_thinning(), *_check_claims()]
    rows += [*_check_imbalance(), *_check_combination()]
    return pd.DataFrame(rows, columns=["claim", "computed", "verdict"])


def _check_counts() -> list[tuple[str, str, str]]:
    totals = table1_paper().groupby("dataset")["n"].sum()
    cells = image_counts()
    alike = int(cells["prints_alike"].sum())
    return [
        (
            "592, 4,249 and 3,518 images (Section 3)",
            ", ".join(f"{DISPLAY_NAMES[str(name)]} {n:,}" for name, n in totals.items()) + " from Table 1",
            _said(
                totals.to_dict() == {"deco_cap": 592, "shaft": 4249, "shavers": 3518}, "agrees", "disagrees"
            ),
        ),
        (
            "Table 2 gives shares of the images in Table 1",
            f"{alike} of {len(cells)} cells are a whole number of images to the printed digit",
            _said(
                alike == len(cells),
                "agrees: recalls are pooled over the test folds",
                "some are not pooled shares",
            ),
        ),
    ]


def _check_pooling() -> list[tuple[str, str, str]]:
    rows = []
    for row in pooled_recalls().to_dict("records"):
        name = f"{DISPLAY_NAMES[row['dataset']]}, {row['features']}"
        near = abs(row["difference"]) <= 1e-4
        rows.append(
            (
                f"Table 3 at 100 %, {name}: {row['printed']:.4f}",
                f"Table 2 pooled: {row['k']}/{row['n']} = {row['pooled']:.4f}",
                "exact: binary is the multiclass prediction collapsed"
                if row["difference"] == 0
                else _said(near, "one in the last digit off: rounding, or a mean of folds", "disagrees"),
            )
        )
    return rows


def _check_bold() -> list[tuple[str, str, str]]:
    margins, need = bold_margins(), images_for_significance()
    rows = []
    for row in margins.to_dict("records"):
        cell = f"{DISPLAY_NAMES[row['dataset']]} {row['class']}, {row['metric'].replace('_', ' ')}, {row['best']}"
        rows.append(
            (
                f"Bold in Table 2: {cell}",
                f"{row['images']} image(s) of {row['n']} ahead of {row['second']}",
                _said(
                    row["images"] >= need,
                    "within a fold-level test's reach",
                    f"out of reach: fewer than {need}",
                ),
            )
        )
    few = int((margins["images"] <= 6).sum())
    reachable = smallest_attainable_p(FOLDS) < ALPHA
    return [
        *rows,
        (
            "Bold means significant by Wilcoxon over ten folds at 0.005",
            f"{few} of {len(margins)} rest on {margins['images'].min()} to 6 images; {need} are needed "
            f"({need - 1} if folds differ in size)",
            _said(few == 0, "possible", f"not by a fold-level test for these {few}"),
        ),
        (
            "Ten folds can reach p < 0.005",
            f"smallest p: 10 folds {smallest_attainable_p(10):.5f}, 9 {smallest_attainable_p(9):.4f}, "
            f"8 {smallest_attainable_p(8):.4f}",
            _said(reachable, "yes, while at most one fold ties; two ties put it out of reach", "no"),
        ),
        (
            "It stays significant when adjusted for the three pairs of feature sets (Holm)",
            f"3 x {smallest_attainable_p(FOLDS):.5f} = {3 * smallest_attainable_p(FOLDS):.5f} at best",
            _said(3 * smallest_attainable_p(FOLDS) < ALPHA, "can be", "never with ten folds at 0.005"),
        ),
    ]


def _check_imbalance() -> list[tuple[str, str, str]]:
    recall = (
        table3_paper().query("metric == 'defect_recall'").set_index(["dataset", "features", "keep"])["value"]
    )
    lost = {name: float(recall["shavers", name, 1.0] - recall["shavers", name, 0.25]) for name in MAIN}
    margins, need = bold_margins_by_keep(), images_for_significance()
    enough = int((margins["images"] >= need).sum())
    return [
        (
            "Shavers from 100 % to 25 %: almost 12 % lost with images only, 3 % with both, less than images with maps",
            ", ".join(f"{name} {100 * value:.1f} points" for name, value in lost.items()),
            _said(
                0.115 <= lost["image"] < 0.12
                and 0.025 <= lost["image_map"] < 0.035
                and lost["map"] < lost["image"],
                "agrees",
                "disagrees",
            ),
        ),
        (
            "Bold defect recalls in Table 3",
            ", ".join(
                f"{DISPLAY_NAMES[row['dataset']]} {row['keep']:.0%}: {row['images']} of {row['n']:,}"
                for row in margins.to_dict("records")
            )
            + " images ahead of the second best",
            f"{enough} of {len(margins)} are within a fold-level test's reach ({need} images or more)",
        ),
    ]


def _check_combination() -> list[tuple[str, str, str]]:
    recalls = image_counts().query("metric == 'defect_recall'")
    by_class = recalls.pivot(index="class", columns="features", values="k")
    best = by_class["image_map"] >= by_class[["image", "map"]].max(axis=1)
    shared = by_class["image_map"] == by_class[["image", "map"]].max(axis=1)
    areas = (
        table3_paper()
        .query("metric == 'weighted_auc'")
        .pivot(index=["dataset", "keep"], columns="features", values="value")
    )
    behind = areas.index[areas["image_map"] < areas[["image", "map"]].max(axis=1)]
    where = sorted({DISPLAY_NAMES[str(name)] for name, _ in behind})
    return [
        (
            "Images and maps together find the most defects of every class",
            f"ahead or level in {int(best.sum())} of {len(best)} classes, level in {int(shared.sum())}",
            _said(bool(best.all()), "agrees", "disagrees"),
        ),
        (
            "Images and maps together are the best approach in AUC too",
            f"behind the best at {len(behind)} of {len(areas)} places"
            + (f", all on {' and '.join(where)}" if where else ""),
            _said(len(behind) == 0, "agrees", "not everywhere"),
        ),
        (
            "Table 2 prints stripe beside Shavers",
            "Table 1 has stripe among "
            + ", ".join(DISPLAY_NAMES[name] for name, counts in COUNTS.items() if "stripe" in counts),
            "the label stands one row too high; read here as a class of Shaft",
        ),
    ]


def _check_thinning() -> list[tuple[str, str, str]]:
    whole = sum(n for name, n in COUNTS["deco_cap"].items() if name != "good")
    thinned = sum(round(0.25 * n) for name, n in COUNTS["deco_cap"].items() if name != "good")
    nearest = max(k / thinned for k in range(thinned))
    whole_fits = round(387 / whole, 4) == 0.9949
    thinned_fits = any(
        round(k / n, 4) == 0.9949 for n in range(thinned - 2, thinned + 3) for k in range(n + 1)
    )
    return [
        (
            "Deco cap at 25 %: defect recall 0.9949",
            f"thinned test folds ({thinned} defects): one miss is {nearest:.4f}; whole ones: 387/{whole} = "
            f"{387 / whole:.4f}",
            _said(whole_fits and not thinned_fits, "only the training folds were thinned", "does not decide"),
        )
    ]


def _check_claims() -> list[tuple[str, str, str]]:
    areas = (
        table3_paper()
        .query("metric == 'weighted_auc'")
        .pivot(index=["dataset", "keep"], columns="features", values="value")
    )
    shavers = areas.xs("shavers")
    ahead = int((shavers["map"] > shavers["image"]).sum())
    recall = (
        table3_paper().query("metric == 'defect_recall'").set_index(["dataset", "features", "keep"])["value"]
    )
    full, least = (float(recall["shaft", "image_map", keep]) for keep in (1.0, 0.25))
    alone = {
        name: float(recall["shaft", name, 1.0] - recall["shaft", name, 0.25]) for name in ("image", "map")
    }
    caught = image_counts().query("metric == 'defect_recall' and features == 'image_map'")
    below = caught.loc[caught["value"] <= 0.99, "class"].tolist()
    classes = (
        image_counts().query("metric == 'class_recall'").pivot(index="class", columns="features", values="k")
    )
    lost = classes.index[classes["image_map"] < classes[["image", "map"]].max(axis=1)].tolist()
    none = clopper_pearson(0, 198, level=0.90)[1]
    return [
        (
            "Images tend to outperform maps in AUC, or the difference is not significant",
            f"Shavers: the map is ahead at {ahead} of {len(shavers)} keep ratios",
            _said(ahead > 0, "not on Shavers", "holds"),
        ),
        (
            "Image and map together are not affected by class balancing",
            f"Shaft: defect recall {full:.4f} at 100 %, {least:.4f} at 25 %: {full - least:.4f} lost "
            f"(image alone {alone['image']:.4f}, map alone {alone['map']:.4f})",
            _said(
                full - least < 0.01,
                "holds",
                "affected; " + ("map" if alone["map"] < full - least else "neither") + " alone loses less",
            ),
        ),
        (
            "More than 99 % of the defects are found in all but three classes",
            f"at or below 99 %: {', '.join(below)}",
            _said(len(below) == 3, "agrees, for image and map together", "disagrees"),
        ),
        (
            "Image and map together are on par or better in class recall, except for stripe",
            f"behind the best on: {', '.join(lost)}",
            _said(lost == ["stripe"], "agrees", "more exceptions than stripe"),
        ),
        (
            "All 198 flowlines are found (AQL 0)",
            f"0 escapes in 198: at most {100 * none:.1f} % escape (95 %, one-sided); rule of three {300 / 198:.1f} %",
            "an AQL below 1 % is not shown by 198 images without an escape",
        ),
    ]


def _said(holds: bool, yes: str, no: str) -> str:
    return yes if holds else no
