"""Folder layouts: walk a data folder once and say which file is an image, of which class, with which mask."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lib.datasets.errors import Issue, undecodable
from lib.datasets.image_io import FOREIGN_SUFFIXES, SUFFIXES

GROUND_TRUTH = "ground_truth"
TILE_NAME = re.compile(r"MT_(\w+)/Imgs/exp\d+_num_(?P<number>\d+)\.(jpg|png)\Z")
# By layout: what it is, where images belong, and how a path there begins, its first group the class.
LAYOUTS = {
    "class_folders": (
        "a folder per class, masks in ground_truth/<class>/<stem>_mask.png or <stem>.png",
        "a class folder", re.compile("([^/]+)/")),
    "mvtec": (
        "MVTec AD: train/good, test/<class>, ground_truth/<class>/<stem>_mask.png; all pooled",
        "train/<class> and test/<class>", re.compile("(?:train|test)/([^/]+)/")),
    "magnetic_tile": (
        "MT_<Class>/Imgs/exp<E>_num_<N>.jpg with the mask .png beside it",
        "MT_<Class>/Imgs/exp<E>_num_<N>.jpg or .png", TILE_NAME),
}  # fmt: skip


class Entry(NamedTuple):
    """One image: its id (POSIX path below the data folder), its class, and its mask's path or None."""

    id: str
    label: str
    mask: str | None = None


@dataclass
class Listing:
    """What a data folder holds; `issues` are of single files and may be skipped, `structural` ones not."""

    root: Path
    layout: str = ""
    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    structural: list[Issue] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_layout(root: Path, dataset: str = "") -> Listing:
    """Return the files below `root`, and all issues, by the layout there (a named `dataset` may demand its own)."""
    listing = walk(root)
    tops = {name for name in listing.folders if "/" not in name}
    holding = {image.split("/")[0] for image in listing.images if "/" in image} - {GROUND_TRUTH}
    if dataset == "magnetic_tile" or any(re.fullmatch(r"MT_\w+/Imgs", name) for name in listing.folders):
        listing.layout = "magnetic_tile"
        listing.images = [name for name in listing.images if name != "dataset.jpg"]  # an overview of the set
    elif {"train", "test"} <= tops:
        listing.layout = "mvtec"
    elif holding:
        listing.layout = "class_folders"
        if empty := sorted(tops - holding - {GROUND_TRUTH}):
            listing.notes.append(f"folders without images are no classes: {', '.join(empty)}")
    if listing.layout:
        _assign(listing)
    if not listing.entries and not listing.structural:
        remedy = f"arrange the images as one of: {'; '.join(about for about, *_ in LAYOUTS.values())}"
        listing.structural.append(Issue(str(root), "no known layout", remedy))
    return listing


def walk(root: Path) -> Listing:
    """List the image files below `root` by name, and what cannot be read; hidden files and folders are left out."""
    listing, unread = Listing(root), list[OSError]()
    for folder, inner, files in os.walk(root, onerror=unread.append):
        inner[:] = sorted(name for name in inner if name[0] != "." and name != "__MACOSX")
        for path in [Path(folder, name) for name in (*inner, *files) if name[0] != "."]:
            name, is_folder = path.relative_to(root).as_posix(), path.is_dir()
            if is_folder or path.suffix.lower() in SUFFIXES | FOREIGN_SUFFIXES or not path.exists():
                if wrong := _issue_of(path, name, root):
                    (listing.structural if is_folder else listing.issues).append(wrong)
                else:
                    (listing.folders if is_folder else listing.images).append(name)
    listing.images.sort()
    for error in unread:
        name = Path(error.filename).relative_to(root).as_posix()
        issue, remedy = f"folder cannot be read ({error.strerror})", "check that it is there and may be read"
        listing.structural.append(Issue(str(root) if name == "." else name, issue, remedy))
    return listing


def _issue_of(path: Path, name: str, root: Path) -> Issue | None:
    """Return what is wrong with a folder or an image file before anything in it is read."""
    if undecodable(name):
        return Issue(name, "name is not valid UTF-8", "rename it")
    if not path.exists():
        return Issue(name, "broken symbolic link", "restore its target or remove it")
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        return Issue(name, "symbolic link that leaves the data folder", "put the real file in its place")
    if path.is_symlink() and path.is_dir():
        return Issue(name, "symbolic link to a folder", "put the real folder in its place")
    if not path.is_dir() and not path.is_file():
        return Issue(name, "not a regular file", "remove it")
    return None


def _assign(listing: Listing) -> None:
    """Fill `listing.entries` by the layout: each image's class, and the mask of its name."""
    tiles, (_, place, beginning) = listing.layout == "magnetic_tile", LAYOUTS[listing.layout]
    owners: dict[str, list[str]] = defaultdict(list)  # images by the stem that their mask would have
    labels: dict[str, str] = {}
    mask_of: dict[str, str] = {}
    masks = []
    for image in listing.images:
        match = beginning.match(image)
        if (match and image.endswith(".png")) if tiles else image.startswith(GROUND_TRUTH + "/"):
            masks.append(image)
        elif match:
            labels[image] = match[1].lower() if tiles else match[1]
            owners[image.rpartition(".")[0]].append(image)
        else:
            listing.issues.append(Issue(image, f"image outside {place}", "move it to its class or remove it"))
    # names repeat in train and test; masks belong to test images
    above = "test/" if listing.layout == "mvtec" else ""
    for mask in masks:
        key = above + mask.removeprefix(GROUND_TRUTH + "/").rpartition(".")[0]
        images = owners.get(key.removesuffix("_mask")) or owners.get(key) or []
        if not images:
            issue, remedy = "mask that fits no image", "name it after its image or remove it"
        elif len(images) > 1:
            issue = f"mask that fits several images ({', '.join(images)})"
            remedy = "give images of a class different names"
        elif images[0] in mask_of:
            issue = f"second mask of {images[0]}, besides {mask_of[images[0]]}"
            remedy = "keep one mask per image"
        else:
            mask_of[images[0]] = mask
            continue
        listing.issues.append(Issue(mask, issue, remedy))
    listing.entries = [Entry(image, label, mask_of.get(image)) for image, label in sorted(labels.items())]
