"""Trains the classifiers: on latents for `pneumonia` and `covid`, on PneumoniaMNIST's images for `pneumoniamnist`.

    python classify.py latents                      the training images, and changed copies of them, as latents
    python classify.py train --task pneumonia --network square
    python classify.py sweep --task pneumonia       the candidates for `square`
    python classify.py all                          every network of every task, or of --task

For every network a ReLU network is trained first. The encrypted network starts from it: its activations turn from ReLU
into quadratics, one for each channel, while it learns to agree with a teacher (the ReLU hefNet of the task) at
temperature 2, and is fined for pre-activations far from where batch norm puts them. Its batch norms then stand still.
What is chosen (the step to stop at, the operating point) is chosen on a slice of the training groups that is never
trained on; `cxr256_val` is looked at by `evaluate.py` alone.
"""

import argparse
import copy
import hashlib
import json
import math
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from tqdm import tqdm

import codec as codecs
import data
from metrics import auc
from networks import NETWORKS, SQUARES, Activation, set_blend, to_onnx

TASKS = {
    "pneumonia": (["normal", "pneumonia"], ["square", "hefnet", "hefnet_se"]),
    "covid": (["normal", "pneumonia", "covid-19"], ["square", "hefnet", "hefnet_se"]),
    "pneumoniamnist": (["normal", "pneumonia"], ["tiny"]),
}
COPIES = 6
BATCH = 128
STEPS = {"square": 1500, "hefnet": 350, "hefnet_se": 350, "tiny": 3000}
FACTOR = 8


@dataclass
class Examples:
    """Inputs `[versions, count, channels, height, width]`; version 0 is unchanged."""

    inputs: torch.Tensor
    labels: torch.Tensor
    told: torch.Tensor = None  # what a teacher says of each version, as log-probabilities at temperature 2

    def batch(self, rng, device):
        pick = torch.from_numpy(rng.integers(len(self.labels), size=BATCH))
        version = torch.from_numpy(rng.integers(len(self.inputs), size=BATCH))
        told = None if self.told is None else self.told[version, pick].to(device)
        return self.inputs[version, pick].float().to(device), self.labels[pick].to(device), told

    @torch.no_grad()
    def taught(self, teacher):
        versions = [torch.cat([teacher(x.float()) for x in version.split(128)]) for version in self.inputs]
        return replace(self, told=F.log_softmax(torch.stack(versions) / 2, 2))


def load(task):
    """The examples to train on, and those to choose on."""
    if task == "pneumoniamnist":
        images = data.pneumonia_mnist()
        ready = lambda s: (torch.from_numpy(images[s][0])[:, None].float() / 127.5 - 1, torch.from_numpy(images[s][1]))
        x, y = ready("train")
        shifted = [torch.roll(x, (dy, dx), (2, 3)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        shifted.insert(0, shifted.pop(4))
        apart = data.held_out(np.arange(len(y)))
        stacked = torch.stack(shifted)
        return Examples(stacked[:, ~apart], y[~apart]), Examples(x[None, apart], y[apart])
    split = data.load("train")
    inputs = torch.from_numpy(np.load(latents_file(), mmap_mode="r+"))
    wanted = np.char.startswith(split.origin, "kermany") & (split.label <= 1) if task == "pneumonia" else split.label <= 2
    apart, labels = data.held_out(split.group), torch.from_numpy(split.label)
    rows = lambda mask: torch.from_numpy(np.flatnonzero(mask))
    train, chosen_on = rows(wanted & ~apart), rows(wanted & apart)
    return Examples(inputs[:, train], labels[train]), Examples(inputs[:1, chosen_on], labels[chosen_on])


def work(task):
    """Where a task's checkpoints lie: another codec, another folder."""
    return data.work_folder(task if task == "pneumoniamnist" else f"{task}_{codec_id()}")


def latents_file():
    return data.work_folder() / f"latents_{codec_id()}_train.npy"


def codec_id():
    """As the program names codecs: networks belong to the one they were trained on."""
    return hashlib.sha256((codecs.MODELS / "codec" / f"f{FACTOR}.safetensors").read_bytes()).hexdigest()[:16]


@torch.no_grad()
def make_latents(args):
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    codec = codecs.shipped(FACTOR).to(device, memory_format=torch.channels_last)
    pixels = data.load("train").pixels
    shape = (COPIES, len(pixels), *codec.encoder(torch.zeros(1, 1, 256, 256, device=device)).shape[1:])
    part = latents_file().with_suffix(".part.npy")
    out = np.lib.format.open_memmap(part, "w+", np.float16, shape)
    for copy_number in range(COPIES):
        for start in tqdm(range(0, len(pixels), 64), desc=f"latents {copy_number + 1}/{COPIES}"):
            x = codecs.to_tensor(pixels[start : start + 64]).to(device)
            x = changed(x) if copy_number else x
            with torch.autocast(device, torch.bfloat16, enabled=copy_number > 0):
                z = codec.encoder(x.contiguous(memory_format=torch.channels_last))
            out[copy_number, start : start + len(x)] = z.float().cpu().numpy()
    out.flush()
    part.replace(latents_file())


def changed(x):
    """Another picture of the same chest: turned, moved, scaled, mirrored, at another exposure."""
    n, uniform = len(x), lambda low, high: torch.empty(len(x), device=x.device).uniform_(low, high)
    angle, scale = uniform(-8, 8) * math.pi / 180, uniform(0.85, 1.1)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = [torch.stack([cos * mirror, -sin, uniform(-0.08, 0.08)], 1), torch.stack([sin * mirror, cos, uniform(-0.08, 0.08)], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), x.shape, align_corners=False)
    y = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    view = lambda t: t.view(n, 1, 1, 1)
    gamma = ((y + 1) / 2).clamp(0, 1) ** view(uniform(-0.25, 0.25).exp()) * 2 - 1
    return (gamma * view(uniform(0.85, 1.1)) + view(uniform(-0.08, 0.08))).clamp(-1, 1)


def train(task, name, seed):
    """The ReLU network, then the encrypted network; both resume where they are found finished."""
    classes, _ = TASKS[task]
    folder = work(task)
    examples, chosen_on = load(task)
    first = "tiny" if task == "pneumoniamnist" else "hefnet"
    twin = build(task, name, 0)
    steps = STEPS[name.rstrip("0123")]
    fit(twin, examples, chosen_on, folder / f"{name}_relu.pt", steps, seed)
    teacher = build(task, first, 0)
    fit(teacher, examples, chosen_on, folder / f"{first}_relu.pt", STEPS[first], seed)
    network = build(task, name, 1)
    if not (folder / f"{name}.pt").exists():
        network.load_state_dict(twin.state_dict())
        examples = examples.taught(teacher)
    fit(network, examples, chosen_on, folder / f"{name}.pt", steps, seed)
    if name not in TASKS[task][1]:
        return
    for part, suffix in ((network, ""), (twin, "_relu")):
        set_operating_point(part, chosen_on, len(classes))
        torch.save(part.state_dict(), folder / f"{name}{suffix}.final.pt")

    shape = list(chosen_on.inputs.shape[2:])
    metadata = {
        "pleura.task": task,
        "pleura.classes": json.dumps(classes),
        "pleura.codec": "none" if task == "pneumoniamnist" else f"f{FACTOR}",
    }
    if task != "pneumoniamnist":
        metadata["pleura.codec_id"] = codec_id()
    else:
        metadata["pleura.pixel_scaling"] = "signed"
    out = codecs.MODELS / task / f"{name}.onnx"
    out.parent.mkdir(exist_ok=True)
    onnx.save(to_onnx(network.eval(), f"{task}_{name}", shape, metadata), out)


def sweep(task, seed):
    """Prints how each candidate for `square` does on the held-out slice."""
    for k in range(len(SQUARES)):
        train(task, f"square{k}", seed)
        note = work(task) / f"square{k}.json"
        print(SQUARES[k], note.read_text())


def build(task, name, blend):
    torch.manual_seed(1)
    network = NETWORKS[name](len(TASKS[task][0]), blend)
    return network.eval()


def fit(network, examples, chosen_on, path, steps, seed):
    """Trains and keeps the best average of weights by AUC on `chosen_on`, or loads what was kept."""
    if path.exists():
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return
    rng, device = np.random.default_rng(seed), "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    network.to(device, memory_format=torch.channels_last)
    taught = examples.told is not None
    counts = torch.bincount(examples.labels, minlength=network[-1].out_features).clamp(min=1).float()
    weight = (counts.sum() / counts / len(counts)).to(device)
    adam = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.02)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-3 if taught else 2e-3, steps, pct_start=0.2)
    average, best = copy.deepcopy(network).requires_grad_(False), (0.0, None)
    inside = PreActivations(network if taught else nn.Identity())
    for step in (bar := tqdm(range(steps), desc=f"{path.parent.name}/{path.stem}")):
        network.train()
        if taught:
            set_blend(network, min(1.0, step / (0.3 * steps)))
            if step > 0.5 * steps:
                freeze_norms(network)
        x, y, told = examples.batch(rng, device)
        scores = network(x)
        loss = F.cross_entropy(scores, y, weight, label_smoothing=0.02)
        if taught:
            agreement = F.kl_div(F.log_softmax(scores / 2, 1), told, reduction="batchmean", log_target=True)
            loss = 0.4 * loss + 4 * 0.6 * agreement + 0.05 * inside.far()
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        rate.step()
        codecs.follow(average, network, min(0.99, (step + 1) / (step + 10)))
        every = max(1, steps // 20)
        if step % every == every - 1 and (not taught or step > 0.5 * steps):
            set_blend(average, 1 if taught else 0)
            figure = auc(scores_of(average, chosen_on), chosen_on.labels.numpy())
            bar.set_postfix_str(f"loss {loss:.3f} auc {figure:.4f}")
            if figure >= best[0]:
                best = (figure, copy.deepcopy(average.state_dict()))
    inside.close()
    set_blend(network, 1 if taught else 0)
    network.load_state_dict(best[1])
    network.cpu().eval()
    path.with_suffix(".json").write_text(json.dumps({"auc_on_held_out_slice": round(best[0], 4)}))
    torch.save(network.state_dict(), path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


class PreActivations:
    """Watches what enters the activations, to keep it where quadratics are tame."""

    def __init__(self, network):
        self.values, self.hooks = [], []
        for module in network.modules():
            if isinstance(module, Activation):
                self.hooks.append(module.register_forward_pre_hook(lambda _, given: self.values.append(given[0])))

    def far(self):
        fine = sum((x.abs() - 3).relu().square().mean() for x in self.values)
        self.values.clear()
        return fine

    def close(self):
        [hook.remove() for hook in self.hooks]


def freeze_norms(network):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


@torch.no_grad()
def set_operating_point(network, chosen_on, classes):
    """Moves the last layer's bias, by the held-out slice: for two classes so that 98 % of the pneumonia images are
    found, as for a screening test; for three so that no class is favoured (the mean recall is greatest)."""
    scores, labels = torch.from_numpy(scores_of(network, chosen_on)), chosen_on.labels
    shift = torch.zeros(classes)
    if classes == 2:
        shift[1] = -(scores[:, 1] - scores[:, 0])[labels == 1].quantile(0.02)
    recall = lambda s: torch.stack([(s.argmax(1) == k)[labels == k].float().mean() for k in range(classes)]).mean()
    tried = torch.linspace(-4, 4, 161)
    for k in [1, 2, 1, 2] if classes == 3 else []:
        found = torch.stack([recall(scores + shift + t * F.one_hot(torch.tensor(k), classes)) for t in tried])
        best = tried[found >= found.max() - 1e-6]
        shift[k] += best[len(best) // 2]
    network[-1].bias += shift


@torch.no_grad()
def scores_of(network, examples):
    network.eval()
    device = next(network.parameters()).device
    return torch.cat([network(x.float().to(device)).cpu() for x in examples.inputs[0].split(128)]).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["latents", "sweep", "train", "all"])
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--network", choices=NETWORKS)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    if args.command == "latents":
        return make_latents(args)
    if args.command != "all" and args.task is None:
        parser.error("which --task?")
    if args.command == "sweep":
        return sweep(args.task, args.seed)
    if args.command == "train" and args.network not in TASKS[args.task][1]:
        parser.error(f"--network is one of {', '.join(TASKS[args.task][1])}")
    for task, (_, names) in TASKS.items():
        for name in names:
            if args.task in (None, task) and args.network in (None, name):
                train(task, name, args.seed)


if __name__ == "__main__":
    main()
