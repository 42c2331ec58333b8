"""Folder layouts: which file of a data folder is an image, of which class, with which mask."""

import re
from pathlib import Path

from lib.datasets.errors import first_few
from lib.datasets.layouts.annotated import ANNOTATED, add_masks
from lib.datasets.layouts.folders import CLASS_FOLDERS, KOLEKTOR, MAGNETIC_TILE, SPLIT_FOLDERS, yolo
from lib.datasets.layouts.label_list import LABEL_LIST
from lib.datasets.layouts.listing import Layout, Listing, walk

LAYOUTS: dict[str, Layout] = {  # the first that fits is taken
    "list": LABEL_LIST,
    "magnetic_tile": MAGNETIC_TILE,
    "kolektor": KOLEKTOR,
    "annotated": ANNOTATED,
    "mvtec": SPLIT_FOLDERS,
    "class_folders": CLASS_FOLDERS,
}
PRODUCT = re.compile(r"([^/]+)/(?:train|test)/[^/]+/")


def read_layout(root: Path, dataset: str = "", good: str = "") -> Listing:
    """Return the files below `root`, and all issues, by the layout there (a named `dataset` may demand its own).

    `good`: the name of the good class; where it is empty, `listing.GOOD_NAMES` are taken for good ones.
    """
    listing = walk(root)
    listing.dataset, listing.good = dataset, good
    products = sorted({match[1] for image in listing.images if (match := PRODUCT.match(image))})
    if products and set(products) == {image.split("/")[0] for image in listing.images}:
        issue = f"holds the products {first_few(products)}, each with train/ or test/"
        remedy = f"name one: --data {root / products[0]}"
        remedy += f"; or several: --dataset {' '.join(products[:2])}" if len(products) > 1 else ""
        listing.refuse(issue, remedy)
        return listing
    fitting = (name for name, layout in LAYOUTS.items() if listing.images and layout.fits(listing))
    listing.layout = next(fitting, "")
    if listing.layout:
        LAYOUTS[listing.layout].read(listing)
        add_masks(listing)
    if not listing.entries and not listing.structural:
        issue, remedy = _missing(listing)
        listing.refuse(f"no known layout: {issue}", remedy)
    return listing


def _missing(listing: Listing) -> tuple[str, str]:
    """Return what keeps a folder from being the nearest layout, and what to do about it."""
    if not listing.images:
        return "no image in it", f"arrange images as one of: {'; '.join(e.about for e in LAYOUTS.values())}"
    remedy = "make a folder per class, or write labels.csv with path,label (docs/guide.md has all layouts)"
    if yolo(listing):
        return "YOLO's boxes in .txt files are not read", f"export them as COCO, {remedy}"
    stems = {Path(name).stem for name in listing.images}
    begins = {match[1] for stem in stems if (match := re.match(r"([^\W\d]+?)[-_ ]*\d", stem))}
    named = f", the class perhaps in the name ({first_few(sorted(begins))})"
    return f"images in no class folder{named * (1 < len(begins) < len(stems))}", remedy
