"""A table for readers: one object that writes itself as CSV (raw numbers), Markdown and HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from lib.artifacts import write_text
from lib.evaluation.metrics import MISSING
from lib.evaluation.published_results import display_name, is_synthetic

LEFT = ' class="left"'  # heads of columns that name rows
_INTERVAL = re.compile(r" (\([^()]*(?:–| to )[^()]*\))$")  # at a cell's end; goes below the value


@dataclass(frozen=True)
class Table:
    """What readers see (`frame`, texts) and what it was made of (`numbers`, raw values).

    Columns of `frame` are pairs (heading over several columns, column; empty: none). `bold` holds the positions (row,
    column) in it that are set bold, `headers` counts the leading columns that name a row.
    """

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    numbers: pd.DataFrame
    notes: tuple[str, ...] = ()
    bold: frozenset[tuple[int, int]] = frozenset()
    headers: int = 1

    def to_csv(self, path: Path) -> None:
        """Write the raw numbers at full precision, atomically."""
        flat = self.numbers.set_axis([_flat(column) for column in self.numbers.columns], axis=1)
        write_text(Path(path), flat.to_csv(index=False, lineterminator="\n"))

    def markdown(self) -> str:
        """Return title, caption, table (bold as **x**) and notes; texts are escaped, so shown as they are."""
        body = [[as_markdown(cell) for cell in row] for row in self._cells()]
        for row, place in self.bold:
            body[row][place] = f"**{body[row][place]}**"
        names = [as_markdown(_flat(column)) for column in self.frame.columns]
        rule = ["---" if place < self.headers else "---:" for place in range(len(names))]
        lines = ["| " + " | ".join(cells) + " |" for cells in (names, rule, *body)]
        head = f"**{as_markdown(self.name)}.** {as_markdown(self.title)}"
        notes = [f"- {as_markdown(note)}" for note in self.notes]
        parts = [head, as_markdown(self.caption), "\n".join(lines), "\n".join(notes)]
        return "\n\n".join(filter(None, parts)) + "\n"

    def to_html(self) -> str:
        """Return an HTML table with caption, header scopes and notes; everything that comes from data is escaped."""
        rows = [[self._cell(at, *one) for one in enumerate(row)] for at, row in enumerate(self._cells())]
        head, body = ("".join(f"<tr>{''.join(row)}</tr>" for row in part) for part in (self._head(), rows))
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        foot = f'<tr><td colspan="{self.frame.shape[1]}"><ul class="told">{notes}</ul></td></tr>'
        caption = f"<strong>{html.escape(self.name)}.</strong> {html.escape(self.title)}"
        caption += f"<br>{html.escape(self.caption)}" if self.caption else ""
        return (
            f'<table class="study mathjax_ignore tex2jax_ignore"><caption><div class="told">{caption}</div></caption>'
            f"<thead>{head}</thead>{f'<tfoot>{foot}</tfoot>' if notes else ''}<tbody>{body}</tbody></table>"
        )

    _repr_html_ = to_html

    def _cells(self) -> list[list[str]]:
        return self.frame.astype(str).to_numpy().tolist()

    def _cell(self, row: int, place: int, cell: str) -> str:
        shown = _INTERVAL.sub(r"<br><small>\1</small>", html.escape(cell))
        if place < self.headers:
            return f'<th scope="row">{shown}</th>'
        return f"<td><strong>{shown}</strong></td>" if (row, place) in self.bold else f"<td>{shown}</td>"

    def _head(self) -> list[list[str]]:
        pairs: Any = self.frame.columns
        columns = [(html.escape(over), html.escape(below)) for over, below in pairs]
        if not any(below for _, below in columns):
            sides = [LEFT] * self.headers + [""] * (len(columns) - self.headers)
            sided = zip(columns, sides, strict=True)
            return [[f'<th scope="col"{side}>{over}</th>' for (over, _), side in sided]]
        upper, lower = [], []
        for (over, grouped), same in groupby(columns, key=lambda column: (column[0], bool(column[1]))):
            names = [below for _, below in same]
            if grouped:
                upper.append(f'<th scope="colgroup" colspan="{len(names)}">{over}</th>')
                lower += [f'<th scope="col">{name}</th>' for name in names]
            else:
                upper.append(f'<th scope="col" rowspan="2"{LEFT}>{over}</th>')
        return [upper, lower]


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
        text = self.form(self.raw) if callable(self.form) else format(self.raw, self.form)
        ends = [format(end, self.interval_form) for end in self.interval or ()]
        return f"{text} ({'–'.join(ends)})" if ends else text


def results_table(
    name: str,
    title: str,
    caption: str,
    rows: Sequence[Mapping[Any, Any]],
    notes: Iterable[str] = (),
    *,
    headers: int,
    numbers: pd.DataFrame | None = None,
) -> Table:
    """Return a table of rows that all have the same columns, named as in `Table`; a text stands for (text, "").

    A row holds a `Value` per column, or what readers see as it is; under Dataset the data set's raw name (a last note
    says which are drawn). The raw numbers are those of the rows and the ends of their intervals, unless given.
    """
    named = [{**row, "Dataset": Value(row["Dataset"], display_name)} for row in rows]
    cells = [[one if isinstance(one, Value) else Value(one) for one in row.values()] for row in named]
    columns = pd.MultiIndex.from_tuples([key if isinstance(key, tuple) else (key, "") for key in rows[0]])
    frame = pd.DataFrame([list(map(str, row)) for row in cells], columns=columns, dtype=object)
    if numbers is None:
        numbers = pd.DataFrame([[one.raw for one in row] for row in cells], columns=columns)
        for (over, under), values in zip(columns, zip(*cells, strict=True), strict=True):
            if any(one.interval for one in values):
                ends = zip(*(one.interval or (float("nan"), float("nan")) for one in values), strict=True)
                for which, end in zip(("low", "high"), ends, strict=True):
                    numbers[over + ", 95 % interval", f"{under} {which}"] = end
    bold = frozenset((at, place) for at, row in enumerate(cells) for place, one in enumerate(row) if one.bold)
    drawn = [display_name(one) for one in dict.fromkeys(row["Dataset"] for row in rows) if is_synthetic(one)]
    which = "drawn images with the classes of the paper's product, not the paper's data"
    notes = [*notes, *([f"{', '.join(drawn)}: {which}; no replication of its figures."] if drawn else [])]
    return Table(name, title, caption, frame, numbers, tuple(notes), bold, headers)


def _flat(column: Any) -> str:
    return ": ".join(filter(None, column)) if isinstance(column, tuple) else str(column)


def as_markdown(text: str) -> str:
    """Return the text so that Markdown, its HTML and its formulas show it as it is, on one line."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    escaped = re.sub(r"([\\`*_{}\[\]|$~])", r"\\\1", escaped)
    return re.sub(r"^([-+#]|\d+\.)(?=\s|#)", r"\\\1", escaped)
