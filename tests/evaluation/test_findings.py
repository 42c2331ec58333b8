"""Conclusions say what the evidence shows, and something else when it shows something else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lib.config import Study
from lib.evaluation import findings as c
from lib.evaluation.map_fit import choose_map_fit, excess_rejects, primary_predictions, side_by_side
from lib.evaluation.metrics import ALL, summary
from lib.evaluation.results import compute_results
from lib.evaluation.significance import against_method, compare
from lib.reporting.baselines import baseline_table
from lib.reporting.comparisons import comparison_table, pooled_and_mean
from lib.reporting.display import show_findings
from lib.reporting.map_fit import map_fit_table
from tests.evaluation.made_up import study

GOOD = {"toy": "good"}
NONE = pd.DataFrame()


def said(found, *, calibration=NONE, other=NONE, sources=NONE, **settings):
    results = compute_results(found, GOOD, Study.of("quick", settings), calibration, other, sources, n=200)
    table = c.findings(results)
    assert table["answer"].str.len().min() > 20
    return table.set_index("question")["answer"]


def rejecting(frame: pd.DataFrame, share: float) -> pd.DataFrame:
    """Return predictions in which so large a share of the good images is called a defect."""
    frame = frame.reset_index(drop=True)
    good = np.flatnonzero(frame["label"] == "good")
    hit = good[: int(share * len(good))]
    frame.loc[hit, "predicted"] = "a"
    frame.loc[hit, ["p:good", "p:a", "p:b"]] = (0.1, 0.8, 0.1)
    return frame


def test_a_map_that_helps_one_that_harms_and_one_that_does_nothing():
    helps = said(study({"image": 1.0, "map": 1.0, "image_map": 2.5}, n=300, folds=10))[c.HELP]
    assert "By the stated rule (p < 0.005) the map helps" in helps and "points" in helps
    harms = said(study({"image": 2.5, "map": 1.0, "image_map": 1.0}, n=300, folds=10))[c.HELP]
    assert "the map harms" in harms
    same = said(study({"image": 1.0, "map": 1.0, "image_map": 1.0}, n=300, folds=10))[c.HELP]
    assert "no difference is shown" in same and "p = 1 (Holm 1)" in same and "+0.000" in same
    few = said(study({"image": 1.0, "map": 1.0, "image_map": 2.5}, n=300, folds=3))[c.HELP]
    assert "could not be met: 3 folds that differ give p = 0.25 at best" in few
    assert "speaks for a gain" in few
    assert "no anomaly maps" in said(study({"image": 1.0}))[c.HELP]


def test_stand_ins_are_said_to_be_stand_ins():
    frame = study({"image": 1.0, "map": 1.0, "image_map": 1.0}, dataset="shaft-synthetic")
    results = compute_results(frame, {"shaft-synthetic": "good"}, Study.of("quick"), NONE, NONE, NONE, n=20)
    assert "nothing about the paper's products" in c.findings(results)["answer"].iloc[0]


def test_which_folds_to_believe():
    grouped = study({"image": 0.5, "image_map": 0.5}, n=300, scheme="grouped")
    leaking = study({"image": 3.0, "image_map": 3.0}, n=300, scheme="stratified")
    group = "g" + (grouped["id"].astype(int) // 3).astype(str)
    both = pd.concat([grouped.assign(group=group), leaking.assign(group=group.to_numpy())], ignore_index=True)
    assert "Stratified folds flatter" in said(both)[c.FOLDS]
    same = both.assign(
        **{name: pd.concat([both[:600][name]] * 2).to_numpy() for name in ("p:good", "p:a", "p:b")}
    )
    assert "No flattery is shown" in said(same)[c.FOLDS]
    assert "cannot be compared" in said(grouped.assign(group=group))[c.FOLDS]
    assert "leak" in said(leaking.assign(group=group.to_numpy()))[c.FOLDS]
    assert "is not known here" in said(grouped)[c.FOLDS]


def test_maps_that_reject_unseen_goods_move_the_conclusions_to_the_cross_fitted_ones():
    skill = {"image": 2.0, "map": 2.0, "image_map": 3.0}
    main = study(skill, n=300)
    mapped = main["features"] != "image"
    trapped = pd.concat(
        [main[~mapped], *(rejecting(main[main["features"] == f], 0.8) for f in ("map", "image_map"))]
    )
    honest = main[mapped]
    answers = said(trapped, other=honest, compare_map_fit=True)
    assert "rest on the cross-fitted maps" in answers[c.MAPS] and "own reading, as written" in answers[c.MAPS]
    plain = said(main)[c.HELP]
    assert answers[c.HELP] == plain  # the comparison is the honest maps'
    assert said(trapped)[c.HELP] != plain
    calm = said(main, other=honest, compare_map_fit=True)
    assert "without ranking better" in calm[c.MAPS] and "as written" in calm[c.MAPS]
    assert "was not run" in said(main)[c.MAPS]
    turned = said(
        main, other=trapped[trapped["features"] != "image"], map_fit="cross_fitted", compare_map_fit=True
    )
    assert "rest on the cross-fitted maps" in turned[c.MAPS] and "own reading" not in turned[c.MAPS]


def test_both_readings_stand_side_by_side_with_false_rejects():
    main = study({"image": 2.0, "map": 2.0, "image_map": 3.0}, n=300)
    other = pd.concat([rejecting(main[main["features"] == f], 0.8) for f in ("map", "image_map")])
    map_methods = side_by_side(main, other, "cross_fitted")
    assert map_methods.groupby("features")["map_fit"].nunique().to_dict() == {
        "image": 1,
        "map": 2,
        "image_map": 2,
    }
    table = map_fit_table(map_methods, GOOD, "ctx")
    assert table is not None
    rejects = table.numbers.set_index([("Features", ""), ("Maps of training images", "")])[
        ("False reject rate", "")
    ]
    assert rejects["Anom. map", "as written"] >= 0.8 > 0.5 > rejects["Anom. map", "cross-fitted"]
    assert rejects.index.tolist()[0] == ("Image", "none used")
    excess = excess_rejects(map_methods, GOOD, seed=1, n=200)
    assert set(excess) == {("toy", "stratified", "map"), ("toy", "stratified", "image_map")}
    assert choose_map_fit(excess, "toy", "stratified", "in_sample") == "cross_fitted"
    assert choose_map_fit({}, "toy", "stratified", "in_sample") == "in_sample"
    better = {place: replace(gap, auc=0.1) for place, gap in excess.items()}  # stricter, and it ranks better
    assert choose_map_fit(better, "toy", "stratified", "in_sample") == "in_sample"
    kept = primary_predictions(main, map_methods, excess, "cross_fitted")
    assert kept.sort_index(axis=1).equals(main.reset_index(drop=True).sort_index(axis=1))
    assert map_fit_table(side_by_side(main, NONE, "in_sample"), GOOD) is None


def test_a_baseline_that_wins_is_said_to_win_and_one_that_loses_to_lose():
    frame = study(
        {"image": 1.0, "map": 1.0, "image_map": 1.5, "score": 0.2, "image_map_logistic": 3.0}, n=300
    )
    text = said(frame)[c.SIMPLER]
    assert "Better than image and map together" in text and "So yes" in text
    places = [text.index(part) for part in ("logistic regression on all", "Worse", "the anomaly score alone")]
    assert places == sorted(places)
    weak = said(study({"image": 1.0, "map": 1.0, "image_map": 3.0, "score": 0.2}, n=300))[c.SIMPLER]
    assert "nothing simpler that was tried does as well" in weak
    twin = study({"image": 1.0, "image_map": 1.5, "image_map_all": 1.5}, n=300)
    assert "Not told apart" in said(twin)[c.SIMPLER]
    assert "No baselines were run" in said(study({"image": 1.0, "image_map": 1.5}))[c.SIMPLER]


def test_the_table_of_baselines():
    frame = study(
        {"image": 1.0, "map": 1.0, "image_map": 1.5, "score": 0.2, "image_map_logistic": 3.0}, n=300
    )
    versus = against_method(frame, GOOD, seed=1, n=200)
    table = baseline_table(frame, GOOD, versus, "ctx")
    assert table is not None
    by_name = table.numbers.set_index(("Features", ""))
    assert by_name.index.tolist()[0] == "Image" and len(by_name) == 5
    against = "AUC (Multiclass) against Image + Anom. map"
    assert by_name.loc["Image + Anom. map, no selection, logistic", (against, "Low")] > 0
    assert by_name.loc["Anomaly score alone, logistic", (against, "High")] < 0
    assert by_name.isna().sum(axis=1)["Image + Anom. map"] == 5  # it is not compared with itself
    values = summary(frame, GOOD).query("metric == 'recall_at_5' and fold == 'pooled'").set_index("features")
    shown = by_name[("Defect recall at 5% false rejects", "")]
    assert shown["Image"] == values.loc["image", "value"]
    assert baseline_table(study({"image": 1.0, "image_map": 1.0}), GOOD, versus) is None


def test_the_cost_of_a_recall_needs_calibration():
    skill = {"image": 1.0, "map": 1.0, "image_map": 2.0}
    text = said(study(skill, n=300), calibration=study(skill, n=300, calibrated=True))[c.COST]
    assert "For 90.0% of the defects: the image" in text and "escapes per million" in text
    assert "refuses for 99.5% (160 calibration defects, 199 needed)" in text
    assert "optimistic" in said(study(skill))[c.COST]


def test_thresholds_that_do_not_carry_over_are_said_not_to():
    skill = {"image": 2.0, "map": 2.0, "image_map": 2.0}
    easy = study(skill, n=300, calibrated=True)
    easy["p:good"] = easy["p:good"].where(easy["label"] == "good", easy["p:good"] * 0.2)
    assert "does not carry over" in said(study(skill, n=300), calibration=easy)[c.COST]


def test_labels():
    text = said(study({"image": 1.5, "map": 0.2, "image_map": 2.5}, n=600, keep=(0.25, 0.5, 1.0)))[c.LABELS]
    assert "With 320 labelled defects in training the image finds" in text
    assert "the anomaly map: not reached" in text
    assert "was not varied" in said(study({"image": 1.0, "image_map": 1.5}))[c.LABELS]


def test_the_page_shows_odd_names_as_text():
    table = pd.DataFrame(
        [("a_b*<script>", c.HELP, "no [link](x) $x$")], columns=["dataset", "question", "answer"]
    )
    text = show_findings(table).data
    assert "<script>" not in text and r"a\_b\*" in text and r"\[link\]" in text


@pytest.fixture
def compared():
    return compare(
        study({"image": 1.0, "map": 1.0, "image_map": 2.5}, n=300, folds=10), GOOD, seed=1, n_bootstrap=50
    )


def test_the_table_of_comparisons_shows_all_three_tests(compared):
    table = comparison_table(compared, "ctx")
    frame = table.frame.set_index(["Measure", "Compared"])
    row = frame.loc[("ROC AUC (Multiclass)", "Image + Anom. map against Image")]
    raw = compared.query("metric == 'weighted_auc' and a == 'image_map' and b == 'image'").iloc[0]
    assert row["p (Wilcoxon)"] == "0.00195" and row["Folds that differ"] == "10 of 10"
    assert row["p (Holm)"] == f"{raw['p_holm']:.3g}" and raw["p_holm"] > 0.005
    assert float(raw["p_corrected"]) < 0.05
    names = list(table.frame)
    bold = {names[column] for _, column in table.bold}
    assert bold == {"p (Wilcoxon)"}
    assert set(table.frame["Measure"]) == {"Defect recall", "ROC AUC (Multiclass)"}
    by_class = comparison_table(compared, by_class=True)
    assert "Defect recall: a" in set(by_class.frame["Measure"]) and ALL not in str(by_class.frame.to_numpy())


def test_out_of_reach_is_a_footnote(compared):
    few = compare(study({"image": 1.0, "image_map": 2.5}, n=300, folds=3), GOOD, seed=1, n_bootstrap=50)
    assert any("2 of 2 comparisons too few folds" in note for note in comparison_table(few).notes)
    notes = comparison_table(compared[compared["in_reach"]]).notes
    assert not any("out of reach" in note for note in notes)


def test_pooled_and_mean_stand_beside_each_other():
    measures = summary(study({"image": 1.0}, n=90), GOOD)
    table = pooled_and_mean(measures).set_index("metric")
    folds = measures[(measures["metric"] == "defect_recall") & (measures["class"] == ALL)].set_index("fold")[
        "value"
    ]
    single = folds.drop(["pooled", "mean"])
    row = table.loc["defect_recall"]
    assert (row["pooled"], row["mean"], row["sd"]) == pytest.approx(
        (folds["pooled"], single.mean(), single.std())
    )
    assert (row["least"], row["most"], row["folds"]) == (single.min(), single.max(), 5)


def test_a_guide_that_helps_is_said_to_help_and_one_that_was_not_made_is_missing():
    frame = study({"image": 1.0, "map": 1.0, "image_map": 1.0, "guided": 3.5, "guided_all": 1.0}, n=300)
    text = said(frame)[c.GUIDE]
    better, same = text.split(". With ")
    assert "a gain" in better and "the image where the map points" in better
    assert "+0.0 points" in same and "no difference is shown" in same
    assert "Not asked" in said(study({"image": 1.0, "map": 1.0, "image_map": 1.0}))[c.GUIDE]


def test_the_other_map_source_is_compared_set_by_set():
    main = study({"image": 1.0, "map": 1.0, "image_map": 1.0}, n=300)
    assert "PatchCore was not run" in said(main)[c.SOURCE]
    other = study({"map": 3.5, "image_map": 1.0, "image_two_maps": 3.5}, n=300)
    text = said(main, sources=other, compare_map_source=True)[c.SOURCE]
    the_map, both, together = (text.split("With ")[place] for place in (1, 2, -1))
    assert "by DRAEM" in the_map and "by PatchCore" in the_map and "a gain" in the_map
    assert "no difference is shown" in both and "a gain" in together
    turned = said(main, sources=other, compare_map_source=True, map_source="patchcore")[c.SOURCE]
    assert "with maps by PatchCore" in turned
    guided = {"guided_logistic": 2.0}
    main = study({"image": 1.0, "map": 1.0, "image_map": 1.0, **guided}, n=300)
    other = study({"map": 1.0, "image_map": 1.0, **guided, "guided_two_maps": 3.5}, n=300)
    *_, last = said(main, sources=other, compare_map_source=True)[c.SOURCE].split("With ")
    assert "the image where each of them points" in last and "a gain" in last


def test_the_map_sources_are_compared_by_the_two_class_model_where_that_decides():
    def both_tasks(skill, binary_skill):
        two = study(binary_skill, n=300)
        return pd.concat([study(skill, n=300), two.assign(task="binary")], ignore_index=True)

    alike = {"map": 1.0, "image_map": 1.0}
    main = both_tasks({"image": 1.0, **alike}, {"image": 1.0, **alike})
    other = both_tasks(alike, {"map": 3.5, "image_map": 1.0})
    asked = {"sources": other, "compare_map_source": True}
    assert "a gain" not in said(main, **asked)[c.SOURCE]
    assert said(main, **asked, binary="separate")[c.SOURCE].count("a gain") == 1
