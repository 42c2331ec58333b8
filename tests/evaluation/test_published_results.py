from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib.evaluation import published_checks, published_results


def test_table1_has_the_papers_totals():
    assert published_results.table1_paper().groupby("dataset")["n"].sum().to_dict() == {
        "deco_cap": 592,
        "shaft": 4249,
        "shavers": 3518,
    }


def test_table2_with_the_label_slip_corrected():
    table = published_results.table2_paper().set_index(["dataset", "class", "metric", "features"])
    assert len(table) == 42 and table["bold"].sum() == 11
    assert table.loc[("shaft", "stripe", "class_recall", "map"), "value"] == 0.0265
    assert table.loc[("shaft", "stripe", "class_recall", "map"), "bold"]
    assert table.loc[("shavers", "interrupted", "defect_recall", "image_map"), "value"] == 0.9314
    assert not table.loc[("deco_cap", "flowlines", "defect_recall", "image_map"), "bold"]
    assert "stripe" not in table.loc["shavers"].index.get_level_values("class")


def test_table3():
    table = published_results.table3_paper().set_index(["dataset", "features", "metric", "keep"])
    assert len(table) == 72 and table["bold"].sum() == 14
    assert table.loc[("shavers", "image", "defect_recall", 0.25), "value"] == 0.7670
    assert table.loc[("shaft", "image_map", "weighted_auc", 1.0), "value"] == 0.9398
    assert not table.loc[("shaft", "image_map", "defect_recall", 0.75), "bold"]


def test_printed_shares_are_whole_images():
    counts = published_results.image_counts()
    assert counts["prints_alike"].all()


def test_table2_pooled_gives_table3():
    pooled = published_results.pooled_recalls().set_index(["dataset", "features"])
    assert pooled.loc[("shaft", "image_map"), ["k", "n"]].tolist() == [3644, 3721]
    assert pooled.loc[("shavers", "image_map"), ["k", "n"]].tolist() == [799, 842]
    off = pooled[pooled["difference"] != 0]
    assert off.index.tolist() == [("deco_cap", "image")]  # 386/389 = 0.99229, printed 0.9922
    assert off["difference"].iloc[0] == pytest.approx(1e-4)


def test_bold_margins_in_images():
    margins = published_results.bold_margins()
    assert sorted(margins["images"]) == [1, 1, 2, 2, 3, 3, 5, 6, 9, 22, 78]
    assert published_results.images_for_significance() == 9
    assert published_results.images_for_significance(folds=5, alpha=0.1) == 5
    with pytest.raises(ValueError, match="3 folds"):
        published_results.images_for_significance(folds=3)


@pytest.mark.parametrize(
    ("claim", "computed", "verdict"),
    [
        ("Bold means", "8 of 11", "not by a fold-level test"),
        ("0.9949", "387/389 = 0.9949", "only the training folds"),
        ("outperform maps", "4 of 4", "not on Shavers"),
        (
            "not affected",
            "0.0687 lost (image alone 0.0970, map alone 0.0567)",
            "affected; map alone loses less",
        ),
        ("198 flowlines", "1.5 %", "not shown"),
        ("Shaft, both: 0.9793", "3644/3721 = 0.9793", "exact"),
        ("except for stripe", "big, marks, stripe", "more exceptions"),
        ("Holm", "0.00586", "never"),
        ("Shavers from 100 %", "image 11.9 points, map 6.8 points, both 3.1 points", "agrees"),
        ("Bold defect recalls in Table 3", "Shavers 100%: 9 of 842", "7 of 7"),
        ("most defects of every class", "7 of 7 classes, level in 2", "agrees"),
        ("best approach in AUC", "3 of 12 places, all on Deco cap", "not everywhere"),
        ("prints stripe", "Shaft", "one row too high"),
        ("Ten folds can reach", "10 folds 0.00195, 9 0.0039, 8 0.0078", "two ties"),
    ],
)
def test_checks(claim, computed, verdict):
    table = published_checks.checks()
    row = table[table["claim"].str.contains(claim, regex=False)]
    assert len(row) == 1
    assert computed in row["computed"].iloc[0]
    assert verdict in row["verdict"].iloc[0]


def test_names_of_stand_ins():
    assert published_results.display_name("deco_cap") == "Deco cap"
    assert published_results.display_name("shavers-synthetic") == "Shavers (synthetic stand-in)"
    assert published_results.display_name("my_product") == "my_product"
    assert published_results.product_of("shaft-synthetic") == "shaft"
    assert published_results.product_of("magnetic_tile") is None


PRINTED = Path(__file__).parents[3] / "shared" / "paper.md"
NAMES = {"image": "image", "anom. map": "map", "image + anom. map": "image_map"}


@pytest.fixture
def printed():
    """The paper's table rows as printed: cells, bold marks as asterisks."""
    if not PRINTED.is_file():
        pytest.skip("the paper's text (../shared/paper.md) is not here")
    lines = PRINTED.read_text(encoding="utf-8").replace("<b>", "*").replace("</b>", "").splitlines()
    return [[cell.strip() for cell in line.split("\t")] for line in lines if "\t" in line]


def test_table2_is_as_printed(printed):
    ours = published_results.table2_paper().set_index(["class", "metric", "features"])
    rows = [row for row in printed if len(row) == 8 and row[2].lstrip("*").endswith("%")]
    assert len(rows) == 7
    columns = [(m, f) for m in ("class_recall", "defect_recall") for f in ("image", "map", "image_map")]
    for row in rows:
        for cell, (metric, features) in zip(row[2:], columns, strict=True):
            mine = ours.loc[(row[1], metric, features)]
            assert f"{mine['value']:.2%}" == cell.lstrip("*").rstrip("*"), row
            assert mine["bold"] == cell.startswith("*"), row


def test_table3_is_as_printed(printed):
    ours = published_results.table3_paper().set_index(["dataset", "features", "metric", "keep"])
    rows = [row for row in printed if len(row) == 10 and re.fullmatch(r"\*?[01]\.\d{4}", row[2])]
    assert len(rows) == 9
    columns = [(m, k) for m in ("defect_recall", "weighted_auc") for k in published_results.KEEP]
    dataset = ""
    for row in rows:
        dataset = row[0].lower().replace(" ", "_") or dataset
        for cell, (metric, keep) in zip(row[2:], columns, strict=True):
            mine = ours.loc[(dataset, NAMES[row[1]], metric, keep)]
            assert f"{mine['value']:.4f}" == cell.lstrip("*"), row
            assert mine["bold"] == cell.startswith("*"), row


def test_table1_is_as_printed(printed):
    rows = [row for row in printed if len(row) == 3 and row[2].isdigit()]
    assert [int(row[2]) for row in rows] == published_results.table1_paper()["n"].tolist()
    assert [row[1] for row in rows] == published_results.table1_paper()["class"].tolist()
