//! The ring's operations, one thread and one limb or batch at a time; `ntt/tfhe-ntt` is the peer to beat.
//!
//! `cargo bench -p benches --bench ring [-- ntt/pleura]`
#![expect(clippy::unwrap_used, reason = "a benchmark stops where its fixed parameters are wrong")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pleura_ring::{Backend, Batch, Coeff, Cpu, Limbs, Ntt, Ring, Simd, primes_below};
use std::hint::black_box;
use std::sync::Arc;

fn ntt(c: &mut Criterion) {
    for log_n in 13..=16 {
        let n = 1usize << log_n;
        let q = primes_below(30.0, n, 1, &[]).unwrap().remove(0);
        let ring = Arc::new(Ring::new(log_n, &[q], &[]).unwrap());
        let words: Vec<u32> = (0..n as u32).map(|i| i.wrapping_mul(2_654_435_761) % q).collect();

        for (name, forward) in [("ntt", true), ("intt", false)] {
            let mut group = c.benchmark_group(name);
            for simd in Simd::ALL.into_iter().filter(|s| s.is_available()) {
                let cpu = Cpu::with(ring.clone(), simd, 1).unwrap();
                let mut x = Some(cpu.upload::<Coeff>(Limbs::q(1), 1, &words).unwrap());
                group.bench_function(BenchmarkId::new(format!("pleura-{}", simd.name()), log_n), |b| {
                    b.iter(|| {
                        let batch = x.take().unwrap();
                        let buffer = if forward {
                            cpu.ntt(batch).into_buffer()
                        } else {
                            cpu.intt(Batch::<_, Ntt>::from_buffer(batch.into_buffer(), Limbs::q(1), 1))
                                .into_buffer()
                        };
                        x = Some(Batch::from_buffer(buffer, Limbs::q(1), 1));
                    });
                });
            }
            let plan = tfhe_ntt::prime32::Plan::try_new(n, q).unwrap();
            let mut x = words.clone();
            group.bench_function(BenchmarkId::new("tfhe-ntt", log_n), |b| {
                b.iter(|| if forward { plan.fwd(black_box(&mut x)) } else { plan.inv(black_box(&mut x)) });
            });
        }
    }
}

criterion_group!(benches, ntt);
criterion_main!(benches);
