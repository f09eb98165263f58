"""FHElium on the card that `gpu-day.sh` measures: a rotation, a product and a 256 x 256 matrix at n = 2^14, as JSON on standard output.

    python benches/fhelium.py [--device cuda:0] [--rounds 20]

FHElium (MIT) is what a user of PyTorch would take otherwise. PyPI has its source only, which is built beside the installed PyTorch, with nvcc and
a C++ compiler: `pip install --no-binary=fhelium --no-build-isolation fhelium`. The parameters are its own, 30-bit scales of nine levels; every
result is decrypted and compared. Times are of the clock, after the device was waited for, in milliseconds.
"""

import argparse
import json
import statistics
import sys
import time

import fhelium as fh
import torch
from fhelium.eager import Engine

SIZE = 256
BABY = 16
# FHElium's own limit of an error, relative to values below 0.1.
LARGEST_ERROR = 1e-4


def timed(run, rounds, device):
    """The median of some times, and the last result."""
    for _ in range(3):
        result = run()
    times = []
    for _ in range(rounds):
        wait(device)
        start = time.perf_counter()
        result = run()
        wait(device)
        times.append(1e3 * (time.perf_counter() - start))
    return {"median_ms": statistics.median(times), "least_ms": min(times), "most_ms": max(times)}, result


def wait(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def main():
    parser = argparse.ArgumentParser(description="FHElium on a GPU.")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    device = arguments.device
    torch.set_default_device(device)
    engine = Engine(fh.Preset.slots8192_scale30_depth9_int64)
    slots = engine.num_slots
    place = torch.arange(slots)
    vector = 0.05 * torch.sin(0.37 * torch.arange(SIZE, dtype=torch.float64))
    message = vector[place % SIZE]
    source = engine.encrypt_message(message)
    ntt = engine.coefficient_domain_to_ntt_domain(source)
    key = engine.rotation_key(1)
    steps = sorted(set(range(1, BABY)) | set(range(BABY, SIZE, BABY)))
    keys = {step: engine.rotation_key(step) for step in steps}
    relinearization = engine.relinearization_key
    row = torch.arange(SIZE, dtype=torch.float64)
    matrix = 0.02 * torch.sin(0.17 * (row[:, None] + 1) * (row[None, :] + 2))
    diagonals = []
    for offset in range(SIZE):
        giant = offset // BABY * BABY
        values = torch.roll(matrix[place % SIZE, (place - offset) % SIZE], -giant)
        diagonals.append(engine.prepare_plaintext_for_multiplication(engine.encode(values, depth=0, device=device)))

    def product():
        return engine.rescale_to_next_depth(engine.relinearize(engine.multiply(ntt, ntt), relinearization))

    def transform():
        babies = (ntt, *engine.rotate_many_with_keys(source, [keys[k] for k in range(1, BABY)], output_domain="ntt"))
        result = None
        for giant in range(0, SIZE, BABY):
            inner = engine.rescale_to_next_depth(engine.sum_plaintext_products(babies, diagonals[giant : giant + BABY]))
            part = engine.rotate_with_key(inner, keys[giant], output_domain="ntt") if giant else inner
            result = part if result is None else engine.add(result, part)
        return result

    cases = {
        "rotate": (lambda: engine.rotate_with_key(source, key), torch.roll(message, 1)),
        "mul_rescale": (product, message * message),
        f"matrix_{SIZE}": (transform, (matrix @ vector)[place % SIZE]),
    }
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    report = {"fhelium": fh.__version__, "torch": torch.__version__, "device": name, "n": engine.ring_dimension, "levels": engine.max_depth}
    for case, (run, expected) in cases.items():
        times, result = timed(run, arguments.rounds, device)
        error = (engine.decrypt_message(result, is_real=True) - expected).abs().max().item()
        report[case] = {**times, "max_abs_error": error}
        if not error < LARGEST_ERROR:
            sys.exit(f"{case}: wrong by {error}")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
