"""The paper's tables, counted by hand, and how a table writes itself."""

from __future__ import annotations

from functools import partial
from html.parser import HTMLParser

import pandas as pd
import pytest

from lib.reporting import display, paper_tables
from lib.reporting.paper_tables import beside_paper, table1
from lib.reporting.table import MISSING, Table, Value
from tests.evaluation.made_up import by_fold, rows

ODD = ["<script>alert(1)</script>", 'a|b "q" {x} $z$', "`ü`\n**y**"]
table2, table3 = (partial(one, binary="collapsed", alpha=0.005) for one in (paper_tables.table2, paper_tables.table3))
CLASS_RECALL, RECALL, REJECTS = "Correct defect class recall", "Defect recall", "False reject rate"
AUC = "AUC, naming the class"
TAGS = {
    *("table", "caption", "strong", "br", "thead", "tbody", "tfoot", "tr", "th", "td"),
    *("ul", "li", "div", "small", "details", "summary"),
}


class Cells(HTMLParser):
    """Collects tags and the text of every cell."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data.strip()


def texts(table: Table, *names: str) -> dict:
    """Return what readers see by the texts of the header columns (those named)."""
    flat = table.frame.droplevel(1, axis=1)
    return {tuple(row[name] for name in names): row for row in flat.to_dict("records")}


def test_table1_counts_images_once_and_shows_the_papers():
    images = rows(["good"] * 3 + ["marks"] * 2, ["good"] * 5, dataset="deco_cap")
    table = table1(pd.concat([images, images.assign(features="map")]))
    assert table.numbers["Images"].tolist() == [3, 2]
    assert table.frame.iloc[1].tolist() == ["marks", "2", "40 %", "191", "−189"]
    other = table1(images.assign(dataset="mine", group=["g", "g", "h", "i", "i"]))
    assert "Paper" not in other.frame and other.numbers["Objects"].tolist() == [2, 1]


def test_table2_by_hand():
    frame = rows(["good", "good", "a", "a", "b"], ["good", "a", "b", "good", "b"])
    table = table2(frame, "good")
    assert table.frame.columns.get_level_values(0).tolist() == [
        *("Measure", "Class", "Image", "Anomaly map", "Image + map")
    ]
    found = texts(table, "Measure", "Class")
    assert found[CLASS_RECALL, "a"]["Image"] == "0.0 % (0–84 %)"
    assert found[RECALL, "a"]["Image"] == "50.0 % (1–99 %)"
    assert found[RECALL, "all defects"]["Image"].startswith("66.7 %")
    assert found[REJECTS, "good"]["Image"] == "50.0 % (1–99 %)"
    assert found[RECALL, "a"]["Anomaly map"] == MISSING
    numbers = table.numbers[table.numbers["Class"] == "a"].iloc[1]
    assert numbers["Image", ""] == 0.5
    ends = [numbers["Image, 95 % interval", f" {end}"] for end in ("low", "high")]
    assert ends == pytest.approx([1 - 0.975**0.5, 0.975**0.5])
    with pytest.raises(ValueError, match=r"keep 1\.0"):
        table2(frame.assign(keep=0.5), "good")


@pytest.mark.parametrize(
    ("misses", "bold", "note"),
    [
        ({"image": [3] * 10, "map": [4] * 10, "image_map": [0] * 10}, True, ""),
        ({"image": [0] + [3] * 9, "map": [9] * 10, "image_map": [0] * 10}, True, ""),
        ({"image": [0, 0] + [3] * 8, "map": [9] * 10, "image_map": [0] * 10}, False, ""),  # too many folds tie
        ({"image": [0] * 10, "map": [9] * 10, "image_map": [0] * 10}, False, ""),  # no better than the second
        ({"image": [9] * 3, "image_map": [0] * 3}, False, "3 stratified folds, smallest possible p 0.25, above"),
    ],
)
def test_bold_needs_significance_over_folds_against_the_second_best(misses, bold, note):
    table = table2(by_fold(misses), "good")
    assert {table.frame.columns[place][0] for _, place in table.bold} == ({"Image + map"} if bold else set())
    rejecting = table.frame.index[table.frame["Measure"] == REJECTS]
    assert not {at for at, _ in table.bold} & {*rejecting}
    assert note in " ".join(table.notes)
    assert table2(by_fold({"image": [9] * 3, "image_map": [0] * 3}), "good", alpha=0.3).bold


def test_both_schemes_stand_in_one_table_and_leaks_are_named():
    known = by_fold({"image": [1, 1]}).assign(group="g")
    table = table2(pd.concat([known, known.assign(scheme="grouped")]), "good")
    assert table.frame["Folds"].unique().tolist() == ["stratified (leaks)", "grouped"]
    assert any("leak" in note for note in table.notes)
    assert ("Folds", "") not in table2(known.assign(group=None), "good").frame


def test_table3_by_keep_and_features():
    few = by_fold({"image": [5] * 10, "map": [6] * 10, "image_map": [2] * 10}, keep=0.25)
    all_kept = by_fold({"image": [1] * 10, "map": [2] * 10, "image_map": [0] * 10})
    table = table3(pd.concat([few, all_kept]), "good")
    numbers = table.numbers.droplevel(1, axis=1).set_index(["Measure", "Features"])
    recalls = {"Image": 0.5, "Anomaly map": 0.4, "Image + map": 0.8}
    assert numbers.loc[RECALL, "25 %"].to_dict() == recalls
    assert numbers.loc[(RECALL, "Image + map"), "100 %"] == 1
    assert numbers.loc[(AUC, "Image"), "100 %"] == pytest.approx(0.95)
    assert (numbers.loc[REJECTS, "25 %"] == 0).all()
    shown = texts(table, "Measure", "Features")
    assert shown[RECALL, "Image + map"]["25 %"] == "80.0 % (71–87 %)"
    both = table.frame.index[table.frame["Features"] == "Image + map"]
    assert {at for at, _ in table.bold} == {*both[:2]}, "recall and AUC, never false rejects"


def test_beside_the_paper_stand_its_own_data_sets_only():
    labels = ["good", "marks", "flowlines"]
    frame = rows(labels, ["good", "marks", "good"], classes=labels)
    table = beside_paper(table2(frame.assign(dataset="deco_cap"), "good"))
    assert table is not None
    found = texts(table, "Measure", "Class", "Cell")[CLASS_RECALL, "flowlines", "Image"]
    assert [found[name] for name in ("Ours", "Paper", "Difference")] == ["0.00 %", "98.99 %", "−98.99 %"]
    both = frame.assign(dataset="deco_cap", features="image_map")
    third = beside_paper(table3(both, "good"))
    assert third is not None
    gaps = third.numbers.droplevel(1, axis=1).set_index(["Measure", "Features", "Cell"])["Difference"]
    assert gaps[RECALL, "Image + map", "100 %"] == pytest.approx(0.5 - 1)
    for other in ("mine", "deco_cap-synthetic"):
        assert beside_paper(table2(frame.assign(dataset=other), "good")) is None


def test_odd_class_names_are_text_in_html_and_markdown():
    table = table2(rows(["good", *ODD], ["good", *ODD], classes=("good", *ODD)), "good")
    page = Cells(table.to_html())
    assert {tag for tag, _ in page.tags} <= TAGS
    assert set(ODD) <= set(page.texts)
    assert {attrs.get("scope") for tag, attrs in page.tags if tag == "th"} == {"col", "row", "rowgroup"}
    text = table.markdown()
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == 8
    assert all(line.replace("\\|", "").count("|") == len(table.frame.columns) + 1 for line in lines)
    assert "<script" not in text
    assert r"\`ü\` \*\*y\*\*" in text and r"\$z\$" in text


def test_a_value_has_its_form_interval_and_bold_and_the_csv_its_numbers(tmp_path):
    table = Table("T", "t", [{"Dataset": "toy", ("A", "x"): Value(1 / 3, ".1%", (0.25, 0.5), bold=True)}], headers=1)
    assert table.markdown().startswith("**T.** t\n") and "**33.3 % (25.0–50.0 %)**" in table.markdown()
    assert "<td><strong>33.3 %<br><small>(25.0–50.0 %)</small></strong></td>" in table.to_html()
    table.to_csv(tmp_path / "t.csv")
    read = pd.read_csv(tmp_path / "t.csv")
    assert read.to_dict("records") == [
        {"Dataset": "toy", "A: x": 1 / 3, "A, 95 % interval: x low": 0.25, "A, 95 % interval: x high": 0.5}
    ]


def test_columns_that_say_the_same_on_every_row_are_in_the_csv_only(tmp_path):
    rows = [{"Dataset": "toy", "Folds": "grouped", "Class": name, "n": Value(1)} for name in "ab"]
    table = Table("T", "t", rows, headers=3)
    assert list(table.frame.columns.get_level_values(0)) == ["Class", "n"] and table.headers == 1
    table.to_csv(tmp_path / "t.csv")
    assert list(pd.read_csv(tmp_path / "t.csv")) == ["Dataset", "Folds", "Class", "n"]
    several = Table("T", "t", [*rows, rows[0] | {"Dataset": "other", "n": Value(2, bold=True)}], headers=3)
    assert several.bold == {(2, 2)} and several.headers == 2
    assert '<th scope="rowgroup" rowspan="2">toy</th>' in several.to_html()
    alone = Table("T", "t", [{"Dataset": "toy", "n": Value(1)}], headers=1)
    assert alone.frame["Dataset"].tolist() == ["toy"], "nothing else names the row"


def test_what_is_not_made_leaves_no_old_files(tmp_path):
    table = Table("T", "t", [{"Dataset": "toy"}], headers=1)
    assert display.save_table(table, tmp_path, "t") is table
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "t.html"}
    assert display.save_table(None, tmp_path, "t") is None
    assert not list(tmp_path.iterdir())
    frame = pd.DataFrame({"x": [1]})
    display.save_frame(frame, tmp_path, "f")
    assert (tmp_path / "f.csv").read_text() == "x\n1\n"
    (tmp_path / "g.png").touch()
    display.save_frame(frame.head(0), tmp_path, "f")
    display.save_and_display(None, tmp_path, "g", "")
    assert not list(tmp_path.iterdir())


def test_a_fold_holds_tables_and_text_and_nothing_of_nothing():
    assert display.fold("Details", None).data == ""
    folded = display.fold("a & b", "x <y>", None, display.table(pd.DataFrame({"x": [1]})))
    assert folded.data.startswith('<details class="more"><summary>a &amp; b</summary><p>x &lt;y&gt;</p>')
    assert "<td>1</td>" in folded.data


def test_a_headline_has_the_pill_of_its_state_and_is_text():
    page = display.show_headline(("warn", "Few", "5 < 30 images.")).data
    assert page == '<p class="headline"><span class="pill warn">Few</span> 5 &lt; 30 images.</p>'


def test_a_class_may_be_called_as_an_index_is():
    index = pd.MultiIndex.from_tuples([("grouped", 0)], names=["scheme", "fold"])
    counts = pd.DataFrame({"fold": [3], "scheme": [4]}, index=index)
    assert Cells(display.table(counts).data).texts == ["scheme", "fold", "fold", "scheme", "grouped", "0", "3", "4"]
