import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.datasets.catalog import COLUMNS, build_index
from lib.datasets.errors import DatasetError

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


def faults_of(root: Path, **options) -> dict[str, str]:
    with pytest.raises(DatasetError) as caught:
        build_index(root, **options)
    assert all(issue.remedy for issue in caught.value.issues)
    return {issue.file: issue.issue for issue in caught.value.issues}


def test_the_index(root, tmp_path):
    draw(root / "crack" / "2.png", size=(33, 21))
    found = build_index(root)
    assert (found.name, found.good, found.classes) == ("parts", "ok", ("ok", "crack", "dent"))
    assert (found.layout, found.grouped) == ("class_folders", False)
    assert found.note == "defective images without a mask: 3 (crack/2.png, dent/1.jpg, dent/2.png)"
    assert found.skipped.empty and found.root == root
    index = found.index
    assert list(index.columns) == list(COLUMNS) and index.index.tolist() == list(range(6))
    assert index["id"].tolist() == [
        "crack/1.png",
        "crack/2.png",
        "dent/1.jpg",
        "dent/2.png",
        "ok/a.png",
        "ok/b.png",
    ]
    assert (index["path"] == index["id"]).all() and index["label"].tolist()[3:5] == ["dent", "ok"]
    assert index["group"].isna().all()
    assert index["mask"][0] == "ground_truth/crack/1_mask.png" and index["mask"][1:].isna().all()
    assert index.loc[1, ["width", "height"]].tolist() == [33, 21]
    assert index["sha256"].nunique() == 6
    index.to_parquet(tmp_path / "index.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "index.parquet"), index)


def test_the_hash_is_that_of_the_file(root):
    row = build_index(root).index.iloc[2]
    assert row["sha256"] == hashlib.sha256((root / row["path"]).read_bytes()).hexdigest()


def test_names_given_by_the_caller(root):
    assert build_index(root, dataset="deco_cap").name == "deco_cap"
    assert build_index(root, good="Dent").classes == ("dent", "crack", "ok")


def test_mvtec(tmp_path):
    for name in ("train/good/0.png", "test/good/0.png", "test/bent/0.png"):
        draw(tmp_path / name)
    draw(tmp_path / "ground_truth/bent/0_mask.png", 255)
    found = build_index(tmp_path)
    assert found.layout == "mvtec" and found.classes == ("good", "bent")
    assert found.index["id"].tolist() == ["test/bent/0.png", "test/good/0.png", "train/good/0.png"]
    assert found.index["mask"][0] == "ground_truth/bent/0_mask.png"


def test_missing_folders(tmp_path):
    assert faults_of(tmp_path / "no") == {str(tmp_path / "no"): "no such folder"}
    assert faults_of(draw(tmp_path / "file.png")) == {str(tmp_path / "file.png"): "not a folder"}
    assert faults_of(tmp_path / "file.png" / "x")


def test_good_class_faults(root):
    assert "no class 'crak'" in faults_of(root, good="crak")[str(root)]
    with pytest.raises(DatasetError, match=r"did you mean crack\?"):
        build_index(root, good="crak")
    with pytest.raises(DatasetError, match="choose one of: crack, dent, ok"):
        build_index(root, good="zzz")
    draw(root / "Normal" / "1.png")
    assert faults_of(root)[str(root)] == "2 classes may be the good one (Normal, ok)"
    assert build_index(root, good="ok").good == "ok"
    for name in ("ok", "Normal"):
        shutil.rmtree(root / name)
    assert "no class is called good, ok, normal or free" in faults_of(root)[str(root)]


def test_one_class_only(tmp_path):
    draw(tmp_path / "good" / "1.png")
    assert faults_of(tmp_path)[str(tmp_path)] == "one class only (good)"


@pytest.fixture
def spoiled(root):
    """Bad files of every kind, beside the six good ones."""
    (root / "ok" / "empty.png").write_bytes(b"")
    (root / "ok" / "text.png").write_text("no image")
    (root / "ok" / "cut.png").write_bytes((root / "ok" / "a.png").read_bytes()[:-60])
    draw(root / "ok" / "long.png", size=(400, 10))
    Image.new("CMYK", (10, 10)).save(root / "dent" / "cmyk.jpg")
    shutil.copy(root / "ok" / "a.png", root / "ok" / "c.png")
    shutil.copy(root / "dent" / "2.png", root / "crack" / "9.png")
    draw(root / "lost.png")
    draw(root / "ground_truth" / "dent" / "7.png", 255)
    draw(root / "ground_truth" / "dent" / "1.png", 255, size=(10, 12))
    draw(root / "ground_truth" / "ok" / "a.png", 255)
    (root / "ground_truth" / "crack" / "2.png").write_text("no image")
    return root


SPOILED = {
    "ok/empty.png": "0 bytes",
    "ok/text.png": "not a JPEG",
    "ok/cut.png": "image",
    "ok/long.png": "400 x 10 pixels",
    "dent/cmyk.jpg": "CMYK",
    "ok/c.png": "same picture as ok/a.png",
    "crack/9.png": "same picture as dent/2.png, under another label",
    "dent/2.png": "same picture as crack/9.png, under another label",
    "lost.png": "outside a class folder",
    "ground_truth/dent/7.png": "fits no image",
    "ground_truth/dent/1.png": "mask of 10 x 12 pixels for dent/1.jpg of 12 x 10",
    "ground_truth/ok/a.png": "of the good class",
    "ground_truth/crack/2.png": "not a JPEG",
}


def test_every_fault_is_told_at_once(spoiled):
    found = faults_of(spoiled)
    assert set(found) == set(SPOILED)
    for file, words in SPOILED.items():
        assert words in found[file], file


def test_skip_bad_leaves_them_out_and_lists_them(spoiled):
    found = build_index(spoiled, skip_bad=True)
    assert set(found.skipped["file"]) == set(SPOILED)
    assert found.index["id"].tolist() == ["crack/1.png", "crack/2.png", "dent/1.jpg", "ok/a.png", "ok/b.png"]
    assert found.index["mask"].dropna().tolist() == ["ground_truth/crack/1_mask.png"]


def test_structural_faults_are_not_skipped_and_come_with_the_others(spoiled):
    shutil.rmtree(spoiled / "ok")
    assert faults_of(spoiled, skip_bad=True).keys() == {str(spoiled)}
    assert {str(spoiled), "dent/cmyk.jpg", "lost.png"} <= faults_of(spoiled).keys()


def test_a_class_lost_to_skipping_is_noted_and_may_be_one_too_many(root):
    for name in ("dent/1.jpg", "dent/2.png"):
        (root / name).write_bytes(b"")
    found = build_index(root, skip_bad=True)
    assert found.classes == ("ok", "crack") and "; classes without a usable image: dent" in found.note
    for name in ("crack/1.png", "crack/2.png"):
        (root / name).write_bytes(b"")
    assert faults_of(root, skip_bad=True) == {str(root): "one class only (ok)"}
    for name in ("ok/a.png", "ok/b.png"):
        (root / name).write_bytes(b"")
    left = faults_of(root, skip_bad=True)
    assert left[str(root)] == "no usable image is left" and left["ok/a.png"] == "empty file (0 bytes)"


def test_three_equal_images_in_two_classes_are_all_in_conflict(root):
    for name in ("ok/c.png", "crack/c.png"):
        shutil.copy(root / "ok" / "a.png", root / name)
    assert set(faults_of(root)) == {"ok/a.png", "ok/c.png", "crack/c.png"}
    assert "ok/a.png" not in set(build_index(root, skip_bad=True).index["id"])


def test_an_empty_mask_is_a_note_only(root):
    draw(root / "ground_truth" / "dent" / "2.png", 0)
    draw(root / "ground_truth" / "ok" / "a.png", 0)
    found = build_index(root)
    assert found.note.startswith("empty masks of defective images: ground_truth/dent/2.png; ")
    assert found.index["mask"].notna().sum() == 3


ODD = [
    "a b.png",
    'it\'s "quoted".png',
    "{x}.png",
    "new\nline.png",
    "größe 図.png",
    "<script>alert(1)<.png",
    "a,b;c.png",
    "%41&amp;.png",
]


def test_odd_names_go_through(root, tmp_path):
    for name in ODD:
        draw(root / "crack {1}" / name)
        draw(root / "ground_truth" / "crack {1}" / name, 255)
    found = build_index(root)
    assert set(found.index["id"]) >= {f"crack {{1}}/{name}" for name in ODD}
    assert found.index["mask"].notna().sum() == 1 + len(ODD)
    found.index.to_parquet(tmp_path / "i.parquet")
    assert pd.read_parquet(tmp_path / "i.parquet")["id"].tolist() == found.index["id"].tolist()


def test_groups_from_each_source(root, tmp_path):
    found = build_index(root, group_regex=r"([\w\d]+)\.\w+$")
    assert found.grouped and found.index["group"].tolist() == ["1", "2", "1", "2", "a", "b"]
    rows = [f"{name},g{i // 2}" for i, name in enumerate(found.index["id"])]
    (root / "groups.csv").write_text("id,group\n" + "\n".join(rows))
    assert build_index(root).index["group"].tolist() == ["g0", "g0", "g1", "g1", "g2", "g2"]
    assert build_index(root, group_regex="^.").index["group"][0] == "c"  # what is asked for goes first
    other = tmp_path / "other.csv"
    other.write_text("id,group\n" + "\n".join(row.replace(",g", ",h") for row in rows))
    assert build_index(root, groups=other).index["group"][0] == "h0"
    assert faults_of(root, groups=other, group_regex="^.")


def test_group_faults_come_with_the_others_and_are_not_skipped(root):
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
    assert "ok/b.png" not in faults_of(root, skip_bad=True)


def test_a_skipped_shot_does_not_split_its_tile(tmp_path):
    for name in (
        "Free/Imgs/exp1_num_100",
        "Free/Imgs/exp2_num_200",
        "Free/Imgs/exp3_num_300",
        "Fray/Imgs/exp1_num_900",
    ):
        draw(tmp_path / f"MT_{name}.jpg")
    assert build_index(tmp_path).index["group"].tolist() == ["tile-000900", *["tile-000100"] * 3]
    (tmp_path / "MT_Free/Imgs/exp2_num_200.jpg").write_bytes(b"")
    found = build_index(tmp_path, skip_bad=True)
    assert found.layout == "magnetic_tile" and found.classes == ("free", "fray")
    assert found.index["group"].tolist() == ["tile-000900", *["tile-000100"] * 2]


@pytest.mark.skipif(not TILES.is_dir(), reason="the magnetic tile images are not at ../shared")
def test_the_magnetic_tiles():
    found = build_index(TILES, dataset="magnetic_tile")
    assert found.classes == ("free", "blowhole", "break", "crack", "fray", "uneven")
    assert found.index["label"].value_counts().to_dict() == {
        "free": 952,
        "blowhole": 115,
        "uneven": 103,
        "break": 85,
        "crack": 57,
        "fray": 32,
    }
    assert found.index["group"].nunique() == 210 and found.grouped
    assert found.index["mask"].notna().all() and found.skipped.empty
    assert found.index["sha256"].is_unique  # no image is there twice
    for number in (45042, 45057, 124690, 352527):
        assert f"_num_{number}.png" in found.note
