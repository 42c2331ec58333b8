"""A table for readers: one object that writes itself as CSV (raw numbers), Markdown and HTML."""

import html
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.artifacts import write_text
from lib.datasets.csv_text import csv_text
from lib.evaluation.metrics import MISSING
from lib.evaluation.published_results import display_name
from lib.reporting.html_pages import render

_INTERVAL = re.compile(r" (\([^()]*(?:–| to )[^()]*\))$")  # at a cell's end; goes below the value


@dataclass(frozen=True)
class Value:
    """One cell of a table: its raw value, how readers see it, its 95 % interval, and whether it is bold.

    `form` is a format specification or a function. A value that is NaN or None is a dash.
    """

    raw: Any
    form: str | Callable[[Any], str] = ""
    interval: tuple[Any, Any] | None = None
    interval_form: str = ".1%"
    bold: bool = False

    def __str__(self) -> str:
        if pd.isna(self.raw):
            return MISSING
        ends = [_shown(end, self.interval_form) for end in self.interval or ()]
        ends[:1] = [end.removesuffix(" %") for end in ends[:1]]
        text = _shown(self.raw, self.form)
        return f"{text} ({(' to ' if '+' in self.interval_form else '–').join(ends)})" if ends else text


class Table:
    """What readers see (`frame`, texts) and what it was made of (`numbers`, raw values).

    All rows have the same columns: pairs (heading over several columns, column), or a text for (text, ""). A row holds
    a `Value` per column, or what readers see as it is; under Dataset the data set's raw name. The first `headers`
    columns name a row; Dataset and Folds are shown only where they vary. The raw numbers are those of the rows
    and the ends of their intervals, unless given. `bold` holds positions (row, column) of the frame that are set bold.
    """

    def __init__(
        self,
        name: str,
        title: str,
        rows: Sequence[Mapping[Any, Any]],
        notes: Iterable[str] = (),
        *,
        headers: int,
        numbers: pd.DataFrame | None = None,
    ) -> None:
        self.name, self.title, self.notes = name, title, tuple(notes)
        named = [{**row, "Dataset": Value(row["Dataset"], display_name)} for row in rows]
        cells = [[one if isinstance(one, Value) else Value(one) for one in row.values()] for row in named]
        columns = pd.MultiIndex.from_tuples([key if isinstance(key, tuple) else (key, "") for key in rows[0]])
        frame = pd.DataFrame([list(map(str, row)) for row in cells], columns=columns, dtype=object)
        if numbers is None:
            numbers = pd.DataFrame([[one.raw for one in row] for row in cells], columns=columns)
            for (over, under), values in zip(columns, zip(*cells, strict=True), strict=True):
                if any(one.interval for one in values):
                    ends = zip(*(one.interval or (float("nan"),) * 2 for one in values), strict=True)
                    for which, end in zip(("low", "high"), ends, strict=True):
                        numbers[over + ", 95 % interval", f"{under} {which}"] = end
        self.numbers = numbers
        same = {one for one in columns if one[0] in ("Dataset", "Folds") and frame[one].nunique() == 1}
        if not set(columns[:headers]) - same:
            same = set()  # what names the row stays
        shown = [place for place, key in enumerate(columns) if key not in same]
        self.frame, self.headers = frame.iloc[:, shown], sum(place < headers for place in shown)
        bold = np.argwhere([[row[place].bold for place in shown] for row in cells])
        self.bold = {(row, place) for row, place in bold.tolist()}

    def to_csv(self, path: Path) -> None:
        """Write the raw numbers at full precision, atomically."""
        flat = self.numbers.set_axis([_flat(column) for column in self.numbers.columns], axis=1)
        write_text(Path(path), csv_text(flat, index=False))

    def markdown(self) -> str:
        """Return title, table (bold as **x**) and notes; texts are escaped, so shown as they are."""
        names = [_flat(column) for column in self.frame.columns]
        return render("table.md.j2", table=self, names=names, text=as_markdown)

    def to_html(self) -> str:
        """Return an HTML table with header scopes, its notes folded; everything that comes from data is escaped."""
        about = {"name": self.name, "title": self.title, "notes": self.notes}
        look = "study mathjax_ignore tex2jax_ignore"
        return html_table(self.frame, self.headers, self.bold, look=look, **about)

    _repr_html_ = to_html


def about(name: str, **values: Any) -> dict[str, Any]:
    """Return name, title and notes of a `Table`, as the template has them for these values."""
    lines = render("about_tables.txt.j2", name=name, **values).splitlines()
    title, *notes = dict.fromkeys(line for line in lines if line)
    return {"name": name, "title": title, "notes": notes}


def html_table(frame: pd.DataFrame, headers: int, bold: Collection[tuple[int, int]] = (), **about: Any) -> str:
    """Return texts (columns as in `Table`) in HTML; `about`: name, title, notes, and look (CSS classes)."""
    columns = [column if isinstance(column, tuple) else (str(column), "") for column in frame.columns]
    head: list[tuple[str, list[str]]] = []
    for over, same in groupby(columns, key=lambda one: one[0]):
        names = [name for _, name in same]
        head += [(over, names)] if any(names) else [(over, [""])] * len(names)
    texts = frame.to_numpy()
    rows = [
        [(*[*_INTERVAL.split(cell), ""][:2], (at, place) in bold) for place, cell in enumerate(row)]
        for at, row in enumerate(texts)
    ]
    spans = []  # of each row's cell, 0 where the one above names it
    for place in range(headers - 1):
        lengths = [len(list(same)) for _, same in groupby(tuple(row[: place + 1]) for row in texts)]
        spans.append([n for length in lengths for n in (length, *[0] * (length - 1))])
    given = {"name": "", "title": "", "notes": (), "spans": spans} | about
    return render("table.html.j2", head=head, rows=rows, headers=headers, **given)


def _shown(raw: Any, form: str | Callable[[Any], str]) -> str:
    """Return a value as a function does, or by a format with a true minus and a space before the percent sign."""
    if callable(form):
        return form(raw)
    text = format(raw, form)
    return text if isinstance(raw, str) else text.replace("-", "−").replace("%", " %")


def _flat(column: Any) -> str:
    return ": ".join(filter(None, column)) if isinstance(column, tuple) else str(column)


def as_markdown(text: str) -> str:
    """Return the text so that Markdown, its HTML and its formulas show it as it is, on one line."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    escaped = re.sub(r"([\\`*_{}\[\]|$~])", r"\\\1", escaped)
    return re.sub(r"^([-+#]|\d+\.)(?=\s|#)", r"\\\1", escaped)
