"""Devices of this machine."""

from __future__ import annotations

import json
from typing import NamedTuple, Optional

from . import _pleura

__all__ = ["DeviceInfo", "devices"]


class DeviceInfo(NamedTuple):
    """The processor or a GPU."""

    id: str
    """Name for `device=`: `cpu`, or the number of a GPU."""
    name: str
    """Name of the device."""
    kind: str
    """`processor`, or the kind of GPU; `software` is a driver for tests."""
    api: Optional[str]
    """Graphics interface of a GPU."""
    driver: Optional[str]
    """Driver of a GPU."""
    check: Optional[str]
    """Outcome of the check: `pass (...)` or `FAIL: ...`; `None` if it was not asked for."""


def devices(check: bool = False) -> list[DeviceInfo]:
    """The processor and all GPUs, hardware first. With `check`, each computes and is compared bit for bit.

    >>> import pleura
    >>> pleura.devices()[0].id
    'cpu'
    """
    found = json.loads(_pleura.devices(bool(check)))
    return [DeviceInfo(*(row.get(name) for name in DeviceInfo._fields)) for row in found["devices"]]
