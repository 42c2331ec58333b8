"""What can be wrong with a user's images: all issues are collected first and reported together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

WIDEST = 70  # characters that columns are filled up to, so that one long name does not push all others aside
SHOWN = 50  # issues printed in full; the rest is counted


class Issue(NamedTuple):
    """One thing that is wrong: the file (or folder), what is wrong with it, and what to do about it."""

    file: str
    issue: str
    remedy: str


class DatasetError(Exception):
    """Images that cannot be used as they are; `issues` holds every issue, the message the first 50.

    `heading` says what was read; `listed` names a file that lists all issues, where there is one.
    """

    def __init__(self, issues: Iterable[Issue], heading: str = "", listed: str = "") -> None:
        self.issues, self.heading, self.listed = tuple(issues), heading, listed
        super().__init__(self.issues, heading, listed)  # what a worker process sends back

    def __str__(self) -> str:
        heading = printable(self.heading)
        rows = [tuple(printable(cell) for cell in issue) for issue in self.issues]
        if len(rows) == 1 and not heading:
            return "{}: {} ({})".format(*rows[0])
        title = f"{len(rows):,} {'issue' if len(rows) == 1 else 'issues'}"
        shown = [("file", "issue", "what to do"), *rows[:SHOWN]]
        widths = [min(WIDEST, max(len(row[column]) for row in shown)) for column in range(2)]
        lines = [f"{heading}: {title}" if heading else title]
        lines += [f"  {file:<{widths[0]}}  {issue:<{widths[1]}}  {remedy}" for file, issue, remedy in shown]
        if len(rows) > SHOWN:
            more = f"  ... and {len(rows) - SHOWN:,} more"
            lines.append(f"{more}; all are listed in {self.listed}" if self.listed else more)
        return "\n".join(lines)

    def _render_traceback_(self, *_: object) -> list[str]:
        # What Jupyter shows: the table alone, as no line of the program is at fault.
        return str(self).splitlines()


def printable(text: str) -> str:
    r"""Return `text` on one line: control and undecodable characters written as \n, \x1b, \udcff."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def undecodable(name: str) -> bool:
    """Tell whether a file's name holds bytes that are not UTF-8, as Python keeps them."""
    return any("\ud800" <= letter <= "\udfff" for letter in name)


def first_few(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, with commas, and how many more there are."""
    more = [f"{len(names) - most:,} more"] if len(names) > most else []
    return ", ".join([*names[:most], *more])


def as_table(issues: Iterable[Issue]) -> pd.DataFrame:
    """Return a DataFrame with the string columns file, issue, remedy, one row per issue (there may be none)."""
    import pandas as pd  # not needed where a deployed model reads images

    rows = [[printable(cell) for cell in issue] for issue in issues]
    return pd.DataFrame(rows, columns=Issue._fields, dtype="string")
