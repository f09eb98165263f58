//! One computation on the CPU and on a GPU, whose resulting ciphertexts are equal bit for bit.
//!
//! `cargo run --release --example 07_gpu`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use pleura::ckks::{Ciphertext, Encoder, EvaluationKeys, Evaluator, KeyRequest, Params, SecretKey, Security};
use pleura::{Device, DeviceSelector, GpuOptions};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let params = Params::choose(1, 28, Security::Bits128)?;
    let secret = SecretKey::generate(&params)?;
    let keys = secret.evaluation_keys(&KeyRequest::new().relin(1))?;
    let sent = secret.encrypt(&Encoder::new(&params).encode_real(&[1.5, -2.0])?)?;

    // The first GPU of any kind, drivers in software included. `Device::auto` takes a GPU in hardware or else the CPU.
    let device = Device::gpu(DeviceSelector::Gpu, &GpuOptions::default()).unwrap_or_else(|error| {
        println!("{error}; the CPU computes both results");
        Device::cpu(None)
    });
    let on_device = square(&device, &params, &keys, &sent)?;
    let on_cpu = square(&Device::cpu(Some(1)), &params, &keys, &sent)?;

    assert_eq!(on_device.to_bytes(), on_cpu.to_bytes());
    println!("{} and the CPU agree on all {} bytes", device.name(), on_cpu.to_bytes().len());
    let published = secret.decrypt(&Encoder::new(&params), &on_device)?.publish_real(8)?;
    assert_eq!(published, [2.25, 4.0]);
    Ok(())
}

fn square(
    device: &Device,
    params: &Params,
    keys: &EvaluationKeys,
    sent: &Ciphertext,
) -> Result<Ciphertext, Box<dyn Error>> {
    let server = Evaluator::new(params, device.backend(params.ring())?)?;
    let keys = server.upload_keys(keys)?;
    let x = server.upload(std::slice::from_ref(sent))?;
    Ok(server.download(&server.square_rescale(&x, &keys)?)?.remove(0))
}
