//! The operations on a GPU, by its own time stamps, and by the clock (`wall`), which has the recording and the waiting in it. Names are those of
//! the processor's benchmarks, parameters those of `pleura bench`; each batch counts as one.
//!
//! `cargo bench -p benches --bench gpu [-- NAME]`; the adapter is the first that `pleura devices` lists, or number `PLEURA_GPU`.
#![expect(clippy::unwrap_used, reason = "a benchmark stops where its fixed parameters are wrong")]

use benches::{Bench, seven_levels};
use criterion::{Criterion, criterion_group, criterion_main};
use pleura::bench::PARAMETER_SETS;
use pleura_gpu::{Device, Gpu, Options, adapters};
use pleura_ring::{Backend, Batch, Coeff, Limbs, Ntt};
use std::sync::Arc;
use std::time::Duration;

/// Times `run` twice: by the device and by the clock.
fn time(c: &mut Criterion, device: &Device, name: &str, mut run: impl FnMut()) {
    let mut measure = |iterations: u64| device.time(|| (0..iterations).for_each(|_| run())).unwrap();
    if measure(1).0.is_some() {
        c.bench_function(name, |b| b.iter_custom(|iterations| measure(iterations).0.unwrap()));
    }
    c.bench_function(&format!("{name}/wall"), |b| b.iter_custom(|iterations| measure(iterations).1));
}

/// The first adapter, or the one that the environment names.
fn device() -> Option<Arc<Device>> {
    let number = std::env::var("PLEURA_GPU").map_or(0, |number| number.parse().unwrap());
    let device = adapters().get(number).map(|adapter| adapter.open(&Options::default()).unwrap());
    match &device {
        Some(device) => eprintln!("{}, {}", device.info().name, device.info().driver),
        None => eprintln!("skipped: there is no adapter {number}"),
    }
    device
}

fn operations(c: &mut Criterion) {
    let Some(device) = device() else { return };
    for set in PARAMETER_SETS {
        let log_n = set.log_n;
        let bench = Bench::on(set, |ring| Gpu::new(ring, device.clone()).unwrap());
        let Bench { evaluator, keys, .. } = &bench;
        transforms(c, evaluator.backend(), log_n);
        for items in [1, 16] {
            let x = bench.ciphertexts(items);
            let y = bench.ciphertexts(items);
            let name = |operation: &str| match items {
                1 => format!("{operation}/{log_n}"),
                _ => format!("{operation}/{log_n}/batch_{items}"),
            };
            let product = evaluator.mul_no_relin(&x, &y).unwrap();
            time(c, &device, &name("mul_no_relin"), || drop(evaluator.mul_no_relin(&x, &y).unwrap()));
            time(c, &device, &name("relinearize"), || drop(evaluator.relinearize(&product, keys).unwrap()));
            time(c, &device, &name("mul_rescale"), || drop(evaluator.mul_rescale(&x, &y, keys).unwrap()));
            time(c, &device, &name("rescale"), || drop(evaluator.rescale(&x).unwrap()));
            time(c, &device, &name("rotate"), || drop(evaluator.rotate(&x, 1, keys).unwrap()));
            time(c, &device, &name("rotate_many_8"), || {
                drop(evaluator.rotate_many(&x, &[1, 2, 3, 4, 5, 6, 7, 8], keys).unwrap());
            });
        }
    }
}

/// Both ways, of all the limbs that a ciphertext has.
fn transforms(c: &mut Criterion, gpu: &Gpu, log_n: u32) {
    let limbs = Limbs::q(gpu.ring().limbs().q);
    let words = vec![1; gpu.ring().words(limbs, 2)];
    let mut x = Some(gpu.upload::<Coeff>(limbs, 2, &words).unwrap());
    for (name, forward) in [("ntt", true), ("intt", false)] {
        time(c, gpu.device(), &format!("{name}/{log_n}/{}_limbs", 2 * limbs.count()), || {
            let batch = x.take().unwrap();
            let buffer = if forward {
                gpu.ntt(batch).into_buffer()
            } else {
                gpu.intt(Batch::<_, Ntt>::from_buffer(batch.into_buffer(), limbs, 2)).into_buffer()
            };
            x = Some(Batch::from_buffer(buffer, limbs, 2));
        });
    }
}

fn linear_transform(c: &mut Criterion) {
    let Some(device) = device() else { return };
    let bench = Bench::on(seven_levels(), |ring| Gpu::new(ring, device.clone()).unwrap());
    let x = bench.ciphertexts(1);
    for count in [16, 64, 256] {
        let (transform, keys) = bench.transform(count);
        time(c, &device, &format!("linear_transform_{count}/14"), || {
            drop(bench.evaluator.transform(&x, &transform, &keys).unwrap());
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(2));
    targets = operations, linear_transform
}
criterion_main!(benches);
