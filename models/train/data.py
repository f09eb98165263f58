"""Chest X-rays as arrays: packs of JPEGs, their labels and groups, and the slices to train and to choose on.

A pack is an `.npz` file that loads without pickle: `jpeg` (all files one after another), `offsets`, `label`,
`class_names`, `group` (a patient, or a set of near-duplicates: never split), `origin` and `origin_names`.

    python data.py pack --kermany chest_xray/train
"""

import argparse
import hashlib
import io
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

SIDE = 256


@dataclass
class Split:
    """Images `[count, 256, 256]` (8-bit grey) with what is known of each."""

    pixels: np.ndarray
    label: np.ndarray
    group: np.ndarray
    origin: np.ndarray
    class_names: list

    def where(self, mask):
        return Split(self.pixels[mask], self.label[mask], self.group[mask], self.origin[mask], self.class_names)

    def kermany(self):
        """The least confounded task: normal and pneumonia from one hospital, all children."""
        return self.where(np.char.startswith(self.origin, "kermany") & (self.label <= 1))

    def three_classes(self):
        return self.where(self.label <= 2)


def load(name, folder=None):
    """The split `train` or `val`; decoded once for each version of the file."""
    path = packs(folder) / f"cxr256_{name}.npz"
    if not path.exists():
        sys.exit(f"{path} is missing: set PLEURA_DATA to the folder of the packs (README.md says how to make them)")
    pack = np.load(path, allow_pickle=False)
    names = np.array([str(n) for n in pack["origin_names"]])
    return Split(
        pixels=decoded(pack, path),
        label=pack["label"].astype(np.int64),
        group=pack["group"].astype(np.int64),
        origin=names[pack["origin"]],
        class_names=[str(n) for n in pack["class_names"]],
    )


def decoded(pack, path):
    stamp = path.stat()
    cache = work_folder("pixels") / f"{path.stem}-{stamp.st_size}-{stamp.st_mtime_ns}.npy"
    if not cache.exists():
        jpeg, offsets = pack["jpeg"].tobytes(), pack["offsets"]
        pixels = np.empty((len(offsets) - 1, SIDE, SIDE), np.uint8)
        for k in tqdm(range(len(pixels)), desc=f"decoding {path.name}"):
            pixels[k] = np.asarray(Image.open(io.BytesIO(jpeg[offsets[k] : offsets[k + 1]])).convert("L"))
        part = cache.with_suffix(".part.npy")
        np.save(part, pixels)
        part.replace(cache)
    return np.load(cache, mmap_mode="r")


def pneumonia_mnist(folder=None):
    """PneumoniaMNIST's train and val images, `[count, 28, 28]`, with their labels (1 is pneumonia)."""
    found = [packs(folder) / f"pneumoniamnist{suffix}.npz" for suffix in ("", "_trainval")]
    path = next((path for path in found if path.exists()), None) or sys.exit(f"{found[0]} is missing (README.md)")
    pack = np.load(path)
    return {s: (pack[f"{s}_images"], pack[f"{s}_labels"][:, 0].astype(np.int64)) for s in ("train", "val")}


def packs(folder=None):
    return Path(folder or os.environ.get("PLEURA_DATA", "data"))


def held_out(group, share=0.12):
    """A mask of the groups kept apart from training, to choose on: by a hash, so it never depends on the order."""
    digest = [int.from_bytes(hashlib.sha256(f"pleura {g}".encode()).digest()[:4], "big") for g in group]
    return np.array(digest) < share * 2**32


def work_folder(*parts):
    """Where checkpoints and caches lie: `$PLEURA_WORK`, or `work` here."""
    folder = Path(os.environ.get("PLEURA_WORK", Path(__file__).parent / "work")).joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep(content, path, sha256):
    """Writes what was downloaded, if it is what it should be."""
    if hashlib.sha256(content).hexdigest() != sha256:
        sys.exit(f"what was downloaded for {path} is not what it was when this was written")
    path.write_bytes(content)


def squared(image):
    """The whole image at 256x256, whatever its proportions: so the packs were made, and so the program does."""
    return image.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def pack_kermany(folder):
    """Packs `NORMAL/*.jpeg` and `PNEUMONIA/*.jpeg` of Kermany's archive into a training and a validation pack, patients
    (by the files' names) apart."""
    files = sorted(Path(folder).glob("NORMAL/*.jpeg")) + sorted(Path(folder).glob("PNEUMONIA/*.jpeg"))
    if not files:
        sys.exit(f"{folder} holds no NORMAL/*.jpeg or PNEUMONIA/*.jpeg")
    blobs, label, group = [], [], []
    for file in tqdm(files, desc="packing"):
        patient = re.match(r"person\d+|(NORMAL2-)?IM-\d+|(NORMAL|BACTERIA|VIRUS)-\d+", file.name)
        if patient is None:
            sys.exit(f"{file.name} does not say which patient it is of")
        sink = io.BytesIO()
        squared(Image.open(file)).save(sink, "JPEG", quality=95)
        blobs.append(sink.getvalue())
        label.append(int(file.parent.name == "PNEUMONIA"))
        group.append(int.from_bytes(hashlib.sha256(patient[0].encode()).digest()[:4], "big") >> 1)
    label, group = np.array(label, np.uint8), np.array(group, np.int32)
    val = held_out(group + 1, share=0.18)
    packs().mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", np.flatnonzero(~val)), ("val", np.flatnonzero(val))):
        chosen = [blobs[k] for k in rows]
        np.savez(
            packs() / f"cxr256_{name}.npz",
            jpeg=np.frombuffer(b"".join(chosen), np.uint8),
            offsets=np.cumsum([0] + [len(b) for b in chosen]),
            label=label[rows],
            class_names=np.array(["Normal", "Pneumonia"]),
            group=group[rows],
            origin=np.zeros(len(rows), np.uint8),
            origin_names=np.array(["kermany"]),
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["pack"])
    parser.add_argument("--kermany", required=True, help="a folder with NORMAL and PNEUMONIA in it")
    pack_kermany(parser.parse_args().kermany)
