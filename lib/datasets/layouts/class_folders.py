"""A folder per class, at the top or in each split: masks in a folder of their own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lib.datasets.errors import Issue
from lib.datasets.layouts.listing import Layout, Listing
from lib.datasets.layouts.mask_names import GROUND_TRUTH, SPLIT, assign, class_of, part_masks


def tops(listing: Listing) -> set[str]:
    """Return the folders at the top with images that are no masks."""
    return {image.split("/")[0] for image in part_masks(listing.images)[0] if "/" in image}


def yolo(listing: Listing) -> bool:
    """Tell whether images of no class have a .txt each, of its name, as YOLO's boxes are."""
    texts = {Path(name).stem for name in listing.beside if name.endswith(".txt")}
    one = len(set(map(class_of, listing.images))) == 1
    return one and any(Path(image).stem in texts for image in listing.images)


def split_folders(listing: Listing, _dataset: str) -> bool:
    """Tell whether classes lie in splits: all folders at the top are splits, or train and test are among them."""
    names = {image.split("/")[0] for image in part_masks(listing.images)[0] if image.count("/") > 1}
    only = bool(names) and all(map(SPLIT.match, tops(listing)))
    return not yolo(listing) and (only or {"train", "test"} <= names)


def class_folders(listing: Listing, _dataset: str) -> bool:
    """Tell whether folders at the top are classes: they hold images, and are no splits."""
    return not yolo(listing) and not all(map(SPLIT.match, tops(listing)))


def read(listing: Listing, _dataset: str, good: str, *, splits: bool) -> None:
    """Fill in the entries: the class is the folder's name, below its split for `splits`."""
    images, masks = part_masks(listing.images)
    labels, place = dict[str, str](), "train/<class> and test/<class>" if splits else "a class folder"
    for image in images:
        first, *others = image.split("/")[:-1] or [""]
        if label := (others[0] if SPLIT.match(first) and others else "") if splits else first:
            labels[image] = label
        else:
            listing.issues.append(Issue(image, f"image outside {place}", "move it to its class or remove it"))
    found, holding = (sorted({name.split("/")[0] for name in names}) for names in (labels, listing.images))
    empty = sorted({name.split("/")[0] for name in listing.folders}.difference(holding))
    elsewhere = sorted({mask.rpartition("/")[0] for mask in masks if not mask.startswith(GROUND_TRUTH)})
    if absent := [name for name in ("test", "train") if splits and name not in found]:
        listing.notes.append(f"only {'/, '.join(found)}/ here, {'/, '.join(absent)}/ missing; pooled")
    elif splits and len(found) > 2:
        listing.notes.append(f"pooled, and dealt to folds anew: {', '.join(found)}")
    if empty and not splits:
        listing.notes.append(f"folders without images are no classes: {', '.join(empty)}")
    if elsewhere:
        listing.notes.append(f"masks, no images, are in: {', '.join(elsewhere)}")
    assign(listing, labels, masks, good)


SPLIT_FOLDERS = Layout(
    "MVTec AD, BTAD: train/good, test/<class>, ground_truth/<class>/<stem>_mask.png; val/ too; all pooled",
    split_folders, partial(read, splits=True),
)  # fmt: skip
CLASS_FOLDERS = Layout(
    "a folder per class, masks in ground_truth/<class>/<stem>_mask.png or <stem>.png",
    class_folders, partial(read, splits=False),
)  # fmt: skip
