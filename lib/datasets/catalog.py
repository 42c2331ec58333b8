"""The index: a folder of images becomes one checked table, or one list of all its issues."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

import pandas as pd

from lib.config import nearest
from lib.datasets.errors import DatasetError, Issue, as_table, first_few
from lib.datasets.groups import groups_from_file, groups_from_regex, tile_groups
from lib.datasets.image_io import Examined, examine, map_files
from lib.datasets.layouts import read_layout
from lib.datasets.layouts.listing import GOOD_NAMES, Entry, Listing
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
    _check_classes(listing, labels, kept, examined)
    good = _good_class(listing, {entry.label for entry in kept}) if kept else ""
    group_of = _groups(listing, [entry.id for entry in kept], groups, group_regex)
    bad_masks = _check_masks(listing, kept, examined, good, invert_masks)
    several = [entry.id for entry in kept if entry.id in examined and examined[entry.id].first_of > 1]
    listing.note("the first of several pictures is taken: {}", first_few(several))
    skippable = sorted([*listing.issues, *bad.values(), *bad_masks.values()])
    if listing.entries and not kept:
        listing.refuse("no usable image is left", "see the other issues")
    if listing.structural or (skippable and not skip_bad):
        issues = listing.structural + skippable * (not (skip_bad and kept))
        heading = str(root) if listing.structural else f"{root} (--skip-bad leaves these files out)"
        raise DatasetError(issues, heading)

    rows = [(*entry, *examined[entry.id]) for entry in kept]
    index = pd.DataFrame(rows, columns=[*Entry._fields, *Examined._fields])
    index["path"], index["group"] = index["id"], index["id"].map(group_of)
    index["mask"] = index["mask"].mask(index["id"].isin(bad_masks))
    index = index[list(COLUMNS)].astype(COLUMNS).sort_values("id", ignore_index=True)
    classes = [good, *sorted(set(index["label"]) - {good})]
    listing.note("classes without a usable image: {}", ", ".join(sorted(labels - set(classes))))
    index.attrs = {
        "good": good,
        "classes": classes,
        "grouped": bool(group_of),
        "layout": listing.layout,
        "note": "; ".join(listing.notes),
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
    for entry in (each for equal in same.values() for each in equal):
        first, *_ = equal = same[examined[entry.id].pixels]
        rivals = [other.id for other in equal if other.label != entry.label]
        issue, remedy = f"same image as {first.id}", "keep one of them"
        if rivals:
            issue = f"same image as {rivals[0]}, under another label"
            remedy = "keep it in the class it belongs to; if it shows both defects, the worse one's, or one of both"
        if rivals or entry is not first:
            issues[entry.id] = Issue(entry.id, issue, remedy)
    return issues


def _check_classes(listing: Listing, labels: set[str], kept: Sequence[Entry], examined: dict[str, Examined]) -> None:
    """Report classes whose names differ in case or in Unicode's composition alone, and classes of masks.

    Masks are nothing but black and white; of a class among others, and unless a list names the images.
    """
    names = pd.Series(sorted(labels), dtype=object)
    for name, *more in names.groupby(names.str.normalize("NFC").str.casefold()).agg(list):
        if more:
            issue = f"class named almost like {', '.join(more)}"
            listing.refuse(issue, "put the images into one folder", name)
    tones = {(entry.label, examined[entry.id].two_tone) for entry in kept if entry.id in examined}
    pure = sorted(label for label, two_tone in tones if two_tone and (label, False) not in tones)
    for label in pure if listing.layout != "list" and len(pure) < len({label for label, _ in tones}) else []:
        remedy = "call the folder ground_truth if these are masks"
        remedy += "; if not, write labels.csv with path,label of all images"
        listing.refuse("class of nothing but black and white pictures: masks?", remedy, label)


def _good_class(listing: Listing, labels: set[str]) -> str:
    wanted, found = listing.good, ", ".join(sorted(labels))
    if len(labels) == 1:
        remedy = "; ".join(["add a folder for each other class", *listing.notes[:1]])
        below = {f"{found}/{name}".casefold() for name in GOOD_NAMES}
        if below & {name.casefold() for name in listing.folders}:
            remedy = f"the classes lie one folder below: --data {listing.root / found}"
        listing.refuse(f"one class only ({found})", remedy)
    names = (wanted.casefold(),) if wanted else GOOD_NAMES
    candidates = sorted({wanted} & labels or {label for label in labels if label.casefold() in names})
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        issue = f"{len(candidates)} classes may be the good one ({', '.join(candidates)})"
        listing.refuse(issue, "choose one with --good NAME")
    elif wanted:
        remedy = f"choose one of: {found}{nearest(wanted, labels)}"
        listing.refuse(f"no class {wanted!r} to be the good one", remedy)
    else:
        issue = f"no class is called {', '.join(GOOD_NAMES[:-1])} or {GOOD_NAMES[-1]}"
        listing.refuse(issue, f"say which is the good one with --good NAME, of: {found}")
    return ""


def _groups(listing: Listing, kept: Sequence[str], file: Path | None, regex: str) -> dict[str, str]:
    found = [entry.id for entry in listing.entries]
    beside = listing.root / "groups.csv"
    issues: list[Issue] = []
    if file is None and regex:
        groups, issues = groups_from_regex(regex, kept)
    elif file is not None or beside.exists():
        groups, issues = groups_from_file(file or beside, kept, found)
    else:
        groups = tile_groups(found) if listing.layout == "magnetic_tile" else listing.groups
        issue, remedy = "has no group in the list, as others have", "name its group, or leave out the column"
        bare = [image for image in kept if listing.groups and image not in listing.groups]
        issues = [Issue(image, issue, remedy) for image in bare]
    listing.structural += issues
    return groups


def _check_masks(
    listing: Listing, entries: Sequence[Entry], examined: dict[str, Examined], good: str, invert: bool
) -> dict[str, Issue]:
    """Decode all masks; return the issues by image, and note what is worth it."""
    masks = {entry.id: str(entry.mask) for entry in entries if entry.mask is not None}

    def look(path: Path) -> tuple[float, bool]:
        """Return which share of the image is marked, and whether the mask had another size."""
        image = path.relative_to(listing.root).as_posix()
        size = (examined[image].height, examined[image].width) if image in examined else None
        mask, resized = read_union(listing.root, masks[image], size, invert=invert)
        return float(mask.mean()), resized

    read, issues = map_files(listing.root, list(masks), look)
    defective = {entry.id for entry in entries if entry.label != good}
    shares = {files_of(masks[image])[0]: share for image, (share, _) in read.items() if image in defective}
    for image, (share, _) in read.items():
        if share and image not in defective:
            remedy = "move the image to its defect's class or remove the mask"
            remedy += f"; {INVERT}" if share > 0.5 else ""
            issue = f"mask that marks a defect on {image}, of the good class"
            issues[image] = Issue(files_of(masks[image])[0], issue, remedy)
    empty = sorted(mask for mask, share in shares.items() if not share)
    listing.note("empty masks of defective images: {}", first_few(empty))
    if resized := [image for image, (_, other) in read.items() if other]:
        listing.notes.append(f"masks resized to their images: {len(resized)} ({first_few(resized)})")
    if shares and (middle := median(shares.values())) > 0.5:
        listing.notes.append(f"masks cover {middle:.0%} of their images (median of {len(shares)}); {INVERT}")
    bare = sorted(defective - set(masks))
    if bare and len(bare) < len(defective):
        listing.notes.append(f"defective images without a mask: {len(bare)} ({first_few(bare)})")
    return issues
