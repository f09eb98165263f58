//! The scheme's operations, on one thread, and in batches on all of them.
//!
//! `cargo bench -p benches --bench ckks [-- NAME]`
#![expect(clippy::unwrap_used, reason = "a benchmark stops where its fixed parameters are wrong")]

use benches::{Bench, literal, seven_levels};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pleura_ckks::{Basis, Polynomial};
use std::thread::available_parallelism;

fn operations(c: &mut Criterion) {
    for log_n in 13..=16 {
        let bench = Bench::new(literal(log_n).unwrap(), 1);
        let Bench { encoder, secret, public, evaluator, keys, .. } = &bench;
        let x = bench.ciphertexts(1);
        let y = bench.ciphertexts(1);
        let values = bench.values();
        let plaintext = encoder.encode_real(&values).unwrap();
        let prepared = evaluator.upload_plaintext(&plaintext, x.level()).unwrap();
        let product = evaluator.mul_no_relin(&x, &y).unwrap();
        let ciphertext = secret.encrypt(&plaintext).unwrap();

        let mut time = |name: &str, run: &mut dyn FnMut()| {
            c.bench_function(&format!("{name}/{log_n}"), |b| b.iter(&mut *run));
        };
        time("encode", &mut || drop(encoder.encode_real(&values).unwrap()));
        time("encrypt_secret", &mut || drop(secret.encrypt(&plaintext).unwrap()));
        time("encrypt_public", &mut || drop(public.encrypt(&plaintext).unwrap()));
        time("decrypt", &mut || drop(secret.decrypt(encoder, &ciphertext).unwrap()));
        time("add", &mut || drop(evaluator.add(&x, &y).unwrap()));
        time("mul_plain", &mut || drop(evaluator.mul_plain(&x, &prepared).unwrap()));
        time("mul_no_relin", &mut || drop(evaluator.mul_no_relin(&x, &y).unwrap()));
        time("relinearize", &mut || drop(evaluator.relinearize(&product, keys).unwrap()));
        time("mul_rescale", &mut || drop(evaluator.mul_rescale(&x, &y, keys).unwrap()));
        time("rescale", &mut || drop(evaluator.rescale(&x).unwrap()));
        time("rotate", &mut || drop(evaluator.rotate(&x, 1, keys).unwrap()));
        time("rotate_many_8", &mut || {
            drop(evaluator.rotate_many(&x, &[1, 2, 3, 4, 5, 6, 7, 8], keys).unwrap());
        });
        if log_n >= 14 {
            let sine = Polynomial::interpolate(f64::sin, -1.0, 1.0, 15).unwrap();
            time("polynomial_15", &mut || drop(evaluator.polynomial(&x, &sine, keys).unwrap()));
            let square = Polynomial::new(Basis::Power, vec![0.25, 0.5, 0.25]).unwrap();
            time("polynomial_2", &mut || drop(evaluator.polynomial(&x, &square, keys).unwrap()));
        }
    }
}

fn linear_transform(c: &mut Criterion) {
    let bench = Bench::new(seven_levels(), 1);
    let x = bench.ciphertexts(1);
    for count in [16, 64, 256] {
        let (transform, keys) = bench.transform(count);
        c.bench_function(&format!("linear_transform_{count}/14"), |b| {
            b.iter(|| bench.evaluator.transform(&x, &transform, &keys).unwrap());
        });
    }
}

fn batches(c: &mut Criterion) {
    let threads = available_parallelism().map_or(1, usize::from);
    let bench = Bench::new(literal(14).unwrap(), threads);
    let mut group = c.benchmark_group(format!("batch/14/{threads}_threads"));
    for items in [1, 8] {
        let x = bench.ciphertexts(items);
        group.throughput(Throughput::Elements(items as u64));
        group.bench_function(BenchmarkId::new("mul_rescale", items), |b| {
            b.iter(|| bench.evaluator.mul_rescale(&x, &x, &bench.keys).unwrap());
        });
        group.bench_function(BenchmarkId::new("rotate", items), |b| {
            b.iter(|| bench.evaluator.rotate(&x, 1, &bench.keys).unwrap());
        });
    }
}

criterion_group!(benches, operations, linear_transform, batches);
criterion_main!(benches);
