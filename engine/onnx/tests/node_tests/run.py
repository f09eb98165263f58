#!/usr/bin/env python3
"""Runs the node tests of the onnx package through the importer and prints a table: right, noted, refused, wrong.

needs: pip install onnx==1.16.2 numpy
       cargo build --release -p pleura-onnx --example evaluate
usage: run.py PATH/TO/evaluate [--verbose]

Each node is tried in these ways, where its types allow it:
  input      one floating-point input is the network's, the others are constants; the first axis is the batch
  constant   all inputs are constants; their result, as floating point, is added to the network's input
  activation functions that ciphertexts cannot compute are kept, as a fit needs them
The expected result is that of the package. A refusal is never wrong. A result is noted if it is another one and the importer says that it
follows onnxruntime and PyTorch where they differ from the package.
"""
import collections, os, subprocess, sys, tempfile
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

EVALUATE, VERBOSE = sys.argv[1], "--verbose" in sys.argv
FOLDER = tempfile.mkdtemp()
NOTE = "the reference implementation of ONNX"
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def evaluate(model, x, *flags):
    """The network's result and the importer's notes, or the refusal."""
    paths = [os.path.join(FOLDER, name) for name in ("m.onnx", "x.npy", "y.npy")]
    open(paths[0], "wb").write(model.SerializeToString())
    np.save(paths[1], np.ascontiguousarray(x, dtype=np.float64))
    run = subprocess.run([EVALUATE, *paths, *flags], capture_output=True, text=True, timeout=300)
    if run.returncode == 2:
        return None, run.stderr.strip()
    if run.returncode:
        raise RuntimeError(run.stderr)
    return np.load(paths[2]), run.stdout


def with_constants(model, arrays, kept):
    """The model with all inputs but one as constants."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    for value in list(out.graph.input):
        if value.name != kept:
            out.graph.initializer.append(numpy_helper.from_array(arrays[value.name], value.name))
            out.graph.input.remove(value)
    del out.graph.output[1:]
    return out


def all_constant(model, arrays, expected):
    """The result of constants, added to an input."""
    out = with_constants(model, arrays, None)
    name = out.graph.output[0].name
    opset = next((s.version for s in out.opset_import if s.domain in ("", "ai.onnx")), 0)
    length = int(np.prod(expected.shape, dtype=np.int64))
    out.graph.node.append(helper.make_node("Cast", [name], ["as_float"], to=TensorProto.FLOAT))
    out.graph.initializer.append(numpy_helper.from_array(np.array([1, length], np.int64), "flat"))
    out.graph.node.append(helper.make_node("Reshape", ["as_float", "flat"], ["in_row"]))
    out.graph.node.append(helper.make_node("Add", ["added_to", "in_row"], ["sum"]))
    out.graph.input.append(helper.make_tensor_value_info("added_to", TensorProto.FLOAT, [None, length]))
    del out.graph.output[:]
    out.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, None))
    return out if opset >= 6 else None


def tolerance_of(model):
    """Networks keep more digits than casts to 16 bits."""
    targets = [a.i for node in model.graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"]
    types = [*targets, *(value.type.tensor_type.elem_type for value in model.graph.output)]
    return 1e-2 if TensorProto.BFLOAT16 in types else 1e-3 if TensorProto.FLOAT16 in types else 1e-4


def close(found, expected, tolerance=1e-4):
    expected = np.asarray(expected, np.float64)
    if found.size != expected.size or found.shape != expected.shape:
        return False
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    return bool(np.all(np.abs(found - expected) <= tolerance * size)) or not np.all(np.isfinite(expected))


def verdict_of(found, text, expected, tolerance):
    if found is None:
        return "refused"
    return "right" if close(found, expected, tolerance) else "noted" if NOTE in text else "wrong"


def attempts(case):
    """(kind, verdict, detail) of each way to run a node test."""
    model = case.model
    if model is None or not case.data_sets:
        return
    if any(not value.type.HasField("tensor_type") for value in list(model.graph.input) + list(model.graph.output)):
        yield "input", "refused", "no tensors"
        return
    inputs, outputs = case.data_sets[0]
    load = lambda x: x if isinstance(x, np.ndarray) else numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else np.asarray(x)
    try:
        arrays = {value.name: load(x) for value, x in zip(model.graph.input, inputs)}
        expected = load(outputs[0])
        if model.graph.output[0].type.tensor_type.elem_type == TensorProto.BFLOAT16 and expected.dtype == np.uint16:
            expected = (expected.astype(np.uint32) << 16).view(np.float32)
    except Exception as error:
        yield "input", "refused", f"no arrays: {error}"
        return
    if any(a.dtype.kind in "OSU" for a in [*arrays.values(), expected]):
        yield "input", "refused", "strings"
        return
    for value in model.graph.input:
        if value.type.tensor_type.elem_type not in FLOATS or arrays[value.name].ndim == 0:
            continue
        x, plain = arrays[value.name], with_constants(model, arrays, value.name)
        found, text = evaluate(plain, x)
        verdict = verdict_of(found, text, expected, tolerance_of(model))
        yield "input", verdict, text if found is None else f"{found.ravel()[:8]} {found.shape} instead of {expected.ravel()[:8]} {expected.shape}"
        if verdict == "refused" and "let a polynomial be fitted to it" in text:
            found, text = evaluate(plain, x, "keep-activations")
            if found is None:
                yield "activation", "refused", text
            else:
                yield "activation", verdict_of(found, text, expected, tolerance_of(model)), f"{found.ravel()[:8]} instead of {expected.ravel()[:8]}"
    if not any(a.size > 1 << 20 for a in arrays.values()) and expected.size:
        folded = all_constant(model, arrays, expected)
        if folded is not None and expected.dtype.kind in "fiub":
            found, text = evaluate(folded, np.zeros((1, expected.size)))
            verdict = verdict_of(None if found is None else found.ravel(), text, expected.astype(np.float64).ravel(), 1e-4)
            yield "constant", verdict, text if found is None else f"{found.ravel()[:8]} instead of {expected.ravel()[:8]}"


def main():
    table = collections.defaultdict(collections.Counter)
    wrong, refused = [], collections.Counter()
    for case in collect_testcases(None):
        operator = case.model.graph.node[0].op_type if case.model is not None else "?"
        for kind, verdict, detail in attempts(case):
            table[kind][verdict] += 1
            table[operator][verdict] += 1
            if verdict == "wrong":
                wrong.append(f"{case.name} ({kind}): {detail}")
            elif verdict == "refused":
                refused[(operator, detail.splitlines()[0][-150:] if detail else "")] += 1
    kinds = ["input", "constant", "activation"]
    print(f"{'operator':24} {'right':>6} {'noted':>6} {'refused':>8} {'wrong':>6}")
    rows = {name: table[name] for name in sorted(set(table) - set(kinds)) + kinds}
    rows["all"] = sum((table[kind] for kind in kinds), collections.Counter())
    for name, row in rows.items():
        print(f"{name:24} {row['right']:6} {row['noted']:6} {row['refused']:8} {row['wrong']:6}")
    if VERBOSE:
        for (operator, text), count in sorted(refused.items()):
            print(f"refused {count:4} {operator}: {text}")
    for line in wrong:
        print("WRONG", line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
