"""The study's answer in a few computed sentences per data set: does the map help, how, and when defects are few?"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.bootstrap import Interval, bootstrap_difference
from lib.evaluation.metrics import ALL, POOLED, summary
from lib.evaluation.results import StudyResults

METRIC = "weighted_auc"
GUIDE = "guided_all"


def headlines(results: StudyResults) -> pd.DataFrame:
    """Return two or three sentences per data set: columns dataset, answer."""
    names = list(dict.fromkeys(results.mine["dataset"]))
    return pd.DataFrame(
        [(name, " ".join(_answer(results, name))) for name in names], columns=["dataset", "answer"]
    )


def _answer(results: StudyResults, dataset: str) -> Iterator[str]:
    good, study = results.good[dataset], results.study
    whole = results.basis[results.basis["dataset"] == dataset]
    if not {"image", "image_map"} <= set(whole["features"]):
        yield "This study has no anomaly maps beside the images, so the question was not asked."
        return
    gap = bootstrap_difference(_ranked(whole), METRIC, "image_map", "image", good, study.seed)
    areas = _areas(whole, good, study.binary)
    alone = f", the map alone {areas['map']:.3f}" if "map" in areas else ""
    yield (
        f"Image and anomaly map together reach an AUC of {areas['image_map']:.3f}, the image alone {areas['image']:.3f}"
        f"{alone}: {_verdict(gap)}."
    )
    if GUIDE in areas:
        beside = (
            "image_map_all" if "image_map_all" in areas else "image_map"
        )  # the same network without selection, where it was run
        gap = bootstrap_difference(_ranked(whole), METRIC, GUIDE, beside, good, study.seed)
        told = "better than" if gap.low > 0 else "worse than" if gap.high < 0 else "not told apart from"
        yield (
            f"As a guide to where the image is looked at, the map gives an AUC of {areas[GUIDE]:.3f}: {told} "
            f"{FEATURE_SETS[beside].phrase}, {areas[beside]:.3f} ({_span(gap)})."
        )
    mine = results.mine[results.mine["dataset"] == dataset]
    least = mine["keep"].min()
    if least == 1.0:
        yield "The share of defects kept was not varied, so what each loses when they are scarce is not known."
        return
    few = mine[mine["keep"] == least]
    scarce = _areas(few, good, study.binary)
    lost = {
        name: scarce[name] - _areas(mine[mine["keep"] == 1.0], good, study.binary)[name]
        for name in ("image", "image_map")
    }
    there = bootstrap_difference(_ranked(few), METRIC, "image_map", "image", good, study.seed)
    yield (
        f"With only {least:.0%} of the defects to learn from, the AUC changes by {lost['image']:+z.3f} with the image "
        f"and by {lost['image_map']:+z.3f} with both, and there {_verdict(there)}."
    )


def _ranked(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["task"] == "multiclass"]


def _areas(rows: pd.DataFrame, good: str, binary: str) -> dict[str, float]:
    """Return the pooled AUC of each feature set."""
    values = summary(rows, good, binary)
    values = values[(values["fold"] == POOLED) & (values["class"] == ALL) & (values["metric"] == METRIC)]
    return dict(zip(values["features"], values["value"].astype(float), strict=True))


def _verdict(gap: Interval) -> str:
    span = _span(gap)
    if gap.low > 0:
        return f"the map helps ({span})"
    if gap.high < 0:
        return f"the map harms ({span})"
    return f"the map adds nothing beyond chance ({span})"


def _span(gap: Interval) -> str:
    return f"{gap.difference:+z.3f}, 95 % interval {gap.low:+z.3f} to {gap.high:+z.3f}"
