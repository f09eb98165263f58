//! Files made to do harm: an error, or a network, in little time and memory; never a panic.

use crate::model::{Builder, Random, int, int_tensor, ints, numbers, tensor};
use crate::proto::Tensor;
use pleura_nn::Network;
use pleura_onnx::ImportOptions;
use std::time::Instant;

/// A small network with a bit of everything.
fn small() -> Builder {
    let w = numbers(2 * 2 * 9, 1);
    let one = Tensor { data_type: 7, dims: vec![1], int64_data: vec![-1], ..Tensor::default() };
    let model = Builder::new(&[2, 4, 4]).floats("w", &[2, 2, 3, 3], &w).floats("v", &[2], &[0.5, 1.0]);
    let model = model.scalar("c", 0.5).ints("first", &[0]).floats("m", &[8, 3], &numbers(24, 2));
    let pads = [ints("pads", &[1, 1, 1, 1]), ints("strides", &[1, 1])];
    let model = model.node("Conv", "x w v", "c1", &pads).node("BatchNormalization", "c1 v v v v", "n", &[]);
    let model = model.node("Mul", "n n", "s", &[]).node("Mul", "s c", "t", &[]).node("Add", "t n", "a", &[]);
    let model =
        model.node("AveragePool", "a", "p", &[ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]);
    let model = model.node("ConvTranspose", "p w", "d", &[ints("pads", &[1, 1, 1, 1])]);
    let model = model.node("Concat", "p d", "e", &[int("axis", 1)]).node(
        "Transpose",
        "e",
        "f",
        &[ints("perm", &[0, 2, 1, 3])],
    );
    let model = model.node("ReduceMean", "f", "g", &[ints("axes", &[2]), int("keepdims", 0)]);
    let model = model.node("Concat", "g g", "h", &[int("axis", 2)]).node("Shape", "h", "shape", &[]);
    let model = model.node("Gather", "shape first", "batch", &[]).node(
        "Constant",
        "",
        "rest",
        &[tensor("value", one)],
    );
    let model = model.node("Concat", "batch rest", "to", &[int("axis", 0)]).node("Reshape", "h to", "i", &[]);
    model.node("MatMul", "i m", "j", &[]).node("Relu", "j", "k", &[]).node("Softmax", "k", "y", &[])
}

fn options() -> ImportOptions {
    ImportOptions { keep_activations: true, ..ImportOptions::default() }
}

/// More of them where `PLEURA_ROUNDS` multiplies them.
fn rounds(usual: u64) -> u64 {
    usual * std::env::var("PLEURA_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1)
}

#[test]
fn the_small_network_is_fine() {
    let network = small().import_with(&options()).unwrap().network;
    assert_eq!(network.evaluate_flat(&numbers(32, 0)).len(), 3);
}

#[test]
fn every_truncation() {
    let bytes = small().bytes();
    for len in 0..bytes.len() {
        let _ = pleura_onnx::import(&bytes[..len], &options());
    }
}

#[test]
fn random_changes() {
    let bytes = small().bytes();
    let mut random = Random(1);
    for round in 0..rounds(6000) {
        let mut changed = bytes.clone();
        for _ in 0..=round % 3 {
            let at = random.next() as usize % changed.len();
            changed[at] = match random.next() % 3 {
                0 => changed[at] ^ (1 << (random.next() % 8)),
                1 => random.next() as u8,
                _ => [0, 1, 127, 128, 255][random.next() as usize % 5],
            };
        }
        if random.next().is_multiple_of(8) {
            let at = random.next() as usize % changed.len();
            changed.drain(at..(at + random.next() as usize % 9).min(bytes.len()));
        }
        if let Ok(imported) = pleura_onnx::import(&changed, &options()) {
            evaluates(&imported.network);
        }
    }
}

/// Changes to numbers, so that more than the parser is reached.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn random_attributes() {
    let values =
        [0, 1, -1, 2, 3, 4, 7, 8, 1 << 12, 1 << 24, 1 << 31, 1 << 40, i64::MAX, i64::MIN, i64::MIN + 1];
    let mut random = Random(2);
    for _ in 0..rounds(4000) {
        let mut model = small();
        let pick = |random: &mut Random| values[random.next() as usize % values.len()];
        let graph = model.graph();
        for _ in 0..2 {
            let at = random.next() as usize % graph.node.len();
            let node = &mut graph.node[at];
            match random.next() % 5 {
                0 => {
                    for attribute in &mut node.attribute {
                        attribute.i = pick(&mut random);
                        let len = attribute.ints.len().max(1);
                        attribute.ints.resize(len, 0);
                        let place = random.next() as usize % len;
                        attribute.ints[place] = pick(&mut random);
                    }
                }
                1 => {
                    let at = random.next() as usize % graph.initializer.len();
                    let tensor = &mut graph.initializer[at];
                    tensor.dims.push(pick(&mut random));
                    tensor.int64_data.push(pick(&mut random));
                }
                2 => {
                    let shape =
                        graph.input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut();
                    let dims = &mut shape.unwrap().dim;
                    let place = random.next() as usize % dims.len();
                    dims[place].dim_value = Some(pick(&mut random));
                }
                3 if !node.input.is_empty() => {
                    let names = ["x", "w", "v", "c", "first", "m", "n", "p", "shape", "batch", "to", "i", ""];
                    let place = random.next() as usize % node.input.len();
                    node.input[place] = names[random.next() as usize % names.len()].into();
                }
                _ => {
                    let ops = [
                        "Conv",
                        "Gemm",
                        "Slice",
                        "Split",
                        "Pad",
                        "Expand",
                        "Tile",
                        "Resize",
                        "Gather",
                        "Squeeze",
                        "Flatten",
                        "Range",
                        "ConstantOfShape",
                        "Where",
                        "Div",
                        "Pow",
                        "ReduceProd",
                        "DepthToSpace",
                        "SpaceToDepth",
                        "Unsqueeze",
                        "Cast",
                        "Upsample",
                        "Mod",
                        "Sum",
                        "Equal",
                        "Size",
                        "Clip",
                        "GatherElements",
                        "GatherND",
                        "ScatterElements",
                        "ScatterND",
                        "CumSum",
                        "Trilu",
                        "Einsum",
                        "CastLike",
                        "PRelu",
                        "ArgMax",
                    ];
                    node.op_type = ops[random.next() as usize % ops.len()].into();
                }
            }
        }
        if let Ok(imported) = model.import_with(&options()) {
            evaluates(&imported.network);
        }
    }
}

/// Runs an imported network, if it is small enough for that.
fn evaluates(network: &Network) {
    if network.nodes().iter().map(|node| node.len()).sum::<usize>() < 10_000 {
        let values = network.trace(&vec![1.0; network.input_shape().iter().product()]);
        let lens: Vec<usize> = network.nodes().iter().map(|node| node.len()).collect();
        assert_eq!(values.values().iter().map(Vec::len).collect::<Vec<_>>(), lens);
    }
}

#[test]
fn dims_that_overflow() {
    for dims in
        [&[i64::MAX, 2][..], &[1 << 32, 1 << 32], &[-1], &[i64::MIN], &[1 << 60, 0], &[1 << 40], &[1; 100]]
    {
        let w = Tensor {
            name: "w".into(),
            dims: dims.to_vec(),
            data_type: 1,
            raw_data: vec![0; 8],
            ..Tensor::default()
        };
        assert!(Builder::new(&[2]).tensor(w).node("Mul", "x w", "y", &[]).import().is_err(), "{dims:?}");
        let dims: Vec<Option<i64>> = std::iter::once(None).chain(dims.iter().map(|&d| Some(d))).collect();
        assert!(Builder::with_dims(&dims).node("Neg", "x", "y", &[]).import().is_err(), "{dims:?}");
    }
    let odd =
        Tensor { name: "w".into(), dims: vec![2], data_type: 1, raw_data: vec![0; 7], ..Tensor::default() };
    assert!(Builder::new(&[2]).tensor(odd).node("Mul", "x w", "y", &[]).error().contains("multiple of 4"));
}

/// Each would need more memory than there is, or take forever.
#[test]
fn small_files_that_grow() {
    let start = Instant::now();
    let huge = 1 << 40;
    let new = || Builder::new(&[1, 4, 4]);
    let refused = [
        new().ints("s", &[1, 1, 4, huge]).node("Expand", "x s", "y", &[]),
        new().ints("s", &[1, huge, 4, 4]).node("Expand", "x s", "y", &[]),
        new().ints("r", &[1, huge, 1, 1]).node("Tile", "x r", "y", &[]),
        new().ints("p", &[0, 0, huge, 0, 0, 0, 0, 0]).node("Pad", "x p", "y", &[]),
        new().ints("p", &[0, 0, 1 << 20, 0, 0, 0, 0, 0]).node("Pad", "x p", "y", &[]),
        new().ints("p", &[0, 0, i64::MAX, 0, 0, 0, i64::MAX, 0]).node("Pad", "x p", "y", &[]),
        new().ints("p", &[0, 0, i64::MIN, 0, 0, 0, i64::MIN, 0]).node("Pad", "x p", "y", &[]),
        new().floats("s", &[4], &[1.0, 1.0, 1e30, 1.0]).node("Resize", "x _ s", "y", &[]),
        new().floats("s", &[4], &[1.0, 1.0, 1e-30, 1.0]).node("Resize", "x _ s", "y", &[]),
        new().ints("s", &[huge, huge]).node("ConstantOfShape", "s", "c", &[]).node("Mul", "x c", "y", &[]),
        new().ints("s", &[huge, 0]).node("ConstantOfShape", "s", "c", &[]).node("Mul", "x c", "y", &[]),
        new()
            .tensor(scalar("a", i64::MIN))
            .tensor(scalar("b", i64::MAX))
            .tensor(scalar("d", 1))
            .node("Range", "a b d", "c", &[])
            .node("Mul", "x c", "y", &[]),
        new().floats("w", &[1, 1, 1, 1], &[1.0]).node(
            "ConvTranspose",
            "x w",
            "y",
            &[ints("strides", &[1 << 24, 1 << 24])],
        ),
        new().floats("w", &[1, 1, 1, 1], &[1.0]).node(
            "ConvTranspose",
            "x w",
            "y",
            &[ints("output_shape", &[1 << 24, 1 << 24])],
        ),
    ];
    for model in refused {
        assert!(model.import().is_err());
    }
    // The same axis cut again and again.
    let zeros = vec![0; 100_000];
    let ends = vec![1 << 21; 100_000];
    let axes = vec![1; 100_000];
    let model = Builder::new(&[1 << 21]).ints("s", &zeros).ints("e", &ends).ints("a", &axes);
    assert!(model.node("Slice", "x s e a", "y", &[]).error().contains("100000 numbers where 2 are needed"));
    // Many that are large, each within its limit.
    let mut model = Builder::new(&[1, 1, 1]).ints("s", &[1, 256, 256, 256]);
    for i in 0..100 {
        model = model.node("Expand", "x s", &format!("e{i}"), &[]);
    }
    let names: Vec<String> = (0..100).map(|i| format!("e{i}")).collect();
    assert!(model.node("Sum", &names.join(" "), "y", &[]).error().contains("in all"));
    // Coefficients that double.
    let c = numbers(1 << 12, 0);
    let mut model =
        Builder::new(&[1 << 12, 1 << 10]).floats("c", &[1 << 12, 1], &c).node("Mul", "x c", "p0", &[]);
    for i in 0..64 {
        model = model.node("Mul", &format!("p{i} x"), &format!("q{i}"), &[]);
        model = model.node("Add", &format!("q{i} p{i}"), &format!("p{}", i + 1), &[]);
    }
    assert!(model.import().is_err());
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

fn scalar(name: &str, value: i64) -> Tensor {
    Tensor { dims: vec![], ..int_tensor(name, &[value]) }
}

#[test]
fn deep_graphs() {
    let mut model = Builder::new(&[2]).scalar("c", 1.0);
    let mut last = "x".to_string();
    for i in 0..100_000 {
        let next = format!("a{i}");
        model = model.node("Add", &format!("{last} c"), &next, &[]);
        last = next;
    }
    model.graph().node.reverse();
    assert!(model.import().is_ok());
    // Identities at the end, and messages within messages.
    let mut model = Builder::new(&[2]).node("Neg", "x", "i0", &[]);
    for i in 0..10_000 {
        model = model.node("Identity", &format!("i{i}"), &format!("i{}", i + 1), &[]);
    }
    assert!(model.import().is_ok());
    // GraphProto in attribute in node in GraphProto ..., 6,000 messages deep.
    let mut nested: Vec<u8> = Vec::new();
    for _ in 0..2000 {
        for tag in [0x0a, 0x2a, 0x32] {
            let mut outer = vec![tag];
            let mut len = nested.len();
            while len >= 128 {
                outer.push(len as u8 | 128);
                len >>= 7;
            }
            outer.push(len as u8);
            outer.append(&mut nested);
            nested = outer;
        }
    }
    let mut file = vec![0x3a];
    let mut len = nested.len();
    while len >= 128 {
        file.push(len as u8 | 128);
        len >>= 7;
    }
    file.push(len as u8);
    file.extend(nested);
    assert!(pleura_onnx::import(&file, &options()).is_err());
}
