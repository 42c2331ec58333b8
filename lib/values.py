"""A setting's value from what somebody typed."""

from __future__ import annotations

import ast
import math
import types
import typing
from typing import Any


def parse_value(value: Any, kind: Any) -> Any:
    """Return `value` (possibly text) as the type of a setting's field; raises ValueError in plain words."""
    if isinstance(kind, types.GenericAlias):  # tuple[int, ...] or tuple[float, ...]
        if isinstance(value, str):
            try:
                value = ast.literal_eval(value if "," in value else value + ",")
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                raise ValueError("expected numbers with commas between, such as 0.5,1.0") from None
        if isinstance(value, (int, float)):
            value = (value,)
        if not isinstance(value, (tuple, list)):
            raise ValueError("expected numbers with commas between, such as 0.5,1.0")
        element = typing.get_args(kind)[0]
        return tuple(parse_value(item, element) for item in value)
    if kind is bool:
        text = str(value).lower()
        if text not in ("true", "false", "1", "0", "yes", "no"):
            raise ValueError("expected true or false")
        return text in ("true", "1", "yes")
    if kind is int:
        if isinstance(value, bool) or (number := _number(value)) != int(number):
            raise ValueError("expected a whole number")
        return int(number)
    if kind is float:
        return _number(value)
    return str(value)


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("expected a number") from None
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number
