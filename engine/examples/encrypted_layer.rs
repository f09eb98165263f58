//! A small layer on encrypted data, from both sides: the client encrypts two vectors, the server multiplies them by a
//! banded matrix and squares the result without seeing it, the client decrypts.
//!
//! `cargo run --release --example encrypted_layer [-- LEVELS SCALE_BITS]`
#![expect(clippy::print_stdout, reason = "an example shows its results")]

use pleura::ckks::{
    Ciphertext, Complex64, Encoder, EvaluationKeys, Evaluator, KeyRequest, LinearTransform, Params,
    Precision, SecretKey, Security,
};
use pleura::ring::{Backend, Cpu};
use std::error::Error;
use std::time::Instant;

const DIAGONALS: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let levels = arguments.next().map_or(Ok(3), |s| s.parse())?;
    let scale_bits = arguments.next().map_or(Ok(29), |s| s.parse())?;
    let params = Params::choose(levels, scale_bits, Security::Bits128)?;
    let top = params.max_level();
    let slots = params.n() / 2;
    println!(
        "parameters  n = 2^{}, {top} levels of {scale_bits} bits, log2(QP) = {:.0} of {:.0} allowed for 128 bits",
        params.literal().log_n,
        params.log2_qp(top),
        Security::Bits128.max_log2_qp(params.literal().log_n),
    );

    // Both sides know the matrix; only the client knows the vectors.
    let entry = |i: usize, k: usize| ((i * 7 + k) as f64).cos() / (DIAGONALS / 4) as f64;
    let diagonal = |k: usize| (0..slots).map(|i| Complex64::from(entry(i, k))).collect();
    let layer = LinearTransform::new(&params, top, slots, (0..DIAGONALS).map(|k| (k as i64, diagonal(k))))?;

    let clock = Instant::now();
    let encoder = Encoder::new(&params);
    let secret = SecretKey::generate(&params)?;
    let keys = secret.evaluation_keys(&KeyRequest::new().relin(top).merge(&layer.keys()))?.to_bytes();
    println!("client      keys of {:.1} MB in {:.0} ms", keys.len() as f64 / 1e6, ms(clock));

    let clock = Instant::now();
    let inputs: Vec<Vec<f64>> =
        (1..=2).map(|k| (0..slots).map(|i| ((i * k) as f64).cos()).collect()).collect();
    let mut sent = Vec::new();
    for x in &inputs {
        sent.push(secret.encrypt(&encoder.encode_real(x)?)?.to_bytes());
    }
    let bytes: usize = sent.iter().map(Vec::len).sum();
    println!("client      two ciphertexts, {:.2} MB, in {:.1} ms", bytes as f64 / 1e6, ms(clock));

    let server = Evaluator::new(&params, Cpu::new(params.ring().clone())?)?;
    let clock = Instant::now();
    let keys = server.upload_keys(&EvaluationKeys::from_bytes(&keys, &params)?)?;
    let layer = server.prepare_transform(&layer, &Encoder::new(&params))?;
    println!("server      {}, keys and layer ready in {:.0} ms", server.backend().name(), ms(clock));
    let received = sent.iter().map(|b| Ciphertext::from_bytes(b, &params)).collect::<Result<Vec<_>, _>>()?;
    let x = server.upload(&received)?;
    let clock = Instant::now();
    let y = server.transform(&x, &layer, &keys)?;
    println!("server      {DIAGONALS} diagonals on two ciphertexts in {:.1} ms", ms(clock));
    let clock = Instant::now();
    let z = server.mul_rescale(&y, &y, &keys)?;
    println!("server      square in {:.1} ms", ms(clock));
    let returned = server.download(&z)?;

    for (number, (x, z)) in inputs.iter().zip(&returned).enumerate() {
        let decrypted = secret.decrypt(&encoder, z)?;
        let expected: Vec<_> = (0..slots)
            .map(|i| {
                (0..DIAGONALS).map(|k| entry(i, k) * x.get((i + k) % slots).unwrap_or(&0.0)).sum::<f64>()
            })
            .map(|y| Complex64::from(y * y))
            .collect();
        let precision = Precision::of(decrypted.reveal_unrounded(), &expected);
        let published = decrypted.publish_real(decrypted.max_bits().min(10))?;
        let first: Vec<_> = published.iter().take(4).map(|x| format!("{x:.4}")).collect();
        println!("client      vector {number}: {} ...  precision {precision}", first.join("  "));
    }
    Ok(())
}

fn ms(clock: Instant) -> f64 {
    clock.elapsed().as_secs_f64() * 1e3
}
