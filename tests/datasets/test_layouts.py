import os
from pathlib import Path

import pytest

from lib.artifacts import listing_digest
from lib.datasets.layouts import read_layout
from lib.datasets.layouts.listing import Entry


def touch(root: Path, names: str) -> Path:
    for name in names.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_class_folders_with_both_kinds_of_mask_names(tmp_path):
    listing = read_layout(
        touch(
            tmp_path,
            "good/1.png crack/1.JPG crack/2.tiff crack/deep/3.bmp crack/x_mask.png "
            "ground_truth/crack/1_mask.png ground_truth/crack/2.png ground_truth/crack/deep/3.png "
            "ground_truth/crack/x_mask.png",
        )
    )
    assert listing.layout == "class_folders" and not listing.issues and not listing.structural
    assert listing.entries == [
        Entry("crack/1.JPG", "crack", "ground_truth/crack/1_mask.png"),
        Entry("crack/2.tiff", "crack", "ground_truth/crack/2.png"),
        Entry("crack/deep/3.bmp", "crack", "ground_truth/crack/deep/3.png"),
        Entry("crack/x_mask.png", "crack", "ground_truth/crack/x_mask.png"),
        Entry("good/1.png", "good", None),
    ]


def test_mask_issues(tmp_path):
    listing = read_layout(
        touch(
            tmp_path,
            "good/1.png crack/1.png crack/2.png crack/2.jpg ground_truth/crack/1_mask.png "
            "ground_truth/crack/1.png ground_truth/crack/2.png ground_truth/dent/1.png ground_truth/1.png",
        )
    )
    assert {(f.file, f.issue) for f in listing.issues} == {
        ("ground_truth/crack/2.png", "mask that fits several images (crack/2.jpg, crack/2.png)"),
        ("ground_truth/dent/1.png", "mask that fits no image"),
    }
    masks = {entry.id: entry.mask for entry in listing.entries}
    expected = "ground_truth/1.png//ground_truth/crack/1.png//ground_truth/crack/1_mask.png"
    assert masks["crack/1.png"] == expected and masks["good/1.png"] is None  # a good image needs none


def test_mvtec_pools_train_and_test_and_masks_belong_to_test(tmp_path):
    listing = read_layout(
        touch(
            tmp_path,
            "train/good/000.png train/crack/000.png test/good/000.png test/crack/000.png "
            "ground_truth/crack/000_mask.png readme.txt license.txt test/lost.png other/1.png",
        )
    )
    assert listing.layout == "mvtec" and not listing.notes
    assert [(e.id, e.label, e.mask) for e in listing.entries] == [
        ("test/crack/000.png", "crack", "ground_truth/crack/000_mask.png"),
        ("test/good/000.png", "good", None),
        ("train/crack/000.png", "crack", None),
        ("train/good/000.png", "good", None),
    ]
    assert [f.file for f in listing.issues] == ["other/1.png", "test/lost.png"]


def test_magnetic_tiles(tmp_path):
    listing = read_layout(
        touch(
            tmp_path,
            "MT_Free/Imgs/exp1_num_2.jpg MT_Free/Imgs/exp1_num_2.png MT_Crack/Imgs/exp1_num_3.jpg "
            "MT_Crack/Imgs/exp1_num_4.png MT_Crack/Imgs/holiday.jpg MT_Crack/exp1_num_9.jpg dataset.jpg "
            "README.md",
        )
    )
    assert listing.layout == "magnetic_tile"
    assert listing.entries == [
        Entry("MT_Crack/Imgs/exp1_num_3.jpg", "crack", None),
        Entry("MT_Free/Imgs/exp1_num_2.jpg", "free", "MT_Free/Imgs/exp1_num_2.png"),
    ]
    assert {f.file.removeprefix("MT_Crack/"): f.issue.split(" outside")[0] for f in listing.issues} == {
        "Imgs/exp1_num_4.png": "mask that fits no image",
        "Imgs/holiday.jpg": "image",
        "exp1_num_9.jpg": "image",
    }


def test_the_named_set_demands_its_layout(tmp_path):
    listing = read_layout(touch(tmp_path, "good/1.png crack/1.png"), "magnetic_tile")
    assert not listing.entries and "MT_<Class>/Imgs" in listing.issues[0].issue
    assert "no known layout" in listing.structural[0].issue


def test_a_folder_without_a_layout_is_told_which_there_are(tmp_path):
    (issue,) = read_layout(touch(tmp_path, "notes/a.txt")).structural
    for word in ("folder per class", "MVTec", "MT_<Class>"):
        assert word in issue.remedy


def test_other_files_and_hidden_ones_are_passed_over_and_an_empty_folder_is_noted(tmp_path):
    root = touch(tmp_path, "good/1.png crack/1.png good/Thumbs.db README groups.csv crack/c.txt")
    touch(root, "good/.DS_Store good/._1.png .ipynb_checkpoints/1.png __MACOSX/good/1.png")
    found = read_layout(root)
    assert len(found.entries) == 2 and not (found.notes or found.issues or found.structural)
    touch(root, "empty/nothing.txt")
    assert read_layout(root).notes == ["folders without images are no classes: empty"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_links_pipes_odd_places_and_foreign_formats_are_issues(tmp_path):
    outside = touch(tmp_path / "outside", "secret.png more/1.png") / "secret.png"
    root = touch(tmp_path / "data", "good/1.png crack/1.png lost.png crack/2.heic")  # which `examine` refuses
    os.mkfifo(root / "good" / "pipe.png")
    (root / "good" / "leaves.png").symlink_to(outside)
    (root / "good" / "stays.png").symlink_to(root / "good" / "1.png")
    (root / "good" / "broken.png").symlink_to(root / "nothing.png")
    (root / "good" / "loop.png").symlink_to(root / "good" / "loop.png")
    (root / "dent").symlink_to(outside.parent / "more")
    (root / "good" / "inner").symlink_to(root / "crack")
    (root / "good" / "round").symlink_to(root)
    (root / "scratch").symlink_to(tmp_path / "gone")
    listing = read_layout(root)
    assert {e.id for e in listing.entries} == {
        *("crack/1.png", "crack/2.heic", "dent/1.png", "good/1.png", "good/stays.png"),
        *("good/inner/1.png", "good/inner/2.heic"),
    }
    assert {f.file: f.issue for f in listing.issues} == {
        "good/broken.png": "broken symbolic link",
        "good/pipe.png": "not a regular file",
        "good/loop.png": "broken symbolic link",
        "good/leaves.png": "symbolic link that leaves the data folder",
        "lost.png": "image outside a class folder",
        "scratch": "broken symbolic link",
    }
    assert {f.file: f.issue for f in listing.structural} == {"good/round": "symbolic link that leads in a circle"}


def test_links_to_each_other_end_and_what_changes_in_a_linked_folder_changes_the_digest(tmp_path):
    root = touch(tmp_path / "data", "good/1.png crack/2.png")
    (root / "good/there").symlink_to(root / "crack")
    (root / "crack/back").symlink_to(root / "good")
    assert [e.id for e in read_layout(root).entries] == [
        *("crack/2.png", "crack/back/1.png", "good/1.png", "good/there/2.png")
    ]
    (root / "dent").symlink_to(touch(tmp_path / "far", "3.png"))
    before = listing_digest(root)
    touch(tmp_path / "far", "4.png")
    assert listing_digest(root) != before


def test_a_data_folder_that_is_a_link_itself_is_fine(tmp_path):
    root = touch(tmp_path / "data", "good/1.png crack/1.png")
    (tmp_path / "link").symlink_to(root)
    assert len(read_layout(tmp_path / "link").entries) == 2


def test_names_that_are_no_text_are_issues(tmp_path):
    root = touch(tmp_path, "good/1.png crack/1.png")
    try:
        Path(os.fsdecode(os.fsencode(root / "good") + b"/\xff.png")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (issue,) = read_layout(root).issues
    assert "not valid UTF-8" in issue.issue


def test_a_folder_that_cannot_be_read_is_an_issue(tmp_path, monkeypatch):
    root, scan = touch(tmp_path, "good/1.png crack/1.png"), os.scandir

    def scandir(path):
        if Path(path).name == "crack":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (issue,) = read_layout(root).structural
    assert issue.file == "crack" and "Permission denied" in issue.issue
