"""Sentences on the map as a guide, and on one map source against the other."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from lib.classification.feature_sets import COMBINED_DETECTORS, FEATURE_SETS, GUIDED
from lib.config import map_method_title
from lib.evaluation.bootstrap import Interval, bootstrap_difference
from lib.evaluation.metrics import ALL, FPR_LIMIT, POOLED, RECALL_AT_5_FPR, binary_predictions, summary
from lib.evaluation.results import StudyResults


def describe_guided(results: StudyResults, dataset: str) -> Iterator[str]:
    """Say what the image's own features where the map points gain against image and map as the paper combines them."""
    rows = results.basis[results.basis["dataset"] == dataset]
    present = [name for name in GUIDED if name in set(rows["features"])]
    if not present:
        yield "Not asked: no map-guided features were made (setting guided)."
        return
    good, study = results.good[dataset], results.study
    at = _recalls(rows, good, study.binary)
    deciding = binary_predictions(rows, study.binary)
    for name in present:
        gap = bootstrap_difference(deciding, RECALL_AT_5_FPR, name, "image_map", good, study.seed)
        yield (
            f"With {FEATURE_SETS[name].phrase}, {at[name]:.1%} of the defects at {FPR_LIMIT:.0%} false rejects; "
            f"image and map as the paper combines them, {at['image_map']:.1%} ({_points(gap)}): {_verdict(gap)}."
        )


def describe_source_comparison(results: StudyResults, dataset: str) -> Iterator[str]:
    """Say which of the two map sources serves the classifiers better, and whether both do better than one."""
    other = results.sources
    other = other[other["dataset"] == dataset] if len(other) else other
    study, good = results.study, results.good[dataset]
    mine, theirs = map_method_title(study.map_method), map_method_title(study.alternative_map_source)
    if other.empty:
        yield f"The maps are by {mine}; {theirs} was not run beside it (compare_map_source)."
        return
    main = results.mine
    main = main[(main["dataset"] == dataset) & (main["keep"] == 1.0)]
    for name in ("map", "image_map", *GUIDED):
        pair = [part[part["features"] == name] for part in (main, other)]
        if min(map(len, pair)) == 0:
            continue
        both = pd.concat(
            [part.assign(features=maker) for part, maker in zip(pair, (mine, theirs), strict=True)]
        )
        gap = bootstrap_difference(
            binary_predictions(both, study.binary), RECALL_AT_5_FPR, theirs, mine, good, study.seed
        )
        values = {
            maker: _recalls(part, good, study.binary)[name]
            for part, maker in zip(pair, (mine, theirs), strict=True)
        }
        yield (
            f"With {FEATURE_SETS[name].phrase}: {values[mine]:.1%} of the defects at {FPR_LIMIT:.0%} false rejects "
            f"with maps by {mine}, {values[theirs]:.1%} by {theirs} ({_points(gap)}), {_verdict(gap)}."
        )
    for together, alone in COMBINED_DETECTORS.items():
        rows = pd.concat([other[other["features"] == together], main[main["features"] == alone]])
        if rows["features"].nunique() < 2:
            continue
        gap = bootstrap_difference(
            binary_predictions(rows, study.binary), RECALL_AT_5_FPR, together, alone, good, study.seed
        )
        at = _recalls(rows, good, study.binary)
        yield (
            f"With {FEATURE_SETS[together].phrase}, {at[together]:.1%}; "
            f"with {mine} alone in the same way {at[alone]:.1%} ({_points(gap)}): {_verdict(gap)}."
        )


def _recalls(rows: pd.DataFrame, good: str, binary: str) -> dict[str, float]:
    found = summary(rows, good, binary, (RECALL_AT_5_FPR,))
    found = found[(found["fold"] == POOLED) & (found["class"] == ALL)]
    return dict(zip(found["features"], found["value"].astype(float), strict=True))


def _points(gap: Interval) -> str:
    return (
        f"{100 * gap.difference:+z.1f} points, 95 % interval {100 * gap.low:+z.1f} to {100 * gap.high:+z.1f}"
    )


def _verdict(gap: Interval) -> str:
    return "a gain" if gap.low > 0 else "a loss" if gap.high < 0 else "no difference is shown"
