"""Logistic regression on latents: the linear layer that a server can evaluate under Paillier.

    python classify.py latents      if they are not there yet
    python linear.py                -> models/pneumonia/linear.onnx
    python linear.py measure        on cxr256_val, without encryption

The weight decay is chosen on the groups that are kept apart from training.
"""

import argparse

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F

import classify
import codec as codecs
import data
from metrics import accuracy, auc, balanced_accuracy
from networks import to_onnx

DECAYS = [1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0]
STEPS = 1500
BATCH = 512
TARGET = codecs.MODELS / "pneumonia" / "linear.onnx"


def fit(examples, decay, seed):
    torch.manual_seed(seed)
    dense = nn.Linear(examples.inputs[0, 0].numel(), 2)
    nn.init.zeros_(dense.weight)
    adam = torch.optim.AdamW(dense.parameters(), lr=1e-3, weight_decay=decay)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
    weight = len(examples.labels) / 2 / torch.bincount(examples.labels).float()
    for _ in range(STEPS):
        pick = torch.randint(len(examples.labels), (BATCH,))
        version = torch.randint(len(examples.inputs), (BATCH,))
        scores = dense(examples.inputs[version, pick].float().flatten(1))
        loss = F.cross_entropy(scores, examples.labels[pick], weight)
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
    return dense


@torch.no_grad()
def figure(dense, examples):
    return auc(dense(examples.inputs[0].float().flatten(1)).numpy(), examples.labels.numpy())


def train(args):
    examples, chosen_on = classify.load("pneumonia")
    candidates = [(figure(dense, chosen_on), decay, dense) for decay in DECAYS for dense in [fit(examples, decay, args.seed)]]
    for found, decay, _ in candidates:
        print(f"decay {decay:g}: AUC {found:.4f} on groups apart")
    _, _, dense = max(candidates, key=lambda c: c[0])
    metadata = {
        "pleura.classes": '["normal", "pneumonia"]',
        "pleura.codec": f"f{classify.FACTOR}",
        "pleura.codec_id": classify.codec_id(),
    }
    onnx.save(to_onnx(nn.Sequential(nn.Flatten(), dense).eval(), "pneumonia_linear", [4, 32, 32], metadata), TARGET)


def measure(_):
    val = data.load("val").kermany()
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(TARGET).graph.initializer}
    matrix = next(w for w in weights.values() if w.ndim == 2)
    bias = next(w for w in weights.values() if w.shape == (2,))
    x = codecs.latents(codecs.shipped(classify.FACTOR), val.pixels).flatten(1).numpy()
    scores = x @ (matrix.T if matrix.shape[0] == 2 else matrix) + bias
    print(f"{len(val.label)} images: AUC {auc(scores, val.label):.4f}, accuracy {accuracy(scores, val.label):.3f}, "
          f"balanced {balanced_accuracy(scores, val.label):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=["train", "measure"], default="train")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    {"train": train, "measure": measure}[args.stage](args)
