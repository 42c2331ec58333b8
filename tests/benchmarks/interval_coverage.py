"""How often an interval of a difference holds the true difference, by simulated studies; a row per design and metric.

    python -m tests.benchmarks.interval_coverage [--studies 1000]

Two methods score grouped images of five folds. Method b is better by a known effect; every training (fold and repeat)
of either is better or worse than the method is on average by a known spread, and has a scale of its own. The truth is
the mean difference over all studies of the design. `covered` counts intervals that hold it, of nominal 95 %; `width` is
their mean width; `images only` is the same interval without trainings, as it was before. `sd, pooled` beside `sd` says
how much steadier a figure is that every fold reads from its own scores. Writes outputs/benchmarks/coverage.csv.
"""

import argparse

import numpy as np
import pandas as pd
from tqdm import tqdm

from lib.artifacts import write_text
from lib.evaluation.bootstrap import Paired, quantile_ends
from lib.pipeline.run import PROJECT
from tests.evaluation.made_up import measure

DRAWS = 400
METRICS = ("binary_auc", "recall_at_5")


def study(
    generator: np.random.Generator, effect: float, spread: float, repeats: int, folds: int, per_fold: int
) -> pd.DataFrame:
    """Predictions of a simulated study: a third of the images defective, groups of three alike ones."""
    n = folds * per_fold
    fold, group = np.arange(n) % folds, np.arange(n) // folds // 3 * folds + np.arange(n) % folds
    defective = generator.permutation(n) % 3 == 0
    alike, image = generator.normal(size=group.max() + 1)[group], generator.normal(size=n)
    common = np.sqrt(0.3) * alike + np.sqrt(0.4) * image
    parts = []
    for name, skill in (("image", 1.2), ("image_map", 1.2 + effect)):
        own = np.sqrt(0.3) * generator.normal(size=n)
        for repeat in range(repeats):
            trained = skill + spread * generator.normal(size=folds)
            noise = 0.3 * generator.normal(size=n) * (spread > 0)
            shift, scale = generator.normal(size=folds), np.exp(0.5 * generator.normal(size=folds))
            score = (trained[fold] * defective + common + own + noise) * scale[fold] + shift[fold]
            chance = 1 / (1 + np.exp(-score))
            about = {"fold": fold, "id": np.char.mod("%05d", np.arange(n)), "group": np.char.mod("g%d", group)}
            labels = {"label": np.where(defective, "a", "good"), "features": name, "repeat": repeat}
            parts.append(pd.DataFrame(about | labels | {"p:good": 1 - chance, "p:a": chance}))
    return pd.concat(parts, ignore_index=True)


def row(effect: float, spread: float, repeats: int, folds: int, studies: int, seed: int) -> list[dict]:
    """The rows of one design, one per metric."""
    generator, found = np.random.default_rng(seed), {metric: [] for metric in METRICS}
    for number in tqdm(range(studies), desc=f"effect {effect}, spread {spread}, {repeats} x {folds}"):
        frame = study(generator, effect, spread, repeats, folds, 60)
        for metric in METRICS:
            by = Paired(frame, ("image_map", "image"), "good").samples(metric, number, DRAWS)
            gap = by["image_map"] - by["image"]
            first = frame[frame["repeat"] == 0]
            pooled = [measure(metric, first[first["features"] == one], "good")[0] for one in by]
            ends = (*gap.interval(number), *quantile_ends(gap.values[1:]))
            found[metric].append((gap.values[0], pooled[0] - pooled[1], *ends))
    rows = []
    for metric, values in found.items():
        gap, pooled, low, high, least, most = np.array(values).T
        truth = gap.mean()
        rows.append({
            "metric": metric, "effect": effect, "spread": spread, "folds": folds, "repeats": repeats,
            "truth": truth, "covered": ((low <= truth) & (truth <= high)).mean(), "width": (high - low).mean(),
            "claims": ((low > 0) | (high < 0)).mean(),
            "covered, images only": ((least <= truth) & (truth <= most)).mean(),
            "width, images only": (most - least).mean(),
            "sd": gap.std(), "sd, pooled": pooled.std() if repeats == 1 else np.nan,
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    options = parser.parse_args()
    designs = [(effect, spread, repeats, 5) for effect in (0.0, 0.6) for spread in (0.0, 0.4) for repeats in (1, 3)]
    designs += [(0.6, 0.4, repeats, 3) for repeats in (1, 3)]
    rows = [one for number, design in enumerate(designs) for one in row(*design, options.studies, number)]
    table = pd.DataFrame(rows).round(3)
    write_text(PROJECT / "outputs/benchmarks/coverage.csv", table.to_csv(index=False))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
