"""What the checks of a study need beside its predictions."""

from lib.anomaly_maps.localization_metrics import OVERALL, train_test_auroc
from lib.evaluation.checks import Facts
from lib.pipeline.classification import predictions
from lib.pipeline.data_checks import data_facts
from lib.pipeline.dataset import index, parse_split, primary_splits, repeated
from lib.pipeline.maps import map_all, map_quality
from lib.pipeline.run import Run


def facts_of(run: Run) -> Facts:
    """Return the facts about a data set whose notebooks 00 to 04 have run."""
    good, scores = str(index(run).attrs["good"]), map_all(run)
    quality = map_quality(run)["image_auroc"].drop(OVERALL)
    unseen = train_test_auroc(scores, good).mean()
    mine = {name: parse_split(name) for name in repeated(run, primary_splits(run))}
    tested = scores[scores["split"].isin(mine) & scores["tested"]].merge(index(run)[["id", "group"]], on="id")
    tested = tested.assign(fold=[mine[name].of_fold for name in tested["split"]], features="map",
                           repeat=[mine[name].repeat for name in tested["split"]], predicted=tested["label"],
                           **{f"p:{good}": 1 - tested["score"]})  # fmt: skip
    fits = predictions(run, "classification")[1].query("features == 'image_map' and task == 'multiclass'")
    fits = fits[fits["split"].str.startswith(parse_split(primary_splits(run)[0]).scheme)]
    as_paper = run.study.preset == "paper" and run.study.backbone == "resnet18"
    auroc = {str(label): float(value) for label, value in quality.items()}
    return Facts(tested, auroc, float(unseen), tuple(fits["k_map"].astype(int)), as_paper, data_facts(run))
