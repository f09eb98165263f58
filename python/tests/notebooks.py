"""Runs the notebooks: `python notebooks.py FOLDER`."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

for path in sorted(Path(sys.argv[1]).glob("*.ipynb")):
    NotebookClient(nbformat.read(path, as_version=4), timeout=600, kernel_name="python3").execute()
    print(f"{path.name}: ran")
