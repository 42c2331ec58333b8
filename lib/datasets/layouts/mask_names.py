"""Masks by their names: which file is a mask, and of which image; several masks of one image are joined."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from lib.datasets.errors import Issue
from lib.datasets.layouts.listing import GOOD_NAMES, Entry, Listing
from lib.datasets.masks import SEPARATOR

GROUND_TRUTH = "ground_truth"
MASK_FOLDER = re.compile(r"(ground[_-]?truths?|gts?|(seg\w*[_-])?masks?([_-](dir|images?))?)\Z", re.I)
MASK_END = re.compile(r"_(GT|mask)\Z", re.I)
SPLIT = re.compile(r"(train|training|val|valid|validation|test|testing)\Z", re.I)


def part_masks(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return which files are images and which masks: those in a folder for masks, or named <stem>_GT beside <stem>."""
    parts: tuple[list[str], list[str]] = [], []
    stems = {name.rpartition(".")[0] for name in names}
    for name in names:
        stem = name.rpartition(".")[0]
        beside = MASK_END.search(stem) and MASK_END.sub("", stem) in stems
        parts[bool(beside or any(map(MASK_FOLDER.match, name.split("/")[:-1])))].append(name)
    return parts


def class_of(image: str) -> str:
    """Return the first folder of an image that is no split, or nothing."""
    return next((part for part in image.split("/")[:-1] if not SPLIT.match(part)), "")


def assign(listing: Listing, labels: Mapping[str, str], masks: Iterable[str]) -> None:
    """Fill in the entries: the images `labels`, with their classes, and to each the masks that fit its name.

    A mask has the path of its image, without the folder for masks, and perhaps more after a sign. In a flat folder the
    name counts, else the number in it. Of several images one of a test part, and not good, is preferred.
    """
    paths, names, numbers, masks_of = (defaultdict[str, list[str]](list) for _ in range(4))
    good = [listing.good.casefold()] if listing.good else GOOD_NAMES
    for image in labels:
        stem = image.rpartition(".")[0]
        split, _, below = stem.partition("/")
        for key in {stem, below} if SPLIT.match(split) else {stem}:
            paths[key].append(image)
        names[stem.rpartition("/")[2]].append(image)
        numbers[_number(stem)].append(image)
    for mask in masks:
        *folders, name = mask.rpartition(".")[0].split("/")
        above = "".join(f"{part}/" for part in folders if not MASK_FOLDER.match(part))
        tried = [name, *(name[: sign.start()] for sign in reversed([*re.finditer(r"[-_. ]", name)]))]
        found = next((paths[above + each] for each in tried if above + each in paths), [])
        if not found and (not above or SPLIT.match(above[:-1])):
            same_number = numbers.get(_number(name) or "no", [])
            found = next((names[each] for each in tried if each in names), same_number)
        found = [image for image in found if image.startswith("test/")] or found
        found = [image for image in found if len(found) > 1 and labels[image].casefold() not in good] or found
        if len(found) == 1:
            masks_of[found[0]].append(mask)
            continue
        issue = f"mask that fits several images ({', '.join(found)})" if found else "mask that fits no image"
        remedy = "give images of a class different names" if found else "name it after its image or remove it"
        listing.issues.append(Issue(mask, issue, remedy))
    several = sum(len(found) > 1 for found in masks_of.values())
    listing.note("images with several masks, which are joined: {}", several)
    listing.entries = [Entry(i, label, SEPARATOR.join(masks_of[i]) or None) for i, label in sorted(labels.items())]


def _number(name: str) -> str:
    """Return the last number in a file's name, without leading zeros."""
    return re.sub(r"^0+(?=\d)", "", "".join(re.findall(r"\d+", name.rpartition("/")[2])[-1:]))
