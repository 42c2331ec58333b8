"""Tables of what escapes, of methods, comparisons and maps, and of the folds behind a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lib.evaluation.metrics import ALL, summary
from lib.evaluation.operating_points import TRAINING
from lib.evaluation.recommendation import recommend
from lib.evaluation.significance import compare
from lib.pipeline.dataset import in_test_fold, index, splits
from lib.pipeline.maps import map_quality, scores
from lib.pipeline.run import open_run
from lib.reporting.display import show_findings
from lib.reporting.result_tables import costs_table, map_quality_table, methods_table
from tests.evaluation.made_up import study

GOOD = {"toy": "good"}
SETTINGS = {"weights": "random-init", "leak_check": "none", "guided": False}


def test_the_table_of_methods():
    skill = {"image": 1.0, "map": 1.0, "image_map": 1.5, "score": 0.2, "image_map_logistic": 3.0}
    frame = pd.concat([study(skill, n=300), study({"stats": 1.5}, n=300)])
    compared = compare(frame, GOOD, seed=1, n=200)
    choice = recommend(frame, study(skill, n=300, calibrated=True), GOOD)
    table = methods_table(frame, GOOD, compared, choice, "collapsed")
    by_name = table.numbers.set_index(("Features", ""))
    assert by_name.index.tolist()[0] == "Image" and len(by_name) == 6
    area, recall = "AUC, good against defective", "Defect recall at 5 % false rejects"
    ends, beside = by_name[area + ", 95 % interval"], by_name[area, "Less Image + map"]
    best = "Image + map, logistic (recommended)"
    assert ends.loc[best, "Less Image + map low"] > 0
    assert ends.loc["Anomaly score, logistic", "Less Image + map high"] < 0
    gap = compared.query("metric == 'binary_auc' and a == 'image_map' and b == 'image'").iloc[0]
    assert beside["Image"] == -gap["difference"]
    assert pd.isna(beside["Image + map"])  # it is not compared with itself
    assert by_name.loc["Map statistics", (area, "p (Wilcoxon)")] == "not tested"  # the same predictions
    values = summary(frame, GOOD).query("metric == 'recall_at_5' and fold == 'all folds'").set_index("features")
    assert by_name.loc["Image", (recall, "Test")] == values.loc["image", "value"]
    assert sum("recommended" in name for name in by_name.index) == 1
    assert pd.isna(by_name.loc["Map statistics", (recall, "Training")])  # not scored there


def test_the_cheapest_that_reached_the_recall_is_bold():
    row = {"dataset": "toy", "scheme": "s", "class": ALL, "method": TRAINING, "required": 0.9, "n_good": 50}
    row |= {"false_rejects_low": 0.1, "false_rejects_high": 0.3, "recall": 0.8, "recall_high": 0.95}
    points = pd.DataFrame(
        [
            row | {"features": "image", "false_rejects": 0.2},
            row | {"features": "map", "false_rejects": 0.1, "recall_high": 0.85},
            row | {"features": "image_map", "false_rejects": 0.3},
            row | {"features": "image", "false_rejects": 0.9, "class": "a"},
        ]
    )
    table = costs_table(points)
    assert table is not None
    shown = table.frame.droplevel(0, axis=1).iloc[:, -1].tolist()
    assert shown == ["20 % (10–30 %)", "missed: 80.0 % found", "30 % (10–30 %)"]
    assert {at for at, _ in table.bold} == {0} and len(table.numbers) == 3
    assert costs_table(pd.DataFrame()) is None


@pytest.mark.parametrize(("source", "title"), [("draem", "DRAEM"), ("patchcore", "PatchCore")])
def test_the_quality_of_maps_is_that_of_the_test_maps(tmp_path, source, title):
    run = open_run("deco_cap", "smoke", "", str(tmp_path), SETTINGS | {"map_source": source})
    found, table = map_quality(run), index(run)
    bad, aurocs = (table["label"] != "good").to_numpy(), []
    for split in splits(run, with_maps=True):
        told, tested = scores(run, split), in_test_fold(run, split)
        pairs = told[bad & tested][:, None] - told[~bad & tested][None]
        aurocs.append((pairs > 0).mean() + (pairs == 0).mean() / 2)
    assert found.loc["overall", "image_auroc"] == pytest.approx(np.mean(aurocs))
    assert {"pixel_auroc", "pixel_ap", "aupro"} <= set(found.columns)
    assert map_quality_table([run]).numbers[("Maps", "")].unique().tolist() == [title]


def test_the_page_shows_odd_names_as_text():
    columns = ["dataset", "question", "state", "pill", "answer", "evidence"]
    said = pd.DataFrame([("a_b*<script>", "Does it help?", "good", "Yes", "no <b> x.", "More.")], columns=columns)
    text = show_findings(said).data
    assert "<script>" not in text and "a_b*&lt;script&gt;" in text
    assert '<span class="pill good">Yes</span> no &lt;b&gt; x.' in text
    assert "<dd>More.</dd>" in text
