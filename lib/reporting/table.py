"""A table for readers: one object that writes itself as CSV (raw numbers), Markdown and HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from lib.artifacts import write_text

MISSING = "–"
LEFT = ' class="left"'  # heads of columns that name rows
_INTERVAL = re.compile(r" (\([^()]*(?:–| to )[^()]*\))$")  # at a cell's end; goes below the value


@dataclass(frozen=True)
class Table:
    """What readers see (`frame`, texts) and what it was made of (`numbers`, raw values).

    Columns are texts, or pairs (heading over several columns, column; empty: none). `bold` holds the positions (row,
    column) in `frame` that are set bold, `headers` counts the leading columns that name a row.
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

    def to_markdown(self, path: Path) -> None:
        """Write `markdown()`, atomically."""
        write_text(Path(path), self.markdown())

    def markdown(self) -> str:
        """Return title, caption, table (bold as **x**) and notes; texts are escaped, so shown as they are."""
        names = [_markdown(_flat(column)) for column in self.frame.columns]
        rule = ["---" if place < self.headers else "---:" for place in range(len(names))]
        body = [
            [
                f"**{_markdown(cell)}**" if (row, place) in self.bold else _markdown(cell)
                for place, cell in enumerate(cells)
            ]
            for row, cells in enumerate(self._cells())
        ]
        lines = ["| " + " | ".join(cells) + " |" for cells in (names, rule, *body)]
        head = f"**{_markdown(self.name)}.** {_markdown(self.title)}"
        notes = [f"- {_markdown(note)}" for note in self.notes]
        parts = [head, _markdown(self.caption), "\n".join(lines), "\n".join(notes)]
        return "\n\n".join(part for part in parts if part) + "\n"

    def to_html(self) -> str:
        """Return an HTML table with caption, header scopes and notes; everything that comes from data is escaped."""
        head = "".join(f"<tr>{row}</tr>" for row in self._head())
        body = []
        for row, cells in enumerate(self._cells()):
            shown = [self._cell(row, place, cell) for place, cell in enumerate(cells)]
            body.append(f"<tr>{''.join(shown)}</tr>")
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        foot = (
            f'<tfoot><tr><td colspan="{self.frame.shape[1]}"><ul class="told">{notes}</ul></td></tr></tfoot>'
            if notes
            else ""
        )
        caption = f"<strong>{html.escape(self.name)}.</strong> {html.escape(self.title)}"
        caption += f"<br>{html.escape(self.caption)}" if self.caption else ""
        caption = f'<div class="told">{caption}</div>'
        return (
            f'<table class="study mathjax_ignore tex2jax_ignore"><caption>{caption}</caption>'
            f"<thead>{head}</thead>{foot}<tbody>{''.join(body)}</tbody></table>"
        )

    def _repr_html_(self) -> str:
        return self.to_html()

    def _cells(self) -> list[list[str]]:
        return [[str(cell) for cell in row] for row in self.frame.itertuples(index=False, name=None)]

    def _cell(self, row: int, place: int, cell: str) -> str:
        shown = _INTERVAL.sub(r"<br><small>\1</small>", html.escape(cell))
        if place < self.headers:
            return f'<th scope="row">{shown}</th>'
        return f"<td><strong>{shown}</strong></td>" if (row, place) in self.bold else f"<td>{shown}</td>"

    def _head(self) -> list[str]:
        columns = [column if isinstance(column, tuple) else (column, "") for column in self.frame.columns]
        if not any(below for _, below in columns):
            cells = [
                (html.escape(str(over)), place < self.headers) for place, (over, _) in enumerate(columns)
            ]
            return ["".join(f'<th scope="col"{LEFT if left else ""}>{text}</th>' for text, left in cells)]
        upper, lower = [], []
        for (over, grouped), same in groupby(columns, key=lambda column: (column[0], bool(column[1]))):
            names = [below for _, below in same]
            shown = html.escape(str(over))
            if grouped:
                upper.append(f'<th scope="colgroup" colspan="{len(names)}">{shown}</th>')
                lower += [f'<th scope="col">{html.escape(str(name))}</th>' for name in names]
            else:
                upper.append(f'<th scope="col" rowspan="2"{LEFT}>{shown}</th>')
        return ["".join(upper), "".join(lower)]


def display_frame(numbers: pd.DataFrame, formats: Mapping[Any, Callable[[Any], str]]) -> pd.DataFrame:
    """Return the raw values as texts by each column's format (default: as they are); missing ones as a dash."""
    shown = {}
    for place, column in enumerate(numbers.columns):
        form = formats.get(column, str)
        shown[column] = [MISSING if pd.isna(value) else form(value) for value in numbers.iloc[:, place]]
    return pd.DataFrame(shown, columns=numbers.columns, dtype=object)


def _flat(column: Any) -> str:
    parts = column if isinstance(column, tuple) else (column,)
    return ": ".join(str(part) for part in parts if part)


def _markdown(text: str) -> str:
    """Return the text so that Markdown, its HTML and its formulas show it as it is, on one line."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    escaped = re.sub(r"([\\`*_{}\[\]|$~])", r"\\\1", escaped)
    return re.sub(r"^([-+#]|\d+\.)(?=\s|#)", r"\\\1", escaped)
