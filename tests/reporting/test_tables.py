from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd
import pytest

from lib.evaluation.metrics import MEAN, summary
from lib.reporting import display, paper_tables
from lib.reporting.result_tables import escape_rate_table
from lib.reporting.table import MISSING, Table
from tests.evaluation.made_up import by_fold, rows

ODD = ["<script>alert(1)</script>", 'a|b "q" {x} $z$', "`ü`\n**y**"]
CLASS_RECALL, RECALL, REJECTS = "Correct defect class recall", "Defect recall", "False reject rate"


class Cells(HTMLParser):
    """Collects tags and the text of every cell."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data


def parsed(table: Table) -> Cells:
    cells = Cells()
    cells.feed(table.to_html())
    return cells


def bold_columns(table: Table, row: int = 0) -> set:
    return {table.frame.columns[place] for at, place in table.bold if at == row}


def test_table1_counts_images_once_and_shows_the_papers():
    images = rows(["good"] * 3 + ["marks"] * 2, ["good"] * 5, dataset="deco_cap-synthetic")
    table = paper_tables.table1(pd.concat([images, images.assign(features="map")]), "ctx")
    assert table.numbers["Number of examples"].tolist() == [3, 2]
    assert table.frame.iloc[1].tolist() == ["Deco cap (synthetic stand-in)", "marks", "2", "191", "-189"]
    assert any("not the paper's data" in note for note in table.notes)
    assert "Paper" not in paper_tables.table1(images.assign(dataset="mine"), "ctx").frame


def test_table1_counts_groups_where_known():
    images = rows(["good"] * 3 + ["a"] * 2, ["good"] * 5, group=["g", "g", "h", "i", "i"])
    assert paper_tables.table1(images, "").numbers.set_index("Class")["Groups"].to_dict() == {
        "good": 2,
        "a": 1,
    }


def test_table2_by_hand_in_the_papers_layout():
    frame = rows(["good", "good", "a", "a", "b"], ["good", "a", "b", "good", "b"])
    table = paper_tables.table2(frame, "good", "toy, preset")
    assert list(dict.fromkeys(over for over, _ in table.frame.columns)) == [
        "Dataset",
        "Class",
        CLASS_RECALL,
        RECALL,
        REJECTS,
    ]
    first = dict(zip(table.frame.columns, table.frame.iloc[0], strict=True))
    assert first[("Class", "")] == "a"
    assert first[(CLASS_RECALL, "Image")] == "0.00% (0.0%–84.2%)"
    assert first[(RECALL, "Image")] == "50.00% (1.3%–98.7%)"
    low, high = (
        table.numbers.iloc[0][(f"{RECALL}, 95 % interval", f"Image {end}")] for end in ("low", "high")
    )
    assert (low, high) == pytest.approx((1 - 0.975**0.5, 0.975**0.5))
    assert first[(REJECTS, "Image")] == "50.00%"
    assert first[(RECALL, "Anom. map")] == MISSING
    assert table.numbers.iloc[0][(RECALL, "Image")] == 0.5
    assert table.caption == "toy, preset"


def test_bold_needs_significance_over_folds():
    clear = paper_tables.table2(
        by_fold({"image": [3] * 10, "map": [4] * 10, "image_map": [0] * 10}), "good", ""
    )
    assert bold_columns(clear) == {(CLASS_RECALL, "Image + Anom. map"), (RECALL, "Image + Anom. map")}
    two_ties = paper_tables.table2(
        by_fold({"image": [0, 0] + [3] * 8, "map": [9] * 10, "image_map": [0] * 10}), "good", ""
    )
    assert not two_ties.bold
    assert any("In 2 of 2 comparisons" in note for note in two_ties.notes)
    one_tie = paper_tables.table2(
        by_fold({"image": [0] + [3] * 9, "map": [9] * 10, "image_map": [0] * 10}), "good", ""
    )
    assert bold_columns(one_tie)


def test_bold_compares_with_the_second_best_only():
    table = paper_tables.table2(
        by_fold({"image": [0] * 10, "map": [9] * 10, "image_map": [0] * 10}), "good", ""
    )
    assert not table.bold


def test_few_folds_say_that_significance_is_out_of_reach():
    frame = by_fold({"image": [9] * 3, "image_map": [0] * 3})
    table = paper_tables.table2(frame, "good", "")
    assert not table.bold
    assert any(
        "3 stratified folds, smallest p in reach 0.25" in note and "out of reach" in note
        for note in table.notes
    )
    assert paper_tables.table2(frame, "good", "", alpha=0.3).bold


def test_fold_mean_and_pooled_differ_and_measures_can_be_given():
    frame = rows(
        ["good", "a", "good", "a", "a", "a"],
        ["good", "good", "good", "a", "a", "a"],
        folds=[0, 0, 1, 1, 1, 1],
    )
    assert paper_tables.table2(frame, "good", "").numbers.iloc[0][(RECALL, "Image")] == 0.75
    mean = paper_tables.table2(frame, "good", "", estimate=MEAN, measures=summary(frame, "good"))
    assert mean.numbers.iloc[0][(RECALL, "Image")] == 0.5
    assert mean.frame.iloc[0][(RECALL, "Image")] == "50.00%"  # no images to count behind a mean of folds
    with pytest.raises(ValueError, match="median"):
        paper_tables.table2(frame, "good", "", estimate="median")
    with pytest.raises(ValueError, match=r"keep 0\.5"):
        paper_tables.table2(frame, "good", "", keep=0.5)


def test_both_schemes_stand_in_one_table_and_leaks_are_named():
    known = by_fold({"image": [1, 1]}).assign(group="g")
    both = pd.concat([known, known.assign(scheme="grouped")])
    table = paper_tables.table2(both, "good", "")
    assert table.frame[("Folds", "")].tolist() == ["stratified (leaks)", "grouped"]
    assert any("leak" in note for note in table.notes)
    assert ("Folds", "") not in paper_tables.table2(known.assign(group=None), "good", "").frame


def test_table3_by_keep_and_features():
    frame = pd.concat(
        [
            by_fold({"image": [5] * 10, "map": [6] * 10, "image_map": [2] * 10}, keep=0.25),
            by_fold({"image": [1] * 10, "map": [2] * 10, "image_map": [0] * 10}),
        ]
    )
    table = paper_tables.table3(frame, "good", "")
    numbers = table.numbers.set_index(("Features", ""))
    assert numbers[("Defect recall (Binary)", "25%")].to_dict() == {
        "Image": 0.5,
        "Anom. map": 0.4,
        "Image + Anom. map": 0.8,
    }
    assert numbers.loc["Image + Anom. map", ("Defect recall (Binary)", "100%")] == 1
    assert numbers.loc["Image", ("ROC AUC (Multiclass)", "100%")] == pytest.approx(0.95)
    assert (numbers[(REJECTS, "25%")] == 0).all()
    assert table.frame.iloc[2][("Defect recall (Binary)", "25%")] == "0.8000 (0.708–0.873)"
    assert bold_columns(table, row=2) == {
        (over, keep)
        for over in ("Defect recall (Binary)", "ROC AUC (Multiclass)")
        for keep in ("25%", "100%")
    }
    assert not bold_columns(table, row=0)


def test_table3_names_classes_without_weight():
    frame = rows(["good", "a", "b", "good", "a"], ["good", "a", "b", "good", "a"], folds=[0, 0, 0, 1, 1])
    assert any("b (fold 1)" in note for note in paper_tables.table3(frame, "good", "").notes)


def test_beside_the_paper_labels_stand_ins_and_leaves_other_data_sets_out():
    frame = rows(
        ["good", "marks", "flowlines"], ["good", "marks", "good"], classes=("good", "marks", "flowlines")
    )
    ours = paper_tables.table2(frame.assign(dataset="deco_cap-synthetic"), "good", "")
    table = paper_tables.table2_beside_paper(ours)
    assert table is not None
    first = dict(zip(table.frame.columns, table.frame.iloc[0], strict=True))
    assert first[("Dataset", "")] == "Deco cap (synthetic stand-in)"
    shown = [first[("Image", name)] for name in ("Ours", "Paper", "Difference", "Our false rejects")]
    assert shown == ["0.00%", "98.99%", "-98.99 pp", "0.00%"]
    assert any("not the paper's data" in note for note in table.notes)
    third = paper_tables.table3_beside_paper(
        paper_tables.table3(frame.assign(dataset="deco_cap"), "good", "")
    )
    assert third is not None
    assert third.numbers.iloc[0][("100%", "Difference")] == pytest.approx(0.5 - 0.9922)
    assert paper_tables.table2_beside_paper(paper_tables.table2(frame, "good", "")) is None


def test_odd_class_names_are_text_in_html_and_markdown(tmp_path):
    frame = rows(["good", *ODD], ["good", *ODD], classes=("good", *ODD))
    table = paper_tables.table2(frame, "good", "<b>ctx</b> a|b")
    page = parsed(table)
    assert {tag for tag, _ in page.tags} <= {
        *(
            "table",
            "caption",
            "strong",
            "br",
            "thead",
            "tbody",
            "tfoot",
            "tr",
            "th",
            "td",
            "ul",
            "li",
            "div",
            "small",
        )
    }
    assert set(ODD) <= set(page.texts)
    scopes = {attrs.get("scope") for tag, attrs in page.tags if tag == "th"}
    assert scopes == {"col", "colgroup", "row"}
    table.to_markdown(tmp_path / "deep" / "t.md")
    text = (tmp_path / "deep" / "t.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| toy")]
    assert len(lines) == 3
    assert all(line.replace("\\|", "").count("|") == len(table.frame.columns) + 1 for line in lines)
    assert "<script" not in text and "<b>" not in text
    assert r"\`ü\` \*\*y\*\*" in text and r"\$z\$" in text
    assert not list((tmp_path / "deep").glob(".*"))


def test_markdown_and_html_set_bold_only_what_is_bold():
    table = paper_tables.table2(by_fold({"image": [3] * 10, "image_map": [0] * 10}), "good", "")
    assert table.markdown().count("**100.00% (96.4%–100.0%)**") == 2
    assert table.to_html().count("<strong>100.00%<br><small>(96.4%–100.0%)</small></strong>") == 2


def test_csv_has_raw_numbers_at_full_precision(tmp_path):
    table = paper_tables.table2(by_fold({"image": [1, 0, 0]}), "good", "")
    table.to_csv(tmp_path / "t.csv")
    read = pd.read_csv(tmp_path / "t.csv")
    assert read["Defect recall: Image"].iloc[0] == 29 / 30
    assert pd.isna(read["Defect recall: Anom. map"].iloc[0])


def test_escape_rates_by_hand():
    table = escape_rate_table(by_fold({"image": [1, 0]}), "good", "ctx")
    assert table.numbers[("Image", "AQL")].tolist() == pytest.approx([5, 5])
    assert table.numbers[("Image, 95 % interval", "AQL high")].iloc[0] == pytest.approx(24.87, abs=0.01)
    assert table.frame.iloc[0][("Image", "AQL")] == "5.00 (0.13–24.87)"
    assert table.frame.iloc[0][("Anom. map", "AQL")] == MISSING


def test_tables_that_are_not_made_leave_no_old_files_and_say_why(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    table = paper_tables.table2(by_fold({"image": [1, 0]}), "good", "")
    display.save_tables({"t": table}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "t.md", "t.html"}
    assert shown == [table]
    display.save_tables({"t": None, "u": None}, tmp_path, "Not run.")
    assert not list(tmp_path.iterdir())
    assert [item.data for item in shown[1:]] == ["Not run."]
