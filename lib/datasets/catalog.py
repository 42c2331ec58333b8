"""The index: a folder of images becomes one checked table, or one list of all its issues."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import pandas as pd

from lib.config import nearest
from lib.datasets.errors import DatasetError, Issue, as_table, first_few
from lib.datasets.groups import groups_from_file, groups_from_regex, tile_groups
from lib.datasets.image_io import Examined, examine, map_files
from lib.datasets.layouts import GOOD_NAMES, Entry, Listing, read_layout
from lib.datasets.masks import files_of, read_union

COLUMNS = dict.fromkeys(("id", "path", "label", "group", "mask", "sha256"), "string")
COLUMNS |= dict.fromkeys(("width", "height"), "int64")
INVERT = "if black marks defects, --set invert_masks=true"
DUPLICATE_RULE = (
    "No image counts twice: files that show the same pixels are refused, so that none stands in a training and in a "
    "test part; under two labels they contradict each other. Leaving bad files out keeps the first of equal ones, and "
    "none of those under two labels."
)


def build_index(
    root: Path,
    *,
    dataset: str = "",
    good: str = "",
    groups: Path | None = None,
    group_regex: str = "",
    skip_bad: bool = False,
    invert_masks: bool = False,
) -> pd.DataFrame:
    """Return the index of the images below `root`, every one fully decoded, in one of the layouts of `LAYOUTS`.

    One row per image, sorted by id, with `COLUMNS`: id and path (POSIX, below `root`), label, group and mask (<NA>
    where unknown), SHA-256 of the file, upright width and height in pixels. In its `attrs`: good (the good class),
    classes (the good one first), layout, grouped, skipped (files left out: file, issue, remedy), note, invert_masks.

    `good` names the good class (default: of `GOOD_NAMES`). Groups come from the file `groups`, else from `group_regex`,
    else from a groups.csv in `root`, else from the layout's list, else from the data set's own rule. `skip_bad` leaves
    out files that are bad by themselves, of duplicates all but the first. `invert_masks`: black marks defects in mask
    files. Raises DatasetError with every issue there is.
    """
    listing = read_layout(root, dataset, good)
    examined, bad = map_files(root, [entry.id for entry in listing.entries], examine)
    bad |= _duplicates(listing.entries, examined)
    kept = [entry for entry in listing.entries if not (skip_bad and entry.id in bad)]

    labels = {entry.label for entry in listing.entries}
    good, good_issues = _good_class(listing, good, {entry.label for entry in kept}) if kept else ("", [])
    group_of, group_issues = _groups(listing, [entry.id for entry in kept], groups, group_regex)
    bad_masks, notes = _check_masks(root, kept, examined, good, invert_masks)
    several = [entry.id for entry in kept if entry.id in examined and examined[entry.id].first_of > 1]
    if several:
        notes.append(f"the first of several pictures is taken: {first_few(several)}")
    two_tone = _two_tone(listing, kept, examined)
    structural = [*listing.structural, *_alike(labels), *two_tone, *good_issues, *group_issues]
    skippable = sorted([*listing.issues, *bad.values(), *bad_masks.values()])
    if listing.entries and not kept:
        structural.append(Issue(str(root), "no usable image is left", "see the other issues"))
    if structural or (skippable and not skip_bad):
        issues = structural if skip_bad and kept else structural + skippable
        raise DatasetError(issues, str(root) if structural else f"{root} (--skip-bad leaves these files out)")

    rows = [(*entry, *examined[entry.id]) for entry in kept]
    index = pd.DataFrame(rows, columns=[*Entry._fields, *Examined._fields])
    index = index.assign(
        path=index["id"],
        group=index["id"].map(group_of),
        mask=index["mask"].mask(index["id"].isin(bad_masks)),
    )
    index = index[list(COLUMNS)].astype(COLUMNS).sort_values("id", ignore_index=True)
    classes = [good, *sorted(set(index["label"]) - {good})]
    notes = listing.notes + notes
    if gone := sorted(labels - set(classes)):
        notes.append(f"classes without a usable image: {', '.join(gone)}")
    index.attrs = {
        "good": good,
        "classes": classes,
        "grouped": bool(group_of),
        "layout": listing.layout,
        "note": "; ".join(notes),
        "skipped": as_table(skippable).astype(str).to_dict("records"),
        "invert_masks": invert_masks,
    }
    return index


def _duplicates(entries: Iterable[Entry], examined: dict[str, Examined]) -> dict[str, Issue]:
    """Return the files to leave out: all but the first of equal ones, all of equal ones in two classes."""
    same: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.id in examined:
            same[examined[entry.id].pixels].append(entry)
    issues = {}
    for equal in same.values():
        for entry in equal:
            rivals = [other.id for other in equal if other.label != entry.label]
            if rivals:
                remedy = "keep it in the class it belongs to; if it shows both defects, the worse one's, or one of both"
                issues[entry.id] = Issue(entry.id, f"same image as {rivals[0]}, under another label", remedy)
            elif entry is not equal[0]:
                issues[entry.id] = Issue(entry.id, f"same image as {equal[0].id}", "keep one of them")
    return issues


def _alike(labels: set[str]) -> list[Issue]:
    """Return the classes whose names differ in upper and lower case or in Unicode's composition alone."""
    names = pd.Series(sorted(labels), dtype=object)
    same = names.groupby(names.str.normalize("NFC").str.casefold()).agg(list)
    remedy = "put the images into one folder"
    return [Issue(name, f"class named almost like {', '.join(more)}", remedy) for name, *more in same if more]


def _two_tone(listing: Listing, kept: Sequence[Entry], examined: dict[str, Examined]) -> list[Issue]:
    """Return the classes of nothing but black and white pictures beside others, unless a list names their images."""
    labels = [(entry.label, examined[entry.id].two_tone) for entry in kept if entry.id in examined]
    pure = {label for label, _ in labels} - {label for label, two_tone in labels if not two_tone}
    if listing.layout == "list" or pure == {label for label, _ in labels}:
        return []
    remedy = "call the folder ground_truth if these are masks; if not, write labels.csv with path,label of all images"
    issue = "class of nothing but black and white pictures: masks?"
    return [Issue(label, issue, remedy) for label in sorted(pure)]


def _good_class(listing: Listing, wanted: str, labels: set[str]) -> tuple[str, list[Issue]]:
    root, found, issues = listing.root, ", ".join(sorted(labels)), []
    if len(labels) == 1:
        remedy = "; ".join(["add a folder for each other class", *listing.notes[:1]])
        below = {f"{found}/{name}".casefold() for name in GOOD_NAMES}
        if below & {name.casefold() for name in listing.folders}:
            remedy = f"the classes lie one folder below: --data {root / found}"
        issues.append(Issue(str(root), f"one class only ({found})", remedy))
    names = (wanted.casefold(),) if wanted else GOOD_NAMES
    candidates = {wanted} & labels or {label for label in labels if label.casefold() in names}
    if len(candidates) == 1:
        return candidates.pop(), issues
    if candidates:
        issue = f"{len(candidates)} classes may be the good one ({', '.join(sorted(candidates))})"
        remedy = "choose one with --good NAME"
    elif wanted:
        issue = f"no class {wanted!r} to be the good one"
        remedy = f"choose one of: {found}{nearest(wanted, labels)}"
    else:
        issue = f"no class is called {', '.join(GOOD_NAMES[:-1])} or {GOOD_NAMES[-1]}"
        remedy = f"say which is the good one with --good NAME, of: {found}"
    return "", [*issues, Issue(str(root), issue, remedy)]


def _groups(
    listing: Listing, kept: Sequence[str], file: Path | None, regex: str
) -> tuple[dict[str, str], list[Issue]]:
    found = [entry.id for entry in listing.entries]
    if file is None and regex:
        return groups_from_regex(regex, kept)
    beside = listing.root / "groups.csv"
    if file is not None or beside.exists():
        return groups_from_file(file or beside, kept, found)
    issue, remedy = "has no group in the list, as others have", "name its group, or leave out the column"
    bare = [image for image in kept if image not in listing.groups] if listing.groups else []
    own = tile_groups(found) if listing.layout == "magnetic_tile" else listing.groups
    return own, [Issue(image, issue, remedy) for image in bare]


def _check_masks(
    root: Path, entries: Sequence[Entry], examined: dict[str, Examined], good: str, invert: bool
) -> tuple[dict[str, Issue], list[str]]:
    """Decode all masks; return the issues by image, and what is worth a note."""
    owners = {root / entry.id: entry for entry in entries if entry.mask is not None}

    def look(path: Path) -> tuple[float, bool]:
        """Return which share of the image is marked, and whether the mask had another size."""
        image = examined.get(owners[path].id)
        size = (image.height, image.width) if image else None
        mask, resized = read_union(root, str(owners[path].mask), size, invert=invert)
        return float(mask.mean()), resized

    read, issues = map_files(root, [entry.id for entry in owners.values()], look)
    shares: dict[str, float] = {}
    for entry in (owners[root / image] for image in read):
        share = read[entry.id][0]
        if entry.label != good:
            shares[files_of(str(entry.mask))[0]] = share
        elif share:
            issue = f"mask that marks a defect on {entry.id}, of the good class"
            remedy = "move the image to its defect's class or remove the mask"
            remedy += f"; {INVERT}" if share > 0.5 else ""
            issues[entry.id] = Issue(files_of(str(entry.mask))[0], issue, remedy)
    empty = sorted(mask for mask, share in shares.items() if not share)
    resized = [image for image, (_, other) in read.items() if other]
    defective = [entry for entry in entries if entry.label != good]
    bare = sorted(entry.id for entry in defective if not entry.mask)
    notes = [f"empty masks of defective images: {first_few(empty)}"] if empty else []
    if resized:
        notes.append(f"masks resized to their images: {len(resized)} ({first_few(resized)})")
    if shares and (middle := median(shares.values())) > 0.5:
        notes.append(f"masks cover {middle:.0%} of their images (median of {len(shares)}); {INVERT}")
    if bare and len(bare) < len(defective):
        notes.append(f"defective images without a mask: {len(bare)} ({first_few(bare)})")
    return issues, notes
