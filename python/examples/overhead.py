"""Times what Python adds to an encrypted inference, beside the program `pleura`: the table of docs/python.md.

    python overhead.py models/reference/hefnet.onnx models/reference/hefnet.input.npy --program target/release/pleura
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy

import pleura

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", help="a network, in ONNX")
parser.add_argument("input", help="items of the network, in NumPy's format; the first one is taken")
parser.add_argument("--program", help="the program `pleura`, whose inferences are timed in turn with those of Python")
parser.add_argument("--rounds", type=int, default=5, help="turns of Python and the program")
parser.add_argument("--repeat", type=int, default=20, help="inferences of a turn, after one that warms up")
arguments = parser.parse_args()

item = numpy.load(arguments.input)[:1]
plan = pleura.compile(arguments.model, calibration=item)
pipeline = pleura.Pipeline(plan, device="cpu")
layer, stages, inference, program = [], [], [], []
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "item.npy"
    numpy.save(path, item)
    command = [arguments.program, "run", "--model", arguments.model, "--input", path, "--device", "cpu", "--json", "--quiet"]
    command += ["--repeat", str(arguments.repeat)]
    for _ in range(arguments.rounds):
        pipeline(item)
        for _ in range(arguments.repeat):
            clock = time.perf_counter()
            pipeline(item)
            whole = time.perf_counter() - clock
            layer.append(whole - sum(pipeline.seconds))
            stages.append(sum(pipeline.seconds))
            inference.append(pipeline.seconds.infer)
        if arguments.program:
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            program += json.loads(output)["latency"]["seconds"]

share = statistics.median(added / engine for added, engine in zip(layer, stages))
print(f"encryption, inference, decryption  {1000 * statistics.median(stages):9.3f} ms")
print(f"Python and its package add         {1000 * statistics.median(layer):9.3f} ms, {100 * share:.3f} %")
print(f"inference from Python              {1000 * statistics.median(inference):9.3f} ms")
if program:
    ratio = statistics.median(inference) / statistics.median(program)
    print(f"inference of the program           {1000 * statistics.median(program):9.3f} ms, from Python {ratio:.3f} times as long")
