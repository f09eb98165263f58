//! Pleura's row in the peers' table: the operations on one thread, as one JSON object.
//!
//! `cargo run --release -p benches --bin peer -- --log-n 14 --seconds 0.5`
#![expect(clippy::print_stdout, reason = "the report goes to standard output")]

use benches::{Bench, literal, seven_levels};
use pleura_ckks::{EvaluationKeys, KeyRequest};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let (log_n, seconds) = arguments()?;
    let literal = literal(log_n).ok_or("--log-n takes 13 to 16")?;
    let bench = Bench::new(literal, 1);
    let Bench { params, encoder, secret, public, evaluator, keys, .. } = &bench;

    let values = bench.values();
    let plaintext = encoder.encode_real(&values)?;
    let ciphertext = public.encrypt(&plaintext)?;
    let x = bench.ciphertexts(1);
    let y = bench.ciphertexts(1);

    let mut ms = Map::new();
    let mut time = |name: &str, run: &mut dyn FnMut()| {
        ms.insert(name.to_owned(), json!(median_ms(seconds, run)));
    };
    time("hmult", &mut || drop(black_box(evaluator.mul_rescale(&x, &y, keys))));
    time("hrot", &mut || drop(black_box(evaluator.rotate(&x, 1, keys))));
    time("encode", &mut || drop(black_box(encoder.encode_real(&values))));
    time("encrypt", &mut || drop(black_box(public.encrypt(&plaintext))));
    time("decrypt", &mut || drop(black_box(secret.decrypt(encoder, &ciphertext))));
    if log_n == 14 {
        let bench = Bench::new(seven_levels(), 1);
        let x = bench.ciphertexts(1);
        let (transform, keys) = bench.transform(64);
        time("linear_transform_64", &mut || {
            drop(black_box(bench.evaluator.transform(&x, &transform, &keys)))
        });
    }

    let top = params.max_level();
    let report = json!({
        "library": "Pleura",
        "version": env!("CARGO_PKG_VERSION"),
        "log_n": log_n,
        "log2_q": params.log2_q(top),
        "log2_qp": params.log2_qp(top),
        "levels": top,
        "threads": 1,
        "ms": Value::Object(ms),
        "bytes": {
            "ciphertext": ciphertext.to_bytes().len(),
            "seeded_ciphertext": secret.encrypt(&plaintext)?.to_bytes().len(),
            "galois_key": EvaluationKeys::encoded_len(params, &KeyRequest::new().rotations(params, [1], top)),
            "relin_key": EvaluationKeys::encoded_len(params, &KeyRequest::new().relin(top)),
        },
    });
    println!("{report}");
    Ok(())
}

fn arguments() -> Result<(u32, f64), Box<dyn Error>> {
    let mut log_n = 14;
    let mut seconds = 0.5;
    let mut rest = std::env::args().skip(1);
    while let Some(flag) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--log-n" => log_n = value.parse()?,
            "--seconds" => seconds = value.parse()?,
            _ => return Err(format!("unknown option {flag}; there are --log-n N and --seconds S").into()),
        }
    }
    Ok((log_n, seconds))
}

/// The median time of a run, over as many as fit `seconds`, after one that warms up.
fn median_ms(seconds: f64, run: &mut dyn FnMut()) -> f64 {
    run();
    let start = Instant::now();
    let mut times = Vec::new();
    while times.len() < 3 || start.elapsed().as_secs_f64() < seconds {
        let once = Instant::now();
        run();
        times.push(once.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
