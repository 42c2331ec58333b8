"""The options of map-guided pooling, each with its row, and the one that training folds alone would have chosen.

    python -m tests.benchmarks.guided_quality --data DIR [--weights FILE] [--side 224 448] [--resize squash pad]

Maps by PatchCore (cross-fitted), primary folds, all defects, nothing selected. "All" is image, map statistics and
pooled features. For every outer fold each option is also scored out of fold on the training images, by inner folds; the
row "chosen on training folds" takes in every fold the option that is best there.
Writes outputs/benchmarks/guided.csv and prints it; artefacts are kept below --output, and used again.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from lib.artifacts import write_text
from lib.classification.cross_validation import evaluate_fold
from lib.evaluation.metrics import ALL, OVERALL, RECALL_AT_5_FPR, summary
from lib.features.map_guided_pooling import map_guided_features
from lib.pipeline.dataset import in_test_fold, index, parse_split, primary_splits
from lib.pipeline.embeddings import image_feature_table, patches
from lib.pipeline.features import map_columns
from lib.pipeline.maps import map_all, map_quality, maps
from lib.pipeline.patch_scores import CALIBRATION, fits_of
from lib.pipeline.run import PROJECT, Run, open_run

METRICS = (RECALL_AT_5_FPR, "binary_auc", "weighted_auc", "defect_recall", "false_reject_rate")
WAYS: dict[str, tuple[str, tuple[int, ...] | None]] = {
    "image": ("image", None),
    "image + map statistics": ("guided_logistic", None),
    "12 patches against good, alone": ("guided", (12,)),
    "all, network, 12 patches against good": ("guided_all", (12,)),
    "all, network, 3 + 12 + 48 patches against good": ("guided_all", (3, 12, 48)),
    "all, logistic, 1 patch against good": ("guided_logistic", (1,)),
    "all, logistic, 3 patches against good": ("guided_logistic", (3,)),
    "all, logistic, 12 patches against good": ("guided_logistic", (12,)),
    "all, logistic, 48 patches against good": ("guided_logistic", (48,)),
    "all, logistic, 3 + 12 + 48 patches against good": ("guided_logistic", (3, 12, 48)),
    "all, logistic, every patch against good: no guide": ("guided_logistic", (10**9,)),
}
CHOSEN = "chosen on training folds"


def columns(run: Run, split: str, way: str) -> tuple[str, dict[str, np.ndarray]]:
    """The feature set and the columns of one way in one split; no pooled ones where the way has none."""
    features, counts = WAYS[way]
    sources = {"image": image_feature_table(run), "stats": map_columns(run, "stats", split)}
    if features != "image":
        table, tested = index(run), in_test_fold(run, split)
        good = (table["label"] == table.attrs["good"]).to_numpy() & ~tested
        units = (table["group"] if parse_split(split).scheme == "grouped" else table["id"]).to_numpy(dtype=str)
        none = np.zeros((len(table), 0), np.float32)
        sources["guided"] = (
            none if counts is None else map_guided_features(patches(run), maps(run, split), good, units, counts)
        )
    return features, sources


def fits(run: Run, split: str, way: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of the split's test images, and of its training images by inner folds."""
    features, sources = columns(run, split, way)
    table = index(run)
    labels = table["label"].to_numpy(dtype=str)
    seed = run.seed("classify", split, 0)
    how = {"classes": tuple(table.attrs["classes"]), "mlp": run.study.mlp, "feature_sets": (features,), "seed": seed}

    def predicted(rows: np.ndarray, train: np.ndarray) -> pd.DataFrame:
        given = {name: values[rows] for name, values in sources.items()}
        found = evaluate_fold(given, labels[rows], train, selection="none", **how).predictions
        where = table.iloc[rows[found["row"].to_numpy()]].reset_index(drop=True)
        scheme, fold, *_ = parse_split(split)
        place = {"dataset": run.name, "scheme": scheme, "fold": fold, "repeat": 0}
        return found.assign(**place, id=where["id"], group=where["group"], label=where["label"], features="image")

    whole = predicted(np.arange(len(table)), ~in_test_fold(run, split))
    inner = []
    for rows, train, *_ in fits_of(run, CALIBRATION, split):
        inner.append(predicted(rows, train))
    return whole, pd.concat(inner, ignore_index=True)


def measured(predictions: pd.DataFrame, good: str) -> dict[str, float]:
    """The measures of predictions over all folds."""
    multiclass = predictions[predictions["task"] == "multiclass"]
    found = summary(multiclass, good, "collapsed", METRICS)
    found = found[(found["fold"] == OVERALL) & (found["class"] == ALL)]
    return found.set_index("metric")["value"].astype(float).to_dict()


def rows_of(run: Run, ways: list[str]) -> list[dict[str, object]]:
    """A row per way and one for the choice among them."""
    map_all(run)
    good = str(index(run).attrs["good"])
    names = primary_splits(run)
    about = {
        "dataset": run.name,
        "folds": parse_split(names[0]).scheme,
        "side": run.study.feature_size,
        "resize": run.study.resize,
    }
    about["map AUROC"] = float(map_quality(run).loc["overall", "image_auroc"])
    tested: dict[str, dict[str, pd.DataFrame]] = {}
    inside: dict[str, dict[str, float]] = {}
    rows = []
    for way in ways:
        for split in names:
            whole, inner = fits(run, split, way)
            tested.setdefault(split, {})[way] = whole
            inside.setdefault(split, {})[way] = measured(inner, good)[RECALL_AT_5_FPR]
        found = measured(pd.concat([tested[split][way] for split in names]), good)
        rows.append(about | {"features": way} | found)
        print(rows[-1], flush=True)
    chosen = {split: max(ways, key=lambda way: inside[split][way]) for split in names}
    best = pd.concat([tested[split][chosen[split]] for split in names])
    rows.append(about | {"features": CHOSEN} | measured(best, good))
    print(rows[-1], chosen, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="magnetic_tile")
    parser.add_argument("--data", default="")
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--side", type=int, nargs="+", default=[224])
    parser.add_argument("--resize", nargs="+", default=["squash"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=PROJECT / "outputs" / "benchmarks" / "guided")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the ways whose names hold this")
    options = parser.parse_args()
    ways = [way for way in WAYS if options.only in way]
    if not ways:
        parser.error(f"--only {options.only}: in none of {'; '.join(WAYS)}")
    rows = []
    for side in options.side:
        for resize in options.resize:
            settings = {
                "folds": options.folds, "map_source": "patchcore", "feature_size": side, "resize": resize,
                "backbone": options.backbone, "weights": options.weights, "leak_check": "none", "threads": 2,
            }  # fmt: skip
            data = str(Path(options.data).resolve()) if options.data else ""
            folder = options.output / f"{side}-{resize}"
            rows += rows_of(open_run(options.dataset, "quick", data, str(folder), settings), ways)
    table = pd.DataFrame(rows)
    target = PROJECT / "outputs" / "benchmarks" / f"guided-{options.dataset}.csv"
    write_text(target, table.round(4).to_csv(index=False, lineterminator="\n"))
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
