"""Compilation: forms of models, options, reports, pickles, and what is refused."""

import json
import pickle
import warnings

import numpy
import pytest
from conftest import MODELS

import pleura


def test_forms_of_a_model_make_one_plan(prepare, items, tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "tiny.onnx"
    path.write_bytes(prepare.model)
    plans = [
        pleura.compile(model, calibration=items)
        for model in (path, str(path), prepare.model, bytearray(prepare.model), onnx.load(path))
    ]
    assert [plan.name for plan in plans[:2]] == ["tiny", "tiny"]
    assert len({json.dumps(plan.report()["parameters"]) for plan in plans}) == 1


def test_torch_is_exported():
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    torch.manual_seed(0)

    class Square(torch.nn.Module):
        def forward(self, x):
            return x * x

    module = torch.nn.Sequential(torch.nn.Linear(8, 4), Square(), torch.nn.Linear(4, 2)).train()
    x = torch.randn(5, 8)
    pipeline = pleura.Pipeline(pleura.compile(module, x), device="cpu")
    assert module.training
    expected = module(x).detach().numpy()
    assert numpy.abs(pipeline(x.numpy()) - expected).max() < 1e-2
    with pytest.raises(pleura.InputError, match="example="):
        pleura.compile(module)


def test_report(plan):
    report = plan.report()
    assert report["parameters"]["security"] == 128
    assert report["layers"] and report["key_wire_bytes"] > 0
    html = plan._repr_html_()
    assert html.startswith("<div>") and html.count("<tr>") == 9 + len(report["layers"])
    assert "128 bits" in repr(plan)


def test_precision_is_predicted_and_requested(prepare, items, plan):
    report = plan.report()
    predicted = report["predicted_bits"]
    pipeline = pleura.Pipeline(plan, device="cpu")
    pipeline(items)
    assert abs(pipeline.fidelity.bits - predicted) < 4 and report["layers"][-1]["predicted_bits"] == predicted
    precise = pleura.compile(prepare.model, items, precision=predicted + 0.5)
    assert precise.report()["predicted_bits"] >= predicted + 0.5
    with pytest.raises(pleura.ModelError, match="no layout is predicted to have 40 bits"):
        pleura.compile(prepare.model, items, precision=40)


def test_names_in_reports_are_escaped(prepare, items, tmp_path):
    path = tmp_path / "a<b>.onnx"
    path.write_bytes(prepare.model)
    html = pleura.compile(path, calibration=items)._repr_html_()
    assert "a&lt;b&gt;" in html and "<b>" not in html


def test_security_raises_the_degree(prepare, items, plan):
    strict = pleura.compile(prepare.model, items, security=256)
    assert strict.report()["parameters"]["security"] == 256
    assert strict.report()["parameters"]["log_n"] >= plan.report()["parameters"]["log_n"]


def test_batches_share_ciphertexts(prepare, items, pipeline):
    grouped = pleura.Pipeline(pleura.compile(prepare.model, items, batch=4), device="cpu")
    assert grouped.plan.batch == 4 and grouped.plan.input_shape == (1, 28, 28)
    assert numpy.abs(grouped(items[:6]) - pipeline(items[:6])).max() < 1e-2
    assert grouped.fidelity.bits > 8


def test_activations_are_fitted(tmp_path):
    model = relu(tmp_path)
    x = numpy.random.default_rng(0).normal(size=(64, 8))
    with pytest.raises(pleura.ModelError, match="fit=DEGREE"):
        pleura.compile(model, x)
    pipeline = pleura.Pipeline(pleura.compile(model, x, fit=8), device="cpu")
    pipeline(x[:4])
    assert pipeline.fidelity.bits > 3
    assert any("polynomial of degree 8" in note for note in pipeline.plan.notes)


def relu(folder):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    weights = numpy.random.default_rng(1).normal(size=(8, 4)).astype(numpy.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model


def test_plans_are_pickled(plan, pipeline, items):
    again = pickle.loads(pickle.dumps(plan))
    assert again.report() == plan.report() and again.notes == plan.notes
    other = pleura.Pipeline(again, device="cpu")
    assert numpy.abs(other(items[:2]) - pipeline(items[:2])).max() < 1e-2
    assert other.fidelity.bits > 8
    # Ciphertexts of one are those of the other: the plan is the same to the byte.
    assert again.server == plan.server and again.client == plan.client


def test_pickles_of_other_releases_are_refused(plan):
    pickled = pickle.dumps(plan)
    version = pleura.__version__.encode()
    other = b"9" + version[1:]
    with pytest.raises(pleura.VersionError, match="compile the model again"):
        pickle.loads(pickled.replace(version, other, 1))


def test_damaged_pickles_are_refused(plan):
    restore, (version, state) = plan.__reduce__()
    for damaged in (state["plan"][:-1], state["plan"][:100], b"", state["plan"].replace(b"\0", b"\1", 40)):
        with pytest.raises(pleura.DataError):
            restore(version, {**state, "plan": damaged})


def test_without_calibration_there_is_a_warning(prepare, items):
    without_ranges = prepare.model.replace(b"pleura.ranges", b"other.entries")
    assert without_ranges != prepare.model
    with pytest.warns(pleura.CalibrationWarning, match="calibration="):
        plan = pleura.compile(without_ranges)
    pipeline = pleura.Pipeline(plan, device="cpu")
    with pytest.warns(pleura.RangeWarning) as found:
        pipeline(1000 * items[:1])
    assert any("calibration=" in str(warning.message) for warning in found)


def test_ranges_of_the_model_file_are_a_calibration(prepare, items):
    with warnings.catch_warnings():
        warnings.simplefilter("error", pleura.CalibrationWarning)
        plan = pleura.compile(prepare.model)
    pipeline = pleura.Pipeline(plan, device="cpu")
    pipeline(items[:1])
    assert pipeline.fidelity.bits > 10


@pytest.mark.parametrize(
    "model, error, words",
    [
        (b"", pleura.ModelError, "graph|ONNX"),
        (b"not a model", pleura.ModelError, "ONNX"),
        ("/no/such/model.onnx", pleura.ModelError, "cannot read the model"),
        (".", pleura.ModelError, "cannot read the model"),
        (7, pleura.InputError, "ONNX file"),
        (None, pleura.InputError, "ONNX file"),
    ],
)
def test_what_is_no_model(items, model, error, words):
    with pytest.raises(error, match=words):
        pleura.compile(model, items)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"security": 127}, "128, 192 or 256"),
        ({"security": 0}, "128, 192 or 256"),
        ({"security": "high"}, "whole number"),
        ({"batch": 0}, "batch must be"),
        ({"batch": 10**6}, "batch must be"),
        ({"batch": 1.5}, "whole number"),
        ({"precision": 0}, "1 to 40 bits"),
        ({"precision": float("nan")}, "1 to 40 bits"),
        ({"precision": "high"}, "must be a number"),
        ({"fit": 65}, "1 to 64"),
        ({"fit": True}, "whole number"),
    ],
)
def test_options_that_are_refused(prepare, items, options, words):
    with pytest.raises(pleura.InputError, match=words):
        pleura.compile(prepare.model, items, **options)


def test_calibration_items_are_checked(prepare, items):
    wrong = items.copy()
    wrong[3, 0, 0, 0] = numpy.nan
    for calibration, words in [
        (items[0], r"use x\[None\]"),
        (items[:, :, :27], "the network takes"),
        (wrong, "item 3"),
        (items.astype(int), "float32 or float64"),
        (items[:0], "no item"),
        ("none", "float32 or float64"),
    ]:
        with pytest.raises(pleura.InputError, match=words):
            pleura.compile(prepare.model, calibration=calibration)


def test_networks_that_cannot_be_encrypted(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    deep = [helper.make_node("Mul", [f"x{i}", f"x{i}"], [f"x{i + 1}"]) for i in range(60)]
    value = lambda name: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 2])
    options = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8}
    model = helper.make_model(helper.make_graph(deep, "deep", [value("x0")], [value("x60")]), **options)
    with pytest.raises(pleura.ModelError):
        pleura.compile(model, numpy.full((1, 2), 0.5))
    node = helper.make_node("Max", ["x0", "x0"], ["y"])
    model = helper.make_model(helper.make_graph([node], "max", [value("x0")], [value("y")]), **options)
    with pytest.raises(pleura.ModelError, match="Max"):
        pleura.compile(model, numpy.full((1, 2), 0.5))
