"""VGG-16 on CIFAR-10, plain and behind the augmented convolution of metamorphosed learning.

    python mple.py train --arm plain
    python mple.py train --arm augconv
    python mple.py measure

Both arms start from ImageNet weights (`lpips.py` says where they come from), without a bias in the first layer, which is what the
developer publishes and what stays frozen. In the arm `augconv` the first layer's channels come in a secret order, and the
network behind it has to learn that order; `measure` also runs the plain arm's network behind a real augmented convolution,
morphed images and all, with the next layer's inputs put in that order.
"""

import argparse
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from tqdm import tqdm

import cifar
import data
from lpips import STAGES, load_weights

WIDTHS = [64, 128, 256, 512, 512]
BATCH = 64
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class Vgg16(nn.Module):
    """13 convolutions in five stages, then one dense layer, as is usual at 32x32."""

    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for width, count in zip(WIDTHS, STAGES):
            for _ in range(count):
                layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=bool(layers)), nn.ReLU()]
                inputs = width
            layers += [nn.MaxPool2d(2)]
        self.first, self.rest = layers[0], nn.Sequential(*layers[1:])
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(512, 10))
        weights = load_weights()["VGG16_0"]
        convolutions = [m for m in layers if isinstance(m, nn.Conv2d)]
        with torch.no_grad():
            for k, conv in enumerate(convolutions):
                conv.weight.copy_(torch.tensor(weights[f"Conv_{k}"]["kernel"]).permute(3, 2, 0, 1))
                if conv.bias is not None:
                    conv.bias.copy_(torch.tensor(weights[f"Conv_{k}"]["bias"]))
        self.register_buffer("order", torch.arange(64))

    def forward(self, x):
        return self.behind(self.first(x)[:, self.order])

    def behind(self, features):
        return self.head(self.rest(features).mean(dim=(2, 3)))


def prepared(images, rng=None):
    if rng is not None:
        top, left = rng.integers(0, 9, 2)
        images = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))[:, top : top + 32, left : left + 32]
        images = images[:, :, ::-1] if rng.random() < 0.5 else images
    x = (images.astype(np.float32) / 255 - MEAN) / DEVIATION
    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).contiguous(memory_format=torch.channels_last)


def train(args):
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, labels = cifar.load("train")
    network = Vgg16()
    if args.arm == "augconv":
        network.order.copy_(torch.randperm(64))
    network.first.requires_grad_(False)
    network.to(device, memory_format=torch.channels_last)
    steps = args.epochs * (len(labels) // BATCH)
    trained = [p for p in network.parameters() if p.requires_grad]
    sgd = torch.optim.SGD(trained, lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(sgd, 0.01, steps, pct_start=0.15)
    path, start = data.work_folder("mple") / f"{args.arm}.pt", 0
    if path.exists():
        state = torch.load(path, weights_only=False)
        if state["step"] >= steps:
            return
        network.load_state_dict(state["network"]), sgd.load_state_dict(state["sgd"]), rate.load_state_dict(state["rate"])
        start, rng.bit_generator.state = state["step"], state["rng"]
    for step in (bar := tqdm(range(start, steps), desc=f"vgg16 {args.arm}", initial=start, total=steps)):
        rows = rng.integers(0, len(labels), BATCH)
        network.train()
        with torch.autocast(device, torch.bfloat16):
            scores = network(prepared(images[rows], rng).to(device))
        loss = F.cross_entropy(scores.float(), torch.from_numpy(labels[rows]).to(device), label_smoothing=0.05)
        sgd.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 2.0)
        sgd.step()
        rate.step()
        if step % 50 == 49 or step + 1 == steps:
            bar.set_postfix_str(f"loss {loss:.3f}")
        if step % 200 == 199 or step + 1 == steps:
            state = {"network": network.state_dict(), "sgd": sgd.state_dict(), "rate": rate.state_dict()}
            torch.save({**state, "step": step + 1, "rng": rng.bit_generator.state}, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)


def loaded(arm):
    network = Vgg16()
    state = torch.load(data.work_folder("mple") / f"{arm}.pt", weights_only=False)
    network.load_state_dict(state["network"])
    return network.eval().to(memory_format=torch.channels_last), state["step"]


@torch.no_grad()
def scores_of(run, images):
    return torch.cat([run(prepared(images[k : k + 256])) for k in tqdm(range(0, len(images), 256))]).numpy()


@torch.no_grad()
def measure(args):
    images, labels = cifar.load("test")
    accuracy = lambda scores, labels: float((scores.argmax(1) == labels[: len(scores)]).mean())
    for arm in ("plain", "augconv"):
        network, steps = loaded(arm)
        print(f"{arm}: {accuracy(scores_of(network, images), labels):.4f} of {len(labels)} right after {steps} steps")
    network, _ = loaded("plain")
    start = time.time()
    core, matrix, order = augmented(network.first.weight.numpy(), args.seed)
    print(f"augmented convolution made in {time.time() - start:.1f} s, {matrix.numel() * 4 / 1e6:.0f} MB in f32")
    some = images[: args.images]
    morphing = []

    def morphed(x):
        start = time.time()
        rows = (torch.nn.functional.pad(x, (1, 1, 1, 1)).reshape(len(x), -1).double() @ core).float()
        morphing.append(time.time() - start)
        features = (rows @ matrix).reshape(len(x), 64, 32, 32)
        return network.behind(features[:, torch.argsort(order)])

    seconds = []
    for run in (network, morphed):
        run(prepared(some[:256]))
        morphing.clear()
        start = time.time()
        seconds.append((scores_of(run, some), time.time() - start))
    (plain, clear), (behind, total) = seconds
    server = total - sum(morphing)
    print(f"milliseconds an image: plain {1e3 * clear / len(some):.2f}, behind the augmented convolution {1e3 * server / len(some):.2f} "
          f"({server / clear:.2f} times), morphing {1e3 * sum(morphing) / len(some):.2f}")
    same = (plain.argmax(1) == behind.argmax(1)).mean()
    print(f"behind the augmented convolution: {accuracy(behind, labels):.4f} of the first {len(some)} right, plain "
          f"{accuracy(plain, labels):.4f}; {same:.4f} of the labels agree, scores differ by at most {np.abs(plain - behind).max():.2e}")


def augmented(weight, seed):
    """The morphing core (kappa 1, f64), the augmented convolution `[3 34^2, 64 32^2]` (f32), the order of its channels."""
    rng = np.random.default_rng(seed)
    side, n, count = 34, 32, 3 * 34 * 34
    core = rng.random((count, count))
    inverse = np.linalg.inv(core)
    order = rng.permutation(64)
    matrix = np.zeros((count, 64, n, n), np.float32)
    columns = inverse.reshape(count, 3, side, side)
    for k, source in enumerate(order):
        total = np.zeros((count, n, n))
        for c in range(3):
            for u in range(3):
                for v in range(3):
                    total += weight[source, c, u, v] * columns[:, c, u : u + n, v : v + n]
        matrix[:, k] = total
    return torch.from_numpy(core), torch.from_numpy(matrix.reshape(count, -1)), torch.from_numpy(order)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    stages = parser.add_subparsers(dest="stage", required=True)
    one = stages.add_parser("train")
    one.add_argument("--arm", choices=["plain", "augconv"], required=True)
    one.add_argument("--epochs", type=int, default=3)
    two = stages.add_parser("measure")
    two.add_argument("--images", type=int, default=1000)
    for stage in (one, two):
        stage.add_argument("--seed", type=int, default=7)
        stage.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    {"train": train, "measure": measure}[args.stage](args)
