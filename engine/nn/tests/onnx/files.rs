//! Networks exported elsewhere, with what came out there.

use crate::model::kinds;
use pleura_nn::{Fit, ImportOptions, Network};
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
    let ((shape, x), (_, expected)) = (npy(input), npy(output));
    let len: usize = network.input_shape().iter().product();
    assert_eq!(shape[1..], *network.input_shape());
    let found: Vec<f64> = x.chunks(len).flat_map(|item| network.evaluate(item)).collect();
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
        let imported = Network::from_onnx(&bytes, &ImportOptions::default());
        let imported = imported.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        println!("{} in {:?}: {}", path.display(), start.elapsed(), kinds(&imported.network));
        let with = |suffix: &str| path.with_extension(suffix);
        let error = difference(&imported.network, &with("input.npy"), &with("output.npy"));
        assert!(error < 1e-4, "{}: {error:e}", path.display());
    }
}

/// Prints what becomes of each model in the directory that `PLEURA_FOREIGN_ONNX` names; those with one input and an
/// output beside them are compared.
#[test]
#[ignore = "reads a directory of models that is not in the repository"]
fn foreign_networks() {
    let Ok(directory) = std::env::var("PLEURA_FOREIGN_ONNX") else { return };
    for path in models(Path::new(&directory)) {
        let bytes = fs::read(&path).unwrap();
        let name = path.strip_prefix(&directory).unwrap().display();
        let start = Instant::now();
        let mut result = Network::from_onnx(&bytes, &ImportOptions::default());
        let mut how = "imported";
        if let Err(e) = &result {
            println!("{name}: {e} [{:?}]", start.elapsed());
            let fit = Some(Fit { degree: 3, from: -5.0, to: 5.0 });
            result = Network::from_onnx(&bytes, &ImportOptions { fit, ..ImportOptions::default() });
            how = "  with activations fitted";
            if let Err(e) = &result {
                println!("  fitted: {e}");
            }
        }
        let Ok(imported) = result else { continue };
        let nodes = imported.network.nodes().len();
        print!("{how}: {name}: {nodes} nodes [{:?}]", start.elapsed());
        let (input, output) = (path.with_extension("input0.npy"), path.with_extension("output0.npy"));
        if input.exists() && !path.with_extension("input1.npy").exists() && how == "imported" {
            print!(" difference {:.1e}", difference(&imported.network, &input, &output));
        }
        println!();
    }
}
