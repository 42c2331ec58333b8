"""CSV files in which a spreadsheet finds no formula: an apostrophe stands before texts that begin like one."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMULA = re.compile(r"'*[=+\-@\t\r]")


def inert(value: Any) -> Any:
    """Return a text as a cell that no spreadsheet runs, and anything but a text as it is."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def plain(value: Any) -> Any:
    """Return a cell as it was before `inert`."""
    marked = isinstance(value, str) and value[:1] == "'" and FORMULA.match(value[1:])
    return value[1:] if marked else value


def csv_text(table: pd.DataFrame, **look: Any) -> str:
    """Return a table as CSV, its texts, index and column names `inert`; `look` as for pandas' `to_csv`."""
    table, look = _each_text(table, inert), {"lineterminator": "\n"} | look
    text = str(table.to_csv(**look))
    # where lines end with a line feed, a carriage return alone is not quoted, and readers take it for an end
    return str(table.to_csv(**look, quoting=csv.QUOTE_NONNUMERIC)) if "\r" in text else text


def read_csv(path: Any, **how: Any) -> pd.DataFrame:
    """Return what `csv_text` wrote, or another CSV; `how` and errors as of pandas' `read_csv`."""
    import pandas as pd

    return _each_text(pd.read_csv(path, **how), plain)


def _each_text(table: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    from pandas.api.types import is_numeric_dtype

    table = table.rename(index=change, columns=change)
    for place, dtype in enumerate(table.dtypes):
        if not is_numeric_dtype(dtype):
            table.isetitem(place, table.iloc[:, place].map(change).tolist())
    return table
