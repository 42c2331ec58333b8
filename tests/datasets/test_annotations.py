"""Annotations that are damaged or hostile are an error in one line; other JSON says nothing."""

import json

import pytest

from lib.datasets.annotations import read_annotations
from tests.datasets.layout_cases import POLYGON, RUNS, coco, labelme

HOSTILE = {
    "no JSON": "{",
    "nested": "[" * 100_000,
    "no size": json.dumps(labelme() | {"imageHeight": None}),
    "no class": json.dumps(coco({"a": [("x", [POLYGON])]}) | {"categories": []}),
    "a huge image": json.dumps(labelme() | {"imageHeight": 10**9}),
    "runs of another size": json.dumps(coco({"a": [("x", {"size": [160, 200], "counts": RUNS})]})),
    "no coordinates": json.dumps(coco({"a": [("x", [[2, 2, float("nan"), 9, 9, 9]])]})),
    "words": json.dumps(coco({"a": [("x", [["a", "b", "c", "d", "e", "f"]])]})),
    "no picture": json.dumps(labelme(("x", "mask", [[0, 0], [9, 9]]))).replace("iVBOR", "AAAAA"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_damaged_or_hostile_is_one_error(name, tmp_path):
    (tmp_path / "a.json").write_text(HOSTILE[name])
    with pytest.raises(ValueError, match=r"\A[A-Za-z]+: .+"):
        read_annotations(tmp_path / "a.json")


def test_runs_that_do_not_fill_the_image_are_an_error(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(coco({"a": [("x", {"size": [16, 20], "counts": [3, 10**6]})]})))
    with pytest.raises(ValueError):
        read_annotations(tmp_path / "a.json")["a"].mask()


def test_an_outline_far_outside_is_cut_at_the_edge(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(coco({"a": [("x", [[-1e9, -1e9, 10, -1e9, 10, 1e9, -1e9, 1e9]])]})))
    mask = read_annotations(tmp_path / "a.json")["a"].mask()
    assert mask.shape == (16, 20) and mask[:, :10].all() and not mask[:, 10:].any()


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"images": []}', "null"])
def test_other_content_says_nothing(content, tmp_path):
    (tmp_path / "a.json").write_text(content)
    assert read_annotations(tmp_path / "a.json") == {}
