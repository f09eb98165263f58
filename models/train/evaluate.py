"""Measures what was trained on `cxr256_val`, the encrypted networks through the program itself, and writes the cards.

    python evaluate.py images                       the validation images as PNG files, for the program
    python evaluate.py curves                       roc.json of every task, from the plaintext networks in the program
    python evaluate.py encrypted --model pneumonia  every one of them encrypted, classified, decrypted
    python evaluate.py cards                        the README.md of every task, from what was measured

`curves` and `encrypted` need `cargo build --release`. `encrypted` leaves what it measured in the work folder; `cards` takes what is there.
"""

import argparse
import json
import subprocess
import sys

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import codec as codecs
import data
from classify import FACTOR, TASKS, build, load, work
from metrics import accuracy, auc, balanced_accuracy, interval

PROGRAM = codecs.MODELS.parent / "target" / "release" / "pleura"
NAMES = {"square": "", "hefnet": "-hefnet", "hefnet_se": "-hefnet-se", "tiny": ""}
TITLES = {"square": "made for the scheme", "hefnet": "hefNet", "hefnet_se": "hefNet + SE", "tiny": "made for the scheme"}


def split_of(task):
    if task == "pneumoniamnist":
        images, labels = data.pneumonia_mnist()["val"]
        names = ["Normal", "Pneumonia"]
        return data.Split(images, labels, np.arange(len(labels)), np.full(len(labels), "medmnist"), names)
    val = data.load("val")
    return val.kermany() if task == "pneumonia" else val.three_classes()


def folder_of(task):
    return data.work_folder("val", task)


def write_images():
    for task in TASKS:
        for k, pixels in enumerate(tqdm(split_of(task).pixels, desc=task)):
            Image.fromarray(pixels).save(folder_of(task) / f"{k:05}.png")


def write_curves():
    """ROC curves on the validation images. The plaintext networks are asked: labels of the encrypted ones equal theirs, and their scores to
    the error that the cards state."""
    for task, (classes, names) in TASKS.items():
        labels = data.work_folder("val") / f"{task}.csv"
        rows = [f"{k:05}.png,{classes[label]}" for k, label in enumerate(split_of(task).label)]
        labels.write_text("\n".join(["file,class", *rows]) + "\n")
        curves = {}
        for name in names:
            model = task + NAMES[name]
            command = [PROGRAM, "classify", folder_of(task), "--labels", labels, "--plaintext", "--json", "--model", model]
            lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
            evaluation = json.loads(lines[-1])["summary"]["evaluation"]
            assert evaluation["labelled"] == len(rows)
            curves[model] = {"images": len(rows), "classes": [curve_of(c) for c in evaluation["classes"]]}
        # A line for each network.
        lines = [f'"{model}": {json.dumps(curve, separators=(",", ":"))}' for model, curve in curves.items()]
        (codecs.MODELS / task / "roc.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def curve_of(evaluated):
    """The corners of a curve to four digits, and its area."""
    points = [[round(x, 4), round(y, 4)] for x, y, _ in evaluated["roc"]]
    corners = [p for k, p in enumerate(points) if k in (0, len(points) - 1) or not straight(points[k - 1], p, points[k + 1])]
    auc = evaluated["auc"]
    return {"class": evaluated["class"], "auc": round(auc["value"], 4), "interval": [round(x, 4) for x in auc["interval"]], "points": corners}


def straight(a, b, c):
    """Whether three points share a coordinate: those between corners say nothing."""
    return a[0] == b[0] == c[0] or a[1] == b[1] == c[1]


def encrypted(model, every):
    task, name = next((t, n) for t in TASKS for n in TASKS[t][1] if t + NAMES[n] == model)
    out = work(task) / f"{name}.encrypted.json"
    if task == "pneumoniamnist":
        x = work(task) / "val.npy"
        np.save(x, split_of(task).pixels[:, None].astype(np.float32) / 127.5 - 1)
        typical = work(task) / "typical.npy"
        np.save(typical, load(task)[0].inputs[0, :64].numpy())
        command = ["run", "--model", str(codecs.MODELS / task / f"{name}.onnx"), "--input", str(x), "--json"]
        command += ["--calibrate", str(typical)]
        result = json.loads(subprocess.run([PROGRAM, *command], check=True, stdout=subprocess.PIPE).stdout)
        fidelity, count = result["fidelity"], len(result["outputs"])
        report = {
            "scores": result["outputs"],
            "agreement": fidelity["label_agreement"],
            "worst": fidelity["worst_error"],
            "seconds": result["seconds"]["infer"] / count,
        }
    else:
        lines = []
        rows = np.arange(0, len(split_of(task).label), every)
        images = [str(folder_of(task) / f"{k:05}.png") for k in rows]
        command = [PROGRAM, "classify", *images, "--model", model, "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for line in tqdm(process.stdout, total=len(rows) + 1, desc=model):
                lines.append(json.loads(line))
        if process.returncode:
            sys.exit(f"pleura stopped with {process.returncode}")
        summary = lines.pop()["summary"]
        assert len(lines) == len(rows)
        report = {
            "scores": [list(line["scores"][c] for c in TASKS[task][0]) for line in lines],
            "every": every,
            "agreement": summary["labels_match_plaintext"] / summary["images"],
            "worst": summary["max_abs_error"],
            "seconds": summary["median_seconds"]["infer"],
        }
    out.write_text(json.dumps(report))


@torch.no_grad()
def seen(task, split):
    """What the networks of a task see of the images."""
    if task == "pneumoniamnist":
        return torch.from_numpy(np.array(split.pixels))[:, None].float() / 127.5 - 1
    return codecs.latents(codecs.shipped(FACTOR), split.pixels)


@torch.no_grad()
def plaintext_scores(task, name, inputs, relu):
    network = build(task, name, 0 if relu else 1)
    suffix = "_relu" if relu else ""
    file = work(task) / f"{name}{suffix}.final.pt"
    network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return torch.cat([network(x) for x in inputs.split(64)]).numpy()


def results(task):
    split = split_of(task)
    inputs, rows = seen(task, split), []

    def row(title, scores, on=split, **more):
        low, high = interval(auc, scores, on.label, on.group)
        figures = {"auc": auc(scores, on.label), "low": low, "high": high}
        figures |= {"accuracy": accuracy(scores, on.label), "balanced": balanced_accuracy(scores, on.label)}
        rows.append({"title": title, **figures, **more})

    mobilenet = data.work_folder(task) / "mobilenet.val.npy"
    if mobilenet.exists():
        row("MobileNetV2 on the images, plaintext", np.load(mobilenet))
    for name in TASKS[task][1]:
        title = TITLES[name]
        row(f"{title}, ReLU, plaintext", plaintext_scores(task, name, inputs, True))
        row(f"{title}, quadratics, plaintext", plaintext_scores(task, name, inputs, False))
        report = work(task) / f"{name}.encrypted.json"
        if report.exists():
            report = json.loads(report.read_text())
            every = report.get("every", 1)
            part = split.where(np.arange(len(split.label)) % every == 0)
            more = {k: report[k] for k in ("agreement", "worst", "seconds")} | {"images": len(part.label)}
            row(f"**{title}, quadratics, encrypted**", np.array(report["scores"]), part, **more)
    return rows


def write_card(task):
    rows = results(task)
    (work(task) / "results.json").write_text(json.dumps(rows, indent=1))
    lines = [
        "| network | images | AUC (95 % interval) | accuracy | balanced | labels equal to plaintext | worst score error | inference |",
        "|---|---:|---|---|---|---|---|---|",
    ]
    for r in rows:
        encrypted = ["", "", ""]
        if "worst" in r:
            encrypted = [f"{100 * r['agreement']:.1f} %", f"{r['worst']:.1e}", f"{1e3 * r['seconds']:.0f} ms"]
        figures = f"{r['auc']:.4f} ({r['low']:.4f} to {r['high']:.4f}) | {r['accuracy']:.3f} | {r['balanced']:.3f}"
        images = r.get("images", len(split_of(task).label))
        lines.append(f"| {r['title']} | {images} | {figures} | {' | '.join(encrypted)} |")
    card = codecs.MODELS / task / "README.md"
    text = card.read_text()
    begin, end = "<!-- results -->\n", "<!-- end -->\n"
    before, rest = text.split(begin)
    card.write_text(before + begin + "\n".join(lines) + "\n" + end + rest.split(end)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["images", "curves", "encrypted", "cards"])
    parser.add_argument("--model", choices=[task + NAMES[n] for task in TASKS for n in TASKS[task][1]])
    parser.add_argument("--every", type=int, default=1, help="take one image in so many")
    args = parser.parse_args()
    if args.command == "encrypted" and args.model is None:
        parser.error("which --model?")
    if args.command == "images":
        write_images()
    elif args.command == "curves":
        write_curves()
    elif args.command == "encrypted":
        encrypted(args.model, args.every)
    else:
        for task in TASKS:
            write_card(task)


if __name__ == "__main__":
    main()
