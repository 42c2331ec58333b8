"""What the checks of a study need beside its predictions."""

from __future__ import annotations

from lib.anomaly_maps.localization_metrics import OVERALL, train_test_auroc
from lib.evaluation.checks import Facts
from lib.pipeline.classification import predictions
from lib.pipeline.dataset import index, parse_split, primary_splits
from lib.pipeline.maps import map_all, map_quality
from lib.pipeline.run import Run


def facts_of(run: Run) -> Facts:
    """Return the facts about a data set whose notebooks 00 to 04 have run."""
    method, good = run.study.map_method, str(index(run).attrs["good"])
    scores, quality = map_all(run), map_quality(run).loc[method]["image_auroc"].drop(OVERALL)
    unseen = train_test_auroc(scores[scores["map_method"] == method], good)[method].mean()
    fits = predictions(run, "classification")[1].query("features == 'image_map' and task == 'multiclass'")
    fits = fits[fits["split"].str.startswith(parse_split(primary_splits(run)[0]).scheme)]
    as_paper = run.study.preset == "paper" and run.study.backbone == "resnet18"
    auroc = {str(label): float(value) for label, value in quality.items()}
    return Facts(auroc, float(unseen), tuple(fits["k_map"].astype(int)), as_paper)
