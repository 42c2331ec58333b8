"""Tables of what escapes, of methods, comparisons and maps, and of the folds behind a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lib.evaluation.metrics import ALL, OVERALL, POOLED, binary_predictions, summary
from lib.evaluation.recommendation import recommend
from lib.evaluation.significance import compare
from lib.pipeline.dataset import in_test_fold, index, splits
from lib.pipeline.maps import map_quality, maps, scores
from lib.pipeline.run import open_run
from lib.reporting.comparison_tables import comparison_table, folds_table
from lib.reporting.display import show_findings
from lib.reporting.result_tables import (
    escape_rate_table,
    map_quality_table,
    map_source_table,
    methods_table,
)
from lib.reporting.table import MISSING
from tests.evaluation.made_up import by_fold, study

GOOD = {"toy": "good"}
SETTINGS = {"weights": "random-init", "leak_check": "none", "compare_map_source": True, "guided": False}


def test_escape_rates_by_hand():
    table = escape_rate_table(by_fold({"image": [1, 0]}), "good", "collapsed")
    assert table.numbers["Image", "AQL"].tolist() == pytest.approx([5, 5])
    assert table.numbers["Image, 95 % interval", "AQL high"].iloc[0] == pytest.approx(24.87, abs=0.01)
    assert table.frame.iloc[0]["Image", "AQL"] == "5.00 (0.13–24.87)"
    assert table.frame.iloc[0]["Anomaly map", "AQL"] == MISSING


def test_the_table_of_methods():
    skill = {"image": 1.0, "map": 1.0, "image_map": 1.5, "score": 0.2, "image_map_logistic": 3.0}
    frame = pd.concat([study(skill, n=300), study({"stats": 1.5}, n=300)])
    compared = compare(frame, GOOD, seed=1, n=200)
    choice = recommend(frame, study(skill, n=300, calibrated=True), GOOD)
    table = methods_table(frame, GOOD, compared, choice, "collapsed")
    by_name = table.numbers.set_index(("Features", ""))
    assert by_name.index.tolist()[0] == "Image" and len(by_name) == 6
    against = "AUC, good against defective, less Image + map"
    ends = by_name[against + ", 95 % interval"]
    assert ends.loc["Image + map, logistic", "Difference low"] > 0
    assert ends.loc["Anomaly score, logistic", "Difference high"] < 0
    gap = compared.query("metric == 'binary_auc' and a == 'image_map' and b == 'image'").iloc[0]
    assert by_name.loc["Image", (against, "Difference")] == -gap["difference"]
    assert pd.isna(by_name.loc["Image + map", (against, "Difference")])  # it is not compared with itself
    assert by_name.loc["Map statistics", (against, "p (Wilcoxon)")] == "not tested"  # the same predictions
    values = summary(frame, GOOD).query("metric == 'recall_at_5' and fold == @OVERALL").set_index("features")
    assert by_name.loc["Image", ("Defect recall at 5 % false rejects", "")] == values.loc["image", "value"]
    inside = by_name["On training images"]
    assert inside["Choice"].to_dict()["Image + map, logistic"] == "recommended"
    assert (inside["Choice"] == "recommended").sum() == 1
    assert pd.isna(inside.loc["Map statistics", "Defect recall at 5 % false rejects"])  # not scored there


@pytest.fixture
def compared():
    return compare(study({"image": 1.0, "map": 1.0, "image_map": 2.5}, n=300, folds=10), GOOD, seed=1, n=50)


def test_the_table_of_comparisons_shows_all_three_tests(compared):
    table, by_class = comparison_table(compared), comparison_table(compared, by_class=True)
    assert table is not None and by_class is not None
    frame = table.frame.droplevel(1, axis=1).set_index(["Measure", "Compared"])
    row = frame.loc[("AUC, naming the class", "Image + map against Image")]
    raw = compared.query("metric == 'weighted_auc' and a == 'image_map' and b == 'image'").iloc[0]
    assert row["p (Wilcoxon)"] == "0.00195" and row["Folds that differ"] == "10 of 10"
    assert row["p (Holm)"] == f"{raw['p_holm']:.3g}" and raw["p_holm"] > 0.005
    assert float(raw["p_corrected"]) < 0.05
    names = [name for name, _ in table.frame]
    bold = {names[column] for _, column in table.bold}
    assert bold == {"p (Wilcoxon)"}
    assert set(table.frame["Measure"]) == {
        *("Defect recall", "AUC, naming the class", "AUC, good against defective"),
        "Defect recall at 5 % false rejects",
    }
    shown = [set(one.numbers["class"]) for one in (table, by_class)]
    assert shown == [{ALL}, set(compared["class"]) - {ALL}], "the CSV holds what is shown"
    assert "Defect recall: a" in set(by_class.frame["Measure"]) and ALL not in str(by_class.frame.to_numpy())


def test_out_of_reach_is_a_footnote(compared):
    few = compare(study({"image": 1.0, "image_map": 2.5}, n=300, folds=3), GOOD, seed=1, n=50)
    for rows, out_of in ((few, 4), (compared[compared["in_reach"]], 0)):
        table = comparison_table(rows)
        assert table is not None
        found = [note for note in table.notes if "too few folds differ" in note]
        assert len(found) == bool(out_of)
        assert all(f"{out_of} of {out_of} comparisons too few folds" in note for note in found)
    assert comparison_table(few.iloc[:0]) is None


def test_the_folds_stand_behind_a_figure_and_pooled_scores_beside_it():
    measures = summary(study({"image": 1.0}, n=90), GOOD)
    table = folds_table(measures).set_index("metric")
    for metric in ("defect_recall", "binary_auc"):
        values = measures[(measures["metric"] == metric) & (measures["class"] == ALL)].set_index("fold")[
            "value"
        ]
        single, row = values.drop([OVERALL, POOLED], errors="ignore"), table.loc[metric]
        assert (row["overall"], row["sd"]) == pytest.approx((values[OVERALL], single.std()))
        assert (row["least"], row["most"], row["folds"]) == (single.min(), single.max(), 5)
    assert (
        row["overall"] == pytest.approx(single.mean()) and row["pooled"] == values[POOLED] != row["overall"]
    )
    assert pd.isna(table.loc["defect_recall", "pooled"])  # counts need no common scale


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return open_run("deco_cap", "smoke", "", str(tmp_path_factory.mktemp("study")), SETTINGS)


def test_rows_are_the_sources_own(run):
    main = study({"image": 1.0, "map": 1.0, "image_map": 1.5})
    other = study({"map": 3.0, "image_map": 3.5, "image_two_maps": 4.0, "guided_two_maps": 3.0})
    table = map_source_table(main, other, run.study, {"toy": "good"})
    keys = table.numbers[[("Features", ""), ("Maps", "")]].apply(tuple, axis=1).tolist()
    assert keys == [
        ("Image", "–"),
        ("Anomaly map", "DRAEM"),
        ("Anomaly map", "PatchCore"),
        ("Image + map", "DRAEM"),
        ("Image + map", "PatchCore"),
        ("Image + both maps", "both"),
        ("Image + guided by both maps, logistic", "both"),
    ]
    recalls = table.numbers[("Defect recall (Binary)", "")].tolist()
    for place, frame, name in (
        (1, main, "map"),
        (2, other, "map"),
        (5, other, "image_two_maps"),
        (6, other, "guided_two_maps"),
    ):
        rows = binary_predictions(frame[frame["features"] == name])
        defects = rows[rows["label"] != "good"]
        assert recalls[place] == pytest.approx((defects["predicted"] != "good").mean())
    assert map_source_table(main, pd.DataFrame(), run.study, {"toy": "good"}) is None


def test_the_quality_of_maps_is_that_of_each_sources_test_maps(run):
    found, table = map_quality(run), index(run)
    assert found.index.unique("map_method").tolist() == ["in_sample", "patchcore"]
    for map_method in found.index.unique("map_method"):
        names = splits(run, with_maps=True)
        bad, aurocs = (table["label"] != "good").to_numpy(), []
        for split in names:
            told, tested = scores(run, split, map_method), in_test_fold(run, split)
            pairs = told[bad & tested][:, None] - told[~bad & tested][None]
            aurocs.append((pairs > 0).mean() + (pairs == 0).mean() / 2)
        assert found.loc[(map_method, "overall"), "image_auroc"] == pytest.approx(np.mean(aurocs))
    assert {"pixel_auroc", "pixel_ap", "aupro"} <= set(found.columns)
    assert maps(run, names[0], "patchcore").shape == maps(run, names[0]).shape
    shown = map_quality_table([run])
    assert shown.numbers[("Maps", "")].unique().tolist() == ["DRAEM", "PatchCore"]


def test_the_page_shows_odd_names_as_text():
    columns = ["dataset", "question", "state", "pill", "answer", "evidence"]
    said = pd.DataFrame(
        [("a_b*<script>", "Does it help?", "good", "Yes", "no <b> x.", "More.")], columns=columns
    )
    text = show_findings(said).data
    assert "<script>" not in text and "a_b*&lt;script&gt;" in text
    assert '<span class="pill good">Yes</span> no &lt;b&gt; x.' in text
    assert "<dd>More.</dd>" in text
