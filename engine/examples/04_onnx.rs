//! An ONNX model on encrypted data, compared with the answers that PyTorch gives.
//!
//! `cargo run --release --example 04_onnx [-- MODEL.onnx INPUT.npy OUTPUT.npy]`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use pleura::nn::{CompileOptions, Fidelity, Plan};
use pleura::onnx::{ImportOptions, import};
use pleura::{Device, Pipeline, npy};
use std::error::Error;
use std::fs::File;

fn main() -> Result<(), Box<dyn Error>> {
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/reference/lola");
    let mut arguments = std::env::args().skip(1);
    let mut next = |ending: &str| arguments.next().unwrap_or_else(|| format!("{reference}.{ending}"));
    let model = std::fs::read(next("onnx"))?;
    let items = npy::read(File::open(next("input.npy"))?)?;
    let expected = npy::read(File::open(next("output.npy"))?)?;

    // Calibration items fix the ranges of all values, and with them the scales. Typical inputs do; here they are the items themselves.
    let network = import(&model, &ImportOptions::default())?.network;
    let options = CompileOptions { calibration: Some(items.clone()), ..CompileOptions::default() };
    let plan = Plan::compile(&network, &options, &mut |_, _, _| ())?;
    for layer in &plan.report().layers {
        println!("{:<40} level {:>2}, {:>3} rotations", layer.name, layer.level, layer.rotations);
    }

    // Client and server in one process. `published` may be shown; `unrounded` is for the owner of the key, as here.
    let outcome = Pipeline::new(&plan, &Device::cpu(None))?.run(items.view())?;
    let fidelity = Fidelity::new(expected.view(), outcome.unrounded.view());
    println!("inference {:.3} s, error at most {:.1e}", outcome.times.infer, fidelity.max_abs_error);
    println!("labels that agree with PyTorch: {:.0} %", 100.0 * fidelity.label_agreement);
    assert!(fidelity.max_abs_error < 1e-3);
    Ok(())
}
