//! A chest X-ray that is classified on ciphertexts: codec, encryption, network, decryption.
//!
//! `cargo run --release --example 05_xray [-- chest.dcm]`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use pleura::Device;
use pleura::latent::Xray;
use pleura::xray::{Classifier, XrayPipeline, shipped};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    // PNG, JPEG, TIFF, BMP, WebP or DICOM. Notes say what was unusual about the file.
    let file = std::env::args().nth(1);
    let bytes = match &file {
        Some(path) => std::fs::read(path)?,
        None => shipped::SAMPLES.last().ok_or("no sample")?.jpeg.to_vec(),
    };
    let (xray, notes) = Xray::from_bytes(&bytes)?;
    notes.iter().for_each(|note| println!("note: {note}"));

    let pipeline = XrayPipeline::new(Classifier::shipped("pneumonia")?, &Device::cpu(None))?;
    let prediction = pipeline.classify(&xray)?;
    for (class, probability) in pipeline.classifier().classes().iter().zip(&prediction.probabilities) {
        println!("{class:<12}{probability:.4}");
    }
    println!("{} (not a medical device)", prediction.label);
    assert!((prediction.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    // The last sample shows a pneumonia, by its doctors and by this network.
    assert!(file.is_some() || prediction.label == "pneumonia");
    Ok(())
}
