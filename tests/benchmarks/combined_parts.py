"""The parts of the combined method: each alone, in pairs, all; stacked or in one regression; with masks or without.

    python -m tests.benchmarks.combined_parts --dataset magnetic_tile --data DIR --output STUDY [--set repeats=3 ...]

Reads a finished study (the folder that run_all.py wrote), by the same settings. Primary folds, all defects, every
repeat. Prints recall at 5 % false rejects and AUC (means of the folds), recall of each class, and each row's difference
from the combined method with its 95 % interval; writes outputs/benchmarks/combined-parts-NAME.csv.
"""

import argparse
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from lib.artifacts import write_text
from lib.classification.cross_validation import MULTICLASS, evaluate_fold
from lib.classification.feature_sets import FEATURE_SETS, FeatureSet
from lib.evaluation.by_class import class_recalls
from lib.evaluation.metrics import ALL, OVERALL, RECALL_AT_5_FPR, binary_predictions, summary
from lib.evaluation.significance import bootstrap_difference
from lib.pipeline import patch_scores as steps
from lib.pipeline.dataset import index, parse_split, primary_splits, repeated
from lib.pipeline.embeddings import image_feature_table, patches
from lib.pipeline.features import map_columns
from lib.pipeline.maps import scores
from lib.pipeline.patch_scores import fits_of, patch_scores
from lib.pipeline.run import PROJECT, Run, open_run

GUIDED = ("image", "stats", "guided")
VARIANTS = (
    FeatureSet("guided", "combined", "map-guided", all_columns=GUIDED, model="logistic"),
    FeatureSet("score", "combined", "anomaly score", all_columns=("score",), model="logistic"),
    FeatureSet("patch", "combined", "patch classifier", all_columns=("patch",), model="logistic"),
    FeatureSet("guided+score", "combined", "map-guided, score", all_columns=GUIDED, scores=("score",), model="stacked"),
    FeatureSet("guided+patch", "combined", "map-guided, patch", all_columns=GUIDED, scores=("patch",), model="stacked"),
    FeatureSet("score+patch", "combined", "score, patch", all_columns=("score", "patch"), model="logistic"),
    FeatureSet("combined", "combined", "all, stacked", all_columns=GUIDED, scores=("score", "patch"), model="stacked"),
    FeatureSet("one", "combined", "all, one regression", all_columns=(*GUIDED, "score", "patch"), model="logistic"),
)
UNMASKED = ", no masks"


def columns(run: Run, split: str) -> dict[str, np.ndarray]:
    """The study's own columns of a split."""
    return {
        "image": image_feature_table(run),
        "stats": map_columns(run, "stats", split),
        "guided": map_columns(run, "guided", split),
        "score": scores(run, split)[:, None],
        "patch": patch_scores(run, "classification", split)[0],
    }


def without_masks(run: Run, split: str) -> np.ndarray:
    """The patch classifier's scores where maps alone have taught it."""
    (fit,), table = fits_of(run, "classification", split), index(run)
    known, labels, classes = patches(run), table["label"].to_numpy(dtype=str), list(table.attrs["classes"])
    covered, pointed = steps._at_patches(run, split)
    found = np.empty((len(table), len(classes) - 1), np.float32)
    how = (known, labels, (np.zeros_like(covered), pointed), classes, run.study.inner_folds)
    for model, rows in steps._models(fit, *how):
        found[rows] = model.scores(known[rows])
    return found


def predicted(run: Run, split: str) -> pd.DataFrame:
    """Predictions of the split's test images by every variant."""
    (fit,), table, study = fits_of(run, "classification", split), index(run), run.study
    given, parts = columns(run, split), []
    for blocks, variants, name in (
        (given, [one.key for one in VARIANTS], ""),
        (given | {"patch": without_masks(run, split)}, ["patch", "combined"], UNMASKED),
    ):
        found = evaluate_fold(
            blocks,
            table["label"].to_numpy(dtype=str),
            fit.train,
            classes=tuple(table.attrs["classes"]),
            feature_sets=variants,
            groups=fit.groups,
            inner_folds=study.inner_folds,
            seed=fit.seed,
        ).predictions
        parts.append(found.assign(features=found["features"] + name))
    rows = pd.concat(parts, ignore_index=True)
    where = table.iloc[rows["row"].to_numpy()].reset_index(drop=True)
    place = parse_split(split)
    about = {"dataset": run.name, "scheme": place.scheme, "fold": place.fold, "repeat": place.repeat}
    return rows.assign(**about, id=where["id"], group=where["group"], label=where["label"])


def measured(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """A row per variant: recall at 5 % false rejects, AUC, each class's recall, and what is lost against them all."""
    good, seed = str(index(run).attrs["good"]), run.study.seed
    deciding = binary_predictions(rows, "collapsed")
    whole = summary(rows[rows["task"] == MULTICLASS], good, "collapsed", (RECALL_AT_5_FPR, "binary_auc"))
    whole = whole[(whole["fold"] == OVERALL) & (whole["class"] == ALL)]
    table = whole.pivot_table("value", "features", "metric", sort=False)
    by_class = class_recalls(deciding, good, list(table.index), seed=seed)
    table = table.join(by_class.pivot_table("value", "features", "class", sort=False))
    for name in table.index.drop("combined"):
        gap = bootstrap_difference(deciding, RECALL_AT_5_FPR, name, "combined", good, seed, 2000)
        table.loc[name, "less combined"] = gap.span()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="magnetic_tile")
    parser.add_argument("--data", default="")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--output", type=Path, required=True, help="the finished study's folder")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    data = str(Path(options.data).resolve()) if options.data else ""
    settings = dict(pair.split("=", 1) for pair in options.set)
    run = open_run(options.dataset, options.preset, data, str(options.output.resolve()), settings)
    with mock.patch.dict(FEATURE_SETS, {one.key: one for one in VARIANTS}):
        parts = []
        for split in repeated(run, primary_splits(run)):
            parts.append(predicted(run, split))
            print(split, flush=True)
        table = measured(run, pd.concat(parts, ignore_index=True))
    target = PROJECT / "outputs" / "benchmarks" / f"combined-parts-{options.dataset}.csv"
    write_text(target, table.round(4).to_csv(lineterminator="\n"))
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
