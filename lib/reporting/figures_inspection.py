"""What an inspection reports: expected performance, decisions counted, drift, what to look at and to label first.

Someone who sees the model's suggestion tends to agree with it, and its errors come back as labels. So the sheet of
images to label and `labels-next.csv` say why an image was chosen, never which class is suspected; that is in
`labels-next-model.csv`, to be opened when the labels are made.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.artifacts import Store
from lib.classification.feature_sets import FEATURE_SETS
from lib.classification.operating_threshold import clopper_pearson
from lib.datasets.csv_text import csv_text
from lib.datasets.errors import printable
from lib.evaluation.metrics import count, percent
from lib.inspection.decisions import OOD, PASS, REFUSED, REJECT, REVIEW, UNCERTAIN, decide
from lib.inspection.new_images import Folder, image_loader, maps_of_new
from lib.inspection.production_model import ProductionModel
from lib.inspection.threshold import OutOfFoldScores, Threshold
from lib.pipeline.detectors import inputs_of
from lib.pipeline.run import Run
from lib.reporting import style
from lib.reporting.figures_maps import Thumbnail, describe_overlays, draw_overlay, map_level
from lib.reporting.html_pages import render
from lib.reporting.style import OUTLINE, PALETTE, draw_image, escape_mathtext, finish, panels

VERDICTS_FILE = "verdicts.csv"
TO_LABEL, SUSPECTED = "labels-next.csv", "labels-next-model.csv"
SIDE = 128  # pixels of an image in the figure
PAIRS = 3  # images beside each other, each with its map
DRAWN = 12  # images at most
COLUMNS = 4  # of images to label: large enough to judge, small enough for a page
COLOURS = {PASS: PALETTE["image_map"], REJECT: OUTLINE, REVIEW: PALETTE["image"]}


def keep_verdicts(table: pd.DataFrame, home: Path) -> Path:
    """Write all decisions as CSV into the inspection's folder and return the file."""
    return Store(home).keep_text(VERDICTS_FILE, csv_text(table, index=False))


def count_decisions(table: pd.DataFrame, masks: int = 0) -> str:
    """Say how many images got which decision, and how many files were left out as masks."""
    n, why = table["verdict"].value_counts(), table["reason"].value_counts()
    reasons = ", ".join(f"{name} {why[name]}" for name in (OOD, UNCERTAIN) if why.get(name))
    known = int((table["seen_in_training"].fillna("") != "").sum())
    said = [f"{count(len(table), 'file')}."]
    said += [f"{name.capitalize()}: {n[name]}." for name in (PASS, REJECT, REVIEW, REFUSED) if n.get(name)]
    said += [f"Reasons for review: {reasons}."] * bool(reasons)
    said += [f"Left out as masks: {masks}."] * bool(masks)
    said += [f"Labelled images of the study, which are no evidence: {known}."] * bool(known)
    return " ".join(said)


def describe_expected_performance(threshold: Threshold, prevalence: float, unit: str = "image") -> list[str]:
    """Say what to expect of the threshold on new products like the labelled ones, and on what evidence."""
    shares = threshold.recall_high, threshold.recall, threshold.recall_low
    escapes = [f"{1e6 * prevalence * (1 - share):,.0f}" for share in shares]
    told: dict[str, Any] = {"t": threshold, "enough": np.isfinite(threshold.needed), "prevalence": prevalence}
    told |= {"escapes": escapes, "percent": percent, "count": count, "unit": unit}
    return render("expected.txt.j2", **told).splitlines()


def describe_model(run: Run, model: ProductionModel) -> str:
    """Say which method judges, why, and that drawn products are demo data."""
    drawn = " The labelled images are demo data: they show how inspection works, not how well."
    named = "names the objects" if run.study.group_regex else "would name new objects; verdicts are per image"
    objects = f" The threshold is for objects: group_regex {named}." * (run.study.verdict_per == "object")
    return (
        f"Method: {FEATURE_SETS[model.features].phrase} ({model.features}), {model.why}. "
        f"It is fitted on {count(len(model.out_of_fold.scores), 'labelled image')}.{objects}{drawn * run.synthetic}"
    )


def labelled_verdicts(known: OutOfFoldScores, threshold: Threshold) -> pd.DataFrame:
    """Return the shares of good and of defective labelled images, scored out of fold, that get each decision."""
    verdicts, _ = decide(known.scores, threshold.low, threshold.high)
    truth = np.where(known.defective, "defective", "good")
    shares = pd.crosstab(truth, verdicts, rownames=["labelled as"], normalize="index")
    return shares.reindex(index=["good", "defective"], columns=[PASS, REVIEW, REJECT], fill_value=0.0)


def describe_drift(model: ProductionModel, table: pd.DataFrame) -> str:
    """Say whether more new images are far from the labelled ones than expected."""
    fresh = new_images(table)
    if fresh.empty:
        return "There are no new images to compare with the labelled ones."
    far, n = int((fresh["distance"] > model.reference.limit).sum()), len(fresh)
    (low, high), rate = clopper_pearson(far, n), model.reference.rate
    found = f"{percent(far / n)} (95 % CI {percent(low)} to {percent(high)}); expected: {percent(rate, 0)}"
    said = "There is no sign that the images have changed."
    if low > rate:
        said = "The images have changed (product, light, camera?). "
        said += "Label some, as the expected performance may not hold."
    return f"New images that are unlike every labelled image: {found}. {said}"


def new_images(table: pd.DataFrame) -> pd.DataFrame:
    """Return the judged rows that are no labelled image of the study."""
    return table[(table["verdict"] != REFUSED) & (table["seen_in_training"].fillna("") == "")]


def labelable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows worth a label: new images, each once, but those out of distribution, which are reviewed."""
    fresh = new_images(table)
    return fresh[(fresh["reason"] != OOD) & (fresh["same_as"].fillna("") == "")].reset_index(drop=True)


def flagged(table: pd.DataFrame) -> pd.DataFrame:
    """Return the files that a person should look at or know of (the index), with verdict and reason in words."""
    why = table[["reason", "details"]].fillna("")
    why["same"] = [one and f"same image as {one}" for one in table["same_as"].fillna("")]
    known = table["seen_in_training"].fillna("")
    why["known"] = [one and f"labelled image {one} of the study" for one in known]
    said = ["; ".join(filter(None, row)) for row in why.itertuples(index=False)]
    files = table["file"].astype(str).map(printable)
    found = pd.DataFrame({"file": files, "verdict": table["verdict"], "why": said})
    return found[found["why"] != ""].set_index("file")


def first_to_see(run: Run, folder: Folder, table: pd.DataFrame) -> Figure:
    """Draw the table's first images, each beside itself under its map, with decision and class."""
    rows = table[table["verdict"] != REFUSED].head(DRAWN)
    load = image_loader(run, folder.root, list(rows["file"]))
    images, maps = load(SIDE), maps_of_new(run, inputs_of(run, load))
    level = map_level(run)
    figure, grid = panels(2 * len(rows), 2 * PAIRS, 2.0, layout="compressed")
    pairs = zip(grid.reshape(-1, 2), rows.to_dict("records"), images, maps, strict=False)
    for (left, right), row, image, anomaly_map in pairs:
        draw_image(left, image)
        draw_overlay(right, Thumbnail(image, anomaly_map, None), level)
        name = escape_mathtext(printable(str(row["file"])), 17)
        look = {"loc": "left"}
        left.set_title(f"{row['verdict']} {row['reason']}\n{name}", color=COLOURS[row["verdict"]], **look)
        called = f"{escape_mathtext(row['class'], 11)} {row['probability']:.2f}"
        right.set_title(f"score {row['score']:.3f}\n{called if row['class'] else 'not guessed'}", **look)
    return finish(figure, f"Right of each image: itself. {describe_overlays(level)}")


def drift(model: ProductionModel, table: pd.DataFrame, threshold: Threshold) -> Figure:
    """Draw how scores and distances of new images are spread, over those of the labelled ones."""
    fresh, known = new_images(table), model.out_of_fold
    good, bad = known.scores[~known.defective], known.scores[known.defective]
    new = {"label": "new images", "color": PALETTE["image"], "lw": 2}
    figure, ((left, right),) = panels(2, 2, 3.8)
    left.ecdf(good, label="labelled good, out of fold", color="0.55", lw=1.3)
    left.ecdf(bad, label="labelled defective, out of fold", color=OUTLINE, ls="--", lw=1.3)
    if len(fresh):
        left.ecdf(fresh["score"].to_numpy(float), **new)
    left.axvspan(threshold.low, threshold.high, color="0.85", zorder=0, label="uncertain: for review")
    left.axvline(threshold.value, color="0.2", lw=0.9, label="threshold")
    left.set(xlabel="score, 1 - p(good)", ylabel="share at or below", xlim=(-0.02, 1.02))
    right.ecdf(model.reference.distances, color="0.55", label="labelled, to another object")
    if len(fresh):
        right.ecdf(fresh["distance"].to_numpy(float), **new)
    right.axvline(model.reference.limit, color="0.2", lw=0.9, label="out of distribution beyond")
    right.set(xlabel="distance to the nearest labelled image")
    for axes in (left, right):
        style.percent_ticks(axes.yaxis)
        style.legend_above(axes, 1)
    return finish(figure)


def write_label_suggestions(chosen: pd.DataFrame, verdicts: pd.DataFrame, folder: Path) -> tuple[Path, Path]:
    """Write both lists into `folder`, proven as artefacts of the verdicts, and return their paths.

    `chosen` as `suggest_labels` gives it, its `row` counting in `verdicts` (columns `file`, `p:<class>`). The list to
    label by: rank, file, uncertainty, distance, reason. Apart: rank, file, predicted class and its probability.
    """
    about = verdicts.iloc[chosen["row"].to_numpy(int)].reset_index(drop=True)
    chances, both = about.filter(regex="^p:"), chosen.reset_index().assign(file=about["file"].astype(str))
    both["predicted"] = chances.idxmax(axis=1).astype(str).str.removeprefix("p:")
    both["probability"] = chances.max(axis=1)
    columns = {TO_LABEL: ["rank", "file", "uncertainty", "distance", "reason"]}
    columns |= {SUSPECTED: ["rank", "file", "predicted", "probability"]}
    look: dict[str, Any] = {"index": False, "float_format": "%.4f"}
    first, second = (Store(folder).keep_text(name, csv_text(both[own], **look)) for name, own in columns.items())
    return first, second


def forget_label_lists(folder: Path) -> None:
    """Remove the lists of an earlier inspection, where nothing is left to label."""
    Store(folder).forget(TO_LABEL, SUSPECTED)
    for name in (TO_LABEL, SUSPECTED):
        (folder / name).unlink(missing_ok=True)


def label_sheet(chosen: pd.DataFrame, images: np.ndarray, files: Sequence[str]) -> Figure:
    """Draw the chosen images in their order: rank, file, uncertainty and distance, and the reason in words.

    Of `suggest_labels` (n rows, n > 0): images uint8 (n, H, W, 3), without a map, which would point where it looks.
    """
    figure, grid = panels(len(chosen), COLUMNS, 3.2, layout="compressed")
    for axes, image, file, (rank, row) in zip(grid.flat, images, files, chosen.iterrows(), strict=False):
        draw_image(axes, image)
        axes.set_title(f"{rank}   {escape_mathtext(Path(file).name, 20)}", pad=3, loc="left")
        distance = "–" if np.isnan(row["distance"]) else f"{row['distance']:.2f}"
        numbers = f"uncertainty {row['uncertainty']:.2f} · distance {distance}"
        axes.set_xlabel(f"{numbers}\n{textwrap.fill(row['reason'], 30)}", loc="left")
    key = "Uncertainty 1: two classes equally likely. Distance 1: as far apart as two random images."
    return finish(figure, key)
