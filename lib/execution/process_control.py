"""Processes that end with the one that started them, and signals that end a run in an orderly way."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

POLL_SECONDS = 0.5
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

_leashed: set[int] = set()


class RunInterrupted(KeyboardInterrupt):
    """A signal asked the run to stop; handled wherever Ctrl-C is."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def stop_on_signals() -> None:
    """Raise `Stopped` in the main thread on SIGTERM and SIGHUP, unless they are ignored (nohup)."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise RunInterrupted(number)


def exit_with_parent(parent: int) -> None:
    """End this process soon after its parent `parent` has gone, however that went.

    Looks every half second, as Linux's own signal comes when the parent's *thread* ends.
    """
    if os.getpid() in _leashed or parent == os.getpid():
        return
    _leashed.add(os.getpid())
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="leash").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)
