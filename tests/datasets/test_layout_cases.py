"""Folders as people have them: read as they should be, or refused with the way out."""

import pytest

from lib.datasets.catalog import build_index
from lib.datasets.errors import DatasetError
from lib.datasets.masks import files_of, load_masks
from tests.datasets.layout_cases import CASES, REFUSED


@pytest.mark.parametrize("name", CASES)
def test_a_folder_is_read(name, tmp_path):
    make, options, expected, told = CASES[name]
    (tmp_path / "parts").mkdir()
    make(tmp_path / "parts")
    index = build_index(tmp_path / "parts", **options)
    masks = [files_of(mask) if isinstance(mask, str) else [] for mask in index["mask"]]
    assert dict(zip(index["id"], zip(index["label"], masks, strict=True), strict=True)) == expected
    assert not index.attrs["skipped"] and all(words in index.attrs["note"] for words in told)
    for mask, label in zip(load_masks(tmp_path / "parts", index, 20, "squash"), index["label"], strict=True):
        if mask is not None:  # every mask drawn marks the square from 2 to 9, or a part of it
            assert mask.any() == (label != index.attrs["good"])
            assert not mask[:2].any() and not mask[:, 14:].any() and mask[4:10, 4:8].any() == mask.any()


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_is_refused_with_the_way_out(name, tmp_path):
    make, options, issues, remedies = REFUSED[name]
    (tmp_path / "parts").mkdir()
    make(tmp_path / "parts")
    with pytest.raises(DatasetError) as caught:
        build_index(tmp_path / "parts", **options)
    said = {issue.file: issue.issue for issue in caught.value.issues}
    for file, words in issues.items():
        assert words in said[file or str(tmp_path / "parts")]
    assert all(words in str(caught.value) for words in remedies)


def test_groups_of_a_list_are_its_groups(tmp_path):
    make, *_ = CASES["CSV"]
    (tmp_path / "parts").mkdir()
    make(tmp_path / "parts")
    index = build_index(tmp_path / "parts")
    assert index.attrs["grouped"] and index["group"].tolist() == ["x", "y", "y"]
    listed = tmp_path / "parts/labels.csv"
    listed.write_text(listed.read_text().replace(",x,", ",,"))
    with pytest.raises(DatasetError, match=r"a/1.png +has no group in the list"):
        build_index(tmp_path / "parts")
