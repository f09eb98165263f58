#!/usr/bin/env python3
"""Runs the networks of models/mnist in Pleura and in its peers: same weights, same digits, one item at a time.

    networks.py MNIST.npz [--networks mlp cnn square] [--threads 1 0] [--items 5] [--json FILE]

MNIST.npz is that of models/train/mnist.py. Each library and network runs in a process of its own, in turn; `docs/benchmarks.md`
says what is alike. Quadratics `a x^2 + b x + c` are brought to `(u x + v)^2` with `u` and `v` in the layer before, and the rest in
the layer after: every library computes layers and squares. `--threads 0` is as many as there are cores.
"""

import argparse
import importlib.metadata
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MISSING = 3  # exit status of a worker whose library cannot be imported

# Largest log2(QP) for 128-bit security with a ternary secret (eprint 2024/463), by log2 of the degree.
TABLE = {12: 106, 13: 214, 14: 430, 15: 868, 16: 1747}


# ---- the networks as layers and squares --------------------------------------------------------------------------


def parsed(path):
    """The layers of an ONNX file of `pleura.train`: convolution or dense, quadratic, ..., dense.

    A layer is (kind, weight, bias, stride); dense weights are [outputs, inputs].
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    layers, shift, scale = [], 0.0, 1.0
    # The polynomial that has been built of the last layer's outputs, coefficients by power.
    powers = [0.0, 1.0]
    for node in graph.node:
        if all(name in constants for name in node.input):
            constants.update(folded(node, constants, model.opset_import))
            continue
        known = [constants[name].astype(np.float64) for name in node.input if name in constants]
        if node.op_type in ("Conv", "Gemm"):
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            weight, bias = known
            if node.op_type == "Gemm" and not attributes.get("transB"):
                weight = weight.T
            if layers:
                layers.append(("quadratic", *powers_of(powers)))
            layers.append(("conv" if node.op_type == "Conv" else "dense", weight, bias, attributes.get("strides", [1])[0]))
            powers = [0.0, 1.0]
        elif node.op_type in ("Flatten", "Reshape"):
            pass
        elif not layers and node.op_type in ("Sub", "Div"):
            (value,) = known
            shift, scale = (shift - value, scale) if node.op_type == "Sub" else (shift / value, scale / value)
        elif node.op_type == "Mul" and len(known) == 1:
            powers = [p * known[0] for p in powers]
        elif node.op_type == "Mul":
            powers = [0.0, *powers]
        elif node.op_type == "Add" and len(known) == 1:
            powers = [powers[0] + known[0], *powers[1:]]
        else:
            sys.exit(f"{path} has a {node.op_type} where none is expected")
    kind, weight, bias, stride = layers[0]
    axes = tuple(range(1, weight.ndim))
    layers[0] = (kind, weight * scale, bias + weight.sum(axis=axes) * shift, stride)
    return layers


def folded(node, constants, opsets):
    """The outputs of a node that does not depend on the network's input."""
    from onnx import ValueInfoProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    used = [numpy_helper.from_array(constants[name], name) for name in dict.fromkeys(node.input)]
    lone = helper.make_graph([node], "constant", [], [ValueInfoProto(name=name) for name in node.output], used)
    values = ReferenceEvaluator(helper.make_model(lone, opset_imports=opsets)).run(None, {})
    return dict(zip(node.output, values))


def powers_of(powers):
    """`a`, `b`, `c` of each channel."""
    if len(powers) != 3:
        sys.exit("an activation is no quadratic")
    return tuple(np.reshape(p, -1) for p in reversed(powers))


def squares(layers):
    """The same function as layers with plain squares between them: [(kind, weight, bias, stride)]."""
    found, sign, constant = [], None, None
    for kind, *rest in layers:
        if kind == "quadratic":
            a, b, c = rest
            before, weight, bias, stride = found[-1]
            u = np.sqrt(np.abs(a))
            found[-1] = (before, weight * u.reshape(-1, *[1] * (weight.ndim - 1)), bias * u + b / (2 * a) * u, stride)
            sign, constant = np.sign(a), c - b * b / (4 * a)
            continue
        weight, bias, stride = rest
        if sign is not None:
            # A channel of a convolution is a run of the dense layer's inputs.
            repeats = weight.shape[1] // len(sign)
            sign, constant = np.repeat(sign, repeats), np.repeat(constant, repeats)
            weight, bias = weight * sign, bias + weight @ constant
            sign = None
        found.append((kind, weight, bias, stride))
    return found


def windows(image, kernel, stride):
    """Columns of a valid convolution on one channel: [positions, kernel * kernel]."""
    side = (image.shape[-1] - kernel) // stride + 1
    rows = [image[i * stride : i * stride + kernel, j * stride : j * stride + kernel].ravel() for i in range(side) for j in range(side)]
    return np.array(rows), side * side


def bits_of(scores, expected):
    """`-log2` of the largest difference over the largest score."""
    error = max(np.abs(s - e).max() for s, e in zip(scores, expected))
    return round(float(-np.log2(error / max(np.abs(e).max() for e in expected))), 1)


def plaintext(layers, image):
    x = image
    for k, (kind, weight, bias, stride) in enumerate(layers):
        if kind == "conv":
            columns, _ = windows(x[0], weight.shape[-1], stride)
            x = (columns @ weight.reshape(len(weight), -1).T + bias).T.ravel()
        else:
            x = weight @ x.ravel() + bias
        if k + 1 < len(layers):
            x = x * x
    return x


def dense(layers):
    """All layers as matrices on the flat input; a convolution becomes a sparse one."""
    found = []
    for kind, weight, bias, stride in layers:
        if kind == "conv":
            pixels = np.arange(784).reshape(28, 28)
            columns, positions = windows(pixels, weight.shape[-1], stride)
            matrix = np.zeros((len(weight) * positions, 784))
            for channel, kernel in enumerate(weight.reshape(len(weight), -1)):
                for p, column in enumerate(columns):
                    matrix[channel * positions + p, column] = kernel
            weight, bias = matrix, np.repeat(bias, positions)
        found.append((weight, bias))
    return found


# ---- workers: (layers, images, threads) -> (scores, figures) -------------------------------------------------------


def run(images, encrypt, infer, decrypt, size=None):
    """Scores, medians of the seconds of each stage, and bytes of ciphertexts; the first item of several warms up."""
    scores, seconds, cpu = [], [], []
    for image in images:
        clock = [time.perf_counter()]
        sent = encrypt(image)
        clock.append(time.perf_counter())
        used = time.process_time()
        received = infer(sent)
        cpu.append(time.process_time() - used)
        clock.append(time.perf_counter())
        scores.append(np.asarray(decrypt(received))[:10])
        clock.append(time.perf_counter())
        seconds.append([b - a for a, b in zip(clock, clock[1:])])
    middle = [statistics.median(column) for column in zip(*(seconds[1:] or seconds))]
    sizes = {"upload": size(sent), "download": size(received)} if size else {}
    return scores, {**dict(zip(("encrypt_s", "infer_s", "decrypt_s"), middle)), "infer_cpu_s": statistics.median(cpu[1:] or cpu), "bytes": sizes}


def pleura(layers, images, threads, model):
    """The ONNX file itself, whose quadratics the compiler folds."""
    import pleura

    clock = time.perf_counter()
    plan = pleura.compile(str(model), calibration=np.stack(images))
    client = pleura.Client(plan.client)
    keys = client.evaluation_keys()
    session = pleura.Server(plan.server, device="cpu", threads=threads).open_session(keys)
    setup = time.perf_counter() - clock
    scores, figures = run(images, lambda image: client.encrypt(image[None]), session.infer, lambda r: client.decrypt(r)[0], len)
    p = plan.report()["parameters"]
    # The client rounds scores, so that they may be shown; the others show all digits.
    figures["published_bits"] = bits_of(scores, [plaintext(layers, image) for image in images])
    scores = pleura.Pipeline(plan, device="cpu")(np.stack(images), insecure_exact_results=True)
    figures.update(setup_s=setup, key_bytes=len(keys), log_n=p["log_n"], log2_qp=round(p["log2_qp"]), ring=p["ring"])
    return scores, figures


def tenseal(layers, images, threads, model):
    """TenSEAL's own calls: `conv2d_im2col`, `square`, `mm`."""
    import tenseal as ts

    clock = time.perf_counter()
    # A level for each layer, each square and each packing. Degree 2^13 has no room for four of 40 bits.
    levels = 2 * len(layers) - 1 + (layers[0][0] == "conv")
    bits, log_n = [60, *[40] * levels, 60], 14
    context = ts.context(ts.SCHEME_TYPE.CKKS, 1 << log_n, coeff_mod_bit_sizes=bits, n_threads=threads)
    context.global_scale = 2.0 ** bits[1]
    context.generate_galois_keys()
    bare = dict(save_public_key=False, save_secret_key=False)
    keys = len(context.serialize(**bare)) - len(context.serialize(**bare, save_galois_keys=False, save_relin_keys=False))
    # A sum with a list reaches its slots alone, and `mm` reads the copies behind them: biases are a row for a constant of one.
    matrices = [with_constant(w, b, k + 1 == len(layers)) if kind == "dense" else None for k, (kind, w, b, _) in enumerate(layers)]
    if layers[0][0] == "conv":
        # The constant has the length of a channel, since only equal lengths are packed: its other values are not read.
        places = layers[1][1].shape[1] // len(layers[0][1])
        matrices[1] = np.hstack([matrices[1], np.zeros((len(matrices[1]), places - 1))])
    matrices = [None if m is None else m.T.tolist() for m in matrices]
    setup = time.perf_counter() - clock

    def encrypt(image):
        kind, weight, _, stride = layers[0]
        if kind == "dense":
            return ts.ckks_vector(context, [*image.ravel(), 1.0]), None
        side = weight.shape[-1]
        return ts.im2col_encoding(context, image[0].tolist(), side, side, stride)

    def infer(sent):
        x, count = sent
        for k, (kind, weight, bias, _) in enumerate(layers):
            if kind == "conv":
                channels = [x.conv2d_im2col(w[0].tolist(), count) + float(b) for w, b in zip(weight, bias)]
                one = ts.ckks_vector(context, [1.0] * count)
                x = ts.CKKSVector.pack_vectors([*channels, one])
            else:
                x = x.mm(matrices[k])
            if k + 1 < len(layers):
                x.square_()
        return x

    size = lambda x: len((x[0] if isinstance(x, tuple) else x).serialize())
    scores, figures = run(images, encrypt, infer, lambda x: x.decrypt(), size)
    return scores, dict(figures, setup_s=setup, key_bytes=keys, log_n=log_n, log2_qp=sum(bits))


def with_constant(weight, bias, last):
    """A matrix on inputs with a one behind them, which it passes on unless it is the last."""
    matrix = np.column_stack([weight, bias])
    return matrix if last else np.vstack([matrix, np.eye(1, matrix.shape[1], matrix.shape[1] - 1)])


def openfhe(layers, images, threads, model):
    """Matrices by diagonals, with baby and giant steps, on vectors that repeat; weights are encoded once."""
    import openfhe as fhe

    clock = time.perf_counter()
    log_n, depth, digits = 14, 5, 3
    parameters = fhe.CCParamsCKKSRNS()
    parameters.SetRingDim(1 << log_n)
    parameters.SetSecurityLevel(fhe.SecurityLevel.HEStd_NotSet)
    parameters.SetMultiplicativeDepth(depth)
    parameters.SetScalingModSize(46)
    parameters.SetFirstModSize(60)
    parameters.SetScalingTechnique(fhe.ScalingTechnique.FIXEDMANUAL)
    parameters.SetNumLargeDigits(digits)
    parameters.SetBatchSize(1024)
    context = fhe.GenCryptoContext(parameters)
    for feature in (fhe.PKE, fhe.KEYSWITCH, fhe.LEVELEDSHE):
        context.Enable(feature)
    pair = context.KeyGen()
    context.EvalMultKeyGen(pair.secretKey)
    transforms = [Diagonals(w, b) for w, b in dense(layers)]
    context.EvalRotateKeyGen(pair.secretKey, sorted({r for t in transforms for r in t.rotations()}))
    for level, transform in enumerate(transforms):
        # A layer and a square take a level each.
        transform.encode(context, 2 * level)
    keys = serialized_keys(fhe, context)
    setup = time.perf_counter() - clock

    def encrypt(image):
        x = np.zeros(1024)
        x[:784] = image.ravel()
        return context.Encrypt(pair.publicKey, context.MakeCKKSPackedPlaintext(x.tolist()))

    def infer(x):
        for k, transform in enumerate(transforms):
            x = transform.apply(context, x)
            if k + 1 < len(transforms):
                x = context.Rescale(context.EvalMult(x, x))
        return x

    def decrypt(x):
        plain = context.Decrypt(x, pair.secretKey)
        plain.SetLength(16)
        return plain.GetRealPackedValue()

    scores, figures = run(images, encrypt, infer, decrypt, lambda x: len(fhe.Serialize(x, fhe.BINARY)))
    # The wrapper hides P: 60-bit primes, as many as cover a digit of Q.
    log2_q = 60 + depth * 46
    log2_p = 60 * math.ceil(math.ceil((depth + 1) / digits) * 53 / 60)
    return scores, dict(figures, setup_s=setup, key_bytes=keys, log_n=log_n, log2_qp=log2_q + log2_p)


def serialized_keys(fhe, context):
    """Bytes of the relinearization and rotation keys."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("mult", "rotate")]
        if not context.SerializeEvalMultKey(paths[0], fhe.BINARY) or not context.SerializeEvalAutomorphismKey(paths[1], fhe.BINARY):
            sys.exit("OpenFHE cannot write its keys")
        return sum(map(os.path.getsize, paths))


class Diagonals:
    """A matrix on vectors of 1024 slots that repeat after a power of two, its outputs repeating after another."""

    def __init__(self, weight, bias, slots=1024):
        rows, columns = weight.shape
        self.rows, self.columns, self.slots = 1 << (rows - 1).bit_length(), 1 << (columns - 1).bit_length(), slots
        if self.columns > slots or self.rows > self.columns:
            sys.exit("OpenFHE's worker takes matrices with at most 1024 columns and no more rows than columns")
        self.padded = np.zeros((self.rows, self.columns))
        self.padded[:rows, :columns] = weight
        self.baby = 1 << ((self.rows.bit_length() - 1 + 1) // 2)
        bias = np.pad(bias, (0, self.rows - rows))
        self.bias = np.tile(bias, slots // self.rows)

    def rotations(self):
        giants = range(self.baby, self.rows, self.baby)
        return {*range(1, self.baby), *giants, *self.sums()}

    def sums(self):
        return [self.rows << k for k in range((self.columns // self.rows).bit_length() - 1)]

    def encode(self, context, level):
        i = np.arange(self.slots)
        self.plain = []
        for d in range(self.rows):
            values = self.padded[i % self.rows, (i + d) % self.columns]
            giant = d - d % self.baby
            self.plain.append(context.MakeCKKSPackedPlaintext(np.roll(values, giant).tolist(), 1, level))
        self.bias = context.MakeCKKSPackedPlaintext(self.bias.tolist(), 1, level + 1)

    def apply(self, context, x):
        precomputed = context.EvalFastRotationPrecompute(x)
        order = context.GetCyclotomicOrder()
        babies = [x] + [context.EvalFastRotation(x, b, order, precomputed) for b in range(1, self.baby)]
        total = None
        for giant in range(0, self.rows, self.baby):
            part = context.EvalMult(babies[0], self.plain[giant])
            for b in range(1, self.baby):
                part = context.EvalAdd(part, context.EvalMult(babies[b], self.plain[giant + b]))
            part = context.EvalRotate(part, giant) if giant else part
            total = part if total is None else context.EvalAdd(total, part)
        total = context.Rescale(total)
        for step in self.sums():
            total = context.EvalAdd(total, context.EvalRotate(total, step))
        return context.EvalAdd(total, self.bias)


def helayers(layers, images, threads, model):
    """The folded network as ONNX through HElayers' compiler, on SEAL. Its licence covers non-commercial use only."""
    import pyhelayers as hel

    clock = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        save_squares(channels_last(layers), path)
        plain = hel.NeuralNetPlain()
        plain.init_from_files(hel.PlainModelHyperParams(), [path])
    wanted = hel.HeRunRequirements()
    wanted.set_he_context_options([hel.SealCkksContext()])
    wanted.set_model_encrypted(False)
    wanted.optimize_for_batch_size(1)
    profile = hel.HeModel.compile(plain, wanted)
    context = hel.HeModel.create_context(profile)
    network = hel.NeuralNet(context)
    network.encode(plain, profile)
    processor = hel.ModelIoEncoder(network)
    setup = time.perf_counter() - clock

    def encrypt(image):
        samples = hel.EncryptedData(context)
        processor.encode_encrypt(samples, [image[None]])
        return samples

    def infer(samples):
        predictions = hel.EncryptedData(context)
        network.predict(predictions, samples)
        return predictions

    scores, figures = run(images, encrypt, infer, lambda p: np.ravel(processor.decrypt_decode_output(p)), lambda x: len(x.save_to_buffer()))
    # The chain is Q; SEAL's special prime is not told, and has 60 bits at most. The context holds the keys.
    chain = [math.log2(int(prime)) for prime in context.get_modulus_chain()]
    figures.update(setup_s=setup, key_bytes=len(context.save_to_buffer()), log_n=context.slot_count().bit_length(), log2_qp=round(sum(chain)) + 60)
    return scores, figures


def channels_last(layers):
    """HElayers flattens positions before channels, whatever ONNX says: the columns of the matrix after a convolution in that order."""
    found = []
    for k, (kind, weight, bias, stride) in enumerate(layers):
        if k and layers[k - 1][0] == "conv":
            channels = len(layers[k - 1][1])
            weight = weight.reshape(len(weight), channels, -1).transpose(0, 2, 1).reshape(weight.shape)
        found.append((kind, weight, bias, stride))
    return found


def save_squares(layers, path):
    """Layers and squares as an ONNX file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, x = [], [], "input"
    for k, (kind, weight, bias, stride) in enumerate(layers):
        for name, value in ((f"w{k}", weight), (f"b{k}", bias)):
            constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        if kind == "conv":
            side = weight.shape[-1]
            nodes.append(helper.make_node("Conv", [x, f"w{k}", f"b{k}"], [f"y{k}"], kernel_shape=[side, side], strides=[stride, stride], pads=[0] * 4))
        else:
            if k == 0 or layers[k - 1][0] == "conv":
                nodes.append(helper.make_node("Flatten", [x], [f"f{k}"], axis=1))
                x = f"f{k}"
            nodes.append(helper.make_node("Gemm", [x, f"w{k}", f"b{k}"], [f"y{k}"], transB=1))
        x = f"y{k}"
        if k + 1 < len(layers):
            nodes.append(helper.make_node("Mul", [x, x], [f"s{k}"]))
            x = f"s{k}"
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "squares", [value("input", [1, 1, 28, 28])], [value(x, [1, 10])], constants)
    saved = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    saved.ir_version = 7
    onnx.save(saved, path)


WORKERS = {"pleura": (pleura, "pleura"), "tenseal": (tenseal, "tenseal"), "openfhe": (openfhe, "openfhe"), "helayers": (helayers, "pyhelayers")}


NO_CONVOLUTION = "its wrapper has no convolution, and the one here multiplies by diagonals of an MLP"
LEFT_OUT = {("openfhe", "cnn"): NO_CONVOLUTION, ("openfhe", "square"): NO_CONVOLUTION}


# ---- the run ------------------------------------------------------------------------------------------------------


def worker(args):
    call, package = WORKERS[args.worker]
    model = ROOT / "models" / "mnist" / f"{args.network}.onnx"
    layers = squares(parsed(model))
    pack = np.load(args.pack)
    images = [image[None] / 255.0 for image in pack["test_images"][: args.items]]
    labels = pack["test_labels"][: args.items]
    expected = [plaintext(layers, image) for image in images]
    try:
        scores, figures = call(layers, images, args.count or os.cpu_count(), model)
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(MISSING)
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        version = "source"
    figures["bits"] = bits_of(scores, expected)
    figures["as_plaintext"] = sum(int(s.argmax() == e.argmax()) for s, e in zip(scores, expected))
    figures["right"] = sum(int(s.argmax() == y) for s, y in zip(scores, labels))
    figures["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    limit = TABLE.get(figures["log_n"])
    figures["table_bits"] = limit
    figures["secure_128"] = None if figures["log2_qp"] is None else figures["log2_qp"] <= limit
    print(json.dumps({"library": args.worker, "version": version, "network": args.network, "threads": args.count, "items": args.items, **figures}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--networks", nargs="+", default=["mlp", "cnn", "square"])
    parser.add_argument("--libraries", nargs="+", default=list(WORKERS), choices=WORKERS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 0])
    parser.add_argument("--items", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args)
    results = []
    for network in args.networks:
        for threads in args.threads:
            for library in args.libraries:
                if (library, network) in LEFT_OUT:
                    print(f"{library}, {network}: skipped, {LEFT_OUT[library, network]}", file=sys.stderr)
                    continue
                found = measured(args, library, network, threads)
                if found is not None:
                    results.append(found)
                    print(row(found), flush=True)
    if args.json:
        part = args.json.with_name(args.json.name + ".part")
        part.write_text(json.dumps(results, indent=1) + "\n")
        part.replace(args.json)


def measured(args, library, network, threads):
    """The report of a worker, or a line that says why there is none."""
    command = [sys.executable, __file__, str(args.pack), "--worker", library, "--network", network, "--count", str(threads), "--items", str(args.items)]
    count = str(threads or os.cpu_count())
    limits = {name: count for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(command, env={**os.environ, **limits}, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    print(f"{library}, {network}: {'skipped, it is not installed' if done.returncode == MISSING else 'failed'}: {reason}", file=sys.stderr)
    return None


def row(r):
    megabytes = lambda n: "" if n is None else f"{n / 1e6:.2f}"
    cells = [r["network"], r["library"], r["threads"] or "all", f"{r['setup_s']:.2f}", f"{r['encrypt_s']:.4f}", f"{r['infer_s']:.4f}", f"{r['infer_cpu_s']:.4f}", f"{r['decrypt_s']:.4f}",
             megabytes(r["peak_bytes"]), megabytes(r["key_bytes"]), megabytes(r["bytes"].get("upload")), megabytes(r["bytes"].get("download")),
             r["bits"], f"{r['as_plaintext']}/{r['items']}", f"2^{r['log_n']}, {r['log2_qp']} of {r['table_bits']}"]
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
