//! The ring's operations, one thread and one limb or batch at a time; `ntt/tfhe-ntt` is the peer to beat.
//!
//! `cargo bench -p benches --bench ring [-- ntt/pleura]`
#![expect(clippy::unwrap_used, reason = "a benchmark stops where its fixed parameters are wrong")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pleura_ring::sample::Seed;
use pleura_ring::{
    Backend, Batch, Coeff, Cpu, Digits, Gadget, GadgetProduct, GadgetTerm, Limbs, Ntt, Poly, Ring, Simd,
    Term, primes_below,
};
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

/// The parts of key switching: eleven limbs, four special primes, three digits, as in a rotation at `2^14`.
fn operations(c: &mut Criterion) {
    for log_n in [13, 14, 15] {
        let primes = primes_below(30.0, 1 << log_n, 15, &[]).unwrap();
        let (p, q) = primes.split_at(4);
        let ring = Arc::new(Ring::new(log_n, q, p).unwrap());
        let cpu = Cpu::with(ring.clone(), benches::simd(), 1).unwrap();
        let base = Limbs::q(11);
        let all = ring.limbs();
        let gadget = Gadget { limbs: all, digit_limbs: 4 };
        let uniform = |limbs, polys| {
            let seed = Seed::from_bytes(&[polys as u8; 32]);
            let words: Vec<u32> = (0..polys)
                .flat_map(|i| Poly::uniform(&ring, limbs, &seed, i as u32).words().to_vec())
                .collect();
            cpu.upload::<Ntt>(limbs, polys, &words).unwrap()
        };
        let mut x = uniform(base, 2);
        let key = uniform(all, 2 * gadget.digits());
        let extended = uniform(all, 2);
        let galois = ring.rotation(1);
        let tensor = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, b)| Term { out: a + b, a, b });

        let mut time = |name: &str, run: &mut dyn FnMut()| {
            c.bench_function(&format!("{name}/{log_n}"), |b| b.iter(&mut *run));
        };
        time("mod_up", &mut || drop(cpu.mod_up(x.slice(1, 1), gadget)));
        time("gadget_product", &mut || {
            drop(cpu.gadget_product(&GadgetProduct {
                gadget,
                x: x.view(),
                digits: Digits::Fresh(x.slice(1, 1)),
                first_switched: 0,
                terms: &[GadgetTerm { input: 0, output: 0, key: Some(key.view()), galois }],
                batch: 1,
                outputs: 1,
            }));
        });
        time("mod_down", &mut || drop(cpu.rescale(extended.view(), base)));
        time("rescale", &mut || drop(cpu.rescale(x.view(), Limbs::q(10))));
        time("mul_accumulate", &mut || drop(cpu.mul_accumulate(x.view(), x.view(), &tensor, 3, base)));
        time("automorphism", &mut || drop(cpu.automorphism(x.view(), galois)));
        let y = uniform(base, 2);
        time("add_assign", &mut || cpu.add_assign(&mut x, 0, 2, y.view()));
    }
}

criterion_group!(benches, ntt, operations);
criterion_main!(benches);
