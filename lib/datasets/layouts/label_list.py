"""A list of images: CSV or Parquet with path and label, perhaps mask, group and split; VisA's split_csv is one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lib.datasets.csv_text import read_csv
from lib.datasets.errors import Issue, first_few
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
        path = listing.root / name
        try:
            if path.suffix == ".csv":
                table = read_csv(path, dtype=str, na_filter=False, encoding="utf-8-sig")
            else:
                table = pd.read_parquet(path).astype("string").fillna("")
        except (
            OSError,
            ValueError,
            TypeError,
            NotImplementedError,
        ) as error:  # pandas' and Arrow's are among them
            if name.startswith("labels."):
                return name, f"cannot be read ({error})"
            continue
        columns = [str(column).strip().lower() for column in table.columns]
        table.columns = pd.Index([OTHERS.get(column, column) for column in columns])
        table = table.loc[:, ~table.columns.duplicated()]
        if {"path", "label"} <= set(table):
            return name, table
    return "", ""


def read(listing: Listing, dataset: str, _good: str) -> None:
    """Fill in the entries: an image per row, by its path below the data folder or the folder above it, or its name."""
    name, table = find(listing)
    if isinstance(table, str):
        listing.structural.append(Issue(name, table, "write a UTF-8 CSV with columns path,label"))
        return
    if "object" in table:
        objects = sorted(set(table["object"]))
        if dataset not in objects and len(objects) > 1:
            issue, remedy = f"lists the products {', '.join(objects)}", f"name one: --dataset {objects[0]}"
            listing.structural.append(Issue(name, issue, remedy))
            return
        table = table[table["object"] == (dataset if dataset in objects else objects[0])]
    listing.notes.append(f"labels by {name}" + ", its splits pooled" * ("split" in table))
    known, found, of_name = set(listing.images), dict[str, Entry](), dict[str, list[str]]()
    for image in part_masks(listing.images)[0]:
        of_name.setdefault(image.rpartition("/")[2], []).append(image)

    def place(text: str) -> str:
        """Return the path below the data folder, where there is such an image or one of that name, else the text."""
        path = PurePosixPath(text.replace("\\", "/"))
        above = [each for each in (listing.root, listing.root.name) if path.is_relative_to(each)]
        places = [each for each in map(str, (path, *map(path.relative_to, above))) if each in known]
        named = of_name.get(path.name, [])
        return (places or (named if len(named) == 1 else [text]))[0]

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
        listing.notes.append(f"images it does not list, left out: {len(unlisted)} ({first_few(unlisted)})")


LABEL_LIST = Layout(
    "a list labels.csv or .parquet: path,label, perhaps mask,group,split (VisA: split_csv/1cls.csv)",
    lambda listing, _dataset: bool(find(listing)[0]), read,
)  # fmt: skip
