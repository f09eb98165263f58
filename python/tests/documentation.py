"""Examples of docstrings, of README.md and of docs/python.md: `pytest documentation.py`."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import pleura

PLACE = Path(__file__).resolve().parents[1]
MODULES = ["pleura", "pleura._plan", "pleura._sides", "pleura._xray", "pleura._devices", "pleura.errors", "pleura.linear"]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module)
    assert found.failed == 0


def test_every_public_name_has_a_docstring():
    for name in pleura.__all__:
        thing = getattr(pleura, name)
        if callable(thing):
            assert thing.__doc__, name
            for member, value in vars(thing).items() if isinstance(thing, type) else ():
                if callable(value) and not member.startswith("_"):
                    assert value.__doc__, f"{name}.{member}"


@pytest.mark.parametrize("page", ["README.md", "python.md"])
def test_pages(page, capsys):
    text = (PLACE / page).read_text()
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        if "import ray" in block:
            pytest.importorskip("ray")
        exec(block, names)
