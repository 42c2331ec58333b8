"""Progress bars for JupyterLab and terminals: one over the splits, one over the steps of the split at work.

Both appear when there is work: where everything is proven there are none, and none in batch or on a cluster's workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from threading import Event, Lock, Thread
from typing import Any

BATCH = "STUDY_BATCH"  # set by run_all.py: plain lines instead of progress bars
EVERY = 1.0  # seconds between two looks at what other processes do
WHOLE = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} so far, {remaining} left"

Report = Callable[..., None]  # called with (done, all, ...) after some steps


class Bars:
    """The bars of one loop over splits."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.finished = label, total, 0
        self.whole: Any = None
        self.steps: Any = None
        self.at_work = ""
        self.lock = Lock()

    def show(self) -> None:
        """Show the bar over the splits, if it is not there yet."""
        if self.whole is None:
            self.whole = _bar(desc=self.label, total=self.total, bar_format=WHOLE, initial=self.finished)

    def step(self, label: str, done: int, total: int) -> None:
        """Move both bars: `done` of `total` steps of the split at work; what was done before counts for no estimate."""
        if total == 1:
            pass  # the bar over the splits says it all
        elif self.steps is None:
            self.steps = _bar(desc=label, total=total, initial=done)
        elif label != self.at_work:
            self.steps.set_description(label, refresh=False)
            self.steps.reset(total)
            self.steps.initial = self.steps.n = self.steps.last_print_n = done
            self.steps.refresh()
        else:
            self.steps.update(done - self.steps.n)
        self.at_work = label
        self._move(self.finished + done / total)

    def finish_one(self) -> None:
        """Count one more split as finished."""
        self.finished += 1
        self._move(self.finished)

    def under_way(self, share: float) -> None:
        """Move the bar to the finished splits and the `share` of those at work elsewhere."""
        self._move(self.finished + share)

    def close(self) -> None:
        """Leave the bars as they are."""
        for bar in (self.steps, self.whole):
            if bar is not None:
                bar.refresh()
                bar.close()

    def _move(self, to: float) -> None:
        with self.lock:
            if self.whole is not None:
                self.whole.update(min(to, self.total) - self.whole.n)


_at_work: list[Bars] = []  # the loop at work in this process, if any


def progress(
    items: Iterable[Any], label: str, total: int, elsewhere: Callable[[], float] | None = None
) -> Iterable[Any]:
    """Return the `total` items, with a bar as soon as `step_bar` is called within one of them; in batch, as they are.

    Items that are made in other processes have their bar from the start; `elsewhere` tells how much of them is under
    way there, in items, and the bar follows it.
    """
    return items if os.environ.get(BATCH) else _watched(items, label, total, elsewhere)


def step_bar(label: str, *, alone: bool = False) -> Report:
    """Show the bar of the loop at work and return what moves the bar of its steps: `report(done, all, ...)`.

    To be called when there is work. Without a loop in this process nothing is shown, unless the work stands `alone`:
    it belongs to no loop, and its bar appears with the first report.
    """
    within = _at_work[-1] if _at_work and not alone else None
    if os.environ.get(BATCH) or not (within or alone):
        return _nothing
    bars = within or Bars(label, 1)
    if within:
        within.show()

    def report(done: int, total: int, *_: Any) -> None:
        bars.step(label, done, total)
        if not within and done == total:
            bars.close()

    return report


def both(*reports: Report) -> Report:
    """Return what calls each of `reports` with what it is called with."""

    def report(*at: Any) -> None:
        for each in reports:
            each(*at)

    return report


def _watched(
    items: Iterable[Any], label: str, total: int, elsewhere: Callable[[], float] | None
) -> Iterator[Any]:
    bars, ended = Bars(label, total), Event()
    if elsewhere is not None:
        bars.show()
        Thread(target=_follow, args=(bars, elsewhere, ended), daemon=True).start()
    _at_work[:] = [bars]
    try:
        for item in items:
            yield item
            bars.finish_one()
    finally:
        ended.set()
        if bars in _at_work:  # no later loop has begun
            _at_work.clear()
        bars.close()


def _follow(bars: Bars, elsewhere: Callable[[], float], ended: Event) -> None:
    while not ended.wait(EVERY):
        bars.under_way(elsewhere())


def _bar(**settings: Any) -> Any:
    from tqdm.auto import tqdm

    return tqdm(**settings)


def _nothing(*_: Any) -> None:
    pass
