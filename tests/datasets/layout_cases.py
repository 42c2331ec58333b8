"""Small data folders as people have them, each with what must come of it: labels, masks, and words of the note."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from pycocotools import mask as runs

SIZE = (20, 16)  # width, height of every image
POLYGON = [2, 2, 9, 2, 9, 9, 2, 9]  # marks 49 to 64 pixels


def draw(root: Path, names: str) -> Path:
    """Draw the named files: images of their own content, but masks where a name ends in `!`, black ones in `?`."""
    for name in names.split():
        path = root / name.rstrip("!?")
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(list(name.encode())).integers(0, 256, SIZE[::-1], dtype=np.uint8)
        if name[-1] in "!?":
            pixels[:] = 0
            pixels[2:9, 2:9] = 255 * (name[-1] == "!")
        Image.fromarray(pixels).save(path)
    return root


def write(root: Path, name: str, content: object) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content if isinstance(content, str) else json.dumps(content))


def coco(names: dict[str, list[tuple[str, object]]]) -> dict[str, object]:
    """Return a COCO file of images with (class, segmentation) each."""
    classes = sorted({label for shapes in names.values() for label, _ in shapes})
    images = [{"id": i, "file_name": name, "width": 20, "height": 16} for i, name in enumerate(names)]
    drawn = [
        {"image_id": i, "category_id": classes.index(label), "segmentation": shape, "bbox": [2, 2, 7, 7]}
        for i, shapes in enumerate(names.values())
        for label, shape in shapes
    ]
    categories = [{"id": i, "name": label} for i, label in enumerate(classes)]
    return {"images": images, "annotations": drawn, "categories": categories}


def labelme(*shapes: tuple[str, str, list[list[int]]]) -> dict[str, object]:
    stream = io.BytesIO()
    Image.new("1", (7, 7), 1).save(stream, "PNG")
    drawn = base64.b64encode(stream.getvalue()).decode()
    listed = [{"label": one, "shape_type": kind, "points": points, "mask": drawn} for one, kind, points in shapes]
    return {"shapes": listed, "imagePath": "1.png", "imageHeight": 16, "imageWidth": 20}


RUNS = [34, 7, 9, 7, 9, 7, 9, 7, 9, 7, 9, 7, 9, 7, 183]  # columns 2 to 8, of rows 2 to 8
PACKED = runs.frPyObjects({"size": [16, 20], "counts": RUNS}, 16, 20)["counts"].decode()

# name: how it is made, options, {image: (label, files of its mask)}, words of the note
Expected = dict[str, tuple[str, list[str]]]
CASES: dict[str, tuple[Callable[[Path], object], dict[str, str], Expected, tuple[str, ...]]] = {
    "masks beside classes": (
        lambda at: draw(at, "OK/1.png OK/7.png NG/7.png NG/8.png MASK/7.png! MASK/8.png!"), {},
        {"OK/1.png": ("OK", []), "OK/7.png": ("OK", []), "NG/7.png": ("NG", ["MASK/7.png"]),
         "NG/8.png": ("NG", ["MASK/8.png"])},
        ("masks, no images, are in: MASK",)),
    "masks by the number in the name": (
        lambda at: draw(at, "normal_dir/image7.png normal_dir/image8.png abnormal_dir/image7.png "
                            "abnormal_dir/image12.png mask_dir/mask7.png! mask_dir/mask012.png!"),
        {"good": "normal_dir"},
        {"normal_dir/image7.png": ("normal_dir", []), "normal_dir/image8.png": ("normal_dir", []),
         "abnormal_dir/image7.png": ("abnormal_dir", ["mask_dir/mask7.png"]),
         "abnormal_dir/image12.png": ("abnormal_dir", ["mask_dir/mask012.png"])},
        ("mask_dir",)),
    "masks by class": (
        lambda at: draw(at, "good/0.png crack/0.png mask/crack/0.png!"), {},
        {"good/0.png": ("good", []), "crack/0.png": ("crack", ["mask/crack/0.png"])}, ("mask/crack",)),
    "several masks of an image": (
        lambda at: draw(at, "good/c7.png crack/c7.png ground_truth/crack/c7_object0.png! "
                            "ground_truth/crack/c7_object1.png! ground_truth/crack/c7-crack-0.png!"), {},
        {"good/c7.png": ("good", []),
         "crack/c7.png": ("crack", [f"ground_truth/crack/{name}.png"
                                    for name in ("c7-crack-0", "c7_object0", "c7_object1")])},
        ("several masks, which are joined: 1",)),
    "splits with validation": (
        lambda at: draw(at, "train/good/0.png validation/good/1.png test/good/2.png test/dent/3.png "
                            "ground_truth/dent/3_mask.png!"), {},
        {"train/good/0.png": ("good", []), "validation/good/1.png": ("good", []), "test/good/2.png": ("good", []),
         "test/dent/3.png": ("dent", ["ground_truth/dent/3_mask.png"])},
        ("pooled, and dealt to folds anew: test, train, validation",)),
    "train and val": (
        lambda at: draw(at, "train/good/0.png train/dent/0.png val/good/1.png val/dent/1.png"), {},
        {"train/good/0.png": ("good", []), "train/dent/0.png": ("dent", []), "val/good/1.png": ("good", []),
         "val/dent/1.png": ("dent", [])},
        ("only train/, val/ here, test/ missing",)),
    "only test": (
        lambda at: draw(at, "test/good/0.png test/dent/0.png"), {},
        {"test/good/0.png": ("good", []), "test/dent/0.png": ("dent", [])},
        ("only test/ here, train/ missing",)),
    "BTAD": (
        lambda at: draw(at, "train/ok/0.bmp test/ok/1.bmp test/ko/2.bmp ground_truth/ko/2.png!"), {},
        {"train/ok/0.bmp": ("ok", []), "test/ok/1.bmp": ("ok", []), "test/ko/2.bmp": ("ko", ["ground_truth/ko/2.png"])},
        ()),
    "KolektorSDD2": (
        lambda at: draw(at, "train/1.png train/1_GT.png? train/2.png train/2_GT.png! test/1.png test/1_GT.png!"), {},
        {"train/1.png": ("good", ["train/1_GT.png"]), "train/2.png": ("defect", ["train/2_GT.png"]),
         "test/1.png": ("defect", ["test/1_GT.png"])},
        ("classes by masks",)),
    "CSV": (
        lambda at: (draw(at, "a/1.png a/2.png a/3.png a/m.png! a/spare.png"), write(
            at, "labels.csv", "path,label,mask,group,split\na/1.png,good,,x,train\n./a\\2.png,dent,a/m.png,y,test\n"
            f"{at.name}/a/3.png,good,,y,test\n")), {},
        {"a/1.png": ("good", []), "a/2.png": ("dent", ["a/m.png"]), "a/3.png": ("good", [])},
        ("labels by labels.csv, its splits pooled", "left out: 1 (a/spare.png)")),
    "CSV of names": (
        lambda at: write(draw(at, "all/1.png all/2.png masks/2.png!"), "list.csv",
                         "filename,class,mask\n1.png,ok,\n2.png,bent,masks/2.png\n"), {},
        {"all/1.png": ("ok", []), "all/2.png": ("bent", ["masks/2.png"])}, ("labels by list.csv",)),
    "Parquet of other columns": (
        lambda at: pd.DataFrame({"path": ["1.png", "2.png"], "Image": [1, 2], "label": ["ok", "dent"], "x": [[1], [2]]})
        .to_parquet(draw(at, "1.png 2.png") / "list.parquet"), {},
        {"1.png": ("ok", []), "2.png": ("dent", [])}, ()),
    "a mask beside its image": (
        lambda at: draw(at, "good/1.png dent/1.png dent/1_GT.png! dent/2_mask.png"), {},
        {"good/1.png": ("good", []), "dent/1.png": ("dent", ["dent/1_GT.png"]), "dent/2_mask.png": ("dent", [])},
        ("masks, no images, are in: dent",)),
    "Parquet": (
        lambda at: pd.DataFrame({"Image": ["1.png", "2.png"], "Class": ["ok", "dent"], "mask": [None, "m.png"]})
        .to_parquet(draw(at, "1.png 2.png m.png!") / "list.parquet"), {},
        {"1.png": ("ok", []), "2.png": ("dent", ["m.png"])}, ("labels by list.parquet",)),
    "VisA": (
        lambda at: (draw(at, "candle/Data/Images/Normal/0.JPG candle/Data/Images/Anomaly/0.JPG "
                             "candle/Data/Masks/Anomaly/0.png! cashew/Data/Images/Normal/0.JPG"), write(
            at, "split_csv/1cls.csv", "object,split,label,image,mask\n"
            "candle,train,normal,candle/Data/Images/Normal/0.JPG,\ncandle,test,anomaly,candle/Data/Images/Anomaly/0.JPG,candle/Data/Masks/Anomaly/0.png\n"
            "cashew,train,normal,cashew/Data/Images/Normal/0.JPG,\n")), {"dataset": "candle"},
        {"candle/Data/Images/Normal/0.JPG": ("normal", []),
         "candle/Data/Images/Anomaly/0.JPG": ("anomaly", ["candle/Data/Masks/Anomaly/0.png"])},
        ("labels by split_csv/1cls.csv",)),
    "COCO in class folders": (
        lambda at: write(draw(at, "good/1.png dent/1.png"), "annotations/instances_default.json",
                         coco({"good/1.png": [], "dent/1.png": [("x", [POLYGON])]})), {},
        {"good/1.png": ("good", []), "dent/1.png": ("dent", ["annotations/instances_default.json"])},
        ("masks drawn by annotations: 1",)),
    "COCO with classes": (
        lambda at: write(draw(at, "images/1.png images/2.png images/3.png images/4.png"), "result.json",
                         coco({"images/1.png": [], "x\\2.png": [("dent", [[4, 4, 6, 4, 6, 6]]), ("crack", [POLYGON])],
                               "3.png": [("dent", [])]})), {},
        {"images/1.png": ("good", []), "images/2.png": ("crack", ["result.json"]), "images/3.png": ("dent", []),
         "images/4.png": ("good", [])},
        ("do not name, taken as good: 1", "several classes, of which that of most area counts: 1", "boxes")),
    "COCO with run lengths": (
        lambda at: write(draw(at, "1.png 2.png 3.png"), "coco.json", coco({
            "1.png": [("dent", {"size": [16, 20], "counts": RUNS})], "3.png": [],
            "2.png": [("dent", {"size": [16, 20], "counts": PACKED})]})), {},
        {"1.png": ("dent", ["coco.json"]), "2.png": ("dent", ["coco.json"]), "3.png": ("good", [])}, ()),
    "LabelMe in class folders": (
        lambda at: (write(draw(at, "good/1.png dent/1.png dent/2.png dent/3.png"), "dent/1.json",
                          labelme(("x", "polygon", [[2, 2], [9, 2], [9, 9]]))),
                    write(at, "dent/2.json", labelme(("x", "rectangle", [[9, 9], [2, 2]]), ("x", "point", [[0, 0]]))),
                    write(at, "dent/3.json", labelme(("x", "mask", [[2, 2], [8, 8]])))),
        {}, {"dent/2.png": ("dent", ["dent/2.json"]), "dent/3.png": ("dent", ["dent/3.json"]),
             "good/1.png": ("good", []), "dent/1.png": ("dent", ["dent/1.json"])}, ("masks drawn by annotations: 3",)),
    "LabelMe with classes": (
        lambda at: write(draw(at, "1.png 2.png"), "1.json", labelme(("dent", "circle", [[9, 8], [12, 8]]))),
        {}, {"1.png": ("dent", ["1.json"]), "2.png": ("good", [])}, ("classes by annotations",)),
    "other JSON": (
        lambda at: (write(draw(at, "good/1.png dent/1.png"), "good/1.json", "{"),
                    write(at, "a.json", {"iso": 100})), {},
        {"good/1.png": ("good", []), "dent/1.png": ("dent", [])},
        ("no annotations could be read from: good/1.json",)),
    "a class folder that is a link": (
        lambda at: (draw(at, "good/1.png"), (at / "dent").symlink_to(draw(at.parent / "far", "1.png"))), {},
        {"good/1.png": ("good", []), "dent/1.png": ("dent", [])}, ()),
    "formats": (
        lambda at: draw(at, "good/1.jfif good/2.webp good/3.gif dent/1.JFIF"), {},
        {"good/1.jfif": ("good", []), "good/2.webp": ("good", []), "good/3.gif": ("good", []),
         "dent/1.JFIF": ("dent", [])}, ()),
}  # fmt: skip

# name: how it is made, options, what is said of which file or folder (empty: the data folder), what to do
REFUSED: dict[str, tuple[Callable[[Path], object], dict[str, str], dict[str, str], tuple[str, ...]]] = {
    "masks as a class": (
        lambda at: draw(at, "good/1.png dent/1.png marks/1.png! marks/2.png!"), {},
        {"marks": "nothing but black and white pictures"}, ("ground_truth", "labels.csv")),
    "products": (
        lambda at: draw(at, "bottle/train/good/1.png bottle/test/dent/1.png cable/test/good/2.png"), {},
        {"": "holds the products bottle, cable"}, ("name one: --data", "--dataset bottle cable")),
    "products of VisA": (
        lambda at: write(draw(at, "a/1.png b/1.png"), "split_csv/1cls.csv",
                         "object,split,label,image,mask\na,train,normal,a/1.png,\nb,train,normal,b/1.png,\n"), {},
        {"split_csv/1cls.csv": "lists the products a, b"}, ("--dataset a",)),
    "YOLO": (
        lambda at: write(draw(at, "images/train/1.png images/train/2.png"), "labels/train/1.txt", "0 .5 .5 .1 .1"), {},
        {"": "no known layout: YOLO's boxes"}, ("export them as COCO", "labels.csv")),
    "class in the name": (
        lambda at: draw(at, "good_1.png good_2.png crack_1.png"), {},
        {"": "the class perhaps in the name (crack, good)"}, ("make a folder per class", "labels.csv")),
    "flat splits": (
        lambda at: draw(at, "train/1.png test/1.png test/2.png"), {}, {"": "images in no class folder"},
        ("labels.csv",)),
    "only train": (
        lambda at: draw(at, "train/good/1.png train/good/2.png"), {}, {"": "one class only (good)"},
        ("test/ missing",)),
    "an image in two classes": (
        lambda at: (draw(at, "good/1.png dent/1.png crack/2.png"), draw(at, "dent/1.png").joinpath("dent/1.png")
                    .rename(at / "crack/1.png"), draw(at, "dent/1.png")), {},
        {"dent/1.png": "under another label", "crack/1.png": "under another label"}, ("shows both", "one of both")),
    "a wrong list": (
        lambda at: write(draw(at, "1.png 2.png"), "labels.csv",
                         "path,label,mask\n1.png,good,\n1.png,good,\n3.png,dent,\n2.png,,m.png\n"), {},
        {"labels.csv": "mask 'm.png' of '2.png' is not there"},
        ("list each image once", "below the data folder", "name its class", "correct or clear")),
    "a list that is no text": (
        lambda at: (draw(at, "1.png") / "labels.csv").write_bytes(b"path,label\n1.png,Geh\xe4use\n"), {},
        {"labels.csv": "cannot be read"}, ("UTF-8",)),
    "a link in a circle": (
        lambda at: (draw(at, "good/1.png dent/1.png"), (at / "dent/again").symlink_to(at)), {},
        {"dent/again": "leads in a circle"}, ("remove it",)),
}  # fmt: skip
