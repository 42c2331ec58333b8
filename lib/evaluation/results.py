"""Everything that a study's tables and conclusions are made of, computed once from stored predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lib.config import Study
from lib.evaluation.label_efficiency import LabelEfficiency, label_efficiency
from lib.evaluation.map_fit import ByPlace, excess_rejects, primary_predictions, side_by_side
from lib.evaluation.metrics import summary
from lib.evaluation.operating_points import operating_numbers
from lib.evaluation.significance import against_method, compare


@dataclass(frozen=True)
class StudyResults:
    """What conclusions are drawn from, over all data sets of a study.

    found: predictions of all schemes and keeps; mine: those of each data set's first scheme, which the study believes;
    sources: the predictions with the other map source's maps (no rows where sources are not compared);
    readings, excess: both readings of map_fit side by side (no rows where there is no check), and the good images that
    the as-written one rejects in excess; basis: the predictions at keep 1 that the comparisons rest on, measures:
    `summary` and compared: `compare` of it; versus: the baselines against image + map; points: operating points;
    economy: label economy.
    """

    study: Study
    good: Mapping[str, str]
    found: pd.DataFrame
    mine: pd.DataFrame
    sources: pd.DataFrame
    map_methods: pd.DataFrame
    excess: ByPlace
    basis: pd.DataFrame
    measures: pd.DataFrame
    compared: pd.DataFrame
    versus: pd.DataFrame
    points: pd.DataFrame
    economy: LabelEfficiency


def compute_results(
    found: pd.DataFrame,
    good: Mapping[str, str],
    study: Study,
    calibration: pd.DataFrame,
    other_fit: pd.DataFrame,
    other_source: pd.DataFrame,
    n: int = 2000,
) -> StudyResults:
    """Return the evidence in predictions of all schemes and keeps, intervals from n bootstrap samples.

    `calibration`: out-of-fold predictions of training images; `other_fit`: predictions of the other map fit;
    `other_source`: with maps by the other detector. Any of them may have no rows. Raises `ValueError` for predictions
    that cannot be counted or paired.
    """
    seed, alpha, binary = study.seed, study.alpha, study.binary
    mine = first_scheme(found)
    map_methods = side_by_side(mine, other_fit, study.map_fit)
    excess = excess_rejects(map_methods, good, seed=seed, binary=binary, n=n)
    whole = primary_predictions(mine, map_methods, excess, study.map_fit)
    measures = summary(whole, good, binary)
    settings: dict[str, Any] = {"seed": seed, "alpha": alpha, "binary": binary, "measures": measures}
    return StudyResults(
        study=study,
        good=good,
        found=found,
        mine=mine,
        sources=other_source,
        map_methods=map_methods,
        excess=excess,
        basis=whole,
        measures=measures,
        compared=compare(whole, good, n_bootstrap=n, **settings),
        versus=against_method(whole, good, n=n, **settings),
        points=operating_numbers(
            mine,
            calibration,
            good,
            required=study.required,
            prevalence=study.prevalence,
            binary=binary,
        ),
        economy=label_efficiency(mine, good, seed=seed, binary=binary, n=n),
    )


def first_scheme(found: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions of each data set's first scheme of folds: grouped where groups are known."""
    return found[found["scheme"] == found.groupby("dataset")["scheme"].transform("first")]
