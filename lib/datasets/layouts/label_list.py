"""A list of images: CSV or Parquet with path and label, perhaps mask, group and split; VisA's split_csv is one."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lib.datasets.csv_text import read_csv
from lib.datasets.errors import first_few
from lib.datasets.layouts.listing import Entry, Layout, Listing
from lib.datasets.layouts.mask_names import part_masks

if TYPE_CHECKING:
    import pandas as pd

# What others call the columns.
OTHERS = {"image": "path", "file": "path", "filename": "path", "class": "label"}
COLUMNS = ["path", "label", "mask", "group"]
VISA = "split_csv/1cls.csv"


def find(listing: Listing) -> tuple[str, pd.DataFrame | str]:
    """Return the name and table of VisA's list or of one at the top with path and label; of a damaged one, why."""
    import pandas as pd

    lists = [name for name in listing.beside if "/" not in name and name.endswith((".csv", ".parquet"))]
    for name in [VISA] if VISA in listing.beside else lists:
        try:
            if name.endswith(".csv"):
                table = read_csv(listing.root / name, dtype=str, na_filter=False, encoding="utf-8-sig")
            else:
                table = pd.read_parquet(listing.root / name).astype("string").fillna("")
        except Exception as error:  # pandas' and Arrow's own, of many kinds
            if name.startswith("labels."):
                return name, f"cannot be read ({error})"
            continue
        table.columns = table.columns.astype(str).str.strip().str.lower()
        table = table.rename(columns=OTHERS)
        if {"path", "label"} <= set(table):
            return name, table.loc[:, ~table.columns.duplicated()]
    return "", ""


def read(listing: Listing) -> None:
    """Fill in the entries: an image per row, by its path below the data folder or the folder above it, or its name."""
    name, table = find(listing)
    if isinstance(table, str):
        return listing.refuse(table, "write a UTF-8 CSV with columns path,label", name)
    if "object" in table:
        objects = sorted(set(table["object"]))
        product = listing.dataset if listing.dataset in objects else objects[0]
        if product != listing.dataset and len(objects) > 1:
            issue = f"lists the products {', '.join(objects)}"
            return listing.refuse(issue, f"name one: --dataset {product}", name)
        table = table[table["object"] == product]
    listing.notes.append(f"labels by {name}" + ", its splits pooled" * ("split" in table))
    known, found, of_name = set(listing.images), dict[str, Entry](), defaultdict[str, list[str]](list)
    for image in part_masks(listing.images)[0]:
        of_name[image.rpartition("/")[2]].append(image)

    def place(text: str) -> str:
        """Return the path below the data folder, where there is such an image or one of that name, else the text."""
        path = PurePosixPath(text.replace("\\", "/"))
        above = [each for each in (listing.root, listing.root.name) if path.is_relative_to(each)]
        places = [each for each in map(str, (path, *map(path.relative_to, above))) if each in known]
        named = of_name[path.name]
        return (places or (named if len(named) == 1 else [text]))[0]

    for row in table.reindex(columns=COLUMNS, fill_value="").itertuples(index=False):
        text, label, drawn, group = map(str.strip, row)
        image, mask = place(text), place(drawn) or None
        wrong = {
            f"path {text!r} fits no image": image not in known and "write the path below the data folder",
            f"path {text!r} is listed twice": image in found and "list each image once",
            f"path {text!r} has no label": not label and "name its class",
            f"mask {drawn!r} of {text!r} is not there": mask and mask not in known and "correct or clear it",
        }
        faults = [(issue, remedy) for issue, remedy in wrong.items() if remedy]
        for issue, remedy in faults:
            listing.refuse(issue, str(remedy), name)
        if not faults:
            found[image] = Entry(image, label, mask)
            listing.groups |= {image: group} if group else {}
    listing.entries = sorted(found.values())
    if unlisted := sorted(known - set(found) - {str(entry.mask) for entry in listing.entries}):
        listing.notes.append(f"images it does not list, left out: {len(unlisted)} ({first_few(unlisted)})")
    return None


LABEL_LIST = Layout(
    "a list labels.csv or .parquet: path,label, perhaps mask,group,split (VisA: split_csv/1cls.csv)",
    lambda listing: bool(find(listing)[0]), read,
)  # fmt: skip
