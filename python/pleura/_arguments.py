"""Checks of arguments."""

from __future__ import annotations

from typing import Any, Optional

from .errors import InputError

MAX_BYTES = 1 << 62


def whole(name: str, value: Any) -> Optional[int]:
    """A whole number that is not negative, or `None`."""
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 0 <= int(value) < MAX_BYTES:
        raise InputError(f"{name} must be a whole number, not {value!r}")
    return int(value)


def number(name: str, value: Any) -> Optional[float]:
    """A real number, or `None`."""
    if value is None:
        return None
    if isinstance(value, bool) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise InputError(f"{name} must be a number, not {value!r}")
    return float(value)
