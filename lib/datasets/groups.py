"""Which images show the same object: from a table, from the file names, or by the data set's own rule."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lib.datasets.csv_text import read_csv
from lib.datasets.errors import Issue
from lib.datasets.layouts.folders import TILE_NAME

TILE_GAP = 150  # shots of one magnetic tile are numbered closer than this (210 groups, on the safe side)


def groups_of_rows(table: pd.DataFrame) -> NDArray[np.int64]:
    """Return the number, from 0, of the object (group, else id) that each row of a table with id and group shows."""
    names = pd.MultiIndex.from_arrays([table["group"].isna(), table["group"].fillna(table["id"])])
    return pd.factorize(names)[0].astype(np.int64)


def groups_from_file(path: Path, ids: Sequence[str], found: Iterable[str] = ()) -> tuple[dict[str, str], list[Issue]]:
    """Return the group of each of `ids` by a CSV with the columns id and group, and every issue.

    Its `id` is the path below the data folder; the images `found` may be listed too.
    """
    form = "write a UTF-8 CSV with columns id,group"
    try:
        table = read_csv(path, dtype=str, na_filter=False, encoding="utf-8")
    except (OSError, ValueError) as error:  # pandas' parser and decoding errors are ValueErrors
        return {}, [Issue(str(path), f"cannot be read ({error})", form)]
    if missing := {"id", "group"} - set(table.columns):
        return {}, [Issue(str(path), f"without the column {' and '.join(sorted(missing))}", form)]
    wrong = (
        (~table["id"].isin({*ids, *found}), "fits no image", "write the path below the data folder"),
        (table["id"].duplicated(), "is listed twice", "list each image once"),
        (table["group"].str.strip() == "", "has an empty group", "name its group"),
    )
    named = [(f"id {name!r} {issue}", remedy) for rows, issue, remedy in wrong for name in table["id"][rows]]
    issues = [Issue(str(path), *each) for each in named]
    groups = dict(zip(table["id"], table["group"], strict=True))
    unlisted = [image for image in ids if image not in groups]
    issues += [Issue(i, f"not listed in {path.name}", "add a row with its id and group") for i in unlisted]
    return {image: groups[image] for image in ids if image in groups}, issues


def groups_from_regex(pattern: str, ids: Sequence[str]) -> tuple[dict[str, str], list[Issue]]:
    """Return what `pattern` finds in each id, its first capture group or else the whole match, and every issue."""
    try:
        regex = re.compile(pattern)
    except re.error as error:
        return {}, [Issue(f"--group-regex {pattern}", f"no regular expression ({error})", "correct it")]
    matches = {image: regex.search(image) for image in ids}
    groups = {i: group for i, match in matches.items() if (group := match and match[min(regex.groups, 1)])}
    issue = f"--group-regex {pattern} finds no group in it"
    remedy = "widen the expression, or list the groups in a file"
    return groups, [Issue(image, issue, remedy) for image in ids if image not in groups]


def tile_groups(ids: Iterable[str]) -> dict[str, str]:
    """Group magnetic tiles: sorted by the number N in the name, a gap above `TILE_GAP` starts a new tile."""
    numbers = {image: int(TILE_NAME.fullmatch(image)["number"]) for image in ids}  # type: ignore[index]
    shots = pd.Series(numbers).sort_values()
    first = shots.where(~(shots.diff() <= TILE_GAP)).ffill()
    return {str(image): f"tile-{number:06.0f}" for image, number in first.items()}
