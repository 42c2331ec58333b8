"""Two studies, a and b, of the same labelled images: how their figures differ (b - a), and their sentences in words."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import pandas as pd

from lib.classification.feature_sets import FEATURE_SETS
from lib.evaluation.bootstrap import Paired
from lib.evaluation.metrics import RANKINGS, rows_of_metric
from lib.evaluation.significance import Comparison, bootstrap_difference

_NUMBER = re.compile(r"(?:< )?[+−-]?\b(?:\d+(?:[.,]\d+)*|nan|inf)\b")


def study_differences(
    a: pd.DataFrame, b: pd.DataFrame, good: str, settings: Sequence[Mapping[str, Any]], *, paired: bool
) -> dict[tuple[str, str], Comparison]:
    """Return b against a (untested) by feature set that both have and ranking.

    `a`, `b`: predictions of the same images at one scheme and keep; `settings`: binary and seed of both studies. What
    is `paired` has the same folds, groups and repeats; else the interval is made of each study's own (`_apart`).
    """
    found, both = {}, [name for name in FEATURE_SETS if name in set(a["features"]) & set(b["features"])]
    for metric in RANKINGS:
        rows = [rows_of_metric(one, metric, of["binary"]) for one, of in zip((a, b), settings, strict=True)]
        for name in both:
            parts = [part[part["features"] == name] for part in rows]
            parts = [part.assign(features=x) for x, part in zip("ab", parts, strict=True)]
            seeds = [one["seed"] for one in settings]
            found[name, metric] = (
                bootstrap_difference(pd.concat(parts), metric, "b", "a", good, seeds[0])
                if paired
                else _apart(parts, metric, good, seeds)
            )
    return found


def _apart(rows: Sequence[pd.DataFrame], metric: str, good: str, seeds: Sequence[int]) -> Comparison:
    """Return b - a of independent samples: squared, the distances to the ends of both intervals add up.

    So do Zou and Donner (Construction of confidence limits about effect measures, 2008). What each study's interval
    allows for retraining is kept; that the images are the same only makes it wider than needed.
    """
    sides = zip("ab", rows, seeds, strict=True)
    a, b = (Paired(part, [name], good).samples(metric, seed, 2000)[name] for name, part, seed in sides)
    x, y = float(a.values[0]), float(b.values[0])
    (low_x, high_x), (low_y, high_y) = np.clip([a.interval(seeds[0]), b.interval(seeds[1])], 0, 1).tolist()
    low, high = math.hypot(y - low_y, high_x - x), math.hypot(high_y - y, x - low_x)
    return Comparison(y - x, y - x - low, y - x + high, y, x, metric=metric)


def image_folds(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return by training and image, sorted, the fold that tested it and its group (empty where not known)."""
    rows = predictions.drop_duplicates(["repeat", "id"])[["repeat", "id", "fold", "group"]]
    return rows.fillna({"group": ""}).sort_values(["repeat", "id"], ignore_index=True)


def other_words(a: str, b: str) -> Iterator[tuple[str, str]]:
    """Yield the sentences of two texts that differ when numbers are taken out, side by side; one may be empty."""
    parts = [re.split(r"(?<=\.) ", text) for text in (a, b)]
    words = [[_NUMBER.sub("#", sentence) for sentence in part] for part in parts]
    for same, *places in SequenceMatcher(None, words[0], words[1], autojunk=False).get_opcodes():
        if same != "equal":
            yield " ".join(parts[0][slice(*places[:2])]), " ".join(parts[1][slice(*places[2:])])
