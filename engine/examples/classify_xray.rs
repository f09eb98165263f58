//! An X-ray classified on ciphertexts: `cargo run --release --example classify_xray -- chest.dcm`; a sample without a file.

use pleura::Device;
use pleura::latent::Xray;
use pleura::xray::{Classifier, XrayPipeline, shipped};
use std::error::Error;

#[expect(clippy::print_stdout, reason = "an example prints its result")]
fn main() -> Result<(), Box<dyn Error>> {
    let bytes = match std::env::args().nth(1) {
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
    Ok(())
}
