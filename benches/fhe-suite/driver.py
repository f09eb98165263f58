#!/usr/bin/env python3
"""Runs the submission as the FHE benchmarking suite does, and writes what it measures. Needs NumPy.

    driver.py data FOLDER mnist|cifar10 PACK.npz           the data of FOLDER, from a pack of models/train (mnist.npz, cifar10.npz)
    driver.py run FOLDER SIZE [--runs N] [--seed S]        one size: 0 (single), 1 (small), 2 (medium), 3 (large)
    driver.py check FOLDER                                 single and small with damaged files, each of which must be refused
    driver.py collect FOLDER... --output FILE              all measurements as one JSON file

FOLDER is made by build.sh. Items are drawn from the test set without repetition; `large` takes the first 10,000 in their order. As
in the suite, times are those of a process from start to end, sizes those of `du -sb`, and labels are compared by line.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

SIZES = [("single", 1), ("small", 15), ("medium", 1000), ("large", 10_000)]
STEPS = [
    ("client_key_generation", "Key Generation"),
    ("server_preprocess_model", "Encrypted model preprocessing"),
    ("client_preprocess_input", "Input preprocessing"),
    ("client_encode_encrypt_input", "Input encryption"),
    ("server_encrypted_compute", "Encrypted computation"),
    ("client_decrypt_decode", "Result decryption"),
    ("client_postprocess", "Result postprocessing"),
]
BANDWIDTH = [
    ("public_keys", "Public and evaluation keys"),
    ("ciphertexts_upload", "Encrypted input"),
    ("ciphertexts_download", "Encrypted results"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("data")
    p.add_argument("folder", type=Path)
    p.add_argument("dataset", choices=["mnist", "cifar10"])
    p.add_argument("pack", type=Path)
    p.add_argument("--calibrate", type=int, default=0, metavar="N", help="keep N training images for compilation; before build.sh")
    p.set_defaults(run=data)
    p = commands.add_parser("run")
    p.add_argument("folder", type=Path)
    p.add_argument("size", type=int, choices=range(len(SIZES)))
    p.add_argument("--runs", type=int, default=1, help="repetitions of all steps but keys and model")
    p.add_argument("--seed", type=int, default=0, help="of the choice of items")
    p.set_defaults(run=run)
    p = commands.add_parser("check")
    p.add_argument("folder", type=Path)
    p.set_defaults(run=check)
    p = commands.add_parser("collect")
    p.add_argument("folders", type=Path, nargs="+")
    p.add_argument("--output", type=Path, required=True)
    p.set_defaults(run=collect)
    args = parser.parse_args()
    args.run(args)


def data(args):
    """Pixels between 0 and 1, channels before rows, as the suite exports them."""
    pack = np.load(args.pack)
    images, labels = pack["test_images"], pack["test_labels"]
    if images.ndim == 4:
        images = images.transpose(0, 3, 1, 2)
    folder = args.folder / "datasets"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "test.part.npz"
    np.savez(part, images=images.reshape(len(images), -1), labels=labels)
    part.replace(folder / "test.npz")
    write(folder / "dataset.txt", args.dataset)
    if args.calibrate:
        images = pack["train_images"][: args.calibrate]
        items = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
        path = args.folder / "submission/calibration.npy"
        path.parent.mkdir(exist_ok=True)
        with open(path.with_name("calibration.part"), "wb") as file:
            np.save(file, items.astype(np.float32) / 255)
        path.with_name("calibration.part").replace(path)


def run(args, keep=False):
    name, count = SIZES[args.size]
    inputs = Inputs(args.folder, args.size, args.seed)
    # Where keys of other sizes lie, their plans would be made again.
    shutil.rmtree(args.folder / "io" / (name if keep else ""), ignore_errors=True)
    once = {}
    for step, title in STEPS[:2]:
        once[title] = timed(args.folder, step, args.size)
    for k in range(1, args.runs + 1):
        clock = time.monotonic()
        labels = inputs.draw()
        timings = dict(once)
        timings["Input generation"] = {"seconds": time.monotonic() - clock}
        for step, title in STEPS[2:]:
            timings[title] = timed(args.folder, step, args.size)
        result = {
            "model_name": (args.folder / "submission/model.txt").read_text().strip() if (args.folder / "submission/model.txt").exists() else "model",
            "dataset_name": (args.folder / "datasets/dataset.txt").read_text().strip(),
            "size": name,
            "items": count,
            "Timing": {title: f"{t['seconds']:.4f}s" for title, t in timings.items()},
            "Bandwidth": {},
            "Quality": quality(args.folder, name, labels),
            "seconds": {title: round(t["seconds"], 4) for title, t in timings.items()},
            "cpu_seconds": {title: round(t["cpu"], 4) for title, t in timings.items() if "cpu" in t},
            "peak_bytes": {title: t["peak"] for title, t in timings.items() if "peak" in t},
            "bytes": {},
            "machine": machine(),
            "command": f"driver.py run FOLDER {args.size} --runs {args.runs} --seed {args.seed}",
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        total = sum(result["seconds"].values())
        result["Timing"]["Total"], result["seconds"]["Total"] = f"{total:.4f}s", round(total, 4)
        for part, title in BANDWIDTH:
            size = disk_usage(args.folder / "io" / name / part)
            result["Bandwidth"][title], result["bytes"][title] = readable(size), size
        path = args.folder / "measurements" / name / f"results-{k}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps(result, indent=2) + "\n")
        print(f"{name}, run {k}: {result['Timing']['Encrypted computation']} of server time, {result['Timing']['Total']} in all, "
              f"keys {result['Bandwidth']['Public and evaluation keys']}, {result['Quality']['correct']} of {count} right")
        if name == "single" and not result["Quality"]["as_plaintext"]:
            sys.exit("the label differs from the expected one")


class Inputs:
    """Items of the test set for a size, drawn anew for each run."""

    def __init__(self, folder, size, seed):
        path = folder / "datasets/test.npz"
        if not path.exists():
            sys.exit(f"{path} is missing; run driver.py data first")
        pack = np.load(path)
        self.images, self.labels = pack["images"], pack["labels"]
        self.name, self.count = SIZES[size]
        self.folder = folder / "datasets" / self.name / "intermediate"
        self.rng = np.random.default_rng(seed)

    def draw(self):
        rows = np.arange(self.count) if self.count == len(self.images) else self.rng.choice(len(self.images), self.count, replace=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        # 256 grey levels, each as text once.
        text = np.array([f"{level / 255:.6f}" for level in range(256)])
        lines = [" ".join(text[image]) for image in self.images[rows]]
        write(self.folder / "test_pixels.txt", "\n".join(lines) + "\n")
        labels = [int(label) for label in self.labels[rows]]
        write(self.folder / "test_labels.txt", "".join(f"{label}\n" for label in labels))
        return labels


def timed(folder, step, size):
    """Seconds of a step from start to end of its process, those of all its threads, and its peak memory."""
    arguments = [] if step == "server_preprocess_model" else [str(size)]
    program = (folder / "submission/build" / step).resolve()
    clock = time.monotonic()
    process = subprocess.Popen([program, *arguments], cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - clock
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{step} ended with {process.returncode}")
    return {"seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss * 1024}


def quality(folder, name, labels):
    """Labels compared by line. A single item must have the label that the plaintext network gives it, so it is said apart."""
    path = folder / "io" / name / "encrypted_model_predictions.txt"
    found = [int(line) for line in path.read_text().split()]
    if len(found) != len(labels):
        sys.exit(f"{path} has {len(found)} labels, and there are {len(labels)} items")
    right = sum(a == b for a, b in zip(found, labels))
    scores = np.load(folder / "io" / name / "intermediate/scores.npy")
    expected = plaintext(folder, name)
    answer = {"correct": right, "total": len(labels), "accuracy": right / len(labels)}
    if expected is not None:
        error, largest = np.abs(scores - expected).max(), np.abs(expected).max()
        answer["as_plaintext"] = int((scores.argmax(1) == expected.argmax(1)).sum())
        answer["bits"] = round(float(-np.log2(error / largest)), 2)
    else:
        answer["as_plaintext"] = right
    return answer


def plaintext(folder, name):
    """Scores of the plaintext network, where onnx's reference evaluator is installed."""
    try:
        import onnx
        from onnx.reference import ReferenceEvaluator
    except ImportError:
        return None
    model = onnx.load(folder / "submission/model.onnx")
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    # As the client reads them.
    pixels = np.load(folder / "io" / name / "intermediate/input.npy").astype(np.float32)
    evaluator = ReferenceEvaluator(model)
    feed = model.graph.input[0].name
    return np.concatenate([evaluator.run(None, {feed: part.reshape(-1, *shape)})[0] for part in np.array_split(pixels, -(-len(pixels) // 500))])


def check(args):
    """Damaged, truncated and exchanged files: each step must end with an error and write nothing.

    Parameters of another size give good keys, which the server refuses.
    """
    folder = args.folder
    for size in (0, 1):
        args.size, args.runs, args.seed = size, 1, 1
        run(args, keep=size > 0)
    cases = [
        ("client_preprocess_input", "datasets/single/intermediate/test_pixels.txt", "io/single/intermediate/input.npy"),
        ("client_encode_encrypt_input", "io/single/intermediate/input.npy", "io/single/ciphertexts_upload/items.ct"),
        ("client_encode_encrypt_input", "io/single/secret_key/secret.key", "io/single/ciphertexts_upload/items.ct"),
        ("server_encrypted_compute", "io/single/public_keys/evaluation.keys", "io/single/ciphertexts_download/scores.ct"),
        ("server_encrypted_compute", "io/single/ciphertexts_upload/items.ct", "io/single/ciphertexts_download/scores.ct"),
        ("server_encrypted_compute", "submission/intermediate/single.plan", "io/single/ciphertexts_download/scores.ct"),
        ("client_decrypt_decode", "io/single/ciphertexts_download/scores.ct", "io/single/intermediate/scores.npy"),
        ("client_postprocess", "io/single/intermediate/scores.npy", "io/single/encrypted_model_predictions.txt"),
        ("client_key_generation", "submission/parameters/single.client", "io/single/public_keys/evaluation.keys"),
        ("server_preprocess_model", "submission/model.onnx", "submission/intermediate/single.plan"),
    ]
    failures = 0
    for step, damaged, output in cases:
        path = folder / damaged
        content = path.read_bytes()
        other = Path(str(damaged).replace("single", "small"))
        for title, bad in damages(content, None if str(other) == damaged or step == "client_key_generation" else folder / other):
            path.write_bytes(bad)
            before = (folder / output).read_bytes()
            arguments = [] if step == "server_preprocess_model" else ["0"]
            ended = subprocess.run([(folder / "submission/build" / step).resolve(), *arguments], cwd=folder, capture_output=True, text=True)
            said = ended.stderr.strip()
            good = ended.returncode == 1 and said.startswith("error: ") and "panic" not in said and (folder / output).read_bytes() == before
            good = good and not list((folder / output).parent.glob(".part-*"))
            failures += not good
            print(f"{'refused' if good else 'NOT REFUSED'}: {step}, {damaged} {title}: {said or 'nothing said'}")
        path.write_bytes(content)
    print(f"{failures} failures")
    sys.exit(failures > 0)


def damages(content, other):
    yield "cut in half", content[: len(content) // 2]
    yield "empty", b""
    yield "of zeros", bytes(len(content))
    if content[:1] not in (b"0", b"1") and content[:6] != b"\x93NUMPY":
        # Every byte of text may be a good one, and every value of an array: both are the client's own.
        middle = len(content) // 2
        yield "with a bit changed", content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    yield "twice as long", content + content
    if other is not None and other.exists():
        yield "of another size", other.read_bytes()


def collect(args):
    """Measurements of several folders in one file."""
    results = [
        json.loads(path.read_text())
        for folder in args.folders
        for name, _ in SIZES
        for path in sorted((folder / "measurements" / name).glob("results-*.json"))
    ]
    write(args.output, json.dumps(results, indent=1) + "\n")


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "")
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "avx512": "avx512f" in flags,
        "system": f"{platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 1),
    }


def disk_usage(path):
    return int(subprocess.run(["du", "-sb", path], check=True, capture_output=True, text=True).stdout.split()[0])


def readable(size):
    for unit in "BKMGT":
        if size < 1024 or unit == "T":
            return f"{size:.1f}{unit}"
        size /= 1024


def write(path, text):
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    main()
