//! Networks exported elsewhere, with what came out there.

use crate::model::kinds;
use crate::proto::{Model, Tensor};
use pleura_nn::Network;
use pleura_onnx::ImportOptions;
use prost::Message;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Shape and elements of a file of numpy's.
fn npy(path: &Path) -> (Vec<usize>, Vec<f64>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let start = if bytes[6] == 1 { 10 } else { 12 };
    let end = start + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[start..end]).unwrap();
    let list = header.split_once('(').unwrap().1.split_once(')').unwrap().0;
    let shape = list.split(',').filter_map(|d| d.trim().parse().ok()).collect();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let data = if header.contains("'<f4'") {
        bytes[end..].as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect()
    } else if header.contains("'<f8'") {
        bytes[end..].as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect()
    } else {
        Vec::new()
    };
    (shape, data)
}

fn models(directory: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            out.extend(models(&path));
        } else if path.extension().is_some_and(|e| e == "onnx") {
            out.push(path);
        }
    }
    out.sort();
    out
}

/// Greatest difference between what comes out for the items and what should, relative to the greatest of the latter.
fn difference(network: &Network, input: &Path, output: &Path) -> f64 {
    let (shape, x) = npy(input);
    let (_, expected) = npy(output);
    let len: usize = network.input_shape().iter().product();
    assert_eq!(shape[1..], *network.input_shape());
    let found: Vec<f64> = x.chunks(len).flat_map(|item| network.evaluate_flat(item)).collect();
    assert_eq!(found.len(), expected.len());
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    worst / expected.iter().fold(1e-30, |m, x| x.abs().max(m))
}

#[test]
fn reference_networks_agree_with_pytorch() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/reference");
    let models = models(&directory);
    assert!(!models.is_empty(), "no models in {}", directory.display());
    for path in models {
        let bytes = fs::read(&path).unwrap();
        let start = Instant::now();
        let imported = pleura_onnx::import(&bytes, &ImportOptions::default());
        let imported = imported.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        println!("{} in {:?}: {}", path.display(), start.elapsed(), kinds(&imported.network));
        let with = |suffix: &str| path.with_extension(suffix);
        let error = difference(&imported.network, &with("input.npy"), &with("output.npy"));
        assert!(error < 1e-4, "{}: {error:e}", path.display());
    }
}

/// Prints what becomes of each model in the directory that `PLEURA_FOREIGN_ONNX` names: as it is, then with
/// activations fitted, then with what has no polynomial replaced to see how far the rest goes. Those with their
/// inputs and an output beside them are compared, further inputs made constants.
#[test]
#[ignore = "reads a directory of models that is not in the repository"]
fn foreign_networks() {
    let Ok(directory) = std::env::var("PLEURA_FOREIGN_ONNX") else { return };
    for path in models(Path::new(&directory)) {
        let bytes = fs::read(&path).unwrap();
        println!("{}", path.strip_prefix(&directory).unwrap().display());
        let attempt = |how: &str, model: &[u8], options: &ImportOptions| {
            let start = Instant::now();
            match pleura_onnx::import(model, options) {
                Ok(imported) => {
                    println!("  {how}: {} nodes [{:?}]", imported.network.nodes().len(), start.elapsed());
                    Some(imported.network)
                }
                Err(e) => {
                    println!("  {how}: {e} [{:?}]", start.elapsed());
                    None
                }
            }
        };
        let mut options = ImportOptions::default();
        let Ok(mut model) = Model::decode(bytes.as_slice()) else { continue };
        let Some(graph) = model.graph.as_mut() else { continue };
        for (i, value) in graph.input.iter().enumerate().skip(1) {
            let file = path.with_extension(format!("input{i}.npy"));
            if file.exists() {
                let (shape, data) = npy(&file);
                let name = value.name.clone();
                let dims = shape.iter().map(|&d| d as i64).collect();
                let double_data = data;
                graph.initializer.push(Tensor {
                    name,
                    dims,
                    data_type: 11,
                    double_data,
                    ..Tensor::default()
                });
            }
        }
        let bytes = model.encode_to_vec();
        let mut network = attempt("as it is", &bytes, &options);
        let input = path.with_extension("input0.npy");
        let output = path.with_extension("output0.npy");
        if let Some(network) = network.as_ref().filter(|_| input.exists()) {
            println!("  difference {:.1e}", difference(network, &input, &output));
        }
        options.keep_activations = true;
        network = network.or_else(|| attempt("with activations", &bytes, &options));
        for node in &mut model.graph.as_mut().unwrap().node {
            match node.op_type.as_str() {
                "MaxPool" => node.op_type = "AveragePool".into(),
                "LRN" | "Softmax" | "Sqrt" => node.op_type = "Identity".into(),
                _ => {}
            }
        }
        let bytes = model.encode_to_vec();
        network = network.or_else(|| attempt("replaced", &bytes, &options));
        for shape in [vec![3, 64, 320], vec![1, 64, 128], vec![3, 320, 320], vec![4, 4, 1]] {
            options.input_shape = Some(shape.clone());
            network = network.or_else(|| attempt(&format!("of shape {shape:?}"), &bytes, &options));
        }
    }
}
