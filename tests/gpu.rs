//! Every adapter of this machine against the processor: the words of all the ring's operations, the ciphertexts of the scheme's, and
//! those of a network are the same, bit for bit.
//!
//! Without an adapter the tests say that they are skipped; `REQUIRE_GPU=1` makes that a failure.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic, and so may the functions beside the tests"
)]

use pleura_ckks::{
    Basis, Ciphertext, Complex64, Encoder, EvaluationKeys, Evaluator, KeyRequest, LinearTransform, Params,
    ParamsLiteral, Polynomial, SecretKey, Security,
};
use pleura_gpu::{Device, Gpu, Options, adapters};
use pleura_nn::{Client, Plan, PlanOptions, Server};
use pleura_ring::conformance::check;
use pleura_ring::{Backend, BackendError, Cpu, Limbs, Ntt, Ring, Simd, primes_below};
use std::io::Write;
use std::sync::Arc;

/// Opens every adapter in turn.
fn devices(options: &Options) -> Vec<Arc<Device>> {
    let adapters = adapters();
    if adapters.is_empty() {
        let required = std::env::var_os("REQUIRE_GPU").is_some_and(|value| value == "1");
        assert!(!required, "REQUIRE_GPU=1, and there is no adapter");
        let skipped = "skipped: no adapter; mesa-vulkan-drivers (Debian) brings one in software\n";
        // Not by `eprintln!`, which a test that passes keeps to itself.
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
    adapters.iter().map(|adapter| adapter.open(options).unwrap()).collect()
}

/// 32-bit products, and 32-bit products with checks in the kernels, and neither.
fn forms() -> [Options; 3] {
    let (usual, narrow) = (Options::default(), Options { narrow: true, ..Options::default() });
    [usual, Options { checks: true, ..narrow.clone() }, narrow]
}

// The ring.

/// Holds every adapter to the suite.
#[track_caller]
fn conforms(log_degrees: &[u32], options: &Options) {
    for device in devices(options) {
        let report = check(log_degrees, |ring| Gpu::new(ring, device.clone()))
            .unwrap_or_else(|failure| panic!("{}: {failure}", device.info().name));
        assert_eq!(report.results.len(), 16, "{report:?}");
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
fn products_of_32_bit_words() {
    conforms(&[10, 14], &Options { narrow: true, ..Options::default() });
}

#[test]
fn checks_in_the_kernels() {
    conforms(&[10], &Options { checks: true, ..Options::default() });
    conforms(&[10], &Options { checks: true, narrow: true, ..Options::default() });
}

#[test]
fn batches_in_many_buffers() {
    // Three polys over all limbs of the suite's larger ring: less than a key, and what belongs together is cut.
    conforms(&[10], &Options { max_binding_bytes: Some((12 * 21) << 10), ..Options::default() });
}

#[test]
fn memory_serves_again() {
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
fn too_little_memory_is_an_error_of_what_needed_it_alone() {
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
fn compiled_kernels_are_kept() {
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

#[test]
fn the_device_tells_the_time() {
    for device in devices(&Options::default()) {
        let ring = small_ring();
        let gpu = Gpu::new(ring.clone(), device.clone()).unwrap();
        let x = gpu.upload::<Ntt>(Limbs::q(2), 1, &vec![1; ring.words(Limbs::q(2), 1)]).unwrap();
        let work = || (0..20).for_each(|_| drop(gpu.concat(&[x.view()], Limbs::q(2))));
        let (on_device, wall) = device.time(work).unwrap();
        assert!(!wall.is_zero());
        assert!(on_device.is_none_or(|time| !time.is_zero() && time <= wall), "{on_device:?} of {wall:?}");
    }
}

fn small_ring() -> Arc<Ring> {
    Arc::new(Ring::new(10, &primes_below(30.0, 1 << 10, 2, &[]).unwrap(), &[]).unwrap())
}

// The scheme.

/// A circuit of all kinds of operations, as bytes of its results.
fn circuit<B: Backend>(backend: B, case: &Circuit) -> Vec<Vec<u8>> {
    let Circuit { params, encoder, keys, transform, sent } = case;
    let server = Evaluator::new(params, backend).unwrap();
    let keys = server.upload_keys(keys).unwrap();
    let transform = server.prepare_transform(transform, encoder).unwrap();
    let x = server.upload(sent).unwrap();
    let mut results = server.rotate_many(&x, &[1, 2, -3], &keys).unwrap();
    results.push(server.mul_rescale(&x, &x, &keys).unwrap());
    results.push(server.conjugate(&x, &keys).unwrap());
    results.push(server.transform(&x, &transform, &keys).unwrap());
    let wave = Polynomial::new(Basis::Power, vec![0.25, 0.5, 0.0, -0.125]).unwrap();
    results.push(server.polynomial(&x, &wave, &keys).unwrap());
    let sum = server.add(&x, &server.rotate(&x, 1, &keys).unwrap()).unwrap();
    results.push(server.sub(&server.neg(&sum).unwrap(), &server.mul_const(&x, 0.5, 1.0).unwrap()).unwrap());
    results.iter().flat_map(|y| server.download(y).unwrap()).map(|c: Ciphertext| c.to_bytes()).collect()
}

struct Circuit {
    params: Params,
    encoder: Encoder,
    keys: EvaluationKeys,
    transform: LinearTransform,
    sent: Vec<Ciphertext>,
}

impl Circuit {
    fn new(log_n: u32) -> Self {
        let (levels, security) = (3, Security::InsecureForTests);
        let literal =
            ParamsLiteral { log_n, levels, scale_bits: 28, base_bits: 56, digit_limbs: 2, security };
        let params = Params::new(literal).unwrap();
        let (top, slots) = (params.max_level(), params.n() / 2);
        let diagonal = |k: usize| (0..slots).map(|i| Complex64::from(((i + k) as f64).sin())).collect();
        let diagonals = (0..20).map(|k| (k as i64, diagonal(k)));
        let transform = LinearTransform::new(&params, top, slots, diagonals).unwrap();
        let (encoder, secret) = (Encoder::new(&params), SecretKey::generate(&params).unwrap());
        let wanted =
            KeyRequest::new().relin(top).conjugation(&params, top).rotations(&params, [1, 2, -3], top);
        let keys = secret.evaluation_keys(&wanted.merge(&transform.keys())).unwrap();
        let values = |seed: usize| (0..slots).map(|i| ((i * seed) as f64).cos()).collect::<Vec<_>>();
        let sent =
            [1, 2, 3].map(|seed| secret.encrypt(&encoder.encode_real(&values(seed)).unwrap()).unwrap());
        Self { params, encoder, keys, transform, sent: sent.to_vec() }
    }
}

#[test]
fn ciphertexts_are_the_same_on_every_device() {
    let case = Circuit::new(13);
    let ring = case.params.ring();
    let expected = circuit(Cpu::new(ring.clone()).unwrap(), &case);
    assert_eq!(expected.len(), 24);
    for device in forms().iter().flat_map(devices) {
        let got = circuit(Gpu::new(ring.clone(), device.clone()).unwrap(), &case);
        assert!(got == expected, "{}", device.info().name);
    }
}

#[test]
fn operations_are_few_dispatches_in_one_submit() {
    // A limb is transformed by one kernel up to 2^12 everywhere, by two from 2^14 on.
    for (log_n, [rotation, product, transformed]) in [(12, [5, 6, 11]), (14, [9, 10, 19])] {
        let case = Circuit::new(log_n);
        let Circuit { params, encoder, keys, transform, sent } = &case;
        for device in devices(&Options::default()) {
            let server =
                Evaluator::new(params, Gpu::new(params.ring().clone(), device.clone()).unwrap()).unwrap();
            let (keys, transform) =
                (server.upload_keys(keys).unwrap(), server.prepare_transform(transform, encoder).unwrap());
            let x = server.upload(sent).unwrap();
            let count = |run: &dyn Fn()| {
                // Memory that an earlier run used is there for this one.
                let counted = [0; 2].map(|_| {
                    server.backend().wait().unwrap();
                    let (dispatches, submits) = device.dispatches_and_submits();
                    run();
                    server.backend().wait().unwrap();
                    let (after, submitted) = device.dispatches_and_submits();
                    (after - dispatches, submitted - submits)
                });
                counted[1]
            };
            assert_eq!(count(&|| drop(server.rotate(&x, 1, &keys).unwrap())), (rotation, 1));
            assert_eq!(count(&|| drop(server.mul_rescale(&x, &x, &keys).unwrap())), (product, 1));
            // One more where the keys do not all lie in the same slab.
            let (dispatches, submits) = count(&|| drop(server.transform(&x, &transform, &keys).unwrap()));
            assert!((transformed..=transformed + 1).contains(&dispatches) && submits == 1, "{dispatches}");
            // As many for eight rotations as for one, but for the copies to ciphertexts of their own.
            let steps = [1, 2, -3, 1, 2, -3, 1, 2];
            let rotations = rotation + 2 * steps.len() as u64;
            let (dispatches, submits) = count(&|| drop(server.rotate_many(&x, &steps, &keys).unwrap()));
            assert!((rotations..=rotations + 1).contains(&dispatches) && submits == 1, "{dispatches}");
            let wave = Polynomial::new(Basis::Power, vec![0.25, 0.5, 0.0, -0.125]).unwrap();
            let (_, submits) = count(&|| drop(server.polynomial(&x, &wave, &keys).unwrap()));
            assert_eq!(submits, 1);
        }
    }
}

// Networks.

/// Runs a reference network on the processor and on all devices.
fn network_is_the_same(name: &str, options: &[Options]) -> Vec<Arc<Device>> {
    let file = format!("{}/../models/reference/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    let model = std::fs::read(file).unwrap();
    let network = pleura_onnx::import(&model, &Default::default()).unwrap().network;
    let plan = Plan::compile(&network, &PlanOptions::default(), &mut |_, _, _| ()).unwrap();
    let client = Client::new(&plan).unwrap();
    let keys = client.evaluation_keys().unwrap();
    let len = network.input_shape().iter().product::<usize>();
    let item: Vec<f64> = (0..len).map(|i| (i as f64).sin()).collect();
    let sent = client.encrypt(&[item.clone(), item]).unwrap();
    let ring = plan.params().ring();
    let cpu = Cpu::with(ring.clone(), Simd::from_env().unwrap(), 1).unwrap();
    let expected = infer(&Server::new(&plan, cpu, keys.clone()).unwrap(), &sent);
    let devices: Vec<_> = options.iter().flat_map(devices).collect();
    for device in &devices {
        let gpu = Gpu::new(ring.clone(), device.clone()).unwrap();
        let got = infer(&Server::new(&plan, gpu, keys.clone()).unwrap(), &sent);
        assert!(got == expected, "{name} on {}", device.info().name);
    }
    devices
}

fn infer<B: Backend>(server: &Server<'_, B>, sent: &[Ciphertext]) -> Vec<Vec<u8>> {
    server.infer(sent, &mut |_, _| ()).unwrap().iter().map(Ciphertext::to_bytes).collect()
}

#[test]
fn a_network_is_the_same_on_every_device() {
    let [usual, narrow_checked, _] = forms();
    network_is_the_same("lola", &[usual, narrow_checked]);
}

#[test]
fn a_network_with_little_memory_and_small_buffers() {
    let little =
        Options { memory_bytes: Some(1 << 27), max_binding_bytes: Some(1 << 23), ..Options::default() };
    let devices = network_is_the_same("lola", &[little]);
    assert!(devices.iter().all(|device| device.streamed_bytes() > 0), "nothing was streamed");
}
