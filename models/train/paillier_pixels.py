"""MobileNetV2 on X-rays whose pixels were encrypted by Paillier and stored as grey levels, as published.

    python paillier_pixels.py store --pleura ../../target/release/pleura
    python paillier_pixels.py train

Six arms: the pixels themselves; one randomness for all, one for each image, fresh for each pixel, as stored; and what the affine attack
recovers from what is stored under shared randomness. As published, weights are ImageNet's and the first part of the network is frozen
(here up to block 13 of 17); the head is a 3x3 convolution of 128 channels, dropout 0.2, global average, dense; Adam 1e-4. Pictures are
small, since a real ciphertext takes a millisecond.
"""

import argparse
import json
import subprocess

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image
from torchvision.models import mobilenet_v2
from tqdm import tqdm

import data
from image_space import weights
from metrics import accuracy, auc, interval

STORED = ["fixed", "image", "fresh"]
RECOVERED = {"fixed-recovered": ["fixed"], "image-recovered": ["image", "--each"]}
ARMS = ["plain", *STORED, *RECOVERED]
FROZEN = 14
SIDE = 96


def chosen(count, seed):
    """As many normal as sick X-rays of Kermany's, `count` to train on and half as many of the validation split."""
    rng = np.random.default_rng(seed)
    found = []
    for name, number in (("train", count), ("val", count // 2)):
        split = data.load(name).kermany()
        rows = [rng.permutation(np.flatnonzero(split.label == k))[: number // 2] for k in (0, 1)]
        found.append(split.where(np.sort(np.concatenate(rows))))
    return found


def store(args):
    folder = data.work_folder("paillier")
    splits = chosen(args.images, args.seed)
    (folder / "plain").mkdir(exist_ok=True)
    pixels = np.concatenate([split.pixels for split in splits])
    for k, picture in enumerate(tqdm(pixels, desc="plain")):
        Image.fromarray(picture).save(folder / "plain" / f"{k:05}.png")
    np.savez(folder / "labels.npz", label=np.concatenate([s.label for s in splits]), train=len(splits[0].label),
             group=np.concatenate([s.group for s in splits]), side=args.side)  # fmt: skip
    run = [args.pleura, "baseline", "paillier"]
    for arm in ARMS[1:]:
        if arm in RECOVERED:
            stored, *each = RECOVERED[arm]
            command = [*run, "attack", folder / stored, *each]
        else:
            command = [*run, "store", folder / "plain", "--randomness", arm]
        command += ["--side", str(args.side), "--output", folder / arm, "--force", "--json"]
        print(arm, json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def pictures(arm, side, count):
    """In the range of ImageNet: each arm at the same size, `plain` made small as the program does."""
    step = 256 // side
    found = []
    for k in range(count):
        pixels = np.asarray(Image.open(data.work_folder("paillier") / arm / f"{k:05}.png").convert("L"), np.float32)
        cells = pixels.reshape(side, step, side, step)
        found.append(cells.mean((1, 3)) if arm == "plain" else cells[:, 0, :, 0])
    x = torch.from_numpy(np.stack(found))[:, None] / 255
    x = F.interpolate(x, SIDE, mode="nearest").expand(-1, 3, -1, -1)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (x - mean.view(3, 1, 1)) / deviation.view(3, 1, 1)


class Tail(nn.Module):
    """What is trained: the last blocks and the head."""

    def __init__(self, features):
        super().__init__()
        self.blocks = features
        self.head = nn.Sequential(nn.Conv2d(1280, 128, 3, padding=1), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1))
        self.dense = nn.Linear(128, 2)

    def forward(self, x):
        return self.dense(self.head(self.blocks(x)).flatten(1))


def train(args):
    labels = np.load(data.work_folder("paillier") / "labels.npz")
    label, count = torch.from_numpy(labels["label"]), int(labels["train"])
    for arm in args.arms:
        torch.manual_seed(args.seed)
        backbone = mobilenet_v2()
        backbone.load_state_dict(weights())
        frozen = backbone.features[:FROZEN].eval()
        with torch.no_grad():
            x = pictures(arm, int(labels["side"]), len(label))
            features = torch.cat([frozen(part) for part in tqdm(x.split(64), desc=arm)])
        tail = Tail(backbone.features[FROZEN:])
        adam = torch.optim.Adam(tail.parameters(), lr=1e-4)
        for epoch in (bar := tqdm(range(args.epochs), desc=arm)):
            tail.train()
            for rows in torch.randperm(count).split(32):
                loss = F.cross_entropy(tail(features[rows]), label[rows])
                adam.zero_grad()
                loss.backward()
                adam.step()
            bar.set_postfix_str(f"loss {loss:.3f}")
        tail.eval()
        with torch.no_grad():
            scores = torch.cat([tail(part) for part in features[count:].split(64)]).numpy()
        truth, group = label[count:].numpy(), labels["group"][count:]
        low, high = interval(accuracy, scores, truth, group)
        print(f"{arm}: accuracy {accuracy(scores, truth):.3f} ({low:.3f} to {high:.3f}), AUC {auc(scores, truth):.3f}, on {len(truth)} "
              f"images, after {args.epochs} epochs on {count}", flush=True)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    stages = parser.add_subparsers(dest="stage", required=True)
    one = stages.add_parser("store")
    one.add_argument("--pleura", default="pleura")
    one.add_argument("--images", type=int, default=400)
    one.add_argument("--side", type=int, default=32)
    two = stages.add_parser("train")
    two.add_argument("--epochs", type=int, default=12)
    two.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    for stage in (one, two):
        stage.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    {"store": store, "train": train}[args.stage](args)
