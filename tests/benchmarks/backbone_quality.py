"""Backbones compared: a row per data set and backbone, each figure the mean over folds, of good against defective.

    python -m tests.benchmarks.backbone_quality --backbone efficientnet_lite0 resnet18=FILE --data DIR --side 224

Maps by PatchCore, cross-fitted, primary folds, all defects. `image`, `guided` and `image+guided`: logistic regression
on all columns; `memory`: the map's own score; `paper: …`: the paper's path, mutual information and the network. Each is
AUC / recall at 5 % false rejects. Writes outputs/benchmarks/backbones-NAME.csv; artefacts are kept below --output, and
used again.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score, roc_curve

from lib.artifacts import write_text
from lib.classification.classifiers import LOGISTIC_REGRESSION, fit
from lib.classification.cross_validation import evaluate_fold
from lib.classification.feature_sets import MAIN
from lib.pipeline.dataset import in_test_fold, index, primary_splits
from lib.pipeline.embeddings import backbone, image_feature_table
from lib.pipeline.features import map_columns
from lib.pipeline.maps import map_all, scores
from lib.pipeline.run import PROJECT, Run, open_run


def anomaly_scores(run: Run, split: str) -> dict[str, np.ndarray]:
    """What each way makes of the split's test images: 1 - p(good), or the map's score."""
    table, train = index(run), ~in_test_fold(run, split)
    labels, classes = table["label"].to_numpy(dtype=str), table.attrs["classes"]
    blocks = {"image": image_feature_table(run)} | {name: map_columns(run, name, split) for name in ("map", "guided")}
    found = {"memory": scores(run, split)[~train]}
    for way, names in {"image": ["image"], "guided": ["guided"], "image+guided": ["image", "guided"]}.items():
        columns = np.concatenate([blocks[name] for name in names], axis=1)
        model = fit(columns[train], labels[train], list(classes), hidden=LOGISTIC_REGRESSION)
        found[way] = 1 - model.probabilities(columns[~train])[:, 0]
    given = {name: blocks[name] for name in ("image", "map")}
    paper = evaluate_fold(given, labels, train, classes=classes, mlp=run.study.mlp, seed=run.seed("classify", split, 0))
    predicted = paper.predictions[paper.predictions["task"] == "multiclass"]
    for name in MAIN:
        found[f"paper: {name}"] = 1 - predicted.loc[predicted["features"] == name, f"p:{classes[0]}"].to_numpy()
    return found


def measured(run: Run) -> dict[str, object]:
    """The row of one data set and backbone."""
    map_all(run)
    began, net = time.process_time(), backbone(run)
    rows = []
    for split in primary_splits(run):
        table, tested = index(run), in_test_fold(run, split)
        defective = (table["label"] != table.attrs["good"]).to_numpy()[tested]
        for way, values in anomaly_scores(run, split).items():
            false_rejects, recall, _ = roc_curve(defective, values)
            rows.append((way, roc_auc_score(defective, values), recall[false_rejects <= 0.05].max()))
    means = pd.DataFrame(rows, columns=["way", "auc", "recall"]).groupby("way", sort=False).mean()
    about = {"dataset": run.name, "backbone": net.title, "side": run.study.feature_size, "seed": run.study.seed}
    cells = {way: f"{auc:.3f} / {recall:.3f}" for way, auc, recall in means.itertuples()}
    return about | cells | {"seconds": round(time.process_time() - began)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", default=["magnetic_tile"])
    parser.add_argument("--data", default="", help="folder of the one named data set")
    parser.add_argument("--backbone", nargs="+", default=["efficientnet_lite0"], metavar="NAME[=FILE]")
    parser.add_argument("--side", type=int, nargs="+", default=[224])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=PROJECT / "outputs" / "benchmarks" / "backbones")
    options = parser.parse_args()
    rows = []
    for dataset in options.dataset:
        for side in options.side:
            for given in options.backbone:
                name, _, file = given.partition("=")
                settings = {
                    "folds": options.folds, "map_source": "patchcore", "coreset_size": 600, "feature_size": side,
                    "image_size": 96, "backbone": name, "weights": file or "auto", "leak_check": "none", "threads": 2,
                }  # fmt: skip
                data = str(Path(options.data).resolve()) if options.data else ""
                run = open_run(dataset, "quick", data, str(options.output / f"{name}-{side}"), settings)
                rows.append(measured(run))
                print(rows[-1], flush=True)
    target = PROJECT / "outputs" / "benchmarks" / f"backbones-{'-'.join(options.dataset)}.csv"
    write_text(target, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    print(pd.DataFrame(rows).to_string())


if __name__ == "__main__":
    main()
