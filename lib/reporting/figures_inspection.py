"""What an inspection tells: the promise and its evidence, the verdicts counted, drift, and what to see first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.artifacts import Store
from lib.classification.feature_sets import FEATURE_SETS
from lib.classification.intervals import clopper_pearson
from lib.datasets.errors import printable
from lib.inspection.decisions import OOD, PASS, REFUSED, REJECT, REVIEW, UNCERTAIN, decide
from lib.inspection.folder import Folder
from lib.inspection.new_images import maps_of, pictures_of
from lib.inspection.production_model import ProductionModel
from lib.inspection.threshold import Evidence, Threshold
from lib.pipeline.run import Run
from lib.reporting.galleries import overlaid
from lib.reporting.style import OUTLINE, PALETTE, add_caption, escape_mathtext, hide_ticks

VERDICTS = "verdicts.csv"
SIDE = 128  # pixels of a picture on the sheet
COLUMNS = 3  # pictures beside each other, each with its map
SHOWN = 18
COLOURS = {PASS: "#00473A", REJECT: OUTLINE, REVIEW: "#0072B2"}


def count_decisions(table: pd.DataFrame) -> str:
    """Say how many pictures got which verdict."""
    n = {name: int((table["verdict"] == name).sum()) for name in (PASS, REJECT, REVIEW, REFUSED)}
    why = {name: int((table["reason"] == name).sum()) for name in (OOD, UNCERTAIN)}
    judged = n[PASS] + n[REJECT] + n[REVIEW]
    seen = int((table["seen_in_training"].fillna("") != "").sum())
    text = (
        f"Of {judged + n[REFUSED]} files, {judged} were judged: {n[PASS]} pass, {n[REJECT]} are rejected, "
        f"at {n[REVIEW]} a person should look ({why[OOD]} foreign, {why[UNCERTAIN]} uncertain). "
        f"{n[REFUSED]} were refused."
    )
    if seen:
        text += (
            f" Labelled images of the study among them: {seen}, whose verdicts are no evidence of anything."
        )
    return text


def describe_expected_performance(threshold: Threshold, prevalence: float) -> list[str]:
    """Say what the threshold promises to new products like the labelled ones, and on what evidence."""
    t = threshold
    results = f"{t.n_defects} defective and {t.n_good} good labelled images"
    if t.n_units < t.n_defects:
        results += f" (the defective ones of {t.n_units} objects)"
    found = [
        f"Expected of new products of this kind at the threshold {t.value:.4g}: defect recall {t.recall:.1%} "
        f"({t.recall_low:.1%}–{t.recall_high:.1%}), so {1e6 * prevalence * (1 - t.recall):,.0f} escapes "
        f"({1e6 * prevalence * (1 - t.recall_high):,.0f}–{1e6 * prevalence * (1 - t.recall_low):,.0f}) per million "
        f"products of which {prevalence:.2%} are defective; false rejects {t.false_rejects:.1%} "
        f"({t.false_rejects_low:.1%}–{t.false_rejects_high:.1%}), if whoever looks decides as the threshold would.",
        f"Evidence: {results}, each scored by models that had not seen it. 95 % intervals: {t.how}. The models of the "
        "folds stand for the one that judges here, which learned from more images.",
    ]
    if not t.promised:
        needed = "no number of them would do" if t.needed == float("inf") else f"it takes {t.needed:.0f}"
        what = "objects with a defect" if t.n_units < t.n_defects else "defective images"
        found.insert(
            0,
            f"A recall of {t.required:.1%} CANNOT be promised from {t.n_units} {what} ({needed}). The figures below "
            "are of the best threshold that this evidence allows.",
        )
    return found


def keep_verdicts(table: pd.DataFrame, home: Path) -> Path:
    """Write all verdicts as CSV into the inspection's folder and return the file."""
    return Store(home).keep_text(VERDICTS, table.to_csv(index=False, lineterminator="\n"))


def describe_model(run: Run, line: ProductionModel) -> str:
    """Say what judges: features, how they were chosen, and that a stand-in is one."""
    drawn = (
        " The labelled images are drawn stand-ins: this shows how inspection works, not how well."
        if run.synthetic
        else ""
    )
    spoken = FEATURE_SETS[line.features].phrase
    return (
        f"Judged from {spoken} ({line.features}; {line.why}), fitted on all {len(line.results.scores)} labelled "
        f"images.{drawn}"
    )


def labelled_verdicts(results: Evidence, threshold: Threshold) -> pd.DataFrame:
    """Return the shares of good and of defective labelled images, scored out of fold, that get each verdict."""
    verdicts, _ = decide(results.scores, threshold, [()] * len(results.scores))
    truth = np.where(results.defective, "defective", "good")
    shares = pd.crosstab(truth, np.array(verdicts), normalize="index")
    return shares.reindex(index=["good", "defective"], columns=[PASS, REVIEW, REJECT], fill_value=0.0)


def describe_drift(line: ProductionModel, table: pd.DataFrame) -> str:
    """Say whether more new pictures lie far from the labelled ones than should."""
    fresh = new_pictures(table)
    if fresh.empty:
        return "No new picture: nothing to compare with the labelled ones."
    far, n = int((fresh["distance"] > line.reference.limit).sum()), len(fresh)
    low, high = clopper_pearson(far, n)
    rate = line.reference.rate
    text = (
        f"{far} of {n} new pictures ({far / n:.1%}, 95 % interval {low:.1%}–{high:.1%}) lie farther from every "
        f"labelled image than {1 - rate:.0%} of these do from those of other objects; {rate:.0%} would be no surprise. "
    )
    if low > rate:
        return (
            text
            + "The pictures have changed (product, light, camera?): the promise may not hold; label some."
        )
    return text + "No sign that the pictures have changed."


def new_pictures(table: pd.DataFrame) -> pd.DataFrame:
    """Return the judged rows that are no labelled image of the study."""
    return table[(table["verdict"] != REFUSED) & (table["seen_in_training"].fillna("") == "")]


def labelable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows worth a label: new pictures, each once, but foreign ones, which a person sees anyway."""
    fresh = new_pictures(table)
    return fresh[(fresh["reason"] != OOD) & (fresh["same_as"].fillna("") == "")].reset_index(drop=True)


def flagged(table: pd.DataFrame) -> pd.DataFrame:
    """Return what a person should see or know of, with the reason in words."""
    same = table["same_as"].fillna("").map(lambda name: f"same picture as {name}" if name else "")
    seen = (
        table["seen_in_training"]
        .fillna("")
        .map(lambda name: f"labelled image {name} of the study" if name else "")
    )
    reasons = [
        "; ".join(filter(None, [why, details, again, known]))
        for why, details, again, known in zip(
            table["reason"].fillna(""), table["details"].fillna(""), same, seen, strict=True
        )
    ]
    shown = pd.DataFrame(
        {"file": table["file"].astype(str).map(printable), "verdict": table["verdict"], "why": reasons}
    )
    return shown[shown["why"] != ""].set_index("file")


def first_to_see(run: Run, folder: Folder, table: pd.DataFrame, caption: str) -> Figure:
    """Draw the table's first pictures, each beside itself in grey under its map, with verdict and class."""
    rows = table[table["verdict"] != REFUSED].head(SHOWN)
    pictures = pictures_of(run, folder.root, list(rows["file"]))
    photos, maps = pictures(SIDE), maps_of(run, pictures)
    bands = -(-len(rows) // COLUMNS)
    figure, grid = plt.subplots(
        bands, 2 * COLUMNS, figsize=(2 * COLUMNS * 1.3, bands * 1.75), squeeze=False, layout="constrained"
    )
    for axes in grid.flat:
        axes.set_axis_off()
    for place, (row, photo, anomaly) in enumerate(zip(rows.to_dict("records"), photos, maps, strict=True)):
        left, right = grid[place // COLUMNS, 2 * (place % COLUMNS) :][:2]
        for axes, shown in ((left, photo), (right, overlaid(photo, anomaly))):
            axes.set_axis_on()
            axes.imshow(shown)
            hide_ticks(axes)
        left.set_title(
            f"{row['verdict']} {row['reason']}\n{escape_mathtext(printable(str(row['file'])), 22)}",
            fontsize=6.5, color=COLOURS[row["verdict"]], loc="left",
        )  # fmt: skip
        called = (
            f"{escape_mathtext(row['class'], 16)} {row['probability']:.2f}" if row["class"] else "not guessed"
        )
        right.set_title(f"score {row['score']:.3f}\n{called}", fontsize=6.5, loc="left")
    add_caption(figure, caption, "right of each picture: itself in grey under its anomaly map")
    return figure


def drift(line: ProductionModel, table: pd.DataFrame, threshold: Threshold, caption: str) -> Figure:
    """Draw how scores and distances of new pictures are spread, over those of the labelled ones."""
    fresh, results = new_pictures(table), line.results
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    good, bad = results.scores[~results.defective], results.scores[results.defective]
    curves: Sequence[tuple[np.ndarray, str, str, str]] = (
        (good, "labelled good, out of fold", "0.55", "-"),
        (bad, "labelled defective, out of fold", OUTLINE, "--"),
        (fresh["score"].to_numpy(float), "new pictures", PALETTE["image"], "-"),
    )
    for values, name, colour, dash in curves:
        if len(values):
            left.ecdf(values, label=name, color=colour, ls=dash, lw=2 if name == "new pictures" else 1.3)
    left.axvspan(threshold.low, threshold.high, color="0.85", zorder=0, label="uncertain: a person looks")
    left.axvline(threshold.value, color="0.2", lw=0.9, label="threshold")
    left.set(xlabel="score, 1 - p(good)", ylabel="share at or below", xlim=(-0.02, 1.02))
    right.ecdf(line.reference.distances, color="0.55", label="labelled, to another object")
    if len(fresh):
        right.ecdf(fresh["distance"].to_numpy(float), color=PALETTE["image"], lw=2, label="new pictures")
    right.axvline(line.reference.limit, color="0.2", lw=0.9, label="foreign beyond")
    right.set(xlabel="distance to the nearest labelled image")
    for axes in (left, right):
        axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0, decimals=0))
        axes.legend(frameon=False, fontsize=7.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    figure.tight_layout()
    add_caption(figure, caption)
    return figure
