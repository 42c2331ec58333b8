"""Folder layouts: walk a data folder once and say which file is an image, of which class, with which mask."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lib.datasets.errors import Issue
from lib.datasets.image_io import FOREIGN_SUFFIXES, SUFFIXES

LAYOUTS: dict[str, str] = {
    "class_folders": "a folder per class, masks in ground_truth/<class>/<stem>_mask.png or <stem>.png",
    "mvtec": "MVTec AD: train/good, test/<class>, ground_truth/<class>/<stem>_mask.png; all pooled",
    "magnetic_tile": "MT_<Class>/Imgs/exp<E>_num_<N>.jpg with the mask .png beside it",
}
SILENT_NAMES = re.compile(
    r"(thumbs\.db|desktop\.ini|standin\.json|groups\.csv|(readme|licen[cs]e)(\..*)?)", re.I
)
SILENT_FOLDERS = frozenset({"__MACOSX"})  # besides all hidden ones, such as .ipynb_checkpoints
GROUND_TRUTH = "ground_truth"
TILE_NAME = re.compile(r"MT_(?P<label>\w+)/Imgs/exp(?P<exposure>\d+)_num_(?P<number>\d+)\.(jpg|png)")


@dataclass(frozen=True)
class Entry:
    """One image: its id (POSIX path below the data folder), its class, and its mask's path or None."""

    id: str
    label: str
    mask: str | None = None


@dataclass
class Listing:
    """What stands in a data folder; `issues` are of single files and may be skipped, `structural` not."""

    root: Path
    layout: str = ""
    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    structural: list[Issue] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_layout(root: Path, dataset: str = "") -> Listing:
    """Walk `root` and assign its files by the layout found there (a named `dataset` may demand its own).

    Nothing is opened. Nothing is raised either: faults come back in the listing, all of them.
    """
    listing = walk(root)
    tops = {name for name in listing.folders if "/" not in name}
    holding = {image.split("/")[0] for image in listing.images if "/" in image} - {GROUND_TRUTH}
    if dataset == "magnetic_tile" or any(re.fullmatch(r"MT_\w+/Imgs", name) for name in listing.folders):
        listing.layout = "magnetic_tile"
        _assign_tiles(listing)
    elif {"train", "test"} <= tops:
        listing.layout = "mvtec"
        _assign_mvtec(listing)
    elif holding:
        listing.layout = "class_folders"
        _assign_class_folders(listing)
        if empty := sorted(tops - holding - {GROUND_TRUTH}):
            listing.notes.append(f"folders without images are no classes: {', '.join(empty)}")
    if not listing.entries and not listing.structural:
        known = "; ".join(LAYOUTS.values())
        listing.structural.append(
            Issue(str(root), "no known layout", f"arrange the images as one of: {known}")
        )
    return listing


def walk(root: Path) -> Listing:
    """List the image files below `root` by name, and what cannot be read: hidden files and folders do not count."""
    listing = Listing(root)
    others: Counter[str] = Counter()
    real_root = root.resolve()
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            for child in sorted(folder.iterdir()):
                if child.name.startswith(".") or child.name in SILENT_FOLDERS:
                    continue
                name, suffix, is_folder = _name(child, root), child.suffix.lower(), child.is_dir()
                relevant = is_folder or suffix in SUFFIXES | FOREIGN_SUFFIXES or not child.exists()
                if not relevant:
                    if not SILENT_NAMES.fullmatch(child.name):
                        others[suffix or "no suffix"] += 1
                elif issue := _fault_of(child, name, real_root):
                    (listing.structural if is_folder else listing.issues).append(issue)
                elif is_folder:
                    listing.folders.append(name)
                    pending.append(child)
                else:
                    listing.images.append(name)
        except OSError as error:
            what = f"folder cannot be read ({error.strerror})"
            named = str(root) if folder == root else _name(folder, root)
            listing.structural.append(Issue(named, what, "give yourself permission to read it"))
    listing.images.sort()
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        listing.notes.append(f"files that are not images were ignored: {kinds}")
    return listing


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _fault_of(path: Path, name: str, real_root: Path) -> Issue | None:
    """Return what is wrong with a folder or an image file before anything in it is read."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return Issue(name, "name is not valid UTF-8", "rename it")
    if path.is_symlink():
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            return Issue(name, "broken symbolic link", "restore its target or remove it")
        if not target.is_relative_to(real_root):
            return Issue(name, "symbolic link that leaves the data folder", "put the real file in its place")
        if target.is_dir():
            return Issue(name, "symbolic link to a folder", "put the real folder in its place")
    if not path.is_dir():
        if not path.is_file():
            return Issue(name, "not a regular file", "remove it")
        if path.suffix.lower() in FOREIGN_SUFFIXES:
            return Issue(name, f"{path.suffix} images are not read", "convert it to PNG")
    return None


def _assign_class_folders(listing: Listing) -> None:
    masks, labels = [], {}
    for image in listing.images:
        parts = image.split("/")
        if len(parts) == 1:
            listing.issues.append(_outside(image, "a class folder"))
        elif parts[0] == GROUND_TRUTH:
            masks.append(image)
        else:
            labels[image] = parts[0]
    _pair_with_masks(listing, labels, masks, _stem)


def _assign_mvtec(listing: Listing) -> None:
    masks, labels = [], {}
    for image in listing.images:
        parts = image.split("/")
        if parts[0] == GROUND_TRUTH:
            masks.append(image)
        elif parts[0] in ("train", "test") and len(parts) > 2:
            labels[image] = parts[1]
        else:
            listing.issues.append(_outside(image, "train/<class> and test/<class>"))
    # Names repeat in train and test; MVTec AD's masks belong to the test images.
    _pair_with_masks(listing, labels, masks, lambda i: _stem(i[5:]) if i.startswith("test/") else None)


def _pair_with_masks(
    listing: Listing, labels: dict[str, str], masks: Iterable[str], key_of: Callable[[str], str | None]
) -> None:
    """Fill `listing.entries`; `key_of` names, without its ending, the mask that an image id would have."""
    owners: dict[str | None, list[str]] = defaultdict(list)
    for image in labels:
        owners[key_of(image)].append(image)
    mask_of: dict[str, str] = {}
    for mask in masks:
        key = _stem(mask.removeprefix(GROUND_TRUTH + "/"))
        images = owners.get(key.removesuffix("_mask")) or owners.get(key) or []
        if not images:
            listing.issues.append(_orphan(mask))
        elif len(images) > 1:
            issue = f"mask that fits several images ({', '.join(images)})"
            listing.issues.append(Issue(mask, issue, "give images of a class different names"))
        elif images[0] in mask_of:
            issue = f"second mask of {images[0]}, besides {mask_of[images[0]]}"
            listing.issues.append(Issue(mask, issue, "keep one mask per image"))
        else:
            mask_of[images[0]] = mask
    listing.entries = [Entry(image, label, mask_of.get(image)) for image, label in sorted(labels.items())]


def _assign_tiles(listing: Listing) -> None:
    files = set(listing.images)
    for image in listing.images:
        match = TILE_NAME.fullmatch(image)
        if image == "dataset.jpg":  # the overview picture of the published repository
            continue
        if match is None:
            listing.issues.append(_outside(image, "MT_<Class>/Imgs/exp<E>_num_<N>.jpg or .png"))
        elif image.endswith(".jpg"):
            mask = _stem(image) + ".png"
            listing.entries.append(Entry(image, match["label"].lower(), mask if mask in files else None))
        elif _stem(image) + ".jpg" not in files:
            listing.issues.append(_orphan(image))


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _outside(image: str, place: str) -> Issue:
    return Issue(image, f"image outside {place}", "move it to its class or remove it")


def _orphan(mask: str) -> Issue:
    return Issue(mask, "mask that fits no image", "name it after its image or remove it")
