//! Every adapter of this machine against the processor: the words of all the ring's operations are the same, bit for bit.
//!
//! Without an adapter the tests say that they are skipped; `REQUIRE_GPU=1` makes that a failure.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic, and so may the functions beside the tests"
)]

mod common;

use common::devices;
use pleura_gpu::{Gpu, Options};
use pleura_ring::conformance::check;
use pleura_ring::sample::Seed;
use pleura_ring::{
    Backend, BackendError, Batch, Diagonals, Digits, Gadget, GadgetProduct, GadgetTerm, GaloisElement, Limbs,
    Ntt, Poly, PolySource, Ring, Term, primes_below,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Repetitions of what goes wrong only at times.
const ROUNDS: usize = 200;

/// Holds every adapter to the suite.
#[track_caller]
fn conforms(log_degrees: &[u32], options: &Options) {
    for device in devices(options) {
        let report = check(log_degrees, |ring| Gpu::new(ring, device.clone()))
            .unwrap_or_else(|failure| panic!("{}: {failure}", device.info().name));
        assert_eq!(report.results.len(), 22, "{report:?}");
        assert!(report.results.iter().all(|(_, results)| *results > 0), "{report:?}");
    }
}

#[test]
fn limbs_that_fit_a_workgroup() {
    conforms(&[4, 7, 10, 13], &Options::default());
}

#[test]
fn limbs_in_two_passes() {
    conforms(&[14], &Options::default());
}

#[test]
fn kernels_without_64_bit_integers() {
    conforms(&[10, 14], &Options { no_int64: true, ..Options::default() });
}

#[test]
fn kernels_with_bounds_checks() {
    conforms(&[10], &Options { checks: true, ..Options::default() });
    conforms(&[10], &Options { checks: true, no_int64: true, ..Options::default() });
}

#[test]
fn batches_in_many_buffers() {
    // Three polys over all limbs of the suite's larger ring: less than a key, and what belongs together is cut.
    conforms(&[10], &Options { max_binding_bytes: Some((12 * 21) << 10), ..Options::default() });
}

#[test]
fn buffers_are_reused() {
    for device in devices(&Options::default()) {
        let ring = small_ring();
        let gpu = Gpu::new(ring.clone(), device.clone()).unwrap();
        let words = vec![1; ring.words(Limbs::q(2), 8)];
        let x = gpu.upload::<Ntt>(Limbs::q(2), 8, &words).unwrap();
        drop(gpu.concat(&[x.view()], Limbs::q(2)));
        let (held, _) = device.memory_bytes();
        for _ in 0..100 {
            drop(gpu.concat(&[x.view()], Limbs::q(2)));
        }
        assert_eq!(device.memory_bytes().0, held);
    }
}

#[test]
fn downloads_share_buffers() {
    for device in devices(&Options::default()) {
        let ring = small_ring();
        let gpu = Gpu::new(ring.clone(), device.clone()).unwrap();
        let words: Vec<u32> = (0..).take(ring.words(Limbs::q(2), 4)).collect();
        let x = gpu.upload::<Ntt>(Limbs::q(2), 4, &words).unwrap();
        // A shorter download reads a part of the buffer of a longer one; two at a time have a buffer each.
        for (start, count) in [(0, 4), (1, 3), (2, 2)] {
            let part =
                |at: usize| words[ring.words(Limbs::q(2), at)..][..ring.words(Limbs::q(2), count)].to_vec();
            let first = gpu.download(x.slice(start, count));
            let second = gpu.download(x.slice(0, count));
            assert_eq!(second.wait().unwrap(), part(0));
            assert_eq!(first.wait().unwrap(), part(start));
            drop(gpu.download(x.slice(0, count)));
        }
    }
}

#[test]
fn without_workgroups_nothing_is_computed() {
    for device in devices(&Options { no_workgroups: true, ..Options::default() }) {
        let ring = small_ring();
        let gpu = Gpu::new(ring.clone(), device.clone()).unwrap();
        let words = vec![1; ring.words(Limbs::q(2), 1)];
        let x = gpu.upload::<Ntt>(Limbs::q(2), 1, &words).unwrap();
        let (before, _) = device.dispatches_and_submits();
        let copy = gpu.concat(&[x.view()], Limbs::q(2));
        assert_eq!(gpu.download(x.view()).wait().unwrap(), words);
        // A buffer that no kernel wrote to has zeros.
        assert_eq!(gpu.download(copy.view()).wait().unwrap(), vec![0; words.len()]);
        assert_eq!(device.dispatches_and_submits().0 - before, 1);
    }
}

#[test]
fn a_failed_allocation_fails_only_its_dependents() {
    for device in devices(&Options { memory_bytes: Some(1 << 24), ..Options::default() }) {
        let ring = small_ring();
        let gpu = Gpu::new(ring.clone(), device.clone()).unwrap();
        let words = vec![1; ring.words(Limbs::q(2), 1)];
        let x = gpu.upload::<Ntt>(Limbs::q(2), 1, &words).unwrap();
        let views = vec![x.view(); 4096];
        let many = gpu.concat(&views, Limbs::q(2));
        let sum = gpu.concat(&[x.view(), many.slice(0, 1)], Limbs::q(2));
        let full = |result: Result<Vec<u32>, _>| {
            let error = result.unwrap_err();
            assert!(matches!(error, BackendError::OutOfMemory { bytes } if bytes >= 1 << 25), "{error}");
        };
        full(gpu.download(many.slice(0, 1)).wait());
        // Said once, it is not forgotten: what was computed of what is missing is missing, too.
        full(gpu.download(sum.view()).wait());
        full(gpu.download(gpu.concat(&[sum.view()], Limbs::q(1)).view()).wait());
        full(gpu.upload::<Ntt>(Limbs::q(2), 4096, &words.repeat(4096)).map(|_| Vec::new()));
        drop((many, sum));
        _ = gpu.wait();
        assert_eq!(gpu.download(x.view()).wait().unwrap(), words);
        assert!(device.memory_bytes().1 <= 1 << 24);
    }
}

#[test]
fn compiled_kernels_are_cached() {
    let folder = std::env::temp_dir().join(format!("pleura-kernels-{}", std::process::id()));
    let options = Options { cache: Some(folder.clone()), ..Options::default() };
    let run = || {
        for device in devices(&options) {
            let ring = small_ring();
            let words = vec![1; ring.words(Limbs::q(2), 1)];
            let gpu = Gpu::new(ring, device).unwrap();
            let x = gpu.upload::<Ntt>(Limbs::q(2), 1, &words).unwrap();
            assert_eq!(gpu.download(gpu.concat(&[x.view()], Limbs::q(2)).view()).wait().unwrap(), words);
        }
    };
    run();
    let files = || std::fs::read_dir(&folder).into_iter().flatten().map(|file| file.unwrap().path());
    for file in files() {
        assert!(!file.to_string_lossy().ends_with(".part"));
        let mut bytes = std::fs::read(&file).unwrap();
        assert!(bytes.len() > 32);
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        run();
        // What was damaged was not believed, and is whole again.
        assert!(std::fs::read(&file).unwrap() != bytes);
    }
    _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn rings_of_the_wrong_degree_are_refused() {
    for device in devices(&Options::default()) {
        let q = primes_below(20.0, 8, 1, &[]).unwrap();
        let ring = Arc::new(Ring::new(3, &q, &[]).unwrap());
        let error = Gpu::new(ring, device).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("2^3"), "{error}");
    }
}

/// Kernels read without bounds checks, so operands that lack polynomials or limbs must not get that far.
#[test]
fn shapes_that_do_not_fit_panic_and_leave_the_device_usable() {
    for device in devices(&Options::default()) {
        let primes = primes_below(30.0, 1 << 10, 5, &[]).unwrap();
        let ring = Arc::new(Ring::new(10, &primes[..3], &primes[3..]).unwrap());
        let gpu = Gpu::new(ring.clone(), device).unwrap();
        let limbs = ring.limbs();
        let low = Limbs::q(limbs.q);
        let upload =
            |limbs, polys| gpu.upload::<Ntt>(limbs, polys, &vec![1; ring.words(limbs, polys)]).unwrap();
        let [x, y] = [limbs, low].map(|limbs| upload(limbs, 2));
        let term = |a| [Term { out: 0, a, b: 0 }];
        let panics = |what: &str, f: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "{what}");
        panics("concat", &|| drop(gpu.concat(&[x.view(), y.view()], limbs)));
        panics("sum of fewer limbs", &|| drop(gpu.add(x.view(), y.view(), 2, limbs)));
        panics("sum beyond the end", &|| drop(gpu.add(x.view(), x.view(), 3, limbs)));
        panics("product of fewer limbs", &|| {
            drop(gpu.mul_accumulate(x.view(), y.view(), &term(0), 1, limbs));
        });
        panics("product of a poly that is missing", &|| {
            drop(gpu.mul_accumulate(x.view(), x.view(), &term(2), 1, limbs));
        });
        panics("rescale to more", &|| drop(gpu.rescale(y.view(), limbs)));
        let gadget = Gadget { limbs, digit_limbs: 1 };
        let sums = |digits: &Batch<Gpu, Ntt>, key: &Batch<Gpu, Ntt>, diagonals: &Batch<Gpu, Ntt>| {
            let galois = GaloisElement::IDENTITY;
            let terms = &[GadgetTerm { input: 0, output: 0, key: Some(key.view()), galois }];
            let digits = Digits::Extended(digits.view());
            let product =
                GadgetProduct { gadget, x: x.view(), digits, first_switched: 0, terms, batch: 1, outputs: 1 };
            gpu.baby_step_sums(&product, Diagonals::Polys(diagonals.view()), &term(0), 1)
        };
        let digits = upload(limbs, 3);
        let key = upload(limbs, 6);
        panics("low digits", &|| drop(sums(&upload(low, 3), &key, &x)));
        panics("too few digits", &|| drop(sums(&x, &key, &x)));
        panics("a low key", &|| drop(sums(&digits, &upload(low, 6), &x)));
        panics("a short key", &|| drop(sums(&digits, &upload(limbs, 5), &x)));
        panics("low diagonals", &|| drop(sums(&digits, &key, &y)));
        // One addend, and the products of three digits with ones.
        let expected: Vec<_> =
            [4u32, 3].into_iter().flat_map(|word| vec![word; ring.words(limbs, 1)]).collect();
        assert_eq!(gpu.download(sums(&digits, &key, &x).view()).wait().unwrap(), expected);
    }
}

#[test]
fn the_device_has_timestamps() {
    for device in devices(&Options::default()) {
        let ring = small_ring();
        let gpu = Gpu::new(ring.clone(), device.clone()).unwrap();
        let x = gpu.upload::<Ntt>(Limbs::q(2), 1, &vec![1; ring.words(Limbs::q(2), 1)]).unwrap();
        // The device has nothing to do while the host sleeps.
        let pause = Duration::from_millis(20);
        let (on_device, wall) = device
            .time(|| {
                std::thread::sleep(pause);
                (0..20).for_each(|_| drop(gpu.concat(&[x.view()], Limbs::q(2))));
            })
            .unwrap();
        assert!(wall >= pause);
        assert!(
            on_device.is_none_or(|time| !time.is_zero() && time <= wall - pause),
            "{on_device:?} of {wall:?}"
        );
    }
}

#[test]
fn kernels_are_timed() {
    for device in devices(&Options { profile: true, ..Options::default() }) {
        let ring = small_ring();
        let gpu = Gpu::new(ring.clone(), device.clone()).unwrap();
        let x = gpu.upload::<Ntt>(Limbs::q(2), 1, &vec![1; ring.words(Limbs::q(2), 1)]).unwrap();
        (0..20).for_each(|_| drop(gpu.concat(&[x.view()], Limbs::q(2))));
        drop(gpu.intt(x));
        let Some(times) = device.kernel_times().unwrap() else {
            assert!(!device.info().timestamps);
            continue;
        };
        let of = |name: &str| times.kernels.iter().find(|time| time.kernel == name).unwrap();
        assert_eq!(times.kernels.len(), 2);
        assert_eq!(of("concat").dispatches, 20);
        assert_eq!(of("intt").dispatches, 1);
        assert!(!of("intt").time.is_zero());
        assert_eq!(device.kernel_times().unwrap().unwrap().kernels, []);
    }
}

fn small_ring() -> Arc<Ring> {
    Arc::new(Ring::new(10, &primes_below(30.0, 1 << 10, 2, &[]).unwrap(), &[]).unwrap())
}

#[test]
fn keys_arrive_from_many_threads() {
    for device in devices(&Options::default()) {
        let primes = primes_below(30.0, 1 << 13, 3, &[]).unwrap();
        let ring = Arc::new(Ring::new(12, &primes[..2], &primes[2..]).unwrap());
        let gpu = Gpu::new(ring.clone(), device).unwrap();
        let limbs = Limbs { q: 2, p: 1 };
        let seeds: Vec<_> = (0..32).map(|i| Seed::from_bytes(&[i; 32])).collect();
        let keys: Vec<_> =
            seeds.iter().map(|seed| [0, 1].map(|i| Poly::<Ntt>::uniform(&ring, limbs, seed, i))).collect();
        for _ in 0..ROUNDS {
            // Memory that no kernel has seen: with its first use, the driver clears what was not written.
            gpu.expect_constants(1 << 22);
            let uploaded: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (seeds.chunks(8).zip(keys.chunks(8)))
                    .map(|(seeds, keys)| scope.spawn(|| upload_keys(&gpu, limbs, seeds, keys)))
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            for (batch, key) in uploaded.iter().zip(&keys) {
                let words = gpu.download(batch.view()).wait().unwrap();
                let expected = key.each_ref().map(|poly| poly.words()).concat();
                assert!(words == expected, "a key arrived with other words");
            }
        }
    }
}

/// Uploads the first half of each key as words, the second as its seed.
fn upload_keys(gpu: &Gpu, limbs: Limbs, seeds: &[Seed], keys: &[[Poly<Ntt>; 2]]) -> Vec<Batch<Gpu, Ntt>> {
    let mut uploaded = Vec::new();
    for (seed, [first, _]) in seeds.iter().zip(keys) {
        let sources =
            [PolySource::Words(first.words()), PolySource::Uniform { seed, number: 1, words: None }];
        uploaded.push(gpu.upload_polys(limbs, &sources).unwrap());
    }
    uploaded
}
