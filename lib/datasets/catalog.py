"""The catalogue: a folder of pictures becomes one checked index table, or one list of all its faults."""

from __future__ import annotations

import difflib
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from lib.datasets.errors import DatasetError, Issue, as_table
from lib.datasets.groups import groups_from_file, groups_from_regex, tile_groups
from lib.datasets.images import READERS, Examined, examine, read_mask
from lib.datasets.layouts import Entry, Listing, read_layout

GOOD_NAMES = ("good", "ok", "normal", "free")
COLUMNS = {
    "id": "string",
    "path": "string",
    "label": "string",
    "group": "string",
    "mask": "string",
    "sha256": "string",
    "width": "int64",
    "height": "int64",
}
DUPLICATE_RULE = (
    "No picture counts twice: files that show the same pixels are refused, so that none stands in a training and in a "
    "test part; under two labels they contradict each other. Leaving bad files out keeps the first of equal ones, and "
    "none of those under two labels."
)
SHOWN_IN_NOTE = 5
T = TypeVar("T")


@dataclass(frozen=True)
class DatasetIndex:
    """A checked data set.

    `index` has one row per image, sorted by id, with `COLUMNS`: id and path (POSIX, below `root`), label,
    group and mask (<NA> where unknown), sha256 of the file, upright width and height in pixels. `classes`
    holds the good one first, then the others sorted. `skipped` lists what was left out: file, fault, way_out.
    """

    name: str
    root: Path
    index: pd.DataFrame
    good: str
    classes: tuple[str, ...]
    layout: str
    grouped: bool
    skipped: pd.DataFrame
    note: str


def build_index(
    root: Path,
    *,
    dataset: str = "",
    good: str = "",
    groups: Path | None = None,
    group_regex: str = "",
    skip_bad: bool = False,
) -> DatasetIndex:
    """Index the images below `root`, every one fully decoded, in one of the layouts of `layouts.LAYOUTS`.

    `good` names the good class (default: the one called good, ok, normal or free). Groups come from the
    file `groups`, else from `group_regex`, else from a groups.csv in `root`, else from the data set's own
    rule. `skip_bad` leaves out files that are bad by themselves: of duplicates it keeps the first, of images
    under several labels none, of bad masks the image. Raises DatasetError with every fault there is.
    """
    root = Path(root)
    if not root.is_dir():
        issue = "not a folder" if root.exists() else "no such folder"
        raise DatasetError([Issue(str(root), issue, "name the folder that holds the images (--data DIR)")])
    listing = read_layout(root, dataset)
    labels = {entry.label for entry in listing.entries}
    examined, bad = map_files(root, [entry.id for entry in listing.entries], examine)
    bad |= _duplicates(listing.entries, examined)
    kept = [entry for entry in listing.entries if entry.id not in bad] if skip_bad else listing.entries
    kept_ids = [entry.id for entry in kept]

    structural = list(listing.structural)
    structural += _alike(labels)
    good, issues = _good_class(listing, good, {entry.label for entry in kept}) if kept else ("", [])
    structural += issues
    group_of, issues = _groups(listing, kept_ids, groups, group_regex)
    structural += issues
    bad_masks, notes = _check_masks(root, kept, examined, good)
    skippable = sorted([*listing.issues, *bad.values(), *bad_masks.values()])
    if listing.entries and not kept:
        structural.append(Issue(str(root), "no usable image is left", "see the other faults"))
    told = structural if skip_bad and kept else structural + skippable
    if structural or (skippable and not skip_bad):
        raise DatasetError(told, str(root) if structural else f"{root} (--skip-bad leaves these files out)")

    rows = [_row(e, group_of.get(e.id), examined[e.id], e.mask not in bad_masks) for e in kept]
    index = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    classes = (good, *sorted(set(index["label"]) - {good}))
    notes = [*listing.notes, *notes]
    if gone := sorted(labels - set(classes)):
        notes.append(f"classes without a usable image: {', '.join(gone)}")
    return DatasetIndex(
        name=dataset or root.resolve().name,
        root=root,
        index=index.sort_values("id", ignore_index=True),
        good=good,
        classes=classes,
        layout=listing.layout,
        grouped=bool(group_of),
        skipped=as_table(skippable),
        note="; ".join(notes),
    )


def _row(entry: Entry, group: str | None, facts: Examined, mask_is_fine: bool) -> tuple[object, ...]:
    mask = entry.mask if mask_is_fine else None
    return entry.id, entry.id, entry.label, group, mask, facts.sha256, facts.width, facts.height


def map_files(
    root: Path, names: Sequence[str], read: Callable[[Path], T]
) -> tuple[dict[str, T], dict[str, Issue]]:
    """Read all files in parallel; return the results and the faults, both by name."""

    def attempt(name: str) -> T | Issue:
        try:
            return read(root / name)
        except DatasetError as error:
            return replace(error.issues[0], file=name)

    with ThreadPoolExecutor(READERS) as pool:
        outcomes = dict(zip(names, pool.map(attempt, names), strict=True))
    issues = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, Issue)}
    return {n: outcome for n, outcome in outcomes.items() if not isinstance(outcome, Issue)}, issues


def _duplicates(entries: Iterable[Entry], examined: dict[str, Examined]) -> dict[str, Issue]:
    """Return the files to leave out: all but the first of equal ones, all of equal ones in two classes."""
    same: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.id in examined:
            same[examined[entry.id].pixels].append(entry)
    issues = {}
    for first, *others in same.values():
        rival = next((entry for entry in others if entry.label != first.label), None)
        if rival is None:
            for entry in others:
                issue = f"same picture as {first.id}"
                issues[entry.id] = Issue(entry.id, issue, "keep one of them")
            continue
        for entry in (first, *others):
            other = first if entry.label != first.label else rival
            issue = f"same picture as {other.id}, under another label"
            issues[entry.id] = Issue(entry.id, issue, "keep it in the class it belongs to")
    return issues


def _alike(labels: set[str]) -> list[Issue]:
    """Return the classes whose names differ in upper and lower case or in Unicode's composition alone."""
    same: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        same[unicodedata.normalize("NFC", label).casefold()].append(label)
    return [
        Issue(names[0], f"class named almost like {', '.join(names[1:])}", "put the images into one folder")
        for names in same.values()
        if len(names) > 1
    ]


def _good_class(listing: Listing, wanted: str, labels: set[str]) -> tuple[str, list[Issue]]:
    root, found = listing.root, ", ".join(sorted(labels))
    issues = []
    if len(labels) == 1:
        remedy = "add a folder for each other class"
        if any(
            name.casefold() in {f"{found}/{good}".casefold() for good in GOOD_NAMES}
            for name in listing.folders
        ):
            remedy = f"the classes lie one folder below: --data {root / found}"
        issues.append(Issue(str(root), f"one class only ({found})", remedy))
    fold_case = {label for label in labels if label.casefold() == wanted.casefold()}
    candidates = {wanted} & labels or fold_case
    if not wanted:
        candidates = {label for label in labels if label.casefold() in GOOD_NAMES}
    if len(candidates) == 1:
        return candidates.pop(), issues
    if candidates:
        issue = f"{len(candidates)} classes may be the good one ({', '.join(sorted(candidates))})"
        issues.append(Issue(str(root), issue, "choose one with --good NAME"))
    elif wanted:
        folded = {label.casefold(): label for label in sorted(labels)}
        near = [folded[name] for name in difflib.get_close_matches(wanted.casefold(), folded)]
        remedy = f"did you mean {' or '.join(near)}?" if near else f"choose one of: {found}"
        issues.append(Issue(str(root), f"no class {wanted!r} to be the good one", remedy))
    else:
        issue = f"no class is called {', '.join(GOOD_NAMES[:-1])} or {GOOD_NAMES[-1]}"
        issues.append(Issue(str(root), issue, f"say which is the good one with --good NAME, of: {found}"))
    return "", issues


def _groups(
    listing: Listing, kept: Sequence[str], file: Path | None, regex: str
) -> tuple[dict[str, str], list[Issue]]:
    if file is not None and regex:
        return {}, [Issue(str(file), f"groups given twice, also as {regex!r}", "--groups or --group-regex")]
    found = [entry.id for entry in listing.entries]
    if regex:
        return groups_from_regex(regex, kept)
    beside = listing.root / "groups.csv"
    if file is not None or beside.exists():
        return groups_from_file(beside if file is None else Path(file), kept, found)
    return (tile_groups(found) if listing.layout == "magnetic_tile" else {}), []


def _check_masks(
    root: Path, entries: Sequence[Entry], examined: dict[str, Examined], good: str
) -> tuple[dict[str, Issue], list[str]]:
    """Decode all masks; return the faults by mask, and what is worth a note."""
    owners = {entry.mask: entry for entry in entries if entry.mask is not None}

    def shape_and_content(path: Path) -> tuple[tuple[int, ...], bool]:
        mask: np.ndarray = read_mask(path)
        return mask.shape, bool(mask.any())

    read, issues = map_files(root, list(owners), shape_and_content)
    empty = []
    for mask, ((height, width), marked) in read.items():
        entry = owners[mask]
        image = examined.get(entry.id)
        if image is not None and (image.height, image.width) != (height, width):
            issue = f"mask of {width} x {height} pixels for {entry.id} of {image.width} x {image.height}"
            issues[mask] = Issue(mask, issue, "draw it at the image's size or remove it")
        elif marked and entry.label == good:
            issue = f"mask that marks a defect on {entry.id}, of the good class"
            issues[mask] = Issue(mask, issue, "move the image to its defect's class or remove the mask")
        elif not marked and entry.label != good:
            empty.append(mask)
    notes = [f"empty masks of defective images: {_first(empty)}"] if empty else []
    if any(entry.mask and entry.label != good for entry in entries):
        bare = [entry.id for entry in entries if not entry.mask and entry.label != good]
        notes += [f"defective images without a mask: {len(bare)} ({_first(bare)})"] if bare else []
    return issues, notes


def _first(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:SHOWN_IN_NOTE]) + (", ..." if len(names) > SHOWN_IN_NOTE else "")
