//! Every attribute of every accepted operator: those that the specification does not have are refused by name, each
//! other one changes the result, is refused by its value, or changes nothing of a network at inference.

use crate::model::{Builder, float, int, ints, numbers, tensor, text};
use crate::operators_table::OPERATORS;
use crate::proto::{Attribute, Tensor};
use pleura_nn::Network;
use pleura_onnx::{ImportError, ImportOptions, Imported};
use std::collections::BTreeSet;

const VERSIONS: std::ops::RangeInclusive<i64> = 6..=28;

/// Effect on a model when an attribute is added to a node.
enum Outcome {
    /// Another result.
    Changes,
    /// An unchanged result.
    Same,
    /// An error with these words.
    Refused(&'static str),
    /// The model was refused before.
    Needed,
}
use Outcome::{Changes, Needed, Refused, Same};

fn with_activations(model: &Builder) -> Result<Imported, ImportError> {
    model.import_with(&ImportOptions { keep_activations: true, ..ImportOptions::default() })
}

fn result(network: &Network) -> (Vec<usize>, Vec<f64>) {
    let x = numbers(network.input_shape().iter().product(), 0);
    (network.output_shape().to_vec(), network.evaluate_flat(&x))
}

fn bools(name: &str, dims: &[i64], values: &[i32]) -> Tensor {
    Tensor {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: 9,
        int32_data: values.to_vec(),
        ..Tensor::default()
    }
}

fn scalar(data_type: i32, value: f32) -> Tensor {
    let (float_data, int64_data) =
        if data_type == 1 { (vec![value], vec![]) } else { (vec![], vec![value as i64]) };
    Tensor { dims: vec![1], data_type, float_data, int64_data, ..Tensor::default() }
}

/// A model with a node of an operator that is valid with the right attributes.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn model(op: &str, opset: i64, attributes: &[Attribute]) -> Builder {
    let new = |item: &[i64]| Builder::new(item).opset(opset);
    let has = |name: &str| attributes.iter().any(|a| a.name == name);
    match op {
        "Add" | "Sub" | "Mul" | "Div" => {
            new(&[2, 2]).floats("c", &[2], &[1.0, 2.0]).node(op, "x c", "y", attributes)
        }
        "And" | "Or" | "Xor" | "Equal" | "Greater" | "Less" | "Pow" => {
            let base = if matches!(op, "And" | "Or" | "Xor") {
                new(&[2, 2]).tensor(bools("a", &[1, 2, 2], &[1, 1, 0, 0])).tensor(bools("b", &[2], &[0, 1]))
            } else {
                let base = new(&[2, 2]).floats("a", &[1, 2, 2], &[1.5, 2.0, 1.5, 1.0]);
                base.floats("b", &[2], &[1.0, 2.0])
            };
            let base = base.node(op, "a b", "c", attributes).node("Cast", "c", "d", &[int("to", 1)]);
            base.node("Add", "x d", "y", &[])
        }
        "ArgMax" | "ArgMin" => new(&[3]).node("Mul", "x x", "a", &[]).node(op, "a", "y", attributes),
        "Softmax" | "LogSoftmax" => new(&[2, 3]).node(op, "x", "y", attributes),
        "AveragePool" => new(&[1, 6, 7]).node(op, "x", "y", attributes),
        "BatchNormalization" => {
            let v = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
            let count = if has("spatial") { 6 } else { 2 };
            new(&[2, 3]).floats("v", &[count], &v[..count as usize]).node(op, "x v v v v", "y", attributes)
        }
        "Cast" => {
            let model = new(&[2]).floats("c", &[2], &[300.5, -1.5]).node(op, "c", "d", attributes);
            model.node("Cast", "d", "e", &[int("to", 1)]).node("Add", "x e", "y", &[])
        }
        "CastLike" => {
            let model = new(&[2]).floats("c", &[2], &[300.5, -1.5]).ints("like", &[1]);
            let model = model.node(op, "c like", "d", attributes);
            model.node("Cast", "d", "e", &[int("to", 1)]).node("Add", "x e", "y", &[])
        }
        "Concat" => new(&[2, 3]).node(op, "x x", "y", attributes),
        "Constant" => new(&[2]).node(op, "", "c", attributes).node("Mul", "x c", "y", &[]),
        "ConstantOfShape" => {
            new(&[2]).ints("s", &[2]).node(op, "s", "c", attributes).node("Add", "x c", "y", &[])
        }
        "Conv" => new(&[2, 6, 7])
            .floats(
                "w",
                &[2, if has("group") { 1 } else { 2 }, 2, 3],
                &numbers(if has("group") { 12 } else { 24 }, 1),
            )
            .node(op, "x w", "y", attributes),
        "ConvTranspose" => {
            new(&[2, 4, 5]).floats("w", &[2, 2, 2, 3], &numbers(24, 1)).node(op, "x w", "y", attributes)
        }
        "CumSum" => new(&[4]).ints("a", &[1]).node(op, "x a", "y", attributes),
        "DepthToSpace" => new(&[8, 2, 2]).node(op, "x", "y", attributes),
        "SpaceToDepth" => new(&[2, 4, 4]).node(op, "x", "y", attributes),
        "Dropout" | "Flatten" | "Transpose" => new(&[2, 3]).node(op, "x", "y", attributes),
        "Squeeze" => new(&[1, 3, 1]).node(op, "x", "y", attributes),
        "Unsqueeze" => new(&[3]).node(op, "x", "y", attributes),
        "Einsum" => new(&[3]).floats("w", &[3, 2], &numbers(6, 1)).node(op, "x w", "y", attributes),
        "Elu" | "Celu" | "Selu" | "LeakyRelu" | "HardSigmoid" | "Swish" | "Gelu" | "Clip" => {
            new(&[4]).node(op, "x", "y", attributes)
        }
        "Gather" => new(&[2, 3]).ints("i", &[1]).node(op, "x i", "y", attributes),
        "GatherElements" | "GatherND" => {
            let data = new(&[4]).floats("c", &[2, 2], &[1.0, 2.0, 3.0, 5.0]);
            let i = Tensor {
                name: "i".into(),
                dims: vec![2, 1],
                data_type: 7,
                int64_data: vec![1, 0],
                ..Tensor::default()
            };
            let model = data.tensor(i).ints("row", &[1, -1]).node(op, "c i", "d", attributes);
            let model =
                model.node("Reshape", "d row", "e", &[]).node("ReduceMean", "e", "f", &[ints("axes", &[1])]);
            model.node("Add", "x f", "y", &[])
        }
        "ScatterElements" | "Scatter" => {
            let i = Tensor {
                name: "i".into(),
                dims: vec![1, 2],
                data_type: 7,
                int64_data: vec![1, 0],
                ..Tensor::default()
            };
            let data =
                new(&[2, 2]).floats("c", &[2, 2], &[1.0, 2.0, 3.0, 4.0]).floats("u", &[1, 2], &[5.0, 6.0]);
            data.tensor(i).node(op, "c i u", "d", attributes).node("Add", "x d", "y", &[])
        }
        "ScatterND" => {
            let i = Tensor {
                name: "i".into(),
                dims: vec![1, 2],
                data_type: 7,
                int64_data: vec![1, 0],
                ..Tensor::default()
            };
            let data = new(&[2, 2]).floats("c", &[2, 2], &[1.0, 2.0, 3.0, 4.0]).floats("u", &[1], &[5.0]);
            data.tensor(i).node(op, "c i u", "d", attributes).node("Add", "x d", "y", &[])
        }
        "Gemm" => {
            let model = new(&[3]).floats("w", &[3, 3], &numbers(9, 1));
            let model = if has("broadcast") || opset < 7 {
                model.floats("b", &[3], &numbers(3, 2))
            } else {
                model.floats("b", &[1, 3], &numbers(3, 2))
            };
            model.node(op, "x w b", "y", attributes)
        }
        "Mod" => {
            let model = new(&[2]).floats("a", &[2], &[7.5, -7.5]).floats("b", &[2], &[2.0, 2.0]);
            model.node(op, "a b", "c", attributes).node("Add", "x c", "y", &[])
        }
        "Pad" if opset < 11 => new(&[2, 3]).node(op, "x", "y", attributes),
        "Pad" => new(&[2, 3]).ints("p", &[0, 0, 1, 0, 0, 1]).node(op, "x p", "y", attributes),
        "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceMean" | "ReduceSum" | "ReduceSumSquare"
            if has("noop_with_empty_axes") || attributes.is_empty() =>
        {
            let model = new(&[2]).floats("c", &[2], &[2.0, 5.0]).node(op, "c", "d", attributes);
            model.node("Add", "x d", "y", &[])
        }
        "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceMean" | "ReduceSum" | "ReduceSumSquare" => {
            let model =
                new(&[2, 2]).floats("c", &[2, 2], &[2.0, 5.0, 7.0, 11.0]).node(op, "c", "d", attributes);
            model.node("Add", "x d", "y", &[])
        }
        "Range" => {
            let bound = |name: &str, value| Tensor { name: name.into(), dims: vec![], ..scalar(1, value) };
            let model = new(&[3]).tensor(bound("a", 1.0)).tensor(bound("b", 4.0)).tensor(bound("c", 1.0));
            model.node(op, "a b c", "r", attributes).node("Add", "x r", "y", &[])
        }
        "Reshape" => new(&[2, 3]).ints("s", &[0, 3, 2]).node(op, "x s", "y", attributes),
        "Resize" if opset < 18 => new(&[1, 4, 4]).floats("s", &[4], &[1.0, 1.0, 1.75, 0.5]).node(
            op,
            if opset < 11 { "x s" } else { "x _ s" },
            "y",
            attributes,
        ),
        "Resize" if has("axes") => new(&[1, 4, 6]).ints("t", &[3, 5]).node(op, "x _ _ t", "y", attributes),
        "Resize" => {
            let one = Builder::with_dims(&[1, 1, 4, 6].map(Some)).opset(opset);
            one.ints("t", &[1, 1, 3, 5]).node(op, "x _ _ t", "y", attributes)
        }
        "Upsample" if opset < 9 => new(&[1, 2, 2]).node(op, "x", "y", attributes),
        "Upsample" => {
            new(&[1, 2, 2]).floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]).node(op, "x s", "y", attributes)
        }
        "Shape" => {
            let model = new(&[2]).node(op, "x", "s", attributes).node("Cast", "s", "c", &[int("to", 1)]);
            model.node("ReduceSum", "c", "d", &[]).node("Add", "x d", "y", &[])
        }
        "Slice" => new(&[4]).node(op, "x", "y", attributes),
        "Split" => new(&[4, 3]).node(op, "x", "y z", attributes),
        "Trilu" => new(&[3, 3]).node(op, "x", "y", attributes),
        other => panic!("no model of {other}"),
    }
}

/// Operator, version, attributes that are there anyway, the attribute in question, and what becomes of the model.
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn cases() -> Vec<(&'static str, i64, Vec<Attribute>, Attribute, Outcome)> {
    let mut out = Vec::new();
    for op in ["Add", "Sub", "Mul", "Div", "And", "Or", "Xor", "Equal", "Greater", "Less", "Pow"] {
        out.push((op, 6, vec![], int("broadcast", 1), Needed));
        out.push((op, 6, vec![int("broadcast", 1)], int("axis", 1), Changes));
    }
    for op in ["ArgMax", "ArgMin"] {
        // The default axis is the batch.
        out.push((op, 13, vec![], int("axis", 1), Needed));
        out.push((op, 13, vec![int("axis", 1)], int("keepdims", 0), Same));
        out.push((op, 13, vec![int("axis", 1)], int("select_last_index", 1), Same));
    }
    for op in ["Softmax", "LogSoftmax"] {
        out.push((op, 13, vec![], int("axis", 0), Refused("batch")));
    }
    for op in ["ReduceMax", "ReduceMin", "ReduceProd", "ReduceMean", "ReduceSum", "ReduceSumSquare"] {
        let old = if op == "ReduceSum" { 11 } else { 13 };
        out.push((op, old, vec![int("keepdims", 0)], ints("axes", &[0]), Changes));
        out.push((op, old, vec![ints("axes", &[1])], int("keepdims", 0), Changes));
        let noop = if op == "ReduceSumSquare" { Refused("noop_with_empty_axes") } else { Changes };
        out.push((op, 18, vec![], int("noop_with_empty_axes", 1), noop));
    }
    let kernel = || vec![ints("kernel_shape", &[2, 3])];
    let stepped =
        || vec![ints("kernel_shape", &[2, 3]), ints("strides", &[2, 2]), ints("pads", &[1, 1, 0, 0])];
    let infinite =
        Tensor { dims: vec![1], data_type: 1, float_data: vec![f32::INFINITY], ..Tensor::default() };
    out.extend([
        ("AveragePool", 19, kernel(), text("auto_pad", "SAME_LOWER"), Changes),
        ("AveragePool", 19, stepped(), text("auto_pad", "SAME_UPPER"), Refused("pads")),
        ("AveragePool", 19, kernel(), text("auto_pad", "DIAGONAL"), Refused("auto_pad")),
        (
            "AveragePool",
            19,
            vec![ints("kernel_shape", &[2, 3]), ints("strides", &[2, 3])],
            int("ceil_mode", 1),
            Changes,
        ),
        ("AveragePool", 19, stepped(), int("count_include_pad", 1), Changes),
        ("AveragePool", 19, kernel(), ints("dilations", &[2, 1]), Changes),
        ("AveragePool", 19, vec![], ints("kernel_shape", &[2, 3]), Needed),
        ("AveragePool", 19, kernel(), ints("pads", &[1, 1, 0, 0]), Changes),
        ("AveragePool", 19, kernel(), ints("strides", &[2, 1]), Changes),
        ("BatchNormalization", 9, vec![], float("epsilon", 0.25), Changes),
        ("BatchNormalization", 6, vec![], int("is_test", 1), Needed),
        ("BatchNormalization", 9, vec![], float("momentum", 0.5), Same),
        ("BatchNormalization", 8, vec![], int("spatial", 0), Changes),
        ("BatchNormalization", 15, vec![], int("training_mode", 1), Refused("model.eval()")),
        ("Cast", 24, vec![], int("to", 2), Needed),
        ("Cast", 24, vec![int("to", 2)], int("saturate", 0), Same),
        ("Cast", 24, vec![int("to", 2)], text("round_mode", "down"), Same),
        ("CastLike", 24, vec![], int("saturate", 0), Same),
        ("CastLike", 24, vec![], text("round_mode", "down"), Same),
        ("Celu", 12, vec![], float("alpha", 2.0), Changes),
        ("Celu", 12, vec![], float("alpha", 0.0), Refused("alpha")),
        ("Celu", 12, vec![], float("alpha", -0.5), Refused("a positive number")),
        ("Clip", 6, vec![float("min", -1.0)], float("max", 0.5), Changes),
        ("Clip", 6, vec![float("max", 1.0)], float("min", 0.5), Changes),
        ("Concat", 13, vec![], int("axis", 2), Needed),
        ("Constant", 13, vec![], tensor("value", scalar(1, 3.0)), Needed),
        ("Constant", 13, vec![], tensor("value", infinite), Refused("infinity")),
        ("Constant", 13, vec![], float("value_float", 3.0), Needed),
        (
            "Constant",
            13,
            vec![],
            Attribute { floats: vec![3.0, 4.0], r#type: 6, ..float("value_floats", 0.0) },
            Needed,
        ),
        // Integers do not multiply with numbers of floating point.
        ("Constant", 13, vec![], int("value_int", 3), Refused("int64")),
        ("Constant", 13, vec![], ints("value_ints", &[3, 4]), Refused("int64")),
        ("Constant", 13, vec![], text("value_string", "a"), Refused("tensors or numbers")),
        (
            "Constant",
            13,
            vec![],
            Attribute { r#type: 8, ..text("value_strings", "") },
            Refused("tensors or numbers"),
        ),
        (
            "Constant",
            13,
            vec![],
            Attribute { r#type: 11, ..text("sparse_value", "") },
            Refused("tensors or numbers"),
        ),
        ("ConstantOfShape", 13, vec![], tensor("value", scalar(1, 3.0)), Changes),
        ("Conv", 13, vec![], text("auto_pad", "SAME_UPPER"), Changes),
        ("Conv", 13, vec![], ints("dilations", &[2, 2]), Changes),
        ("Conv", 13, vec![], int("group", 2), Changes),
        ("Conv", 13, vec![], ints("kernel_shape", &[2, 3]), Same),
        ("Conv", 13, vec![], ints("kernel_shape", &[3, 3]), Refused("kernel_shape")),
        ("Conv", 13, vec![], ints("pads", &[1, 0, 0, 2]), Changes),
        ("Conv", 13, vec![], ints("strides", &[1, 2]), Changes),
        ("ConvTranspose", 13, vec![], text("auto_pad", "SAME_UPPER"), Changes),
        ("ConvTranspose", 13, vec![], ints("dilations", &[2, 2]), Changes),
        ("ConvTranspose", 13, vec![], int("group", 2), Changes),
        ("ConvTranspose", 13, vec![], ints("kernel_shape", &[2, 3]), Same),
        ("ConvTranspose", 13, vec![], ints("kernel_shape", &[3, 3]), Refused("kernel_shape")),
        ("ConvTranspose", 13, vec![ints("strides", &[2, 2])], ints("output_padding", &[1, 0]), Changes),
        ("ConvTranspose", 13, vec![ints("strides", &[2, 2])], ints("output_shape", &[8, 9]), Changes),
        ("ConvTranspose", 13, vec![], ints("pads", &[1, 0, 0, 2]), Changes),
        ("ConvTranspose", 13, vec![], ints("strides", &[1, 2]), Changes),
        ("CumSum", 14, vec![], int("exclusive", 1), Changes),
        ("CumSum", 14, vec![], int("reverse", 1), Changes),
        ("DepthToSpace", 13, vec![], int("blocksize", 2), Needed),
        ("DepthToSpace", 13, vec![int("blocksize", 2)], text("mode", "CRD"), Changes),
        ("DepthToSpace", 13, vec![int("blocksize", 2)], text("mode", "RDC"), Refused("mode")),
        ("SpaceToDepth", 13, vec![], int("blocksize", 2), Needed),
        ("SpaceToDepth", 28, vec![int("blocksize", 2)], text("mode", "CRD"), Changes),
        ("SpaceToDepth", 28, vec![int("blocksize", 2)], text("mode", "RDC"), Refused("mode")),
        (
            "AveragePool",
            19,
            vec![ints("kernel_shape", &[2, 3]), text("auto_pad", "SAME_UPPER")],
            ints("dilations", &[2, 1]),
            Refused("dilations"),
        ),
        ("Dropout", 6, vec![], int("is_test", 1), Needed),
        ("Dropout", 10, vec![], float("ratio", 0.25), Same),
        ("Dropout", 13, vec![], int("seed", 7), Same),
        ("Einsum", 12, vec![], text("equation", "bi,ij->bj"), Needed),
        ("Einsum", 12, vec![], text("equation", "bi,ij->j"), Refused("batch")),
        ("Elu", 6, vec![], float("alpha", 2.0), Changes),
        ("Flatten", 13, vec![], int("axis", 0), Refused("batch")),
        ("Gather", 13, vec![], int("axis", 2), Needed),
        ("GatherElements", 13, vec![], int("axis", 1), Changes),
        ("GatherND", 13, vec![], int("batch_dims", 1), Changes),
        ("Gelu", 20, vec![], text("approximate", "none"), Same),
        ("Gelu", 20, vec![], text("approximate", "tanh"), Changes),
        ("Gemm", 13, vec![], float("alpha", 2.0), Changes),
        ("Gemm", 13, vec![], float("beta", 2.0), Changes),
        ("Gemm", 6, vec![], int("broadcast", 1), Needed),
        ("Gemm", 13, vec![], int("transA", 1), Refused("transposed")),
        ("Gemm", 13, vec![], int("transB", 1), Changes),
        ("HardSigmoid", 6, vec![], float("alpha", 0.5), Changes),
        ("HardSigmoid", 6, vec![], float("beta", 0.25), Changes),
        ("LeakyRelu", 6, vec![], float("alpha", 0.5), Changes),
        ("Mod", 13, vec![], int("fmod", 1), Needed),
        ("Pad", 13, vec![], text("mode", "reflect"), Changes),
        ("Pad", 13, vec![], text("mode", "mirror"), Refused("mode")),
        ("Pad", 10, vec![], ints("pads", &[0, 0, 1, 0, 0, 1]), Needed),
        ("Pad", 10, vec![ints("pads", &[0, 0, 1, 0, 0, 1])], float("value", 3.0), Changes),
        // Sums are taken in more digits than either.
        ("Range", 27, vec![], int("stash_type", 1), Same),
        ("Reshape", 14, vec![], int("allowzero", 1), Refused("batch")),
        ("Resize", 10, vec![], text("mode", "linear"), Changes),
        ("Resize", 13, vec![], text("mode", "linear"), Changes),
        ("Resize", 13, vec![], text("mode", "quadratic"), Refused("resizing")),
        ("Resize", 13, vec![], text("nearest_mode", "ceil"), Changes),
        ("Resize", 13, vec![], text("nearest_mode", "other"), Refused("nearest_mode")),
        ("Resize", 13, vec![], text("coordinate_transformation_mode", "asymmetric"), Changes),
        (
            "Resize",
            13,
            vec![],
            text("coordinate_transformation_mode", "tf_crop_and_resize"),
            Refused("coordinate"),
        ),
        ("Resize", 13, vec![text("mode", "cubic")], float("cubic_coeff_a", -0.5), Changes),
        ("Resize", 13, vec![text("mode", "cubic")], int("exclude_outside", 1), Changes),
        ("Resize", 13, vec![text("mode", "linear")], int("exclude_outside", 1), Refused("exclude_outside")),
        // It belongs to tf_crop_and_resize.
        ("Resize", 13, vec![], float("extrapolation_value", 5.0), Same),
        ("Resize", 18, vec![], int("antialias", 1), Refused("antialias")),
        ("Resize", 18, vec![], ints("axes", &[2, 3]), Same),
        ("Resize", 18, vec![ints("axes", &[2, 3])], text("keep_aspect_ratio_policy", "not_larger"), Changes),
        (
            "Resize",
            18,
            vec![ints("axes", &[2, 3])],
            text("keep_aspect_ratio_policy", "other"),
            Refused("keep_aspect_ratio_policy"),
        ),
        ("ScatterElements", 16, vec![], int("axis", 1), Changes),
        ("ScatterElements", 16, vec![], text("reduction", "add"), Changes),
        ("ScatterElements", 16, vec![], text("reduction", "other"), Refused("reduction")),
        ("Scatter", 9, vec![], int("axis", 1), Changes),
        ("ScatterND", 16, vec![], text("reduction", "mul"), Changes),
        ("Selu", 6, vec![], float("alpha", 1.0), Changes),
        ("Selu", 6, vec![], float("gamma", 2.0), Changes),
        ("Shape", 15, vec![], int("start", 1), Needed),
        ("Shape", 15, vec![int("start", 1)], int("end", 1), Changes),
        ("Slice", 9, vec![ints("starts", &[1]), ints("ends", &[3])], ints("axes", &[1]), Needed),
        ("Slice", 9, vec![ints("axes", &[1]), ints("starts", &[1])], ints("ends", &[3]), Needed),
        ("Slice", 9, vec![ints("axes", &[1]), ints("ends", &[3])], ints("starts", &[1]), Needed),
        ("Split", 13, vec![], int("axis", 1), Needed),
        ("Split", 11, vec![int("axis", 1)], ints("split", &[1, 3]), Changes),
        ("Split", 18, vec![int("axis", 1)], int("num_outputs", 2), Same),
        ("Split", 18, vec![int("axis", 1)], int("num_outputs", 3), Refused("num_outputs")),
        ("Squeeze", 11, vec![], ints("axes", &[1]), Needed),
        ("Swish", 24, vec![], float("alpha", 2.0), Changes),
        ("Transpose", 13, vec![], ints("perm", &[0, 2, 1]), Needed),
        ("Trilu", 14, vec![], int("upper", 0), Changes),
        ("Unsqueeze", 11, vec![], ints("axes", &[1]), Needed),
        (
            "Upsample",
            7,
            vec![],
            Attribute { floats: vec![1.0, 1.0, 2.0, 2.0], r#type: 6, ..float("scales", 0.0) },
            Needed,
        ),
        ("Upsample", 6, vec![float("width_scale", 2.0)], float("height_scale", 2.0), Needed),
        ("Upsample", 6, vec![float("height_scale", 2.0)], float("width_scale", 2.0), Needed),
        ("Upsample", 9, vec![], text("mode", "linear"), Changes),
    ]);
    out
}

#[test]
fn known_attributes_are_honoured_or_refused() {
    let mut seen = BTreeSet::new();
    for (op, opset, base, attribute, outcome) in cases() {
        let named = format!("{op} {} of version {opset}", attribute.name);
        let without = with_activations(&model(op, opset, &base));
        let others = base.iter().filter(|a| a.name != attribute.name).cloned();
        let with =
            with_activations(&model(op, opset, &others.chain([attribute.clone()]).collect::<Vec<_>>()));
        seen.insert((op, attribute.name.clone()));
        match outcome {
            Needed => {
                assert!(without.is_err(), "{named}: it was not needed");
                with.unwrap_or_else(|error| panic!("{named}: {error}"));
            }
            Refused(part) => {
                let error = with.expect_err(&named).to_string();
                assert!(error.contains(part), "{named}: {error}");
            }
            Changes | Same => {
                let results = [without, with].map(|imported| {
                    let imported = imported.unwrap_or_else(|error| panic!("{named}: {error}"));
                    result(&imported.network)
                });
                assert_eq!(results[0] == results[1], matches!(outcome, Same), "{named}: {results:?}");
            }
        }
    }
    for schema in OPERATORS {
        for attribute in schema.attributes.iter().filter(|a| a.until > 6 && schema.until > a.since) {
            let key = (schema.name, attribute.name.to_owned());
            assert!(seen.contains(&key), "no case of {} {}", schema.name, attribute.name);
        }
    }
}

/// A node of an operator with as many inputs as it needs.
fn bare(op: &str, opset: i64, inputs: usize, attribute: Attribute) -> String {
    let names = vec!["x"; inputs].join(" ");
    let mut model = Builder::new(&[2]).opset(opset).node(op, &names, "y", &[attribute]);
    // Not one that the client computes.
    model = model.node("Add", "x y", "z", &[]);
    model.error()
}

#[test]
fn unknown_attributes_are_refused_by_name() {
    for schema in OPERATORS {
        for opset in VERSIONS.filter(|&opset| schema.exists(opset)) {
            let (fewest, _) = schema.input_count(opset);
            let error = bare(schema.name, opset, fewest, int("frobnicate", 1));
            assert!(error.contains("no attribute \"frobnicate\""), "{} {opset}: {error}", schema.name);
            for attribute in schema.attributes {
                if schema.attribute(attribute.name, opset).is_none() {
                    let wanted = format!("no attribute {:?}", attribute.name);
                    let error = bare(schema.name, opset, fewest, int(attribute.name, 1));
                    assert!(error.contains(&wanted), "{} {opset}: {error}", schema.name);
                } else {
                    // Another type than the specification's.
                    let other = Attribute {
                        r#type: if attribute.kind == 2 { 1 } else { 2 },
                        ..int(attribute.name, 1)
                    };
                    let error = bare(schema.name, opset, fewest, other);
                    assert!(error.contains("another type"), "{} {opset}: {error}", schema.name);
                }
            }
        }
    }
}

#[test]
fn operators_belong_to_versions() {
    for schema in OPERATORS {
        for opset in VERSIONS.filter(|&opset| !schema.exists(opset)) {
            let (fewest, _) = schema.input_count(opset);
            let error = bare(schema.name, opset, fewest, int("frobnicate", 1));
            assert!(error.contains("does not have it"), "{} {opset}: {error}", schema.name);
        }
        let (_, most) = schema.input_count(17);
        if schema.exists(17) && most < 10 {
            let error = bare(schema.name, 17, most + 1, int("axis", 1));
            assert!(error.contains(&format!("has {} inputs", most + 1)), "{}: {error}", schema.name);
        }
    }
}
