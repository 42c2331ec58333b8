"""The paper's printed Tables 1 to 3, the images behind their shares, and the names of data sets."""

from __future__ import annotations

import pandas as pd

from lib.classification.feature_sets import MAIN
from lib.evaluation.significance import smallest_attainable_p

DISPLAY_NAMES = {"deco_cap": "Deco cap", "shaft": "Shaft", "shavers": "Shavers"}
SYNTHETIC = "-synthetic"
KEEP = (0.25, 0.5, 0.75, 1.0)
ALPHA, FOLDS = 0.005, 10

COUNTS = {
    "deco_cap": {"flowlines": 198, "good": 203, "marks": 191},
    "shaft": {"big": 2616, "good": 528, "small": 954, "stripe": 151},
    "shavers": {"double": 244, "good": 2676, "interrupted": 598},
}
# data set, class, then in percent: correct defect class recall and defect recall for image, map, both; * is bold
_RECALLS = """
deco_cap flowlines    98.99  98.99  98.99   98.99  100.00 100.00
deco_cap marks       *99.48  97.38  98.43   99.48  100.00 100.00
shaft    big         *92.43  87.27  92.24   99.73   98.47 *99.96
shaft    small        59.85  47.38 *68.03   78.93   90.46 *92.77
shaft    stripe        0.00  *2.65   0.66   86.75   94.70 *95.36
shavers  double       97.95  88.11 *98.36   98.36   96.72 *99.18
shavers  interrupted  84.45  91.14 *92.64   84.62   92.64 *93.14
"""
# data set, features, then defect recall (binary) and ROC AUC (multiclass) at 25, 50, 75 and 100 %; * is bold
_IMBALANCE = """
deco_cap image      0.9665  0.9922  0.9922  0.9922  0.9996  0.9997  0.9993  0.9999
deco_cap map        0.9949  1.0000  1.0000  1.0000  0.9976  0.9980  0.9984  0.9985
deco_cap image_map  0.9949  1.0000  1.0000  1.0000  0.9983  0.9988  0.9994  0.9996
shaft    image      0.8417  0.9054  0.9430  0.9387  0.9146  0.9242  0.9293  0.9274
shaft    map        0.9059  0.9473  0.9629  0.9626  0.8298  0.8502  0.8585  0.8627
shaft    image_map *0.9106 *0.9546  0.9669 *0.9793  0.9158 *0.9324 *0.9388 *0.9398
shavers  image      0.7670  0.8631  0.8620  0.8860  0.9839  0.9881  0.9891  0.9897
shavers  map        0.8705  0.9039  0.9263  0.9382  0.9854  0.9899  0.9910  0.9915
shavers  image_map *0.9181 *0.9465 *0.9525 *0.9489 *0.9929 *0.9949 *0.9962 *0.9964
"""


def is_synthetic(dataset: str) -> bool:
    """Say whether the data set is a drawn stand-in."""
    return dataset.endswith(SYNTHETIC)


def product_of(dataset: str) -> str | None:
    """Return the paper's data set that `dataset` is, or stands in for; None where the paper has none."""
    name = dataset.removesuffix(SYNTHETIC)
    return name if name in DISPLAY_NAMES else None


def display_name(dataset: str) -> str:
    """Return the name that readers see; a stand-in's says that it is one."""
    name = dataset.removesuffix(SYNTHETIC)
    return DISPLAY_NAMES.get(name, name) + (" (synthetic stand-in)" if is_synthetic(dataset) else "")


def table1_paper() -> pd.DataFrame:
    """Return Table 1: columns dataset, class, n."""
    rows = [(dataset, name, n) for dataset, counts in COUNTS.items() for name, n in counts.items()]
    return pd.DataFrame(rows, columns=["dataset", "class", "n"])


def table2_paper() -> pd.DataFrame:
    """Return Table 2: columns dataset, class, metric, features, value in [0, 1] and bold.

    `metric` is class_recall or defect_recall. The printed label Shavers, one row too high, is corrected: stripe is a
    class of Shaft.
    """
    rows = []
    for dataset, name, *cells in (line.split() for line in _RECALLS.strip().splitlines()):
        for cell, (metric, features) in zip(cells, _columns(("class_recall", "defect_recall")), strict=True):
            share = round(float(cell.lstrip("*")) / 100, 4)
            rows.append((dataset, name, metric, features, share, cell.startswith("*")))
    return pd.DataFrame(rows, columns=["dataset", "class", "metric", "features", "value", "bold"])


def table3_paper() -> pd.DataFrame:
    """Return Table 3: columns dataset, features, metric (defect_recall, weighted_auc), keep, value and bold."""
    rows = []
    for dataset, features, *cells in (line.split() for line in _IMBALANCE.strip().splitlines()):
        columns = [(metric, keep) for metric in ("defect_recall", "weighted_auc") for keep in KEEP]
        for cell, (metric, keep) in zip(cells, columns, strict=True):
            rows.append((dataset, features, metric, keep, float(cell.lstrip("*")), cell.startswith("*")))
    return pd.DataFrame(rows, columns=["dataset", "features", "metric", "keep", "value", "bold"])


def image_counts() -> pd.DataFrame:
    """Return Table 2 with the images behind each share: columns n, k, and whether k / n prints as the paper does."""
    counts = table1_paper().set_index(["dataset", "class"])["n"]
    table = table2_paper()
    table["n"] = [counts[row] for row in zip(table["dataset"], table["class"], strict=True)]
    table["k"] = (table["value"] * table["n"]).round().astype(int)
    table["prints_alike"] = (table["k"] / table["n"]).round(4) == table["value"]
    return table


def pooled_recalls() -> pd.DataFrame:
    """Return Table 2's defect recalls pooled over classes beside Table 3's at 100 %, with their difference."""
    caught = image_counts().query("metric == 'defect_recall'")
    pooled = caught.groupby(["dataset", "features"], sort=False)[["k", "n"]].sum().reset_index()
    printed = table3_paper().query("metric == 'defect_recall' and keep == 1")
    table = pooled.merge(printed[["dataset", "features", "value"]].rename(columns={"value": "printed"}))
    table["pooled"] = (table["k"] / table["n"]).round(4)
    table["difference"] = (table["pooled"] - table["printed"]).round(4)
    return table


def bold_margins() -> pd.DataFrame:
    """Return, for each bold recall of Table 2, by how many images the best beats the second best."""
    rows = []
    for _, cells in image_counts().groupby(["dataset", "class", "metric"], sort=False):
        if cells["bold"].any():
            best, second = cells.sort_values("k", ascending=False).head(2).to_dict("records")
            names = {"best": best["features"], "second": second["features"]}
            where = {name: best[name] for name in ("dataset", "class", "metric")}
            rows.append(where | names | {"images": best["k"] - second["k"], "n": best["n"]})
    return pd.DataFrame(rows)


def bold_margins_by_keep() -> pd.DataFrame:
    """Return, for each bold defect recall of Table 3, by about how many images the best beats the second best.

    A share of four digits names the images to within half an image for up to 5,000 defects.
    """
    counts = table1_paper()
    defects = counts[counts["class"] != "good"].groupby("dataset")["n"].sum()
    rows = []
    recalls = table3_paper().query("metric == 'defect_recall'")
    for (dataset, keep), cells in recalls.groupby(["dataset", "keep"], sort=False):
        if cells["bold"].any():
            best, second = cells.sort_values("value", ascending=False).head(2).to_dict("records")
            n = int(defects[str(dataset)])
            images = round((best["value"] - second["value"]) * n)
            where = {"dataset": dataset, "keep": keep, "best": best["features"], "second": second["features"]}
            rows.append(where | {"images": images, "n": n})
    return pd.DataFrame(rows)


def images_for_significance(folds: int = FOLDS, alpha: float = ALPHA) -> int:
    """Return the fewest images by which a feature set can win with p < alpha over folds of equal size.

    The cheapest way is one image in each of the fewest folds that reach alpha without a loss (where folds differ in
    size, one fold more may lose an image and weigh least: one image fewer). Raises `ValueError` where all the folds
    together cannot reach it.
    """
    enough = [n for n in range(1, folds + 1) if smallest_attainable_p(n) < alpha]
    if not enough:
        raise ValueError(
            f"{folds} folds reach p = {smallest_attainable_p(folds):.4f} at best, not below {alpha}"
        )
    return enough[0]


def _columns(metrics: tuple[str, str]) -> list[tuple[str, str]]:
    return [(metric, features) for metric in metrics for features in MAIN]
