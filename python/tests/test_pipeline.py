"""Client and server in one process: arrays, fidelity, devices, interruptions."""

import copy
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import numpy
import pytest

import pleura


def test_arrays_in_all_forms_give_one_result(pipeline, items):
    expected = pipeline(items[:3])
    assert expected.dtype == numpy.float64 and expected.shape == (3, 2)
    strided = numpy.repeat(items[:3], 2, axis=3)[..., ::2]
    for x in (numpy.asfortranarray(items[:3]), strided, items[:3].astype(numpy.float32)):
        result = pipeline(x)
        assert result.dtype == x.dtype
        assert numpy.abs(result - expected).max() < 1e-2


def test_fields_of_packed_records_are_read_where_they_lie(pipeline, items):
    expected = pipeline(items[:3])
    for fields in ([("name", "u1"), ("x", "f8")], [("x", "f4"), ("name", "S3")]):
        records = numpy.zeros(items[:3].shape, numpy.dtype(fields))
        records["x"] = items[:3]
        assert records["x"].strides[-1] % records["x"].itemsize
        assert numpy.abs(pipeline(records["x"]) - expected).max() < 1e-2
    shifted = numpy.ndarray(items[:3].shape, numpy.float64, bytearray(items[:3].nbytes + 1), offset=1)
    shifted[...] = items[:3]
    assert numpy.abs(pipeline(shifted) - expected).max() < 1e-2


def test_results_are_rounded_and_exact_ones_are_not(pipeline, items):
    rounded = pipeline(items[:2])
    exact = pipeline(items[:2], insecure_exact_results=True)
    assert 0 < numpy.abs(rounded - exact).max() < 1e-2
    assert (rounded * 2.0**40 % 1 == 0).all()


def test_fidelity_compares_the_last_call(plan, items):
    pipeline = pleura.Pipeline(plan, device="cpu")
    with pytest.raises(pleura.InputError, match="call the pipeline first"):
        pipeline.fidelity
    pipeline(items[:4])
    fidelity = pipeline.fidelity
    assert fidelity.bits > 10 and fidelity.label_agreement == 1.0
    assert fidelity.mean_abs_error <= fidelity.max_abs_error < 1e-2


def test_seconds_are_those_of_the_last_call(plan, items):
    pipeline = pleura.Pipeline(plan, device="cpu")
    assert sum(pipeline.seconds) == 0
    clock = time.perf_counter()
    pipeline(items)
    wall = time.perf_counter() - clock
    assert 0.1 * wall < sum(pipeline.seconds) < wall


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda x: x[0], r"use x\[None\]"),
        (lambda x: x[:, :, :27], r"shape \(16, 1, 27, 28\); the network takes \(batch, 1, 28, 28\)"),
        (lambda x: x.ravel(), "the network takes"),
        (lambda x: numpy.float64(1.0), "float32 or float64"),
        (lambda x: x[:0], "no item"),
        (lambda x: x.astype(numpy.float16), "float16"),
        (lambda x: x.astype(numpy.uint8), "uint8"),
        (lambda x: x.astype(">f8"), "float64"),
        (lambda x: x.astype(complex), "complex128"),
        (lambda x: x.tolist(), "list"),
        (lambda x: numpy.ma.masked_array(x, x == x.max()), "masked"),
        (lambda x: None, "NoneType"),
        (lambda x: numpy.where(numpy.arange(16)[:, None, None, None] == 5, numpy.nan, x), "item 5"),
        (lambda x: x + numpy.inf, "item 0"),
    ],
)
def test_inputs_that_are_refused(pipeline, items, wrong, words):
    with pytest.raises(pleura.InputError, match=words):
        pipeline(wrong(items))


def test_values_beyond_the_range_are_warned_of(pipeline, items):
    with pytest.warns(pleura.RangeWarning, match="calibrated up to"):
        pipeline(100 * items[:1])


def test_hidden_values_beyond_their_range_are_warned_of():
    """A residue of a result that overflows may be as small as a calibrated one: warnings must not depend on it."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weights = onnx.numpy_helper.from_array(numpy.full((64, 1), 0.125, numpy.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["sum"]), helper.make_node("Mul", ["sum", "sum"], ["y"])]
    value = lambda name, n: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", n])
    graph = helper.make_graph(nodes, "sums", [value("x", 64)], [value("y", 1)], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    signs = numpy.random.default_rng(0).choice([-0.1, 0.1], (32, 64))
    signs -= signs.mean(axis=1, keepdims=True)
    plan = pleura.compile(model, calibration=signs + 0.01)
    for again in (plan, pickle.loads(pickle.dumps(plan))):
        pipeline = pleura.Pipeline(again, device="cpu")
        overflowed = 0
        for value in numpy.linspace(0.1, 0.11, 16):
            x = numpy.full((1, 64), value)
            with pytest.warns(pleura.RangeWarning) as found:
                result = pipeline(x)
            assert any("Mul_1 reaches" in str(warning.message) for warning in found)
            overflowed += abs(result[0, 0] - (8 * value) ** 2) > 0.1
        assert overflowed > 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert abs(pipeline(signs[:1] + 0.01)[0, 0] - 0.0064) < 1e-4


def test_values_outside_the_interval_of_a_fit_are_warned_of():
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    value = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [value("x")], [value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    plan = pleura.compile(model, calibration=numpy.array([[-1.0, -0.5, 0.5, 1.0]]), fit=8)
    pipeline = pleura.Pipeline(plan, device="cpu")
    with pytest.warns(pleura.RangeWarning, match="was fitted on"):
        result = pipeline(numpy.full((1, 4), 1.5))
    assert numpy.abs(result - 1.5).max() > 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert numpy.abs(pipeline(numpy.full((1, 4), 1.0)) - 1).max() < 0.1


def test_scores_too_coarse_for_probabilities_are_warned_of():
    """A sigmoid of scores up to a million, which are rounded to multiples of 256: a half is as good as any other result."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    value = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2])
    for factor, coarse in [(1e6, True), (10.0, False)]:
        weights = onnx.numpy_helper.from_array(numpy.float32(factor), "w")
        nodes = [helper.make_node("Mul", ["x", "w"], ["s"]), helper.make_node("Sigmoid", ["s"], ["y"])]
        graph = helper.make_graph(nodes, "sigmoid", [value("x")], [value("y")], [weights])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        items = numpy.array([[1.0, -2.0 / factor]])
        plan = pleura.compile(model, calibration=items)
        client = pleura.Client(plan.client)
        received = pleura.Server(plan.server, device="cpu").open_session(client.evaluation_keys()).infer(client.encrypt(items))
        pipeline = pleura.Pipeline(plan, device="cpu")
        for compute in (lambda: pipeline(items), lambda: client.decrypt(received)):
            if coarse:
                with pytest.warns(pleura.RangeWarning, match="probabilities near 1/2 mean nothing"):
                    assert abs(compute()[0, 1] - 1 / (1 + numpy.e**2)) > 0.1
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    assert abs(compute()[0, 1] - 1 / (1 + numpy.e**2)) < 0.01


def test_secrets_are_neither_pickled_nor_copied(pipeline, client, session):
    for secret in (pipeline, client, pleura.XrayClassifier("pneumoniamnist", device="cpu")):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(pleura.SecretError, match="secret key"):
                attempt(secret)
    with pytest.raises(pleura.InputError, match="open a session there"):
        pickle.dumps(session)


def test_devices():
    found = pleura.devices()
    assert found[0].id == "cpu" and found[0].check is None
    assert pleura.devices(check=True)[0].check.startswith("pass")


@pytest.mark.parametrize("device", ["gpu9", "", "-1", "cuda:0", "GPU", "1.5"])
def test_devices_that_are_no_names(plan, device):
    with pytest.raises(pleura.InputError, match="auto, cpu, gpu or the number"):
        pleura.Pipeline(plan, device=device)


def test_a_gpu_that_is_missing(plan):
    with pytest.raises(pleura.DeviceError, match='device="cpu"'):
        pleura.Pipeline(plan, device=999)


@pytest.mark.parametrize("threads", [0, 2000, -1, 1.5, "two", True, 1 << 70])
def test_threads_that_are_refused(plan, threads):
    with pytest.raises(pleura.InputError, match="threads must be"):
        pleura.Pipeline(plan, device="cpu", threads=threads)


def test_memory_is_limited(plan):
    for attempt in (lambda: pleura.Pipeline(plan, max_memory=1 << 20), lambda: pleura.Server(plan.server, max_memory=1)):
        with pytest.raises(pleura.DeviceError, match="max_memory= allows"):
            attempt()


def test_what_is_no_plan():
    with pytest.raises(pleura.InputError, match="pleura.compile"):
        pleura.Pipeline("plan.onnx")


def test_a_gpu_computes_what_the_processor_computes(plan, items):
    gpus = [device for device in pleura.devices() if device.id != "cpu"]
    if not gpus:
        pytest.skip("there is no GPU")
    pipeline = pleura.Pipeline(plan, device=gpus[0].id)
    pipeline(items[:2])
    assert pipeline.fidelity.bits > 10


def test_other_threads_run_while_it_computes(pipeline, items):
    counted = 0
    done = threading.Event()

    def count():
        nonlocal counted
        while not done.is_set():
            counted += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    thread.start()
    pipeline(items)
    done.set()
    thread.join()
    assert counted > 3


def test_threads_share_a_pipeline(pipeline, items):
    expected = pipeline(items[:4])
    results = [None] * 4
    def work(k):
        results[k] = pipeline(items[k : k + 1])
    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert numpy.abs(numpy.concatenate(results) - expected).max() < 1e-2


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX does")
def test_an_interruption_is_heard_within_a_moment():
    program = textwrap.dedent(
        f"""
        import signal, sys, time, numpy, pleura
        # A shell starts jobs in the background with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        prepare = pleura.XrayPreparation("pneumoniamnist")
        items = prepare(pleura.samples()[0].data)
        pipeline = pleura.Pipeline(pleura.compile(prepare.model, items), device="cpu")
        many = numpy.repeat(items, 100000, axis=0)
        print("ready", flush=True)
        try:
            pipeline(many)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(pipeline(items).shape, flush=True)
        """
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(1.5)
        clock = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - clock < 2
        assert process.stdout.readline() == "(1, 2)\n"
        assert process.wait(60) == 0


def test_a_panic_becomes_an_exception(capfd):
    with pytest.raises(pleura.InternalError, match="please report it"):
        pleura._pleura.panic_for_tests()
    assert "panicked" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_told(pipeline, items):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            pipeline(items[:1])
            text = "computed"
        except pleura.PleuraError as error:
            text = str(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    assert "spawn" in os.read(read, 10000).decode()
    os.waitpid(child, 0)
    os.close(read)
