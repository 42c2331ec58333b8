"""Classes by folders, at the top or in each split; and two published sets that are arranged in their own way."""

import re
from functools import partial
from pathlib import Path

from lib.datasets.errors import Issue
from lib.datasets.image_io import map_files
from lib.datasets.layouts.listing import Layout, Listing
from lib.datasets.layouts.mask_names import GROUND_TRUTH, MASK_END, SPLIT, assign, class_of, part_masks
from lib.datasets.masks import read_mask

TILE_NAME = re.compile(r"MT_(\w+)/Imgs/exp\d+_num_(?P<number>\d+)\.(jpg|png)\Z")
TILE_PLACE = "MT_<Class>/Imgs/exp<E>_num_<N>.jpg"


def yolo(listing: Listing) -> bool:
    """Tell whether images of no class have a .txt each, of its name, as YOLO's boxes are."""
    texts = {Path(name).stem for name in listing.beside if name.endswith(".txt")}
    one = len(set(map(class_of, listing.images))) == 1
    return one and any(Path(image).stem in texts for image in listing.images)


def _fits(listing: Listing, *, splits: bool) -> bool:
    """Tell whether classes lie in splits: all folders at the top are splits, or train and test are among them."""
    paths = [image.split("/") for image in part_masks(listing.images)[0] if "/" in image]
    only = all(SPLIT.match(path[0]) for path in paths)
    deep = {path[0] for path in paths if len(path) > 2}
    return not yolo(listing) and ((only and bool(deep)) or {"train", "test"} <= deep if splits else not only)


def _read(listing: Listing, *, splits: bool) -> None:
    """Fill in the entries: the class is the folder's name, below its split for `splits`."""
    images, masks = part_masks(listing.images)
    labels, place = dict[str, str](), "train/<class> and test/<class>" if splits else "a class folder"
    for image in images:
        folders = [*image.split("/")[:-1], "", ""]
        if label := folders[1] * bool(SPLIT.match(folders[0])) if splits else folders[0]:
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
    listing.note("folders without images are no classes: {}", "" if splits else ", ".join(empty))
    listing.note("masks, no images, are in: {}", ", ".join(elsewhere))
    assign(listing, labels, masks)


def _read_tiles(listing: Listing) -> None:
    """Fill in the entries: a .jpg is an image, the .png of its name its mask."""
    found = {image: match for image in listing.images if (match := TILE_NAME.match(image))}
    for image in listing.images:
        if image not in found and image != "dataset.jpg":  # an overview of the set
            remedy = "move it to its class or remove it"
            listing.issues.append(Issue(image, f"image outside {TILE_PLACE} or .png", remedy))
    labels = {image: match[1].lower() for image, match in found.items() if match[3] == "jpg"}
    assign(listing, labels, [image for image in found if image not in labels])


def _fits_marked(listing: Listing) -> bool:
    """Tell whether images lie in no class folder, and about every second one is the mask of another."""
    masks = [name for name in listing.images if MASK_END.search(name.rpartition(".")[0])]
    return not any(map(class_of, listing.images)) and len(listing.images) <= 3 * len(masks)


def _read_marked(listing: Listing) -> None:
    """Fill in the entries: images whose mask marks nothing, or without one, are good, others `defect`."""
    images, masks = part_masks(listing.images)
    marked, bad = map_files(listing.root, masks, lambda path: bool(read_mask(path).any()))
    listing.issues += bad.values()
    assign(listing, dict.fromkeys(images, ""), list(marked))
    label = {False: listing.good or "good", True: "defect"}
    listing.entries = [e._replace(label=label[marked.get(str(e.mask), False)]) for e in listing.entries]
    bare = sum(entry.mask is None for entry in listing.entries)
    listing.notes.append(f"classes by masks, splits pooled; images without a mask, taken as good: {bare}")


SPLIT_FOLDERS = Layout(
    "MVTec AD, BTAD: train/good, test/<class>, ground_truth/<class>/<stem>_mask.png; val/ too; all pooled",
    partial(_fits, splits=True), partial(_read, splits=True),
)  # fmt: skip
CLASS_FOLDERS = Layout(
    "a folder per class, masks in ground_truth/<class>/<stem>_mask.png or <stem>.png",
    partial(_fits, splits=False), partial(_read, splits=False),
)  # fmt: skip
MAGNETIC_TILE = Layout(
    f"{TILE_PLACE} with the mask .png beside it",
    lambda it: it.dataset == "magnetic_tile" or any(re.fullmatch(r"MT_\w+/Imgs", name) for name in it.folders),
    _read_tiles,
)
BESIDE = "KolektorSDD2: <N>.png with the mask <N>_GT.png beside it, in train/ and test/"
KOLEKTOR = Layout(BESIDE, _fits_marked, _read_marked)
