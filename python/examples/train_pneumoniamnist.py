"""Trains a small network on PneumoniaMNIST, makes one of it that can be encrypted, and runs it on ciphertexts.

    python train_pneumoniamnist.py pneumoniamnist.npz

The file is that of MedMNIST v2 (Yang et al. 2023, CC BY 4.0): `pip install medmnist` and
`medmnist.PneumoniaMNIST("train", download=True)` fetch it. It takes a few minutes on two cores. Not a medical device.
"""

import argparse
import json
import time

import numpy
import torch
from torch import nn

import pleura.train

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", help="pneumoniamnist.npz")
parser.add_argument("--output", default="pneumoniamnist.onnx", help="where the network goes")
parser.add_argument("--steps", type=int, default=600, help="steps of each training")
arguments = parser.parse_args()

pack = numpy.load(arguments.data)
clock = time.monotonic()


def split(name):
    """Inputs `[items, 1, 28, 28]` from -1 (black) to 1 (white), and classes."""
    return pack[f"{name}_images"][:, None].astype(numpy.float32) / 127.5 - 1, pack[f"{name}_labels"][:, 0].astype(int)


x, y = split("train")
validation = split("val")

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 16, 8, stride=4, padding=2, bias=False),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Flatten(),
    nn.Dropout(0.3),
    nn.Linear(16 * 49, 2),
)
adam = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.02)
rate = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, arguments.steps)
inputs, classes = torch.from_numpy(x), torch.from_numpy(y)
for _ in range(arguments.steps):
    pick = torch.randint(len(x), (128,))
    moved = torch.roll(inputs[pick], tuple(numpy.random.randint(-1, 2, 2).tolist()), (2, 3))
    loss = nn.functional.cross_entropy(network(moved), classes[pick])
    adam.zero_grad()
    loss.backward()
    adam.step()
    rate.step()

metadata = {
    "pleura.classes": json.dumps(["normal", "pneumonia"]),
    "pleura.codec": "none",
    "pleura.pixel_scaling": "signed",
}
trained = pleura.train.fit(network, (x, y), validation=validation, steps=arguments.steps, metadata=metadata)
trained.save(arguments.output)
print(trained.card(*validation, encrypted=len(validation[0])))
print(f"{time.monotonic() - clock:.0f} s in all; pleura.XrayClassifier({arguments.output!r}) classifies X-rays with it.")
