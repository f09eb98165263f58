"""ResNet-20 with quadratic activations on CIFAR-10, within a given time on a processor.

    python cifar_resnet.py train --minutes 65      goes on from the last whole epoch
    python cifar_resnet.py export                  -> models/cifar10/resnet20.onnx, and its plaintext accuracy

The network is that of He et al. 2016 (arXiv 1512.03385) with one activation in the stem and one inside each of its nine
blocks, none after an addition: half the depth in products, which is what encryption pays for. The schedule is a matter
of time and not of epochs, so that a slow machine ends with fewer epochs and a whole schedule: ReLU turns into quadratics
with coefficients for each channel between 45 % and 65 % of the time, and batch norms stand still after 90 %. A process
that was stopped goes on where it was: a step counts as five seconds at most. The first half of
the time goes on crops of 24x24, which cost half as much.

A quadratic grows where ReLU does not, so that a single image may grow from block to block without end. Values that enter
an activation far from where batch norm puts them are fined, the more so the farthest value of each image. While batch norms
stand still they are clamped, too, which keeps the loss finite until the fine has moved them back.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import cifar
import data
from networks import Activation, set_blend

BATCH = 64
RATE = 0.06
MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
DEVIATION = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)
FAR = 3.0
FINE = 0.05
# Farthest value of an image that costs nothing, its price, and the clamp.
FARTHEST = 5.0
FARTHEST_FINE = 0.01
CLAMP = 8.0
# Training images from which the ranges of all values are taken, and those that compilation calibrates with.
RANGE_ITEMS = 128
KEPT = 16
LONGEST_STEP = 5.0
# Part of the time after which batch norms stand still.
STILL = 0.9
MODELS = Path(__file__).resolve().parent.parent / "cifar10"


class Block(nn.Module):
    """Two convolutions with one activation between them, beside a shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.activation = Activation(outputs, 0)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut_norm = nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.norm2(self.conv2(self.activation(self.norm1(self.conv1(x)))))
        return y + (x if self.shortcut is None else self.shortcut_norm(self.shortcut(x)))


class ResNet20(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.activation = Activation(16, 0)
        shapes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        self.blocks = nn.Sequential(*(Block(*shape) for shape in shapes))
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        return self.head(self.blocks(self.activation(self.norm(self.conv(x)))).mean(dim=(2, 3)))


def prepared(images):
    """`[count, 32, 32, 3]` in 8 bits as the network's input."""
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255
    return (x - MEAN) / DEVIATION


def changed(padded, rows, side, rng):
    """Crops of `side` by `side` out of 40x40, every other one mirrored."""
    top, left = rng.integers(0, 41 - side, (2, len(rows), 1, 1))
    y, x = np.arange(side)[None, :, None], np.arange(side)[None, None, :]
    x = np.where(rng.random((len(rows), 1, 1)) < 0.5, x, side - 1 - x)
    return padded[rows[:, None, None], top + y, left + x]


def checkpoint_path():
    return data.work_folder("cifar") / "resnet20.pt"


def rate_at(progress):
    """A line up to the highest rate at a tenth of the time, then half a cosine down."""
    if progress < 0.1:
        return RATE * (0.1 + 9 * progress)
    return RATE * (0.5 + 0.5 * math.cos(math.pi * (progress - 0.1) / 0.9)) + 1e-5


def train(args):
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    images, labels = cifar.load("train")
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    labels = torch.from_numpy(labels)
    network = ResNet20().to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4, nesterov=True)
    fines = []

    def fined(activation, arguments):
        (x,) = arguments
        far = x.float().abs()
        farthest = (far.flatten(1).amax(1) - FARTHEST).relu().clamp(max=100)
        fines.append((far - FAR).relu().clamp(max=100).square().mean() + FARTHEST_FINE / FINE * farthest.mean())
        return (x.clamp(-CLAMP, CLAMP),) if progress > STILL else None

    for module in network.modules():
        if isinstance(module, Activation):
            module.register_forward_pre_hook(fined)
    seconds, epoch = 0.0, 0
    if checkpoint_path().exists():
        state = torch.load(checkpoint_path(), weights_only=True)
        network.load_state_dict(state["network"]), sgd.load_state_dict(state["sgd"])
        seconds, epoch = state["seconds"], state["epoch"]
    last = time.monotonic()
    while (progress := seconds / (60 * args.minutes)) < 1:
        rng = np.random.default_rng([args.seed, epoch])
        right, total = 0, 0.0
        order = rng.permutation(len(labels))
        steps = len(order) // BATCH
        for step in range(steps):
            now = time.monotonic()
            seconds += min(now - last, LONGEST_STEP)
            last = now
            progress = min(1.0, seconds / (60 * args.minutes))
            rows = order[step * BATCH : (step + 1) * BATCH]
            set_blend(network, min(1.0, max(0.0, (progress - 0.45) / 0.2)))
            for group in sgd.param_groups:
                group["lr"] = rate_at(progress)
            network.train()
            if progress > STILL:
                still(network)
            fines.clear()
            x = prepared(changed(padded, rows, 24 if progress < 0.5 else 32, rng)).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
                scores = network(x)
            scores = scores.float()
            loss = F.cross_entropy(scores, labels[rows], label_smoothing=0.05) + FINE * sum(fines).float()
            if not torch.isfinite(loss):
                sys.exit("the loss is not finite; start again from the last checkpoint with another --seed")
            sgd.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            sgd.step()
            right += int((scores.argmax(1) == labels[rows]).sum())
            total += float(loss.detach())
            if step % 100 == 0 or step + 1 == steps:
                print(f"epoch {epoch} step {step}: {seconds:.0f} s, loss {total / (step + 1):.3f}, "
                      f"accuracy {right / (step + 1) / BATCH:.3f}, fine {float(sum(fines).detach()):.3f}", flush=True)
            if progress == 1:
                break
        epoch += 1
        save(network, sgd, epoch, seconds)
    print(f"{epoch} epochs, the last one in part")


class Pixels(nn.Module):
    """The network on pixels between 0 and 1, as a client has them."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.register_buffer("mean", MEAN)
        self.register_buffer("deviation", DEVIATION)

    def forward(self, x):
        return self.network((x - self.mean) / self.deviation)


def export(args):
    import pleura.train

    state = torch.load(checkpoint_path(), weights_only=True)
    network = ResNet20()
    network.load_state_dict(state["network"])
    set_blend(network, 1)
    images, _ = cifar.load("train")
    module = Pixels(network).eval()
    items = images[:RANGE_ITEMS].transpose(0, 3, 1, 2).astype(np.float64) / 255
    trained = pleura.train.Trained(module, module, pleura.train.ranges(module, items), items[:KEPT])
    MODELS.mkdir(exist_ok=True)
    trained.save(MODELS / "resnet20.onnx")
    images, labels = (part[: args.items] for part in cifar.load("test"))
    with torch.no_grad():
        found = torch.cat([network(prepared(part)).argmax(1) for part in np.array_split(images, -(-len(images) // 100))])
    right = float((found.numpy() == labels).mean())
    print(f"{right:.4f} of {len(labels)} test images right after {state['epoch']} epochs and {state['seconds'] / 60:.0f} minutes")


def still(network):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def save(network, sgd, epoch, seconds):
    part = checkpoint_path().with_suffix(".part")
    state = {"network": network.state_dict(), "sgd": sgd.state_dict(), "epoch": epoch, "seconds": seconds}
    torch.save(state, part)
    part.replace(checkpoint_path())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("train")
    p.add_argument("--minutes", type=float, required=True, help="time of the whole schedule")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--bfloat16", action="store_true", help="compute layers in bfloat16, where the processor has it")
    p.add_argument("--seed", type=int, default=0)
    p.set_defaults(run=train)
    p = commands.add_parser("export")
    p.add_argument("--items", type=int, default=10_000, help="test images that accuracy is measured on")
    p.set_defaults(run=export)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
