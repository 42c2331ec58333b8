"""Backbones compared by one protocol: random-init, embedded, and any files; a row per data set, folds and classifier.

    python -m tests.benchmarks.backbone_quality --weights embedded random-init FILE --magnetic DIR

Image features alone, no selection; five folds, stratified and, where groups are known, grouped; all classes. The AUC
is the study's (one against rest, weighted by class), and good against defective, pooled over the test folds.
"""

import argparse
import itertools
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lib.artifacts import write_text
from lib.classification.classifiers import fit
from lib.features.embeddings import image_features
from lib.features.resnet import load_backbone
from lib.pipeline import dataset as data_steps
from lib.pipeline.run import PROJECT, Run, open_run


def probabilities(
    kind: str, features: np.ndarray, labels: np.ndarray, tested: np.ndarray, classes: list
) -> np.ndarray:
    """Class probabilities (n, K) of the tested rows, by a classifier fitted on the others."""
    if kind == "logistic":
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000, C=0.1))
        model.fit(features[~tested], labels[~tested])
        order = [list(model.classes_).index(name) for name in classes]
        return model.predict_proba(features[tested])[:, order]
    return fit(features[~tested], labels[~tested], classes).probabilities(features[tested])


def measure(run: Run, features: np.ndarray) -> list[dict[str, object]]:
    """A row per scheme of folds and classifier."""
    table = data_steps.index(run)
    labels, good = table["label"].to_numpy(), table.attrs["good"]
    classes = sorted(set(labels))
    splits = data_steps.splits(run)
    rows = []
    for scheme in dict.fromkeys(name.rsplit("-", 1)[0] for name in splits):
        for kind in ("logistic", "MLP"):
            found = np.zeros((len(labels), len(classes)))
            for split in (name for name in splits if name.startswith(scheme)):
                tested = data_steps.in_test_fold(run, split)
                found[tested] = probabilities(kind, features, labels, tested, classes)
            predicted = np.array(classes)[found.argmax(1)]
            is_good = labels == good
            found = found / found.sum(1, keepdims=True)
            rows.append(
                {
                    "dataset": run.name,
                    "folds": scheme,
                    "classifier": kind,
                    "auc": roc_auc_score(
                        labels, found, multi_class="ovr", average="weighted", labels=classes
                    ),
                    "auc_defective": roc_auc_score(~is_good, 1 - found[:, classes.index(good)]),
                    "defect_recall": float((predicted[~is_good] != good).mean()),
                    "class_recall": float((predicted[~is_good] == labels[~is_good]).mean()),
                    "false_rejects": float((predicted[is_good] != good).mean()),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", nargs="+", default=["random-init", "embedded"])
    parser.add_argument("--side", type=int, nargs="+", default=[128], help="of the pictures that it sees")
    parser.add_argument("--magnetic", default="", metavar="DIR", help="magnetic tiles too, from this folder")
    parser.add_argument("--no-standins", action="store_true")
    parser.add_argument("--standin-scale", default="0.25")
    parser.add_argument("--out", type=Path, default=PROJECT / "outputs/benchmarks/backbones.csv")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    named = {} if arguments.no_standins else dict.fromkeys(("deco_cap", "shaft", "shavers"), "")
    if arguments.magnetic:
        named["magnetic_tile"] = arguments.magnetic
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for dataset, data in named.items():
            settings = {"folds": 5, "synthetic_scale": arguments.synthetic_scale, "leak_check": "all"}
            run = open_run(dataset, "quick", data, folder, settings)
            for side, weights in itertools.product(arguments.side, arguments.weights):
                backbone = load_backbone(weights)
                rows = pd.DataFrame(
                    measure(run, image_features(backbone, data_steps.images(run, side), side))
                )
                rows.insert(0, "side", side)
                rows.insert(0, "backbone", backbone.name)
                known = pd.read_csv(arguments.out) if arguments.out.exists() else None
                write_text(arguments.out, pd.concat((known, rows.round(4))).to_csv(index=False))
                print(rows.round(3).to_string(index=False, header=False), flush=True)


if __name__ == "__main__":
    main()
