//! Refusals of models that cannot be imported: they name the node and say what to do instead.

use crate::model::{Builder, float, int, ints, numbers, tensor, text};
use crate::proto::{Entry, Function, SparseTensor, Tensor, ValueInfo};
use pleura_onnx::{ImportError, ImportOptions, Problem, Unsupported};

#[track_caller]
fn refused(model: Builder, parts: &[&str]) {
    let error = model.error();
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn activations_with_advice() {
    for op in ["Relu", "Sigmoid", "Tanh", "Gelu", "Softplus", "Abs", "Exp", "Erf", "HardSwish", "Elu", "Selu"]
    {
        let model = Builder::new(&[4]).opset(20).node(op, "x", "act", &[]).node("Neg", "act", "y", &[]);
        refused(model, &["/act (", op, "a*x^2 + b*x + c", "let a polynomial be fitted to it"]);
    }
    let pool = Builder::new(&[1, 4, 4]).node("MaxPool", "x", "p", &[ints("kernel_shape", &[2, 2])]);
    refused(pool, &["/p (MaxPool): ", "average pooling"]);
}

#[test]
fn operators_with_advice() {
    let two = || Builder::new(&[4, 4]).scalar("c", 2.0);
    for (op, inputs, part) in [
        ("Div", "c x", "multiply by"),
        ("Div", "x x", "multiply by"),
        ("MatMul", "x x", "attention"),
        ("LayerNormalization", "x c", "batch normalization"),
        ("InstanceNormalization", "x c c", "batch normalization"),
        ("LSTM", "x", "recurrent"),
        ("If", "x", "control flow"),
        ("Loop", "x", "control flow"),
        ("Scan", "x", "control flow"),
        ("Max", "x c", "clip"),
        ("Max", "x x", "compared"),
        ("Min", "c x x", "compared"),
        ("Sqrt", "x", "polynomial"),
        ("QLinearConv", "x", "floating point"),
        ("Frobnicate", "x", "not supported"),
    ] {
        refused(two().node(op, inputs, "y", &[]), &["/y (", op, part]);
    }
    let inside = two().node("Softmax", "x", "s", &[]).node("Mul", "s x", "y", &[]);
    refused(inside, &["/s (Softmax)", "client"]);
    let mut foreign = two().node("Neg", "x", "y", &[]);
    foreign.graph().node[0].domain = "com.acme".into();
    refused(foreign, &["com.acme", "standard"]);
    let mut unnamed = two().node("Relu", "x", "y", &[]);
    unnamed.graph().node[0].name.clear();
    refused(unnamed, &["the node that makes \"y\" (Relu)"]);
}

/// Errors name what the user can change, not what the importer happens to see first.
#[test]
fn reasons_that_others_hide() {
    let sparse = |is_input: bool| {
        let mut model = Builder::new(&[2]).node("Mul", "x w", "y", &[]);
        let values = Tensor { name: "w".into(), ..Tensor::default() };
        model.graph().sparse_initializer.push(SparseTensor { values: Some(values) });
        if is_input {
            let input = ValueInfo { name: "w".into(), ..model.graph().input[0].clone() };
            model.graph().input.push(input);
        }
        model
    };
    refused(sparse(false), &["\"w\": sparse constants"]);
    refused(sparse(true), &["\"w\": sparse constants"]);
    let branches = Builder::new(&[2]).scalar("c", 1.0).node("If", "c", "y", &[]);
    refused(branches, &["/y (If): sub-graphs"]);
    let attention = Builder::new(&[2, 2]).node("Transpose", "x", "t", &[ints("perm", &[1, 0, 2])]);
    let attention = attention.node("Softmax", "t", "s", &[]).node("Neg", "s", "y", &[]);
    refused(attention, &["/t (Transpose): it changes the batch axis", "/s (Softmax): ciphertexts cannot"]);
    let volume = Builder::new(&[1, 2, 2, 2]).floats("w", &[1, 1, 1, 1, 1], &[1.0]);
    refused(volume.node("ConvTranspose", "x w", "y", &[]), &["/y (ConvTranspose)", "over volumes", "Resize"]);
    let features = Builder::new(&[]).floats("w", &[4, 3], &[1.0; 12]).node("MatMul", "x w", "y", &[]);
    refused(features, &["/y (MatMul)", "batch axis before the features"]);
    let product = Builder::new(&[3]).node("ReduceProd", "x", "y", &[ints("axes", &[1])]);
    refused(product, &["sums only"]);
    let pad = Builder::new(&[3]).ints("p", &[0, -1, 0, 1]);
    refused(pad.node("Pad", "x p", "y", &[text("mode", "edge")]), &["pads is -1", "at least 0"]);
    let ratio = [ints("axes", &[2, -1]), text("keep_aspect_ratio_policy", "not_larger")];
    let ratio = Builder::new(&[1, 4, 4]).opset(18).ints("s", &[2, 8]).node("Resize", "x _ _ s", "y", &ratio);
    refused(ratio, &["axes is [2, -1]", "counted from the front"]);
}

/// The constants of a model may have the batch of its file built in.
#[test]
fn batches_that_the_file_fixes_are_named() {
    let token = |batch| {
        let model = Builder::with_dims(&[batch, Some(4), Some(3)]).floats("token", &[2, 1, 3], &[1.0; 6]);
        model.node("Concat", "token x", "y", &[int("axis", 1)])
    };
    refused(token(Some(2)), &["/y (Concat)", "fixes the batch at 2 items", "open batch axis"]);
    for batch in [None, Some(1)] {
        assert!(!token(batch).error().contains("fixes the batch"), "{}", token(batch).error());
    }
}

/// Nodes of functions have the name of their result if they have none.
#[test]
fn calls_without_a_name() {
    let mut model = Builder::new(&[2]).node("Own", "x", "y", &[]);
    model.graph().node[0].name.clear();
    model.graph().node[0].domain = "own".into();
    let call = model.graph().node[0].clone();
    let function = Function { name: "Own".into(), domain: "own".into(), ..Function::default() };
    let input = vec!["x".into()];
    let output = vec!["y".into()];
    model.0.functions.push(Function { input, output, node: vec![call], ..function });
    refused(model, &["the node that makes \"y\" (Own): the functions"]);
}

/// Padding that keeps sizes would be negative, and implementations leave out other elements.
#[test]
fn windows_that_leave_elements_out() {
    let pool = |kernel| {
        let attributes =
            [ints("kernel_shape", &[kernel]), ints("strides", &[3]), text("auto_pad", "SAME_UPPER")];
        Builder::new(&[1, 6]).node("AveragePool", "x", "y", &attributes)
    };
    refused(pool(1), &["auto_pad", "explicit pads"]);
    refused(pool(2), &["auto_pad", "explicit pads"]);
    pool(3).gives(&[1, 2], &[(0..3), (3..6)].map(|of| of.map(|i| numbers(6, 0)[i]).sum::<f64>() / 3.0));
}

#[test]
fn batches_stay_apart() {
    let new = || Builder::with_dims(&[Some(4), Some(2), Some(3)]);
    let batch = &["batch axis", "one item"];
    refused(new().node("Transpose", "x", "y", &[ints("perm", &[1, 0, 2])]), batch);
    refused(new().ints("s", &[-1]).node("Reshape", "x s", "y", &[]), batch);
    refused(new().ints("s", &[8, 3]).node("Reshape", "x s", "y", &[]), batch);
    refused(new().ints("s", &[-1, 3]).node("Reshape", "x s", "y", &[]), batch);
    refused(new().ints("s", &[1, -1]).node("Reshape", "x s", "y", &[]), batch);
    refused(new().node("Flatten", "x", "y", &[int("axis", 0)]), batch);
    refused(new().node("Flatten", "x", "y", &[int("axis", 2)]), batch);
    refused(new().node("ReduceMean", "x", "y", &[ints("axes", &[0])]), batch);
    refused(new().node("ReduceSum", "x", "y", &[]), batch);
    refused(new().node("Concat", "x x", "y", &[int("axis", 0)]), batch);
    refused(new().node("Split", "x", "a b", &[int("axis", 0)]), batch);
    refused(new().ints("i", &[0]).node("Gather", "x i", "y", &[]), batch);
    refused(new().ints("a", &[0]).node("Unsqueeze", "x a", "y", &[]), batch);
    refused(new().ints("s", &[0]).ints("e", &[1]).ints("a", &[0]).node("Slice", "x s e a", "y", &[]), batch);
    refused(new().floats("c", &[4, 1, 1], &[1.0, 2.0, 3.0, 4.0]).node("Mul", "x c", "y", &[]), batch);
    refused(new().floats("c", &[1, 1, 1, 3], &[1.0, 2.0, 3.0]).node("Mul", "x c", "y", &[]), batch);
    refused(new().ints("p", &[1, 0, 0, 0, 0, 0]).node("Pad", "x p", "y", &[]), batch);
    // Without a batch size, a free extent takes all items in.
    let free = || Builder::new(&[2, 3]);
    refused(free().ints("s", &[1, -1]).node("Reshape", "x s", "y", &[]), batch);
    refused(free().ints("s", &[1, -1, 3]).node("Reshape", "x s", "y", &[]), batch);
    refused(free().ints("s", &[1, 2, 6]).node("Resize", "x _ _ s", "y", &[]), batch);
    let size = new().node("ReduceMean", "x", "m", &[ints("axes", &[2]), int("keepdims", 0)]);
    refused(size.node("Mul", "m x", "y", &[]), batch);
}

#[test]
fn weights() {
    for value in [f64::NAN, f64::INFINITY] {
        let model = Builder::new(&[2]).floats("layer.weight", &[2], &[1.0, value]).node(
            "Mul",
            "x layer.weight",
            "y",
            &[],
        );
        refused(model, &["\"layer.weight\"", "NaN or infinity"]);
    }
    let external = Tensor {
        name: "w".into(),
        dims: vec![2],
        data_type: 1,
        data_location: 1,
        external_data: vec![Entry { key: "location".into(), value: "/etc/passwd".into() }],
        ..Tensor::default()
    };
    refused(
        Builder::new(&[2]).tensor(external).node("Mul", "x w", "y", &[]),
        &["\"w\"", "in the file \"/etc/passwd\""],
    );
    let encrypted = Builder::new(&[1, 2, 2]).node("Conv", "x x", "y", &[]);
    refused(encrypted, &["weights (input 1) depends on the encrypted input"]);
    let zero = Builder::new(&[2]).scalar("c", 0.0).node("Div", "x c", "y", &[]);
    refused(zero, &["/y (Div)", "divide by zero"]);
    let v = [1.0, -1.0];
    let model = Builder::new(&[2]).floats("v", &[2], &v).node("BatchNormalization", "x v v v v", "y", &[]);
    refused(model, &["variance"]);
    let training = Builder::new(&[2]).floats("v", &[2], &v);
    let training = training.node("BatchNormalization", "x v v v v", "y", &[int("training_mode", 1)]);
    refused(training, &["model.eval()"]);
}

#[test]
fn graphs() {
    let relu = || Builder::new(&[2]).node("Neg", "x", "y", &[]);
    let mut cycle = relu().node("Add", "y b", "a", &[]).node("Neg", "a", "b", &[]);
    refused(cycle.clone(), &["/b (Neg): it depends on its own output"]);
    cycle.graph().node[1].input[1] = "a".into();
    refused(cycle, &["/a (Add): it depends on its own output"]);
    refused(relu().node("Neg", "nowhere", "z", &[]), &["/z (Neg): it reads \"nowhere\""]);
    refused(relu().node("Neg", "x", "y", &[]), &["/y (Neg): \"y\" is defined a second time"]);
    refused(relu().node("Neg", "y", "x", &[]), &["\"x\" is defined a second time"]);
    refused(relu().scalar("c", 1.0).scalar("c", 1.0), &["\"c\": there are two constants"]);
    refused(relu().opset(5), &["version 5", "opset_version"]);
    refused(Builder::new(&[2]), &["no output"]);
    refused(Builder::new(&[1; 8]).node("Neg", "x", "y", &[]), &["8 axes"]);
    refused(relu().opset(29), &["version 29", "opset_version"]);
    let mut constant = relu().scalar("c", 1.0).node("Neg", "c", "z", &[]);
    refused(constant.clone(), &["does not depend on any input"]);
    constant.graph().output = vec![ValueInfo { name: "missing".into(), r#type: None }];
    refused(constant, &["\"missing\" is not defined"]);
    let mut inputs = relu().node("Add", "y other", "z", &[]);
    let second = ValueInfo { name: "other".into(), ..inputs.graph().input[0].clone() };
    inputs.graph().input.push(second);
    refused(inputs.clone(), &["the inputs \"x\" and \"other\""]);
    inputs.graph().input[1].name = "x".into();
    refused(inputs, &["two inputs of this name"]);
    let mut token = relu();
    token.graph().input[0].r#type = Some(crate::model::tensor_type(7, &[None, Some(2)]));
    refused(token, &["float32 input"]);
    let mut graphless = relu();
    graphless.0.graph = None;
    refused(graphless, &["no graph"]);
    assert!(matches!(pleura_onnx::import(b"\xffPNG", &Default::default()), Err(ImportError::NotOnnx(_))));
    for (bytes, name) in [
        (b"PK\x03\x04\x14\0".as_slice(), "a ZIP archive"),
        (b"\x80\x02\x8a\nl\xfc", "a pickle"),
        (b"\x1c\0\0\0TFL3", "a model of TensorFlow Lite"),
        (b"\x40\0\0\0\0\0\0\0{\"a\"", "a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    ] {
        let error = pleura_onnx::import(bytes, &Default::default()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("no ONNX model; "), "{error}");
    }
    assert!(pleura_onnx::import(b"", &Default::default()).is_err());
}

#[test]
fn attributes() {
    let conv = |attributes: &[_]| {
        Builder::new(&[1, 4, 4]).floats("w", &[1, 1, 2, 2], &[1.0; 4]).node("Conv", "x w", "y", attributes)
    };
    refused(conv(&[ints("strides", &[0, 1])]), &["strides"]);
    refused(conv(&[ints("strides", &[-1, 1])]), &["strides"]);
    refused(conv(&[ints("strides", &[1])]), &["strides"]);
    refused(conv(&[ints("dilations", &[i64::MAX, 1])]), &["dilations"]);
    refused(conv(&[ints("pads", &[-1, 0, 0, 0])]), &["pads"]);
    refused(conv(&[ints("pads", &[i64::MAX; 4])]), &["pads"]);
    refused(conv(&[ints("pads", &[1 << 24; 4])]), &["more than"]);
    refused(conv(&[ints("kernel_shape", &[3, 3])]), &["kernel_shape"]);
    refused(conv(&[int("group", 0)]), &["groups"]);
    refused(conv(&[int("group", i64::MIN)]), &["groups"]);
    refused(conv(&[text("auto_pad", "DIAGONAL")]), &["auto_pad"]);
    refused(conv(&[ints("dilations", &[4, 4])]), &["reaches over 5 positions"]);
    let pool = |attributes: &[_]| Builder::new(&[1, 4, 4]).node("AveragePool", "x", "y", attributes);
    refused(pool(&[]), &["kernel_shape is missing"]);
    refused(pool(&[ints("kernel_shape", &[0, 2])]), &["kernel_shape"]);
    refused(pool(&[ints("kernel_shape", &[1 << 40, 2])]), &["kernel_shape"]);
    refused(
        pool(&[ints("kernel_shape", &[2, 2]), ints("pads", &[2, 2, 0, 0])]),
        &["padding is [2, 2] before"],
    );
    refused(Builder::new(&[2]).node("Gemm", "x x", "y", &[int("transA", 1)]), &["encrypted side"]);
    let nan = Builder::new(&[2]).floats("w", &[2, 2], &[1.0; 4]).node(
        "Gemm",
        "x w",
        "y",
        &[float("alpha", f32::NAN)],
    );
    refused(nan, &["alpha"]);
    let big = Builder::new(&[2]).scalar("e", 65.0).node("Pow", "x e", "y", &[]);
    refused(big, &["exponent is 65"]);
    let half = Builder::new(&[2]).scalar("e", 0.5).node("Pow", "x e", "y", &[]);
    refused(half, &["ciphertexts cannot compute it", "polynomial"]);
    let value = Tensor { dims: vec![1], data_type: 1, float_data: vec![f32::NAN], ..Tensor::default() };
    let constant =
        Builder::new(&[2]).node("Constant", "", "c", &[tensor("value", value)]).node("Mul", "x c", "y", &[]);
    refused(constant, &["/c (Constant)", "NaN"]);
}

#[test]
fn errors_carry_what_was_found() {
    let problem = |model: Builder| match model.import().unwrap_err() {
        ImportError::Node { name, op, problem } => (name, op, problem),
        other => panic!("{other}"),
    };
    let relu = Builder::new(&[2]).node("Relu", "x", "y", &[]);
    let expected = Problem::Activation { function: pleura_nn::Function::Relu };
    assert_eq!(problem(relu), ("/y".into(), "Relu".into(), expected));
    let pool = Builder::new(&[1, 4, 4]).node("MaxPool", "x", "y", &[]);
    assert_eq!(problem(pool).2, Problem::Unsupported(Unsupported::MaxPool));
    let axis = Builder::new(&[2, 3]).node("Flatten", "x", "y", &[int("axis", 7)]);
    assert_eq!(problem(axis).2, Problem::Axis { axis: 7, rank: 3 });
    let kernel = Builder::new(&[1, 4, 4]).floats("w", &[1, 1, 5, 5], &[1.0; 25]);
    let kernel = kernel.node("Conv", "x w", "y", &[]);
    assert_eq!(problem(kernel).2, Problem::Kernel { reach: 5, extent: 4 });
    let options = ImportOptions { input_shape: Some(vec![3]), ..ImportOptions::default() };
    let error = Builder::new(&[2]).node("Neg", "x", "y", &[]).import_with(&options).unwrap_err();
    let expected = Problem::InputShape { chosen: vec![3], declared: vec![Some(2)] };
    assert_eq!(error.problem(), Some(&expected));
    let two = Builder::new(&[2]).node("Neg", "x", "y", &[]);
    let options = ImportOptions { output: Some("z".into()), ..ImportOptions::default() };
    let error = two.import_with(&options).unwrap_err();
    assert_eq!(error, ImportError::UnknownOutput { chosen: "z".into(), names: vec!["y".into()] });
}

#[test]
fn ranges_in_the_metadata_are_numbers() {
    let model = |value: &str| {
        let mut model = Builder::new(&[4]).scalar("c", 2.0).node("Mul", "x c", "y", &[]);
        model.0.metadata_props.push(Entry { key: "pleura.ranges".into(), value: value.into() });
        model
    };
    let ranges = model(r#"{"input": 1.5, "/y": 3}"#).import().unwrap().ranges;
    assert_eq!(ranges.into_iter().collect::<Vec<_>>(), [("/y".to_owned(), 3.0), ("input".to_owned(), 1.5)]);
    assert!(Builder::new(&[4]).node("Neg", "x", "y", &[]).import().unwrap().ranges.is_empty());
    for value in ["", "[1]", r#"{"input": "large"}"#] {
        refused(model(value), &["pleura.ranges", "JSON object", "remove or correct"]);
    }
}
