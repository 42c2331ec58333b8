"""Everything that a study's tables and conclusions are made of, computed once from stored predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lib.config import Study
from lib.evaluation.metrics import summary
from lib.evaluation.operating_points import operating_numbers
from lib.evaluation.significance import compare
from lib.pipeline.classification import SOURCE_CHECK, calibration, predictions
from lib.pipeline.run import Run
from lib.reporting.baselines import against_method
from lib.reporting.economy import LabelEfficiency, label_efficiency
from lib.reporting.map_fit import ByPlace, excess_rejects, primary_predictions, side_by_side


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
    other: pd.DataFrame,
    sources: pd.DataFrame | None = None,
    n: int = 2000,
) -> StudyResults:
    """Return the evidence in predictions of all schemes and keeps, intervals from n bootstrap samples.

    `calibration`: out-of-fold predictions of training images; `other`: predictions of the other reading of map_fit;
    `sources`: with the other map source's maps. Any of them may have no rows. Raises `ValueError` for predictions that
    cannot be counted or paired.
    """
    seed, alpha, binary = study.seed, study.alpha, study.binary
    mine = first_scheme(found)
    map_methods = side_by_side(mine, other, study.map_fit)
    excess = excess_rejects(map_methods, good, seed=seed, binary=binary, n=n)
    whole = primary_predictions(mine, map_methods, excess, study.map_fit)
    measures = summary(whole, good, binary)
    settings: dict[str, Any] = {"seed": seed, "alpha": alpha, "binary": binary, "measures": measures}
    return StudyResults(
        study=study,
        good=good,
        found=found,
        mine=mine,
        sources=pd.DataFrame() if sources is None else sources,
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


def calibrations(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the out-of-fold predictions of training images of all data sets."""
    return pd.concat([calibration(run) for run in runs], ignore_index=True)


def other_map_fit_predictions(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the predictions of the other reading of map_fit, of the studies that check it, else no rows."""
    checked = [predictions(run, "compare_map_fit")[0] for run in runs if run.study.compare_map_fit]
    return pd.concat(checked, ignore_index=True) if checked else pd.DataFrame()


def other_map_source_predictions(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the predictions with the other source's maps, of the studies that compare sources, else no rows."""
    asked = [predictions(run, SOURCE_CHECK)[0] for run in runs if run.study.compare_map_source]
    return pd.concat(asked, ignore_index=True) if asked else pd.DataFrame()
