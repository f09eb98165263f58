//! Types of constants, and operators with constant indices, conditions and weights.

use crate::model::{Builder, assert_close, float, int, ints, numbers, tensor, tensor_type, text};
use crate::proto::Tensor;
use pleura_nn::Function;
use pleura_onnx::ImportOptions;

fn typed(name: &str, dims: &[i64], data_type: i32, values: &[i32]) -> Tensor {
    let int32_data = if data_type == 7 { vec![] } else { values.to_vec() };
    let int64_data = if data_type == 7 { values.iter().map(|&x| x.into()).collect() } else { vec![] };
    Tensor { name: name.into(), dims: dims.to_vec(), data_type, int32_data, int64_data, ..Tensor::default() }
}

/// The result of a node on constants.
fn folded(model: Builder, op: &str, inputs: &str, attributes: &[crate::proto::Attribute]) -> Vec<f64> {
    let model = model.node(op, inputs, "r", attributes).node("Cast", "r", "f", &[int("to", 1)]);
    model.node("Add", "x f", "y", &[]).network().evaluate_flat(&[0.0; 4])
}

#[test]
fn integers_are_those_of_their_type() {
    let new = || Builder::new(&[4]);
    let pair = |kind| {
        new().tensor(typed("a", &[4], kind, &[7, -7, 7, -7])).tensor(typed("b", &[4], kind, &[3, 3, -3, -3]))
    };
    assert_eq!(folded(pair(6), "Div", "a b", &[]), [2.0, -2.0, -2.0, 2.0]);
    assert_eq!(folded(pair(6), "Mod", "a b", &[]), [1.0, 2.0, -2.0, -1.0]);
    assert_eq!(folded(pair(6), "Mod", "a b", &[int("fmod", 1)]), [1.0, -1.0, 1.0, -1.0]);
    let bytes =
        new().tensor(typed("a", &[4], 2, &[250, 3, 0, 1])).tensor(typed("b", &[4], 2, &[10, 3, 1, 2]));
    assert_eq!(folded(bytes.clone(), "Add", "a b", &[]), [4.0, 6.0, 1.0, 3.0]);
    assert_eq!(folded(bytes, "Sub", "a b", &[]), [240.0, 0.0, 255.0, 255.0]);
    let numbers = new().floats("c", &[4], &[300.5, -1.5, 2.9, 70000.0]);
    assert_eq!(folded(numbers.clone(), "Cast", "c", &[int("to", 2)]), [44.0, 255.0, 2.0, 112.0]);
    assert_eq!(folded(numbers.clone(), "Cast", "c", &[int("to", 5)]), [300.0, -1.0, 2.0, 4464.0]);
    assert_eq!(folded(numbers, "Cast", "c", &[int("to", 9)]), [1.0; 4]);
    let powers = new().tensor(typed("a", &[4], 6, &[2, 3, 7, -2])).floats("b", &[4], &[0.5, 2.5, -1.0, 3.0]);
    assert_eq!(folded(powers, "Pow", "a b", &[]), [1.0, 15.0, 0.0, -8.0]);
    let mixed = new().tensor(typed("a", &[4], 6, &[1; 4])).tensor(typed("b", &[4], 7, &[1; 4]));
    let error = mixed.node("Add", "a b", "c", &[]).node("Mul", "x c", "y", &[]).error();
    assert!(error.contains("type int64 where int32"), "{error}");
    let half = new().floats("c", &[4], &[2049.0, 0.1, 1.0, 65519.0]);
    assert_eq!(folded(half, "Cast", "c", &[int("to", 10)]), [2048.0, 0.099_975_585_937_5, 1.0, 65504.0]);
}

/// Integers of more bits than double precision has: what is left of them tells their last bits.
#[test]
fn large_integers_keep_all_bits() {
    let large = (1i64 << 53) + 1;
    let of = |op: &str, values: &[i64], expected: i64| {
        let keepdims = [int("keepdims", 0)];
        let model = Builder::new(&[4]).ints("a", values).ints("b", &[expected - 3]);
        let model = model.node(op, "a", "m", if op == "Identity" { &[] } else { &keepdims });
        assert_eq!(folded(model, "Sub", "m b", &[]), [3.0; 4], "{op}");
    };
    for op in ["ReduceMax", "ReduceSum"] {
        of(op, &[large, 0], large);
    }
    of("ReduceMin", &[large, large + 1], large);
    of("ReduceProd", &[large, 3], 3 * large);
    of("ReduceMean", &[large, large], large);
    let power = Builder::new(&[4]).ints("a", &[3]).ints("b", &[39]).node("Pow", "a b", "p", &[]);
    let error = power.node("Cast", "p", "f", &[int("to", 1)]).node("Add", "x f", "y", &[]).error();
    assert!(error.contains("/p (Pow)") && error.contains("does not fit its type int64"), "{error}");
    let scalar = |name: &str, x: i64| Tensor { dims: vec![], ..crate::model::int_tensor(name, &[x]) };
    let range = Builder::new(&[2]).tensor(scalar("a", large)).tensor(scalar("b", large + 2));
    let range = range.tensor(scalar("c", 1)).node("Range", "a b c", "r", &[]);
    let error = range.node("Cast", "r", "f", &[int("to", 1)]).node("Add", "x f", "y", &[]).error();
    assert!(error.contains("/r (Range)") && error.contains("53 bits"), "{error}");
}

#[test]
fn tensors_of_integers_are_cast_first() {
    let mut bytes = Builder::new(&[2]);
    bytes.graph().input[0].r#type = Some(tensor_type(2, &[None, Some(2)]));
    let computed = bytes.clone().node("Identity", "x", "a", &[]).node("Mul", "a a", "y", &[]);
    assert!(computed.error().contains("an integer type"), "{}", computed.error());
    bytes.node("Cast", "x", "a", &[int("to", 1)]).node("Mul", "a a", "y", &[]).network();
}

#[test]
fn constant_indices_and_conditions() {
    let x = numbers(6, 0);
    let new = || Builder::with_dims(&[Some(1), Some(2), Some(3)]);
    let model = new().tensor(typed("i", &[1, 2, 2], 7, &[2, 0, -1, 1]));
    model.node("GatherElements", "x i", "y", &[int("axis", 2)]).gives(&[2, 2], &[x[2], x[0], x[5], x[4]]);
    let model = new().tensor(typed("i", &[1, 2, 2], 7, &[1, 0, 0, 2]));
    model.clone().node("GatherND", "x i", "y", &[int("batch_dims", 1)]).gives(&[2], &[x[3], x[2]]);
    let model = new().tensor(typed("i", &[1, 2, 1], 7, &[2, 0])).floats("u", &[1, 2, 1], &[8.0, 9.0]);
    let written = model.clone().node("ScatterElements", "x i u", "y", &[int("axis", 2)]);
    written.gives(&[2, 3], &[x[0], x[1], 8.0, 9.0, x[4], x[5]]);
    let added = [int("axis", 2), text("reduction", "add")];
    model
        .node("ScatterElements", "x i u", "y", &added)
        .gives(&[2, 3], &[x[0], x[1], x[2] + 8.0, x[3] + 9.0, x[4], x[5]]);
    let model = new().tensor(typed("i", &[1, 2], 7, &[0, 1])).floats("u", &[1, 3], &[7.0, 8.0, 9.0]);
    model.node("ScatterND", "x i u", "y", &[]).gives(&[2, 3], &[x[0], x[1], x[2], 7.0, 8.0, 9.0]);
    let many = Builder::new(&[2, 3]).tensor(typed("i", &[1, 2, 2], 7, &[0; 4]));
    assert!(many.node("GatherElements", "x i", "y", &[int("axis", 2)]).error().contains("batch"));

    let open = || Builder::new(&[2, 3]);
    let model = open().tensor(typed("c", &[3], 9, &[1, 0, 1])).scalar("d", 5.0);
    model.node("Where", "c x d", "y", &[]).gives(&[2, 3], &[x[0], 5.0, x[2], x[3], 5.0, x[5]]);
    let sums = [x[1] + x[2], x[2], 0.0, x[4] + x[5], x[5], 0.0];
    let model = open().ints("a", &[-1]).node("CumSum", "x a", "y", &[int("reverse", 1), int("exclusive", 1)]);
    model.gives(&[2, 3], &sums);
    open().node("Trilu", "x", "y", &[]).gives(&[2, 3], &[x[0], x[1], x[2], 0.0, x[4], x[5]]);
}

#[test]
fn products_along_any_axes() {
    let x = numbers(12, 0);
    let w = numbers(12, 1);
    let at = |i: usize, j: usize, k: usize| x[i * 6 + j * 3 + k];
    // Two items of 2x3 times two matrices of 3x2.
    let batched: Vec<f64> = (0..8)
        .map(|n| (0..3).map(|k| at(n / 4, n / 2 % 2, k) * w[n / 4 * 6 + k * 2 + n % 2]).sum())
        .collect();
    let new = || Builder::new(&[2, 2, 3]).floats("w", &[2, 3, 2], &w);
    new().node("MatMul", "x w", "y", &[]).gives(&[2, 2, 2], &batched);
    new().node("Einsum", "x w", "y", &[text("equation", "bijk,ikl->bijl")]).gives(&[2, 2, 2], &batched);
    let diagonal: Vec<f64> = (0..2).map(|i| x[i * 3]).collect();
    Builder::new(&[2, 2]).node("Einsum", "x", "y", &[text("equation", "bii->bi")]).gives(&[2], &diagonal);
    let mixed = new().node("Einsum", "x w", "y", &[text("equation", "bijk,ikl->jl")]).error();
    assert!(mixed.contains("batch"), "{mixed}");
}

#[test]
fn interpolation() {
    let x = numbers(3, 0);
    let between = |i: usize, t: f64| x[i] * (1.0 - t) + x[i + 1] * t;
    let model = Builder::new(&[1, 1, 3]).floats("s", &[4], &[1.0, 1.0, 1.0, 2.0]);
    let expected = [x[0], between(0, 0.25), between(0, 0.75), between(1, 0.25), between(1, 0.75), x[2]];
    model.clone().node("Resize", "x _ s", "y", &[text("mode", "linear")]).gives(&[1, 1, 6], &expected);
    // Keys' kernel at a quarter and at three quarters.
    let [far, near, next, last] = [-0.105_468_75, 0.878_906_25, 0.261_718_75, -0.035_156_25];
    let expected = far * x[0] + near * x[1] + next * x[2] + last * x[2];
    let cubic = model.node("Resize", "x _ s", "y", &[text("mode", "cubic")]).network();
    assert_close(&cubic.evaluate_flat(&x)[3..4], &[expected]);
}

#[test]
fn functions_with_parameters() {
    let options = ImportOptions { keep_activations: true, ..ImportOptions::default() };
    let x = numbers(6, 0);
    let near = |model: Builder, f: &dyn Fn(usize, f64) -> f64| {
        let found = model.import_with(&options).unwrap().network.evaluate_flat(&x);
        for (i, (y, &x)) in found.iter().zip(&x).enumerate() {
            assert!((y - f(i, x)).abs() < 1e-6, "{x}: {y} instead of {}", f(i, x));
        }
    };
    let new = || Builder::new(&[2, 3]).opset(24);
    let elu = |x: f64, a: f64| if x < 0.0 { a * x.exp_m1() } else { x };
    let selu = [float("alpha", 1.5), float("gamma", 2.0)];
    near(new().node("Selu", "x", "y", &selu), &|_, x| 2.0 * elu(x, 1.5));
    near(new().node("Celu", "x", "y", &[float("alpha", 2.0)]), &|_, x| 2.0 * elu(x / 2.0, 1.0));
    near(new().node("Swish", "x", "y", &[float("alpha", 2.0)]), &|_, x| x / (1.0 + (-2.0 * x).exp()));
    near(new().node("Mish", "x", "y", &[]), &|_, x| Function::Mish.evaluate(x));
    near(new().node("Softsign", "x", "y", &[]), &|_, x| x / (1.0 + x.abs()));
    let slopes = new().floats("s", &[2, 1], &[0.5, -0.25]).node("PRelu", "x s", "y", &[]);
    near(slopes, &|i, x| if x < 0.0 { x * [0.5, -0.25][i / 3] } else { x });
}

#[test]
fn a_bias_for_each_item_mixes_them() {
    let column = Builder::new(&[2]).floats("w", &[2, 2], &[1.0; 4]).floats("b", &[2, 1], &[1.0, 2.0]);
    let error = column.node("Gemm", "x w b", "y", &[]).error();
    assert!(error.contains("batch"), "{error}");
}

#[test]
fn statistics_beside_the_result_are_training() {
    let model = |opset, outputs| {
        let model = Builder::new(&[2]).opset(opset).floats("v", &[2], &[1.0, 2.0]);
        model.node("BatchNormalization", "x v v v v", outputs, &[])
    };
    for opset in [7, 9, 13] {
        assert!(model(opset, "y m").error().contains("model.eval()"));
        model(opset, "y").network();
    }
}

/// Constants of the shape of the input have a row for each item, of which the importer keeps one.
#[test]
fn constants_with_a_batch_axis() {
    let x = numbers(4, 0);
    let new = || {
        let model =
            Builder::new(&[4]).ints("zero", &[0]).ints("one", &[1]).ints("two", &[2]).ints("tail", &[2, 2]);
        let twos = Tensor { name: String::new(), ..typed("v", &[1], 6, &[2]) };
        let model = model.node("Shape", "x", "s", &[]).node("Slice", "s zero one", "b", &[]);
        let model = model.node("ConstantOfShape", "s", "i", &[tensor("value", twos)]);
        model.node("Cast", "i", "c", &[int("to", 1)])
    };
    new().node("Mul", "x c", "y", &[]).gives(&[4], &[2.0 * x[0], 2.0 * x[1], 2.0 * x[2], 2.0 * x[3]]);
    let sums = new().node("ReduceSum", "c one", "r", &[]).node("Add", "x r", "y", &[]);
    assert!(sums.error().contains("batch"), "{}", sums.error());
    let parts =
        new().node("Concat", "c c", "cc", &[int("axis", 1)]).node("Slice", "cc zero two one", "t", &[]);
    let joined = parts.node("Add", "t t", "tt", &[]).node("Concat", "x tt", "y", &[int("axis", 1)]);
    joined.gives(&[6], &[x[0], x[1], x[2], x[3], 4.0, 4.0]);
    let reshaped = new().node("Concat", "b tail", "bt", &[int("axis", 0)]).node("Reshape", "c bt", "r", &[]);
    let reshaped = reshaped.node("Reshape", "x bt", "q", &[]).node("Mul", "q r", "y", &[]);
    reshaped.gives(&[2, 2], &[2.0 * x[0], 2.0 * x[1], 2.0 * x[2], 2.0 * x[3]]);
    let token = new().floats("w", &[1, 2], &[5.0, 6.0]).node("Concat", "b two", "bw", &[int("axis", 0)]);
    let token = token.node("Expand", "w bw", "t", &[]).node("Concat", "x t", "y", &[int("axis", 1)]);
    token.gives(&[6], &[x[0], x[1], x[2], x[3], 5.0, 6.0]);

    let row = || new().ints("four", &[4]).floats("w", &[4], &[1.0; 4]).floats("cube", &[3, 1, 4], &[1.0; 12]);
    let mixed = [
        row().node("CumSum", "c zero", "r", &[]),
        row().node("ReduceSum", "c zero", "r", &[]),
        row().node("ReduceMean", "c", "r", &[]),
        row().node("Transpose", "c", "r", &[ints("perm", &[1, 0])]),
        row().node("Concat", "c c", "r", &[int("axis", 0)]),
        row().node("Slice", "c zero one zero", "r", &[]),
        row().node("MatMul", "c w", "r", &[]),
        row().node("Size", "c", "n", &[]).node("Cast", "n", "r", &[int("to", 1)]),
        row().node("Shape", "c", "cs", &[]).node("Cast", "cs", "r", &[int("to", 1)]),
        row().node("Add", "c cube", "r", &[]),
        row().node("Concat", "b one four", "bt", &[int("axis", 0)]).node("Expand", "cube bt", "r", &[]),
        row().node("Concat", "b one one", "bt", &[int("axis", 0)]).node("Tile", "cube bt", "r", &[]),
        row().node("Expand", "cube s", "r", &[]),
    ];
    for model in mixed {
        let error = model.node("Mul", "x r", "y", &[]).error();
        assert!(error.contains("batch"), "{error}");
    }
    let moved = new().node("Unsqueeze", "x one", "u", &[]).node("Add", "u c", "y", &[]);
    assert!(moved.error().contains("batch"), "{}", moved.error());
}
