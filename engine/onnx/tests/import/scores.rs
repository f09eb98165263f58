//! The end of a model that the client computes.

use crate::model::{Builder, float, int, ints, kinds, text};
use crate::proto::{Attribute, Entry, Function, Node, OperatorSet, Tensor};
use pleura_nn::ScoreTransform;
use pleura_onnx::{ImportError, ImportOptions};

#[track_caller]
fn ends(model: &Builder, scores: ScoreTransform, shape: &[usize]) {
    let imported = model.import().unwrap();
    assert_eq!((imported.scores, imported.network.output_shape()), (scores, shape));
    assert_eq!(imported.notes, Vec::<String>::new());
}

#[test]
fn probabilities_and_labels_belong_to_the_client() {
    let new = || Builder::new(&[3]).node("Mul", "x x", "a", &[]);
    ends(&new(), ScoreTransform::Identity, &[3]);
    ends(&new().node("Sigmoid", "a", "y", &[]), ScoreTransform::Sigmoid, &[3]);
    ends(&new().node("Softmax", "a", "y", &[]), ScoreTransform::Softmax, &[3]);
    ends(&new().opset(9).node("Softmax", "a", "y", &[]), ScoreTransform::Softmax, &[3]);
    ends(&new().node("LogSoftmax", "a", "y", &[int("axis", 1)]), ScoreTransform::LogSoftmax, &[3]);
    assert_eq!(kinds(&new().node("Sigmoid", "a", "y", &[]).network()), "I P2");
    // Behind them, elements may move.
    let model =
        new().node("Sigmoid", "a", "b", &[]).ints("i", &[2, 0]).node("Gather", "b i", "y", &[int("axis", 1)]);
    ends(&model, ScoreTransform::Sigmoid, &[2]);
    let one = Builder::new(&[1]).ints("a", &[1]).node("Sigmoid", "x", "s", &[]);
    ends(&one.node("Squeeze", "s a", "y", &[]), ScoreTransform::Sigmoid, &[]);
    let model = new().node("Softmax", "a", "b", &[]).ints("s", &[-1, 3, 1]).node("Reshape", "b s", "c", &[]);
    ends(
        &model.node("Cast", "c", "d", &[int("to", 11)]).node("Identity", "d", "y", &[]),
        ScoreTransform::Softmax,
        &[3, 1],
    );
    // Labels, of scores or of probabilities.
    for before in ["Identity", "Softmax", "LogSoftmax", "Sigmoid"] {
        let model =
            new().node(before, "a", "b", &[]).node("ArgMax", "b", "c", &[int("axis", 1), int("keepdims", 0)]);
        ends(&model, ScoreTransform::ArgMax { axes: 0, last: false }, &[3]);
    }
    let model = new().node("ArgMax", "a", "b", &[int("axis", -1), int("select_last_index", 1)]);
    ends(
        &model.node("Cast", "b", "y", &[int("to", 6)]),
        ScoreTransform::ArgMax { axes: 1, last: true },
        &[3],
    );
    let model = new().node("ArgMin", "a", "y", &[int("axis", 1), int("keepdims", 0)]);
    ends(&model, ScoreTransform::ArgMax { axes: 0, last: false }, &[3]);
    assert!(model.network().evaluate_flat(&[1.0, 2.0, 3.0]) == [-1.0, -4.0, -9.0]);
}

#[test]
fn other_ends_are_refused() {
    let new = || Builder::new(&[2, 3]).node("Neg", "x", "a", &[]);
    for (model, part) in [
        (new().node("Softmax", "a", "y", &[]), "all results of an item"),
        (new().node("Softmax", "a", "y", &[int("axis", 0)]), "batch"),
        (new().opset(11).node("Softmax", "a", "y", &[int("axis", 2)]), "all results of an item"),
        (new().node("ArgMax", "a", "y", &[]), "batch"),
        (new().node("ArgMax", "a", "y", &[int("axis", 1)]), "all results of an item"),
        (new().node("Sigmoid", "a", "b", &[]).node("Cast", "b", "y", &[int("to", 7)]), "rounds"),
        (new().node("Sigmoid", "a", "b", &[]).node("Neg", "b", "y", &[]), "cannot compute sigmoid"),
        (
            new().node("Softmax", "a", "b", &[]).node("Transpose", "b", "y", &[ints("perm", &[0, 2, 1])]),
            "Softmax",
        ),
    ] {
        let error = model.error();
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    // Before version 13, all axes from this one on made up one sum.
    ends(&new().opset(11).node("Softmax", "a", "y", &[int("axis", 1)]), ScoreTransform::Softmax, &[2, 3]);
}

#[test]
fn all_obstacles_are_listed() {
    let external = Tensor {
        name: "w".into(),
        dims: vec![4, 4],
        data_type: 1,
        data_location: 1,
        external_data: vec![Entry { key: "location".into(), value: "w.bin".into() }],
        ..Tensor::default()
    };
    let model =
        Builder::new(&[1, 4, 4]).tensor(external).node("Relu", "x", "a", &[]).node("Relu", "a", "b", &[]);
    let model = model.node("MaxPool", "b", "c", &[ints("kernel_shape", &[2, 2])]).node(
        "Flatten",
        "c",
        "d",
        &[int("axis", 9)],
    );
    let model = model.node("MatMul", "d w", "e", &[]).node("LayerNormalization", "e w", "f", &[]);
    let error = model.node("Mul", "f f", "y", &[float("slope", 1.0)]).import().unwrap_err();
    let ImportError::Several(errors) = &error else { panic!("{error}") };
    assert_eq!(errors.len(), 7);
    let text = error.to_string();
    for part in [
        "6 obstacles",
        "\"w.bin\"",
        "/a and 1 more (Relu)",
        "average pooling",
        "no axis 9",
        "batch normalization",
        "\"slope\"",
    ] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn weights_in_a_file_next_to_the_model() {
    let folder = std::env::temp_dir().join(format!("pleura-onnx-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("inside")).unwrap();
    let values: Vec<u8> = [9.0f32, 1.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(folder.join("inside/w.bin"), values).unwrap();
    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
    let import = |location: &str, rest: &[Entry]| {
        let external_data = [&[entry("location", location)], rest].concat();
        let w = Tensor {
            name: "w".into(),
            dims: vec![2],
            data_type: 1,
            data_location: 1,
            external_data,
            ..Tensor::default()
        };
        let options =
            ImportOptions { external_data: Some(folder.join("inside")), ..ImportOptions::default() };
        Builder::new(&[2]).tensor(w).node("Mul", "x w", "y", &[]).import_with(&options)
    };
    let part = [entry("offset", "4"), entry("length", "8")];
    assert_eq!(import("w.bin", &part).unwrap().network.evaluate_flat(&[1.0, 1.0]), [1.0, 2.0]);
    for (location, rest) in [
        ("../inside/w.bin", &part[..]),
        ("/etc/passwd", &part),
        ("", &part),
        ("missing.bin", &part),
        ("w.bin", &[entry("offset", "8"), entry("length", "8")]),
        ("w.bin", &[entry("offset", "-1")]),
        ("w.bin", &[entry("length", "18446744073709551615")]),
        ("w.bin", &[]),
    ] {
        let error = import(location, rest).unwrap_err().to_string();
        assert!(error.contains("cannot be read") || error.contains("the file 3"), "{location}: {error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn text_of_other_modes() {
    let model = Builder::new(&[1, 2, 2]).ints("p", &[0, 0, 2, 0, 0, 0, 0, 0]);
    assert!(model.node("Pad", "x p", "y", &[text("mode", "reflect")]).error().contains("pads is 2"));
}

#[test]
fn functions_of_the_model_are_put_in_place() {
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let node = |op: &str, input: &[&str], output: &str, attribute: Vec<Attribute>| Node {
        input: names(input),
        output: names(&[output]),
        op_type: op.into(),
        attribute,
        ..Node::default()
    };
    let squeeze = Attribute { ref_attr_name: "value".into(), ..float("value_float", 0.0) };
    let function = |version| Function {
        name: "Scaled".into(),
        domain: "own".into(),
        input: names(&["a"]),
        output: names(&["b"]),
        node: vec![node("Constant", &[], "c", vec![squeeze.clone()]), node("Mul", &["a", "c"], "b", vec![])],
        opset_import: vec![OperatorSet { domain: String::new(), version }],
        attribute_proto: vec![float("value", 3.0)],
        ..Function::default()
    };
    let mut model =
        Builder::new(&[2]).node("Scaled", "x", "s", &[float("value", 2.0)]).node("Scaled", "s", "y", &[]);
    model.graph().node.iter_mut().for_each(|node| node.domain = "own".into());
    model.0.functions = vec![function(17)];
    assert_eq!(model.network().evaluate_flat(&[1.0, -1.0]), [6.0, -6.0]);
    model.0.functions = vec![function(18)];
    assert!(model.error().contains("version 18"), "{}", model.error());
    let call = Node { domain: "own".into(), ..node("Scaled", &["a"], "b", vec![]) };
    model.0.functions = vec![Function { node: vec![call], ..function(17) }];
    assert!(model.error().contains("too deep"), "{}", model.error());
    model.0.functions = vec![function(17), function(17)];
    assert!(model.error().contains("one name"), "{}", model.error());
    // What a call has and its function does not declare is not ignored.
    model.0.functions = vec![Function { attribute_proto: vec![], ..function(17) }];
    assert!(model.error().contains("no attribute \"value\""), "{}", model.error());
    model.0.functions = vec![Function { input: vec![], ..function(17) }];
    assert!(model.error().contains("1 inputs"), "{}", model.error());
    let mut ambiguous = Builder::new(&[2]).node("Neg", "x", "y", &[]);
    ambiguous.0.functions = vec![Function { name: "Neg".into(), domain: String::new(), ..function(17) }];
    assert!(ambiguous.error().contains("either may be meant"), "{}", ambiguous.error());
}
