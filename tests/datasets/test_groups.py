import pytest

from lib.datasets.groups import groups_from_file, groups_from_regex, tile_groups

IDS = ["good/1.png", "good/2.png", "crack/1.png"]


@pytest.fixture
def table(tmp_path):
    def write(text: str, encoding: str = "utf-8"):
        path = tmp_path / "groups.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_by_path_whatever_the_order_of_rows_and_columns(table):
    path = table("note,group,id\nx,A,good/2.png\ny,B,good/1.png\nz,A,crack/1.png\n")
    groups, issues = groups_from_file(path, IDS)
    assert not issues
    assert groups == {"good/1.png": "B", "good/2.png": "A", "crack/1.png": "A"}


def test_groups_are_text_even_if_they_look_otherwise(table):
    path = table("id,group\ngood/1.png,007\ngood/2.png,NA\ncrack/1.png,1e3\n", "utf-8-sig")
    assert groups_from_file(path, IDS)[0] == {"good/1.png": "007", "good/2.png": "NA", "crack/1.png": "1e3"}


def test_all_issues_of_a_table_at_once(table):
    path = table("id,group\n1.png,A\nnobody.png,A\ngood/1.png,\ngood/2.png,B\ngood/2.png,C\n")
    issues = {issue.issue for issue in groups_from_file(path, IDS)[1]}
    assert issues == {
        "id '1.png' fits no image",
        "id 'nobody.png' fits no image",
        "id 'good/1.png' has an empty group",
        "id 'good/2.png' is listed twice",
        "not listed in groups.csv",
    }


def test_skipped_images_may_be_listed_but_need_not(table):
    path = table("id,group\ngood/1.png,A\ngood/bad.png,A\n")
    assert groups_from_file(path, ["good/1.png"], ["good/1.png", "good/bad.png", "good/worse.png"]) == (
        {"good/1.png": "A"},
        [],
    )


@pytest.mark.parametrize("text", ["", "image;group\na;b\n", "id\na\n", 'id,group\n"a,b\n', "id,group\nü,1\n"])
def test_tables_of_another_form(table, text):
    groups, (issue,) = groups_from_file(table(text, "latin-1"), IDS)
    assert not groups and "id,group" in issue.remedy


def test_regex_with_and_without_a_capture_group():
    assert groups_from_regex(r"(\d)\.png$", IDS)[0] == dict(zip(IDS, "121", strict=True))
    assert groups_from_regex(r"^\w+", IDS)[0] == dict(zip(IDS, ["good", "good", "crack"], strict=True))


@pytest.mark.parametrize("pattern", ["^good/.", r"good/\d|crack(x?)", "^(?:good/.)?"])
def test_images_without_a_match_or_with_an_empty_group_are_issues(pattern):
    groups, issues = groups_from_regex(pattern, IDS)
    assert "crack/1.png" in {issue.file for issue in issues} and "crack/1.png" not in groups


def test_a_bad_expression_is_one_issue():
    (issue,) = groups_from_regex("(", IDS)[1]
    assert "--group-regex (" in issue.file and "no regular expression" in issue.issue


def test_tiles_start_anew_after_a_gap_of_more_than_150():
    numbers = {100: "Free", 250: "Crack", 401: "Free", 90: "Free", 1000: "Crack"}
    ids = {n: f"MT_{c}/Imgs/exp1_num_{n}.jpg" for n, c in numbers.items()}
    groups = tile_groups(ids.values())
    assert groups[ids[90]] == groups[ids[100]] == groups[ids[250]]  # 250 - 100 = 150 is no gap
    assert groups[ids[401]] != groups[ids[250]]  # 151 is one, and the order is that of numbers, not of text
    assert len(set(groups.values())) == 3
