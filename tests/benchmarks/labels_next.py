"""Labels next against random choice at equal label count, and against simpler ways, simulated on the drawn stand-ins.

    python -m tests.benchmarks.labels_next --figure docs/labels-next.png            # what docs/labels.md reports
    python -m tests.benchmarks.labels_next --classifier mlp --ways "labels next"
    python -m tests.benchmarks.labels_next --shares 0.05 0.2 --ways "labels next"
    python -m tests.benchmarks.labels_next --seed 100 --repeats 4 --ways all        # how the default was chosen

A stream of `POOL` images holds few defects, its classes in the paper's proportions. 20 good images and one defect of
each class are labelled; each round the classifier is fitted, a way chooses 20 more, and they are labelled. Test
images are never in the stream. All ways see the same start, stream and test images, so that differences are paired.
Image features of the default backbone. Features are kept in the output folder: a changed backbone needs another.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.metrics import pairwise_distances_argmin_min

from lib.artifacts import atomic, write_text
from lib.classification.classifiers import HIDDEN, LOGISTIC_REGRESSION, fit
from lib.evaluation.metrics import RECALL_AT_5_FPR
from lib.features.backbone import load_backbone
from lib.features.embeddings import image_features
from lib.inspection.active_learning import CERTAIN, margin_uncertainty, standardised, suggest_labels, weighted_k_center
from lib.pipeline.run import PROJECT
from lib.reporting.style import set_style
from lib.synthetic.products import PRODUCTS, render
from tests.evaluation.made_up import measure

GOOD = "good"
DRAWN = {"good": 1200, "defect": 150}  # pictures per class, from which every repeat draws its own
SIDE, SEEN_AT = 128, 96  # pixels: drawn, shown to the backbone
POOL, BATCH, ROUNDS = 500, 20, 5
START_GOOD, TEST_GOOD, TEST_DEFECTS = 20, 300, 40  # the last of each class
MEASURES = ("recall", "auc", "found")
COLOURS = {
    "random": "0.45",
    "labels next": "#00473A",
    "uncertainty": "#0072B2",
    "diversity": "#E69F00",
    "most anomalous": "#D55E00",
}


@dataclass(frozen=True)
class Round:
    """What a way knows: probabilities (N, C), embeddings (N, d) of the stream, (M, d) and labels (M,) of the rest."""

    probabilities: np.ndarray
    embeddings: np.ndarray
    labelled: np.ndarray
    labels: np.ndarray
    seed: int

    def spread(self, worth: np.ndarray) -> np.ndarray:
        new, old = standardised(self.embeddings, self.labelled)
        return weighted_k_center(worth, new, old, BATCH, seed=self.seed)[0]

    def first(self, score: np.ndarray) -> np.ndarray:
        return np.argsort(-score, kind="stable")[:BATCH]

    def anomaly(self) -> np.ndarray:
        new, old = standardised(self.embeddings, self.labelled)
        return pairwise_distances_argmin_min(new, old[self.labels == GOOD])[1]

    def defective(self) -> np.ndarray:
        return 1 - self.probabilities[:, 0]


def _chosen(now: Round) -> np.ndarray:
    found = suggest_labels(now.probabilities, now.embeddings, now.labelled, BATCH, seed=now.seed)
    return found["row"].to_numpy()


def _halves(now: Round) -> np.ndarray:
    """Half of the batch by distance alone, half as labels next."""
    new, old = standardised(now.embeddings, now.labelled)
    far = weighted_k_center(np.ones(len(new)), new, old, BATCH // 2, seed=now.seed)[0]
    rest = np.setdiff1d(np.arange(len(new)), far)
    worth = CERTAIN + margin_uncertainty(now.probabilities[rest])
    second = weighted_k_center(worth, new[rest], np.concatenate([old, new[far]]), BATCH // 2, seed=now.seed)[0]
    return np.concatenate([far, rest[second]])


WAYS: dict[str, Callable[[Round], np.ndarray]] = {
    "random": lambda now: np.random.default_rng(now.seed).permutation(len(now.embeddings))[:BATCH],
    "labels next": _chosen,
    "uncertainty": lambda now: now.first(margin_uncertainty(now.probabilities)),
    "diversity": lambda now: now.spread(np.ones(len(now.embeddings))),
    "most anomalous": lambda now: now.first(now.anomaly()),
    "most probably defective": lambda now: now.first(now.defective()),
    "defective x distance": lambda now: now.spread(CERTAIN + now.defective()),
    "diversity until 10 defects": lambda now: (
        now.spread(np.ones(len(now.embeddings))) if (now.labels != GOOD).sum() < 10 else _chosen(now)
    ),
    "half diversity": _halves,
}
SHOWN = tuple(COLOURS)


def drawn(product: str, seed: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, d) and labels (n,) of freshly drawn pictures, kept in `folder`."""
    path = folder / f"{product}-{seed}.npz"
    if not path.is_file():
        torch.set_num_threads(1)
        backbone, features, labels = load_backbone("efficientnet_lite0", side=SEEN_AT), [], []
        for label in PRODUCTS[product]:
            n = DRAWN[GOOD if label == GOOD else "defect"]
            pictures = np.stack([render(product, label, k, SIDE, seed)[0] for k in range(n)])
            features.append(image_features(backbone, pictures)[0])
            labels += [label] * n
        with atomic(path) as partial:
            np.savez(partial, X=np.concatenate(features), y=np.array(labels))
    with np.load(path) as kept:
        return kept["X"], kept["y"]


def simulate(
    product: str, seed: int, repeat: int, ways: list[str], share: float, hidden: tuple[int, ...], folder: Path
) -> list[dict[str, object]]:
    """A row per way and label count: recall at 5 % false rejects, AUC, defects found."""
    X, y = drawn(product, seed, folder)
    counts = PRODUCTS[product]
    classes = list(counts)
    rng = np.random.default_rng((seed, repeat))
    cards = {name: rng.permutation(np.flatnonzero(y == name)).tolist() for name in classes}

    def deal(name: str, n: int) -> list[int]:
        return [cards[name].pop() for _ in range(n)]

    among = sum(counts[name] for name in classes[1:])
    defects = {name: max(2, round(POOL * share * counts[name] / among)) for name in classes[1:]}
    test = deal(GOOD, TEST_GOOD) + [k for name in classes[1:] for k in deal(name, TEST_DEFECTS)]
    start = deal(GOOD, START_GOOD) + [k for name in classes[1:] for k in deal(name, 1)]
    stream = deal(GOOD, POOL - sum(defects.values())) + [k for name, n in defects.items() for k in deal(name, n)]
    stream = rng.permutation(stream).tolist()
    rows = []
    at_start = fit(X[start], y[start], classes, hidden=hidden).probabilities(X[test + stream])
    for way in ways:
        labelled, left, told = list(start), list(stream), at_start
        for labels in range(0, ROUNDS * BATCH + 1, BATCH):
            if labels:
                model = fit(X[labelled], y[labelled], classes, hidden=hidden)
                told = model.probabilities(X[test + left])
            judged = pd.DataFrame({"label": y[test], f"p:{GOOD}": told[: len(test), 0]})
            rows.append({
                "product": product, "share": share, "repeat": repeat, "way": way, "labels": labels,
                "recall": measure(RECALL_AT_5_FPR, judged, GOOD)[0], "auc": measure("binary_auc", judged, GOOD)[0],
                "found": int((y[labelled] != GOOD).sum()) - len(defects), "there": sum(defects.values()),
            })  # fmt: skip
            if labels == ROUNDS * BATCH:
                break
            now = Round(told[len(test) :], X[left], X[labelled], y[labelled], repeat * 1000 + labels)
            taken = WAYS[way](now)
            labelled += [left[k] for k in taken]
            left = np.delete(left, taken).tolist()
    return rows


def against_random(rows: pd.DataFrame) -> pd.DataFrame:
    """Paired differences to random choice per product and way: the mean over a repeat's rounds, then a t interval.

    `product` "all" pairs the means over the products. `found`: of the stream's defects, at the last label count.
    """
    later = rows[rows["labels"] > 0]
    by_repeat = later.groupby(["share", "product", "repeat", "way"])[["recall", "auc"]].mean()
    last = rows[rows["labels"] == rows["labels"].max()]
    by_repeat["found"] = (
        last.set_index(["share", "product", "repeat", "way"])["found"]
        / last.set_index(["share", "product", "repeat", "way"])["there"]
    )
    overall = by_repeat.groupby(["share", "repeat", "way"]).mean().assign(product="all")
    both = pd.concat([by_repeat.reset_index(), overall.reset_index()])
    table = []
    for (share, product, way), part in both.groupby(["share", "product", "way"], sort=False):
        base = both[(both["share"] == share) & (both["product"] == product) & (both["way"] == "random")]
        row: dict[str, object] = {"share": share, "product": product, "way": way, "repeats": len(part)}
        for name in MEASURES:
            row[name] = part[name].mean()
        for name in ("recall", "auc"):
            gain = part.set_index("repeat")[name] - base.set_index("repeat")[name]
            half = stats.t.ppf(0.975, len(gain) - 1) * gain.sem() if way != "random" else 0.0
            row |= {f"{name}_gain": gain.mean(), f"{name}_low": gain.mean() - half, f"{name}_high": gain.mean() + half}
        table.append(row)
    found = pd.DataFrame(table)
    return found.sort_values("way", key=lambda ways: ways.map(list(WAYS).index), kind="stable").sort_values(
        ["share", "product"], kind="stable", ignore_index=True
    )


def markdown(table: pd.DataFrame) -> str:
    """The table of docs/labels.md."""
    lines = [
        "| product | defects in the stream | way | recall | gain on random | AUC | gain on random | defects found |"
    ]
    lines.append("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for row in table.to_dict("records"):
        gains = [
            ""
            if row["way"] == "random"
            else f"{row[f'{m}_gain']:+.3f} ({row[f'{m}_low']:+.3f} to {row[f'{m}_high']:+.3f})"
            for m in ("recall", "auc")
        ]
        lines.append(
            f"| {row['product']} | {row['share']:.0%} | {row['way']} | {row['recall']:.3f} | {gains[0]} "
            f"| {row['auc']:.3f} | {gains[1]} | {row['found']:.0%} |"
        )
    return "\n".join(lines) + "\n"


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Recall against labels, a panel per product, mean and standard error over the repeats."""
    set_style()
    products = list(dict.fromkeys(rows["product"]))
    figure, panels = plt.subplots(1, len(products), figsize=(9.5, 3.1), sharey=True)
    for axes, product in zip(panels, products, strict=True):
        for k, (way, colour) in enumerate(COLOURS.items()):
            mine = rows[(rows["product"] == product) & (rows["way"] == way)].groupby("labels")["recall"]
            mean, error = mine.mean(), mine.sem()
            axes.plot(mean.index, mean, color=colour, marker="osD^v"[k], ms=4, lw=1.4, label=way)
            axes.fill_between(mean.index, mean - error, mean + error, color=colour, alpha=0.15, lw=0)
        axes.set(title=f"{product} (drawn stand-in)", xlabel="images labelled after the start")
    panels[0].set_ylabel("defect recall at 5 % false rejects")
    panels[-1].legend(fontsize=7.5, frameon=False, loc="lower right")
    figure.tight_layout()
    with atomic(path) as partial:
        figure.savefig(partial, dpi=90, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", nargs="+", default=list(PRODUCTS), choices=list(PRODUCTS))
    parser.add_argument("--ways", nargs="+", default=list(SHOWN), choices=[*WAYS, "all"])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.1], help="defects in the stream")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seed", type=int, default=200, help="of the pictures: 100 chose the default, 200 reports")
    parser.add_argument("--classifier", choices=["linear", "mlp"], default="linear")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=PROJECT / "outputs/benchmarks")
    parser.add_argument("--figure", type=Path, help="draw recall against labels into this PNG")
    told = parser.parse_args()
    ways = list(WAYS) if "all" in told.ways else list(dict.fromkeys(["random", *told.ways]))
    for product in told.products:
        drawn(product, told.seed, told.out / "labels-next")
    hidden = HIDDEN if told.classifier == "mlp" else LOGISTIC_REGRESSION
    found = joblib.Parallel(told.jobs)(
        joblib.delayed(simulate)(product, told.seed, repeat, ways, share, hidden, told.out / "labels-next")
        for share in told.shares for repeat in range(told.repeats) for product in told.products
    )  # fmt: skip
    rows = pd.DataFrame([row for part in found for row in part])
    table = against_random(rows)
    shares = "-".join(f"{share:g}" for share in told.shares)
    stem = f"labels-next-{told.classifier}-seed-{told.seed}-share-{shares}"
    write_text(told.out / f"{stem}-rounds.csv", rows.to_csv(index=False))
    write_text(told.out / f"{stem}.csv", table.to_csv(index=False))
    print(markdown(table), flush=True)
    print(rows.groupby(["share", "product", "way", "labels"])["recall"].mean().unstack().round(3).to_string())
    if told.figure:
        draw(rows[rows["share"] == told.shares[0]], told.figure)


if __name__ == "__main__":
    main()
