from __future__ import annotations

import re
from pathlib import Path

import pytest

from lib.evaluation import published_results
from lib.evaluation.significance import smallest_attainable_p


def test_table2_with_the_label_slip_corrected():
    table = published_results.paper_table(2).set_index(["dataset", "class", "metric", "features"])
    assert len(table) == 42 and table["bold"].sum() == 11
    assert table.loc[("shaft", "stripe", "class_recall", "map"), "value"] == 0.0265
    assert table.loc[("shaft", "stripe", "class_recall", "map"), "bold"]
    assert table.loc[("shavers", "interrupted", "defect_recall", "image_map"), "value"] == 0.9314
    assert not table.loc[("deco_cap", "flowlines", "defect_recall", "image_map"), "bold"]
    assert "stripe" not in table.loc["shavers"].index.get_level_values("class")


def test_table3():
    table = published_results.paper_table(3).set_index(["dataset", "features", "metric", "keep"])
    assert len(table) == 72 and table["bold"].sum() == 14
    assert table.loc[("shavers", "image", "defect_recall", 0.25), "value"] == 0.7670
    assert table.loc[("shaft", "image_map", "weighted_auc", 1.0), "value"] == 0.9398
    assert not table.loc[("shaft", "image_map", "defect_recall", 0.75), "bold"]


def counts():
    """Table 2 with the images behind each share: n of the class, and k that were recalled."""
    n_of = published_results.paper_table(1).set_index(["dataset", "class"])["n"]
    table = published_results.paper_table(2)
    table["n"] = [n_of[place] for place in zip(table["dataset"], table["class"], strict=True)]
    table["k"] = (table["value"] * table["n"]).round().astype(int)
    return table


def margins(cells, keys, best):
    """The images by which the best feature set beats the second best, wherever a cell is bold."""
    for place, part in cells.groupby(keys, sort=False):
        if part["bold"].any():
            first, second = part.sort_values(best, ascending=False).head(2).to_dict("records")
            yield place, first, second


def recomputed():
    """What the counts behind Tables 1 to 3 say of the claims that rest on them: the column `computed`, by claim."""
    name_of, words = published_results.DISPLAY_NAMES, {"image_map": "both", "image": "image", "map": "map"}
    table1, table2, table3 = published_results.paper_table(1), counts(), published_results.paper_table(3)
    totals = table1.groupby("dataset")["n"].sum()
    defects = table1[table1["class"] != "good"].groupby("dataset")["n"].sum()
    caught = table2[table2["metric"] == "defect_recall"]
    recall = table3[table3["metric"] == "defect_recall"]
    at = recall.set_index(["dataset", "features", "keep"])["value"]
    found = {
        "592, 4,249 and 3,518 images (Section 3)": ", ".join(f"{name_of[d]} {n:,}" for d, n in totals.items())
        + " from Table 1"
    }
    alike = int(((table2["k"] / table2["n"]).round(4) == table2["value"]).sum())
    found["Table 2 gives shares of the images in Table 1"] = (
        f"{alike} of {len(table2)} cells are a whole number of images to the printed digit"
    )
    for (d, f), part in caught.groupby(["dataset", "features"]):
        k, n = part["k"].sum(), part["n"].sum()
        claim = f"Table 3 at 100 %, {name_of[d]}, {words[f]}: {at[d, f, 1.0]:.4f}"
        found[claim] = f"Table 2 pooled: {k}/{n} = {k / n:.4f}"
    ahead = []
    for (d, c, metric), first, second in margins(table2, ["dataset", "class", "metric"], "k"):
        ahead.append(first["k"] - second["k"])
        claim = f"Bold in Table 2: {name_of[d]} {c}, {metric.replace('_', ' ')}, {words[first['features']]}"
        found[claim] = f"{ahead[-1]} image(s) of {first['n']} ahead of {words[second['features']]}"
    assert sorted(ahead) == [1, 1, 2, 2, 3, 3, 5, 6, 9, 22, 78]
    p = {n: smallest_attainable_p(n) for n in (8, 9, 10)}  # one image in each of the fewest folds that can reach it
    assert min(n for n in range(1, 11) if smallest_attainable_p(n) < 0.005) == 9
    found["Bold means significant by Wilcoxon over ten folds at 0.005"] = (
        f"{sum(n < 9 for n in ahead)} of {len(ahead)} rest on {min(ahead)} to 6 images; 9 are needed (8 if folds "
        "differ in size)"
    )
    found["Ten folds can reach p < 0.005"] = f"smallest p: 10 folds {p[10]:.5f}, 9 {p[9]:.4f}, 8 {p[8]:.4f}"
    holm = "It stays significant when adjusted for the three pairs of feature sets (Holm)"
    found[holm] = f"3 x {p[10]:.5f} = {3 * p[10]:.5f} at best"
    found["Bold defect recalls in Table 3"] = (
        ", ".join(
            f"{name_of[d]} {keep:.0%}: {round((first['value'] - second['value']) * defects[d])} of {defects[d]:,}"
            for (d, keep), first, second in margins(recall, ["dataset", "keep"], "value")
        )
        + " images ahead of the second best"
    )
    return found


def test_what_the_papers_numbers_say_of_its_claims_is_computed_from_them():
    checks = published_results.published_checks().set_index("claim")
    for claim, computed in recomputed().items():
        assert checks.loc[claim, "computed"] == computed
    assert len(checks) == 36 and not checks.isna().any(axis=None)
    bold = checks[checks.index.str.startswith("Bold in Table 2")]
    reached = bold["computed"].str.split(n=1).str[0].astype(int) >= 9
    assert (bold["verdict"].str.startswith("within") == reached).all()


def test_names_of_stand_ins():
    assert published_results.display_name("deco_cap") == "Deco cap"
    assert published_results.display_name("shavers-synthetic") == "Shavers (demo data)"
    assert published_results.display_name("my_product") == "my_product"


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
    ours = published_results.paper_table(2).set_index(["class", "metric", "features"])
    rows = [row for row in printed if len(row) == 8 and row[2].lstrip("*").endswith("%")]
    assert len(rows) == 7
    columns = [(m, f) for m in ("class_recall", "defect_recall") for f in NAMES.values()]
    for row in rows:
        for cell, (metric, features) in zip(row[2:], columns, strict=True):
            mine = ours.loc[(row[1], metric, features)]
            assert f"{mine['value']:.2%}" == cell.strip("*") and mine["bold"] == cell.startswith("*"), row


def test_table3_is_as_printed(printed):
    ours = published_results.paper_table(3).set_index(["dataset", "features", "metric", "keep"])
    rows = [row for row in printed if len(row) == 10 and re.fullmatch(r"\*?[01]\.\d{4}", row[2])]
    assert len(rows) == 9
    columns = [(m, k) for m in ("defect_recall", "weighted_auc") for k in (0.25, 0.5, 0.75, 1.0)]
    dataset = ""
    for row in rows:
        dataset = row[0].lower().replace(" ", "_") or dataset
        for cell, (metric, keep) in zip(row[2:], columns, strict=True):
            mine = ours.loc[(dataset, NAMES[row[1]], metric, keep)]
            assert f"{mine['value']:.4f}" == cell.lstrip("*") and mine["bold"] == cell.startswith("*"), row


def test_table1_is_as_printed(printed):
    rows = [row for row in printed if len(row) == 3 and row[2].isdigit()]
    assert [int(row[2]) for row in rows] == published_results.paper_table(1)["n"].tolist()
    assert [row[1] for row in rows] == published_results.paper_table(1)["class"].tolist()
