"""Verdicts on new pictures: pass, reject, or look; what a person should see comes first."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lib.inspection.decisions import OOD, PASS, REFUSED, UNCERTAIN, decide, describe_reason, predicted_class
from lib.inspection.decisions import REJECT as REJECT
from lib.inspection.decisions import RULE as RULE
from lib.inspection.decisions import VERDICTS as VERDICTS
from lib.inspection.folder import Folder
from lib.inspection.new_images import ImageFeatures, digests, features_of_new
from lib.inspection.out_of_distribution import ood_reasons
from lib.inspection.production_model import ProductionModel
from lib.inspection.threshold import Threshold
from lib.pipeline.dataset import images, index
from lib.pipeline.run import Run


def judge(
    run: Run,
    line: ProductionModel,
    threshold: Threshold,
    folder: Folder,
    measured: ImageFeatures | None = None,
) -> pd.DataFrame:
    """Judge all pictures of a folder; returns one row per file, what a person should see first.

    `measured` are the folder's `picture_measures` for the line's sources, where they are at hand.
    Columns: file; verdict; reason, why to look or why the file is refused; details, in words; score, 1 - p(good);
    class and probability, the class called (of a picture that does not pass, the likeliest defect; of a foreign one
    none); `p:` every class; map_score; distance to the nearest labelled image, `nearest`; width, height, brightness,
    contrast; seen_in_training, the labelled image that is the same picture; same_as, the file that is.
    """
    if measured is None:
        measured = features_of_new(run, folder.root, folder.names, line.sources)
    found = tabulate(line, threshold, folder, measured)
    table = index(run)
    found["nearest"] = table["id"].to_numpy(dtype=str)[found["nearest"]]
    known = dict(zip(digests(images(run, run.study.feature_size)), table["id"].astype(str), strict=True))
    found["seen_in_training"] = [known.get(digest, "") for digest in measured.digests]
    every = pd.concat([in_order(found), _refused(folder)], ignore_index=True)
    return every.astype({"width": "Int64", "height": "Int64"})


def tabulate(
    line: ProductionModel, threshold: Threshold, folder: Folder, measured: ImageFeatures
) -> pd.DataFrame:
    """Return the judged pictures in the folder's order, `nearest` as a row among the labelled images."""
    scores, chances = line.scores(measured.columns), line.probabilities(measured.columns)
    distances, nearest = line.reference.nearest(measured.embeddings)
    foreign = ood_reasons(line.reference, folder.sizes, measured.brightness, measured.contrast, distances)
    verdicts, reasons = decide(scores, threshold, foreign)
    place = predicted_class(chances, verdicts)
    strange = np.array(reasons) == OOD
    probability = np.where(strange, np.nan, chances[np.arange(len(chances)), place])
    first: dict[str, str] = {}
    same = [first.setdefault(pixels, name) for name, pixels in zip(folder.names, folder.pixels, strict=True)]
    return pd.DataFrame(
        {
            "file": list(folder.names),
            "verdict": verdicts,
            "reason": reasons,
            "details": describe_reason(scores, threshold, reasons, foreign),
            "score": scores,
            "class": np.where(strange, "", np.array(line.classes, dtype=object)[place]),
            "probability": probability,
            **{f"p:{name}": chances[:, place] for place, name in enumerate(line.classes)},
            "map_score": measured.map_scores,
            "distance": distances,
            "nearest": nearest,
            "width": folder.sizes[:, 0],
            "height": folder.sizes[:, 1],
            "brightness": measured.brightness,
            "contrast": measured.contrast,
            "same_as": [
                other if other != name else "" for name, other in zip(folder.names, same, strict=True)
            ],
            "away": np.abs(scores - threshold.value),
        }
    )


def in_order(found: pd.DataFrame) -> pd.DataFrame:
    """Sort what `tabulate` gives: foreign pictures by distance, uncertain ones by how near the threshold they are, then
    rejects and passes by score, the highest first."""
    rank = found["reason"].map({OOD: 0, UNCERTAIN: 1, "": 2}) + (found["verdict"] == PASS)
    within = np.select([rank == 0, rank == 1], [-found["distance"], found["away"]], -found["score"])
    order = pd.DataFrame({"rank": rank, "within": within, "file": found["file"]})
    return found.loc[order.sort_values(["rank", "within", "file"]).index].drop(columns="away")


def _refused(folder: Folder) -> pd.DataFrame:
    refused = folder.refused
    told = {"file": refused["file"].astype(str), "verdict": REFUSED, "reason": refused["issue"].astype(str)}
    return pd.DataFrame(told | {"details": refused["remedy"].astype(str)})
