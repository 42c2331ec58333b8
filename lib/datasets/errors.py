"""What can be wrong with somebody's images: every fault is collected first and told in one go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

WIDEST = 70  # characters that columns are filled up to: one long name shall not push all others aside
SHOWN = 50  # faults printed in full; the rest is counted, and stands in `DatasetError.faults`


@dataclass(frozen=True, order=True)
class Issue:
    """One thing that is wrong: the file (or folder), what is wrong with it, and what to do about it."""

    file: str
    issue: str
    remedy: str


class DatasetError(Exception):
    """Images that cannot be used as they are; `issues` holds every fault, the message the first 50.

    `listed` names a file in which all of them stand, where somebody wrote one.
    """

    def __init__(self, issues: Iterable[Issue], heading: str = "", listed: str = "") -> None:
        self.issues = tuple(issues)
        if not self.issues:
            raise ValueError("a DatasetError needs at least one fault")
        self.heading, self.listed = heading, listed
        super().__init__(heading)

    def __reduce__(self) -> tuple[type[DatasetError], tuple[tuple[Issue, ...], str, str]]:
        # Exceptions pickle by `args`; a DatasetError must come back whole from a worker process.
        return type(self), (self.issues, self.heading, self.listed)

    def __str__(self) -> str:
        return describe(self.issues, self.heading, self.listed)

    def _render_traceback_(self, *_: object) -> list[str]:
        # What Jupyter shows: the table alone, as no line of the program is at fault.
        return str(self).splitlines()


def printable(text: str) -> str:
    r"""Return `text` on one line: control and undecodable characters written as \n, \x1b, \udcff."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def describe(issues: Iterable[Issue], heading: str = "", listed: str = "") -> str:
    """Return the faults as text: one line if there is one, else a table of the first 50 and a count.

    `listed` names the file in which all of them stand.
    """
    heading = printable(heading)
    rows = [tuple(printable(cell) for cell in astuple(issue)) for issue in issues]
    if len(rows) == 1 and not heading:
        file, issue, remedy = rows[0]
        return f"{file}: {issue} ({remedy})"
    title = f"{len(rows):,} {'issue' if len(rows) == 1 else 'issues'}"
    shown = [("file", "issue", "what to do"), *rows[:SHOWN]]
    widths = [min(WIDEST, max(len(row[column]) for row in shown)) for column in range(2)]
    lines = [f"{heading}: {title}" if heading else title]
    lines += [f"  {file:<{widths[0]}}  {issue:<{widths[1]}}  {remedy}" for file, issue, remedy in shown]
    if len(rows) > SHOWN:
        lines.append(f"  ... and {len(rows) - SHOWN:,} more" + (f"; all stand in {listed}" if listed else ""))
    return "\n".join(lines)


def as_table(issues: Iterable[Issue]) -> pd.DataFrame:
    """Return a DataFrame with the string columns file, fault, way_out, one row per fault (none is fine)."""
    import pandas as pd  # not for a line, which reads images without it

    rows = [[printable(cell) for cell in astuple(issue)] for issue in issues]
    return pd.DataFrame(rows, columns=["file", "issue", "remedy"], dtype="string")
