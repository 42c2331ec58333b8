"""A list of images: CSV or Parquet with path and label, perhaps mask, group and split; VisA's split_csv is one."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from lib.datasets.errors import Issue, first_few
from lib.datasets.layouts.listing import Entry, Layout, Listing

if TYPE_CHECKING:
    import pandas as pd

OTHERS = {
    "image": "path",
    "file": "path",
    "filename": "path",
    "class": "label",
}  # what others call the columns
COLUMNS = ["path", "label", "mask", "group"]
VISA = "split_csv/1cls.csv"


def find(listing: Listing) -> str:
    """Return the list at the top of the folder that has a path and a label, or VisA's, or nothing."""
    lists = [name for name in listing.beside if "/" not in name and name.endswith((".csv", ".parquet"))]
    for name in [VISA, *lists] if VISA in listing.beside else lists:
        try:
            columns = set(_table(listing.root / name).columns)
        except (OSError, ValueError):  # any other table, unless its name says what it is
            columns = set(COLUMNS) if name.startswith("labels.") else set()
        if {"path", "label"} <= columns:
            return name
    return ""


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype=str, na_filter=False, encoding="utf-8-sig")
    else:
        table = pd.read_parquet(path).astype("string").fillna("")
    return table.rename(columns=lambda name: OTHERS.get(name.strip().lower(), name.strip().lower()))


def read(listing: Listing, dataset: str, _good: str) -> None:
    """Fill in the entries: an image per row, by its path below the data folder (or below the folder above it)."""
    name = find(listing)
    try:
        table = _table(listing.root / name)
    except (OSError, ValueError) as error:  # pandas' and Arrow's own are ValueErrors
        remedy = "write a UTF-8 CSV with columns path,label"
        listing.structural.append(Issue(name, f"cannot be read ({error})", remedy))
        return
    if "object" in table and dataset not in (objects := sorted(set(table["object"]))) and len(objects) > 1:
        remedy = f"name one: --dataset {objects[0]}"
        listing.structural.append(Issue(name, f"lists the products {', '.join(objects)}", remedy))
        return
    if "object" in table and dataset in objects:
        table = table[table["object"] == dataset]
    listing.notes.append(f"labels by {name}" + ", its splits pooled" * ("split" in table))
    known, found = set(listing.images), dict[str, Entry]()

    def place(text: str) -> str:
        """Return the path below the data folder, where there is an image, else the text."""
        path = PurePosixPath(text.replace("\\", "/"))
        above = [each for each in (listing.root, listing.root.name) if path.is_relative_to(each)]
        return next((str(each) for each in (path, *map(path.relative_to, above)) if str(each) in known), text)

    for row in table.reindex(columns=COLUMNS, fill_value="").itertuples(index=False):
        text, label, drawn, group = map(str.strip, row)
        image, mask = place(text), place(drawn) or None
        wrong = (
            (image not in known, f"path {text!r} fits no image", "write the path below the data folder"),
            (image in found, f"path {text!r} is listed twice", "list each image once"),
            (not label, f"path {text!r} has no label", "name its class"),
            (mask and mask not in known, f"mask {drawn!r} of {text!r} is not there", "correct or clear it"),
        )
        listing.structural += [Issue(name, issue, remedy) for fault, issue, remedy in wrong if fault]
        if not any(fault for fault, *_ in wrong):
            found[image] = Entry(image, label, mask)
            listing.groups |= {image: group} if group else {}
    listing.entries = sorted(found.values())
    if unlisted := sorted(known - set(found) - {entry.mask for entry in listing.entries if entry.mask}):
        listing.notes.append(
            f"images that it does not list, left out: {len(unlisted)} ({first_few(unlisted)})"
        )


LABEL_LIST = Layout(
    "a list labels.csv or .parquet: path,label, perhaps mask,group,split (VisA: split_csv/1cls.csv)",
    lambda listing, _dataset: bool(find(listing)), read,
)  # fmt: skip
