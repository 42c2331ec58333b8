import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.datasets.catalog import COLUMNS, build_index
from lib.datasets.errors import DatasetError
from lib.datasets.masks import load_masks

TILES = Path(__file__).parents[2] / ".." / "shared" / "data" / "magnetic_tile"


def draw(path: Path, value: int | None = None, size: tuple[int, int] = (12, 10)) -> Path:
    """Write an image of its own content (or of one grey value, for masks)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = list(path.as_posix().encode())
    pixels = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    Image.fromarray(pixels if value is None else np.full_like(pixels, value)).save(path)
    return path


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "parts"
    for name in ("ok/b.png", "ok/a.png", "crack/1.png", "crack/2.png", "dent/1.jpg", "dent/2.png"):
        draw(folder / name)
    draw(folder / "ground_truth/crack/1_mask.png", 255)
    return folder


def issues_of(root: Path, **options) -> dict[str, str]:
    with pytest.raises(DatasetError) as caught:
        build_index(root, **options)
    assert all(issue.remedy for issue in caught.value.issues)
    return {issue.file: issue.issue for issue in caught.value.issues}


def test_the_index(root, tmp_path):
    draw(root / "crack" / "2.png", size=(33, 21))
    index = build_index(root)
    assert index.attrs == {
        "good": "ok",
        "classes": ["ok", "crack", "dent"],
        "grouped": False,
        "layout": "class_folders",
        "note": "masks cover 100% of their images (median of 1); if black marks defects, --set invert_masks=true; "
        "defective images without a mask: 3 (crack/2.png, dent/1.jpg, dent/2.png)",
        "skipped": [],
        "invert_masks": False,
    }
    assert list(index.columns) == list(COLUMNS) and index.index.tolist() == list(range(6))
    assert index["id"].tolist() == ["crack/1.png", "crack/2.png", "dent/1.jpg", "dent/2.png", "ok/a.png", "ok/b.png"]
    assert (index["path"] == index["id"]).all() and index["label"].tolist()[3:5] == ["dent", "ok"]
    assert index["group"].isna().all()
    assert index["mask"][0] == "ground_truth/crack/1_mask.png" and index["mask"][1:].isna().all()
    assert index.loc[1, ["width", "height"]].tolist() == [33, 21]
    assert index["sha256"][2] == hashlib.sha256((root / "dent/1.jpg").read_bytes()).hexdigest()
    index.to_parquet(tmp_path / "index.parquet")
    stored = pd.read_parquet(tmp_path / "index.parquet")
    pd.testing.assert_frame_equal(stored, index)
    assert stored.attrs == index.attrs
    assert build_index(root, good="Dent").attrs["classes"] == ["dent", "crack", "ok"]


def test_mvtec(tmp_path):
    for name in ("train/good/0.png", "test/good/0.png", "test/bent/0.png"):
        draw(tmp_path / name)
    draw(tmp_path / "ground_truth/bent/0_mask.png", 255)
    index = build_index(tmp_path)
    assert index.attrs["layout"] == "mvtec" and index.attrs["classes"] == ["good", "bent"]
    assert index["id"].tolist() == ["test/bent/0.png", "test/good/0.png", "train/good/0.png"]
    assert index["mask"][0] == "ground_truth/bent/0_mask.png"


def test_missing_folders(tmp_path):
    for folder, why in ((tmp_path / "no", "No such file"), (draw(tmp_path / "file.png"), "Not a directory")):
        (issue,) = issues_of(folder).items()
        assert issue[0] == str(folder) and why in issue[1]


def test_the_good_class_is_named_or_asked_for(root):
    with pytest.raises(DatasetError, match=r"no class 'crak' .*did you mean 'crack'\?"):
        build_index(root, good="crak")
    with pytest.raises(DatasetError, match="choose one of: crack, dent, ok"):
        build_index(root, good="zzz")
    draw(root / "Normal" / "1.png")
    assert issues_of(root)[str(root)] == "2 classes may be the good one (Normal, ok)"
    assert build_index(root, good="ok").attrs["good"] == "ok"
    for name in ("ok", "Normal"):
        shutil.rmtree(root / name)
    assert "no class is called good, ok, normal or free" in issues_of(root)[str(root)]
    shutil.rmtree(root / "dent")
    assert issues_of(root, good="crack")[str(root)] == "one class only (crack)"


def test_structural_issues_are_not_skipped_and_come_with_those_of_files(root):  # which tests/test_bad_inputs.py has
    draw(root / "lost.png")
    (root / "dent/1.jpg").write_bytes(b"")
    index = build_index(root, skip_bad=True)
    assert [row["file"] for row in index.attrs["skipped"]] == ["dent/1.jpg", "lost.png"]
    shutil.rmtree(root / "ok")
    assert issues_of(root, skip_bad=True).keys() == {str(root)}
    assert issues_of(root).keys() == {str(root), "dent/1.jpg", "lost.png"}


def test_a_class_lost_to_skipping_is_noted_and_may_be_one_too_many(root):
    for name in ("dent/1.jpg", "dent/2.png"):
        (root / name).write_bytes(b"")
    found = build_index(root, skip_bad=True).attrs
    assert found["classes"] == ["ok", "crack"] and "; classes without a usable image: dent" in found["note"]
    for name in ("crack/1.png", "crack/2.png"):
        (root / name).write_bytes(b"")
    assert issues_of(root, skip_bad=True) == {str(root): "one class only (ok)"}
    for name in ("ok/a.png", "ok/b.png"):
        (root / name).write_bytes(b"")
    left = issues_of(root, skip_bad=True)
    assert left[str(root)] == "no usable image is left" and left["ok/a.png"] == "empty file (0 bytes)"


def test_three_equal_images_in_two_classes_are_all_in_conflict(root):
    for name in ("ok/c.png", "crack/c.png"):
        shutil.copy(root / "ok" / "a.png", root / name)
    assert set(issues_of(root)) == {"ok/a.png", "ok/c.png", "crack/c.png"}
    assert "ok/a.png" not in set(build_index(root, skip_bad=True)["id"])


def test_an_empty_mask_is_a_note_only(root):
    draw(root / "ground_truth" / "dent" / "2.png", 0)
    draw(root / "ground_truth" / "ok" / "a.png", 0)
    index = build_index(root)
    assert index.attrs["note"].startswith("empty masks of defective images: ground_truth/dent/2.png; ")
    assert index["mask"].notna().sum() == 3


def square(path: Path, size: tuple[int, int], *, inverted: bool = False) -> None:
    """Write a mask of a square that covers the upper left ninth."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.zeros(size[::-1], bool)
    drawn[: size[1] // 3, : size[0] // 3] = True
    Image.fromarray(drawn ^ inverted).save(path)


def test_masks_of_another_size_are_resized_where_proportions_agree(root):
    for number, size in enumerate([(36, 30), (24, 20), (72, 60)]):
        draw(root / f"crack/s{number}.png", size=(36, 30))
        square(root / f"ground_truth/crack/s{number}.png", size)
    index = build_index(root)
    assert "masks resized to their images: 2 (crack/s1.png, crack/s2.png)" in index.attrs["note"]
    for name, mask in zip(index["id"], load_masks(root, index, 9, "crop"), strict=True):
        if "/s" in name:
            assert mask[:2, :2].all() and not mask[4:].any() and not mask[:, 4:].any()
    square(root / "ground_truth/crack/s1.png", (20, 24))
    assert "mask of 20 x 24 pixels for an image of 36 x 30" in issues_of(root)["ground_truth/crack/s1.png"]


def test_masks_joined_mark_what_any_of_them_marks(root):
    square(root / "ground_truth/dent/2_mask.png", (12, 10))
    corner = np.zeros((10, 12), bool)
    corner[8:, 8:] = True
    Image.fromarray(corner).save(root / "ground_truth/dent/2_object1.png")
    index = build_index(root)
    mask = list(load_masks(root, index, 12, "pad"))[3]
    assert mask[1:3, :3].all() and mask[9:11, 8:].all() and mask.mean() < 0.2
    (root / "ground_truth/dent/2_object1.png").write_bytes(b"")
    assert issues_of(root) == {"ground_truth/dent/2_object1.png": "empty file (0 bytes)"}


def test_inverted_masks_are_noted_and_read_by_the_setting(root):
    for name in ("crack/1_mask.png", "dent/1.png"):
        square(root / "ground_truth" / name, (12, 10), inverted=True)
    assert "masks cover 90% of their images (median of 2)" in build_index(root).attrs["note"]
    index = build_index(root, invert_masks=True)
    assert "masks cover" not in index.attrs["note"]
    masks = [mask.mean() for mask in load_masks(root, index, 30, "squash") if mask is not None]
    assert len(masks) == 2 and max(masks) < 0.2
    draw(root / "ground_truth/ok/a.png", 255)
    assert len(build_index(root, invert_masks=True)) == 6  # white marks nothing
    with pytest.raises(DatasetError, match=r"good class .*invert_masks=true"):
        build_index(root)


def test_a_class_of_black_and_white_pictures_is_asked_about(root):
    for number in range(2):
        square(root / f"marks/{number}.png", (12 + number, 10))
    assert issues_of(root, skip_bad=True) == {"marks": "class of nothing but black and white pictures: masks?"}
    draw(root / "marks/grey.png")
    assert "marks" in build_index(root).attrs["classes"]  # not only such
    for path in [path for path in root.rglob("*.*") if "ground_truth" not in path.parts]:
        Image.fromarray(np.asarray(Image.open(path)) > 127).save(path.with_suffix(".png"))
    (root / "dent/1.jpg").unlink()
    assert len(build_index(root)["label"].unique()) == 4  # all classes are


def test_groups_from_each_source(root, tmp_path):
    index = build_index(root, group_regex=r"([\w\d]+)\.\w+$")
    assert index.attrs["grouped"] and index["group"].tolist() == ["1", "2", "1", "2", "a", "b"]
    rows = [f"{name},g{i // 2}" for i, name in enumerate(index["id"])]
    (root / "groups.csv").write_text("id,group\n" + "\n".join(rows))
    assert build_index(root)["group"].tolist() == ["g0", "g0", "g1", "g1", "g2", "g2"]
    assert build_index(root, group_regex="^.")["group"][0] == "c"  # what is asked for goes first
    other = tmp_path / "other.csv"
    other.write_text("id,group\n" + "\n".join(row.replace(",g", ",h") for row in rows))
    assert build_index(root, groups=other)["group"][0] == "h0"


def test_group_issues_come_with_the_others_and_are_not_skipped(root):
    (root / "groups.csv").write_text("id,group\nok/a.png,1\nnobody.png,2\n")
    (root / "ok" / "b.png").write_bytes(b"")
    with pytest.raises(DatasetError) as caught:
        build_index(root)
    assert {(issue.file, issue.issue) for issue in caught.value.issues} >= {
        ("ok/b.png", "empty file (0 bytes)"),
        ("ok/b.png", "not listed in groups.csv"),
        ("dent/1.jpg", "not listed in groups.csv"),
        (str(root / "groups.csv"), "id 'nobody.png' fits no image"),
    }
    assert "ok/b.png" not in issues_of(root, skip_bad=True)


def test_a_skipped_shot_does_not_split_its_tile(tmp_path):
    for name in (
        "Free/Imgs/exp1_num_100",
        "Free/Imgs/exp2_num_200",
        "Free/Imgs/exp3_num_300",
        "Fray/Imgs/exp1_num_900",
    ):
        draw(tmp_path / f"MT_{name}.jpg")
    assert build_index(tmp_path)["group"].tolist() == ["tile-000900", *["tile-000100"] * 3]
    (tmp_path / "MT_Free/Imgs/exp2_num_200.jpg").write_bytes(b"")
    index = build_index(tmp_path, skip_bad=True)
    assert index.attrs["layout"] == "magnetic_tile" and index.attrs["classes"] == ["free", "fray"]
    assert index["group"].tolist() == ["tile-000900", *["tile-000100"] * 2]


@pytest.mark.skipif(not TILES.is_dir(), reason="the magnetic tile images are not at ../shared")
def test_the_magnetic_tiles():
    index = build_index(TILES, dataset="magnetic_tile")
    assert index.attrs["classes"] == ["free", "blowhole", "break", "crack", "fray", "uneven"]
    counts = {"free": 952, "blowhole": 115, "uneven": 103, "break": 85, "crack": 57, "fray": 32}
    assert index["label"].value_counts().to_dict() == counts
    assert index["group"].nunique() == 210 and index.attrs["grouped"]
    assert index["mask"].notna().all() and not index.attrs["skipped"]
    assert index["sha256"].is_unique  # no image is there twice
    for number in (45042, 45057, 124690, 352527):
        assert f"_num_{number}.png" in index.attrs["note"]
