"""Everything that a study's tables and conclusions are made of, computed once from stored predictions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import pandas as pd

from lib.classification.feature_sets import MAIN
from lib.config import Study
from lib.evaluation.label_efficiency import LabelEfficiency, label_efficiency
from lib.evaluation.metrics import ALL, OVERALL, Good, at_keep, summary, where
from lib.evaluation.objects import per_verdict
from lib.evaluation.operating_points import operating_numbers
from lib.evaluation.recommendation import recommend
from lib.evaluation.significance import Comparison, compare


@dataclass(frozen=True)
class StudyResults:
    """What conclusions are drawn from, over all data sets of a study.

    found: predictions of all schemes and keeps; mine: those of each data set's first scheme, which the study reports;
    calibration: out-of-fold predictions of their training images (no rows where none were scored); primary: those of
    mine with all defects, with `summary` of them in measures and `compare` in compared; points: operating points;
    recommended: the choice of a method; label_efficiency: learning curves and needed labels; n: bootstrap samples.
    """

    study: Study
    good: Mapping[str, str]
    found: pd.DataFrame
    mine: pd.DataFrame
    calibration: pd.DataFrame
    primary: pd.DataFrame
    measures: pd.DataFrame
    compared: pd.DataFrame
    points: pd.DataFrame
    recommended: pd.DataFrame
    label_efficiency: LabelEfficiency
    n: int

    def of(self, dataset: str) -> Self:
        """Return the results of one data set alone."""
        tables = {name: value for name, value in vars(self).items() if isinstance(value, pd.DataFrame)}
        mine: dict[str, Any] = {name: t[t["dataset"] == dataset] for name, t in tables.items() if len(t)}
        return replace(self, **mine)

    def each(self) -> Iterator[tuple[str, Self]]:
        """Yield every data set's name and its results alone."""
        yield from ((dataset, self.of(dataset)) for dataset in dict.fromkeys(self.mine["dataset"]))

    def comparison(self, metric: str, a: str, b: str) -> Comparison | None:
        """Return a against b (of one data set) on what the comparisons rest on; None where it was not made."""
        return Comparison.find(self.compared, metric, a, b, self.study.alpha)


def compute_results(
    found: pd.DataFrame, good: Mapping[str, str], study: Study, calibration: pd.DataFrame, n: int = 2000
) -> StudyResults:
    """Return the results of predictions of all schemes and keeps, intervals from n bootstrap samples.

    `calibration`: out-of-fold predictions of training images; it may have no rows. Raises `ValueError` for predictions
    that cannot be counted or paired.
    """
    seed, binary = study.seed, study.binary
    # the first scheme: grouped where groups are known
    mine = found[found["scheme"] == found.groupby("dataset")["scheme"].transform("first")]
    primary = at_keep(mine, 1.0)
    judged, known = (per_verdict(one, good, study.verdict_per) for one in (primary, calibration))
    measures = summary(primary, good, binary)
    tests: Any = {"seed": seed, "alpha": study.alpha, "binary": binary, "n": n, "measures": measures}
    return StudyResults(
        study=study,
        good=good,
        found=found,
        mine=mine,
        calibration=calibration,
        primary=primary,
        measures=measures,
        compared=compare(primary, good, **tests),
        points=operating_numbers(judged, known, good, study.recalls, study.prevalence, binary),
        recommended=recommend(primary, calibration, good, binary),
        label_efficiency=label_efficiency(mine, good, seed=seed, binary=binary, n=n),
        n=n,
    )


def leak(found: pd.DataFrame, good: Good, binary: str = "collapsed") -> pd.DataFrame:
    """Return measures on grouped folds beside those on stratified folds, of the data sets that have both."""
    both = found[found["keep"] == 1.0].groupby("dataset").filter(lambda part: part["scheme"].nunique() > 1)
    columns = ["dataset", "folds", "features", "weighted_auc", "binary_auc", "defect_recall", "false_reject_rate"]
    tables = [pd.DataFrame(columns=columns)]
    for (dataset, scheme), part in both.groupby(["dataset", "scheme"]):
        values = where(summary(part, good, binary), {"fold": OVERALL, "class": ALL})
        table = values.pivot_table("value", "features", "metric").reindex(MAIN)
        table = table.dropna(how="all").reset_index()
        folds = f"{scheme} (leaking)" if scheme == "stratified" else str(scheme)
        tables.append(table.assign(dataset=str(dataset), folds=folds).reindex(columns=columns))
    return pd.concat(tables[1:] or tables, ignore_index=True)
