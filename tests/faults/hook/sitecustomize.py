"""Faults inside the processes of a run, for as long as a flag file stands there; put on their PYTHONPATH by `Fault`.

`STUDY_FAULT` is `KIND|FLAG|FOLDER`. `gone`: whatever touches FOLDER fails with EIO. `full`: what is opened for writing
there fails with ENOSPC. `clock`: `time.time` and `time.time_ns` are a day back.
"""

import builtins
import errno
import io
import os
import time

_KIND, _FLAG, _FOLDER = os.environ.get("STUDY_FAULT", "||").split("|")
_stat, DAY = os.stat, 86_400


def _on():
    try:
        _stat(_FLAG)
    except OSError:
        return False
    return True


def _below(path):
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    name = os.fsdecode(path)
    return (name == _FOLDER or name.startswith(_FOLDER + "/")) and _on()


def _failing(function, number, applies=lambda *arguments, **named: True):
    def patched(*arguments, **named):
        if arguments and _below(arguments[0]) and applies(*arguments, **named):
            raise OSError(number, os.strerror(number), os.fsdecode(arguments[0]))
        return function(*arguments, **named)

    return patched


def _writes(path, mode="r", *_, **named):
    return isinstance(mode, str) and bool(set("wax+") & set(named.get("mode", mode)))


if _KIND == "clock":
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() - DAY * _on()
    time.time_ns = lambda: _time_ns() - DAY * 10**9 * _on()
elif _KIND == "full":
    builtins.open = io.open = _failing(io.open, errno.ENOSPC, _writes)
elif _KIND == "gone":
    builtins.open = io.open = _failing(io.open, errno.EIO)
    for _name in ("open", "stat", "lstat", "replace", "rename", "mkdir", "listdir", "scandir", "unlink"):
        setattr(os, _name, _failing(getattr(os, _name), errno.EIO))
