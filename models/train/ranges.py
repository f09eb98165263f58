"""Ranges of values of the shipped X-ray networks, measured on training images and written into their ONNX files.

    python ranges.py                              every network
    python ranges.py --model pneumonia-hefnet

At each node, the magnitude that all values of 99 in 100 images stay below is written into the metadata, as `pleura.ranges`; plans
take it, or what the samples reach where that is more. The largest magnitude would be that of one odd image, up to 500 times as
large in the deep networks, and would take as many bits from all others.

1,000 X-rays: 700 of the children that `pneumonia` is about, 300 others. Takes Pleura's Python package (`pip install ../../python`);
images are prepared as the program does it.
"""

import argparse
import io
import json
import random
from pathlib import Path

import numpy as np
import onnx
import pleura
from PIL import Image
from pleura import _pleura
from pleura._plan import Source
from tqdm import tqdm

import data

MODELS = Path(__file__).resolve().parent.parent
NETWORKS = {
    "pneumonia": {"square": "", "hefnet": "-hefnet", "hefnet_se": "-hefnet-se", "linear": "-linear"},
    "covid": {"square": "", "hefnet": "-hefnet", "hefnet_se": "-hefnet-se"},
    "pneumoniamnist": {"tiny": ""},
}
SHARE = 0.99
CHILDREN, OTHERS = 700, 300


def inputs(task):
    """Inputs of a task's networks, made of training images."""
    if task == "pneumoniamnist":
        pixels, _ = data.pneumonia_mnist()["train"]
        chosen = random.Random(1).sample(range(len(pixels)), CHILDREN + OTHERS)
        return prepared(task, pixels, chosen)
    split = data.load("train")
    child = np.char.startswith(split.origin, "kermany") & (split.label <= 1)
    children, others = (list(np.flatnonzero(mask)) for mask in (child, ~child & (split.label <= 2)))
    order = random.Random(1)
    order.shuffle(children)
    order.shuffle(others)
    chosen = children[:CHILDREN] + ([] if task == "pneumonia" else others[:OTHERS])
    return prepared(task, split.pixels, chosen)


def prepared(task, pixels, chosen):
    """Prepared images, kept in the work folder."""
    kept = data.work_folder("ranges") / f"{task}.npy"
    if not kept.exists():
        prepare = pleura.XrayPreparation(task)
        np.save(kept, np.concatenate([prepare(png(pixels[k])) for k in tqdm(chosen, desc=task)]))
    return np.load(kept)


def png(pixels):
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def measured(path, items, name):
    """The magnitude at each node that all values of a share of the items stay below."""
    source = Source(path.read_bytes())
    each = [_pleura.ranges(source, item[None]) for item in tqdm(items, desc=name)]
    return {node: float(f"{np.quantile([one[node] for one in each], SHARE):.4g}") for node in each[0]}


def write(path, ranges):
    model = onnx.load(path)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**kept, "pleura.ranges": json.dumps(ranges)})
    onnx.save(model, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="one network, as `pleura models` names it")
    args = parser.parse_args()
    for task, networks in NETWORKS.items():
        for network, suffix in networks.items():
            if args.model in (None, task + suffix):
                path = MODELS / task / f"{network}.onnx"
                write(path, measured(path, inputs(task), task + suffix))


if __name__ == "__main__":
    main()
