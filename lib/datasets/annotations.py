"""Annotations in JSON, of many images (COCO) or of one (LabelMe): classes, their areas, and masks."""

import base64
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from lib.datasets.image_io import LARGEST_AREA

# Class; run lengths, or polygons [x1, y1, x2, y2, ...]; area where neither is given.
Shape = tuple[str, Any, float]


class Drawing(NamedTuple):
    """What is drawn on one image: the area of each class in pixels, and the outlines as run lengths."""

    areas: dict[str, float]
    outlines: list[dict[str, Any]]

    def mask(self) -> np.ndarray:
        """Return all outlines together as bool (H, W)."""
        from pycocotools import mask as runs

        return np.asarray(runs.decode(runs.merge(self.outlines))).astype(bool)


def read_annotations(path: Path) -> dict[str, Drawing]:
    """Return a JSON file's drawings by the name of the image, none if it has other content; ValueError if damaged."""
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _read(path: Path, _changed: int) -> dict[str, Drawing]:
    try:
        content = json.loads(path.read_bytes())
        keys = set(content) if isinstance(content, dict) else set()
        if keys >= {"images", "annotations", "categories"}:
            names = {category["id"]: str(category["name"]) for category in content["categories"]}
            of_image = defaultdict[Any, list[Shape]](list)
            for each in content["annotations"]:
                *_, width, height = each.get("bbox") or (0, 0)
                shape = names[each["category_id"]], each.get("segmentation"), width * height
                of_image[each["image_id"]].append(shape)
            images = content["images"]
            return {str(i["file_name"]): _drawing(i["height"], i["width"], of_image[i["id"]]) for i in images}
        if keys >= {"shapes", "imagePath"}:
            height, width = content["imageHeight"], content["imageWidth"]
            shapes = (_labelme(shape, height, width) for shape in content["shapes"])
            return {path.stem + Path(content["imagePath"]).suffix: _drawing(height, width, shapes)}
    except Exception as error:  # damaged or hostile content makes it raise nearly anything
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return {}


def _labelme(shape: dict[str, Any], height: int, width: int) -> Shape:
    """Return a shape's class and its outline; points and lines have none."""
    from pycocotools import mask as runs

    kind, points = shape.get("shape_type") or "polygon", np.asarray(shape["points"], dtype=float)
    if kind == "mask":
        whole = Image.new("1", (width, height))
        drawn = Image.open(io.BytesIO(base64.b64decode(shape["mask"]))).convert("1")
        whole.paste(drawn, tuple(points[0].astype(int)))
        return shape["label"], runs.encode(np.asfortranarray(whole, dtype=np.uint8)), 0.0
    if kind == "rectangle":
        points = np.stack([points[[0, 1, 1, 0], 0], points[[0, 0, 1, 1], 1]], axis=1)
    elif kind == "circle":
        turn, radius = np.linspace(0, 2 * np.pi, 64, endpoint=False), np.hypot(*(points[1] - points[0]))
        points = points[0] + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return shape["label"], [points.ravel()] if kind in ("polygon", "rectangle", "circle") else [], 0.0


def _drawing(height: int, width: int, shapes: Iterable[Shape]) -> Drawing:
    from pycocotools import mask as runs

    if not 0 < height * width <= LARGEST_AREA:
        raise ValueError(f"image of {width} x {height} pixels")
    areas, outlines = defaultdict[str, float](float), []
    for label, shape, area in shapes:
        if isinstance(shape, dict):
            if list(shape["size"]) != [height, width]:
                raise ValueError(f"run lengths of {shape['size']} in an image of {[height, width]}")
            found = [runs.frPyObjects(shape, height, width) if isinstance(shape["counts"], list) else shape]
        else:
            points = [np.reshape(polygon, (-1, 2)) for polygon in shape or [] if len(polygon) >= 6]
            if not all(np.isfinite(each).all() for each in points):
                raise ValueError("coordinates that are no numbers")
            polygons = [np.clip(each, 0, (width, height)).ravel().tolist() for each in points]
            found = runs.frPyObjects(polygons, height, width) if polygons else []
        outlines += found
        areas[str(label)] += float(np.sum(runs.area(found))) if found else area
    return Drawing(dict(areas), outlines)
