//! Encrypted vectors: products, rotations and a matrix on ciphertexts, with client and server apart.
//!
//! `cargo run --release --example 01_encrypt`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use pleura::ckks::{Complex64, Encoder, Evaluator, KeyRequest, LinearTransform, Params, SecretKey, Security};
use pleura::ring::Cpu;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    // The smallest ring with 128-bit security, 3 levels and a scale of 2^29. A ciphertext has n/2 slots.
    let params = Params::choose(3, 29, Security::Bits128)?;
    let slots = params.n() / 2;
    let top = params.max_level();
    println!("n = {}, {slots} slots, log2(QP) = {:.0}", params.n(), params.log2_qp(top));

    // A banded matrix: row i has 1/2 on the diagonal and 1/4 to the right of it, cyclically.
    let diagonal = |value: f64| vec![Complex64::from(value); slots];
    let matrix = LinearTransform::new(&params, top, slots, [(0, diagonal(0.5)), (1, diagonal(0.25))])?;

    // Client: a secret key, the evaluation keys of this computation, and a ciphertext. `top` is the level of the key's use.
    let encoder = Encoder::new(&params);
    let secret = SecretKey::generate(&params)?;
    let request = KeyRequest::new().relin(top).rotations(&params, [3], top).merge(&matrix.keys());
    let keys = secret.evaluation_keys(&request)?;
    let x: Vec<f64> = (0..slots).map(|i| (i as f64 / 100.0).sin()).collect();
    let ciphertext = secret.encrypt(&encoder.encode_real(&x)?)?;

    // Server: (M x)^2, rotated by three slots. It has evaluation keys and no secret key.
    let server = Evaluator::new(&params, Cpu::new(params.ring().clone())?)?;
    let keys = server.upload_keys(&keys)?;
    let matrix = server.prepare_transform(&matrix, &Encoder::new(&params))?;
    let input = server.upload(&[ciphertext])?;
    let product = server.transform(&input, &matrix, &keys)?;
    let square = server.square_rescale(&product, &keys)?;
    let rotated = server.rotate(&square, 3, &keys)?;
    println!("the result is at level {} of {top}", rotated.level());
    let returned = server.download(&rotated)?.remove(0);

    // Client: ten fractional bits may be shown. More of them would carry noise, which depends on the key.
    let published = secret.decrypt(&encoder, &returned)?.publish_real(10)?;
    let at = |i: usize| x.get(i % slots).copied().unwrap_or(f64::NAN);
    let mut worst = 0.0_f64;
    for (i, got) in published.iter().enumerate() {
        let expected = (0.5 * at(i + 3) + 0.25 * at(i + 4)).powi(2);
        worst = worst.max((got - expected).abs());
    }
    println!("largest error of {slots} slots: {worst:.1e}");
    // A published value is less than one unit of its last bit away.
    assert!(worst < 1.5 / 1024.0);
    Ok(())
}
